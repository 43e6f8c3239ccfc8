"""Fetching from a server on this machine: whole or not at all, continued, checked, and clear about what went wrong."""

import hashlib
import http.server
import threading

import pytest

from collapse_jax.data import download as module
from collapse_jax.data.download import Remote, download, md5_of
from collapse_jax.errors import OutputError, SpecError

CONTENT = bytes(range(256)) * 40
FILES = {"one.gz": CONTENT, "two.gz": CONTENT[::-1]}


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves ``FILES``; the server's ``mood`` says how, and its ``asked`` what was asked for."""

    def do_GET(self):
        mood, name = self.server.mood, self.path[1:]
        begin = self.headers.get("Range")
        self.server.asked.append((name, begin))
        if name not in FILES or mood == "broken":
            self.send_error(404 if name not in FILES else 503)
            return
        content = FILES[name] if mood != "other" else b"x" + FILES[name]
        start = int(begin.removeprefix("bytes=").removesuffix("-")) if begin and mood != "no ranges" else 0
        if begin and start >= len(content):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        self.wfile.write(content[start : len(content) // 2] if mood == "breaks off" else content[start:])

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    served = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    served.mood, served.asked = "well", []
    thread = threading.Thread(target=served.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    base = f"http://127.0.0.1:{served.server_port}/"
    sums = {name: hashlib.md5(content).hexdigest() for name, content in FILES.items()}
    one, two = (Remote(name, base + name, md5) for name, md5 in sums.items())
    monkeypatch.setattr(module, "SETS", {"both": (one, two), "one": (one,), "absent": (one._replace(url=base + "no"),)})
    yield served
    served.shutdown()
    served.server_close()
    thread.join()


def names(folder):
    return sorted(file.name for file in folder.iterdir())


def test_files_come_into_the_cache_and_stay(server, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    files = download("both")
    assert [file.read_bytes() for file in files] == list(FILES.values())
    assert files[0].parent == tmp_path / "collapse_jax" / "both"
    assert names(files[0].parent) == ["one.gz", "two.gz"]
    assert names(tmp_path / "collapse_jax") == ["both"]
    server.mood = "broken"
    assert download("both") == files  # nothing is asked for that is there
    assert len(server.asked) == 2


def test_what_broke_off_is_continued(server, tmp_path):
    server.mood = "breaks off"
    with pytest.raises(OutputError, match=r"broke off, 5120 bytes early.*try again"):
        download("one", tmp_path)
    assert names(tmp_path) == ["one.gz.partial"]
    server.mood = "well"
    assert md5_of(download("one", tmp_path)[0]) == hashlib.md5(CONTENT).hexdigest()
    assert server.asked[-1] == ("one.gz", "bytes=5120-")
    assert names(tmp_path) == ["one.gz"]


@pytest.mark.parametrize(
    ("rest", "mood"),
    [(CONTENT[:100], "no ranges"), (b"rest of another file", "well"), (CONTENT, "well"), (CONTENT + b"more", "well")],
    ids=["server without ranges", "another file", "whole", "too long"],
)
def test_rests_of_all_kinds_end_well(server, tmp_path, rest, mood):
    server.mood = mood
    (tmp_path / "one.gz.partial").write_bytes(rest)
    assert download("one", tmp_path)[0].read_bytes() == CONTENT
    assert names(tmp_path) == ["one.gz"]
    if mood == "no ranges":
        assert len(server.asked) == 1  # what the server sends whole is not appended


def test_half_a_set_is_no_set(server, tmp_path):
    FILES["two.gz"], kept = b"another", FILES["two.gz"]
    try:
        with pytest.raises(OutputError, match="has MD5") as caught:
            download("both", tmp_path / "set")
        assert str(caught.value).endswith(f"into {tmp_path / 'set'} by hand.")
    finally:
        FILES["two.gz"] = kept
    assert names(tmp_path) == ["set.partial"]
    download("both", tmp_path / "set")
    assert names(tmp_path) == ["set"]
    assert [name for name, _ in server.asked] == ["one.gz", "two.gz", "two.gz"]


def test_a_wrong_file_is_thrown_away(server, tmp_path):
    server.mood = "other"
    with pytest.raises(OutputError, match=r"has MD5 \w+, not \w+, and was thrown away; try again, or put one\.gz"):
        download("one", tmp_path)
    assert names(tmp_path) == []


def test_a_file_without_end_is_refused(server, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MAX_BYTES", 1000)
    with pytest.raises(OutputError, match="more than 256 MiB"):
        download("one", tmp_path)
    assert names(tmp_path) == []


def test_errors_name_the_server_and_the_cure(server, tmp_path, monkeypatch):
    with pytest.raises(OutputError, match=r"no: the server answers 404 .*put one\.gz \(MD5 \w+\) into"):
        download("absent", tmp_path)
    server.mood = "broken"
    with pytest.raises(OutputError, match="answers 503"):
        download("both", tmp_path / "new")
    assert names(tmp_path) == []
    nobody = Remote("one.gz", "http://127.0.0.1:9/one.gz", "0" * 32)
    monkeypatch.setattr(module, "SETS", {"one": (nobody,)})
    with pytest.raises(OutputError, match=r"no answer .*look at the network and try again, or put") as caught:
        download("one", tmp_path)
    assert "\n" not in str(caught.value)
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"cannot be written.*name another --folder"):
        download("one", tmp_path / "file" / "folder")
    with pytest.raises(SpecError, match="set must be one of one, got 'two'"):
        download("two")


def test_published_sets():
    assert {name: len(files) for name, files in module.SETS.items()} == {
        "fashion-mnist": 4,
        "cifar10": 1,
        "cifar10-binary": 1,
    }
    for remotes in module.SETS.values():
        for remote in remotes:
            assert remote.url.endswith("/" + remote.name)
            assert len(bytes.fromhex(remote.md5)) == 16
