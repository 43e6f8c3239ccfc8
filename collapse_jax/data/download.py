"""Fetching the public image sets that ``load`` knows by name, for those who ask for it; nothing else uses the network.

A file is fetched under a temporary name and renamed when its published MD5 is right, so that it is whole or absent.
What an interrupted fetch left is continued where the server can do that, and fetched anew where it cannot.
"""

import contextlib
import hashlib
import http.client
import os
import urllib.error
import urllib.request
from pathlib import Path
from typing import NamedTuple

from collapse_jax.data.cache import cache_folder
from collapse_jax.errors import OutputError, SpecError

MAX_BYTES = 2**28  # of one file: the largest has 170 million
TIMEOUT = 30  # seconds without an answer
_BLOCK = 2**18


class Remote(NamedTuple):
    """A file on a server: its name, where it is, and its published MD5."""

    name: str
    url: str
    md5: str


def _remotes(base: str, sums: dict[str, str]) -> tuple[Remote, ...]:
    return tuple(Remote(name, base + name, md5) for name, md5 in sums.items())


SETS = {
    "fashion-mnist": _remotes(
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        {
            "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
            "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
            "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
            "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
        },
    ),
    "cifar10": _remotes(
        "https://www.cs.toronto.edu/~kriz/", {"cifar-10-python.tar.gz": "c58f30108f718f92721af3b95e74349a"}
    ),
    "cifar10-binary": _remotes(
        "https://www.cs.toronto.edu/~kriz/", {"cifar-10-binary.tar.gz": "c32a1d4ab5d03f1284b67883e8d87530"}
    ),
}
"""Sets that can be fetched; either version of CIFAR-10 serves as ``cifar10``."""


def md5_of(path: Path) -> str:
    """The MD5 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def download(name: str, folder: Path | None = None) -> list[Path]:
    """Fetch a set into ``folder`` (None: where ``load`` looks for it) and return its files.

    A file that is there is kept if its checksum is right, else replaced.

    Raises:
        SpecError: no such set.
        OutputError: no network, a checksum that is wrong, or a folder that cannot be written; says what to do.
    """
    if name not in SETS:
        raise SpecError(f"set must be one of {', '.join(SETS)}, got {name!r}.")
    place = cache_folder() / name.removesuffix("-binary") if folder is None else Path(folder)
    # all files of a set appear together: a folder with half of them would be taken for the set
    ready = place.with_name(f"{place.name}.partial") if len(SETS[name]) > 1 and not place.exists() else place
    new = not ready.exists()
    try:
        ready.mkdir(parents=True, exist_ok=True)
        for remote in SETS[name]:
            _fetch(remote, ready / remote.name, place)
        if ready != place:
            os.replace(ready, place)
    except OSError as error:
        if isinstance(error, OutputError):
            raise
        raise OutputError(f"{place}: cannot be written: {error.strerror or error}; name another --folder.") from None
    finally:
        if new:
            with contextlib.suppress(OSError):  # it holds something, or became the set
                ready.rmdir()
    return [place / remote.name for remote in SETS[name]]


def _fetch(remote: Remote, path: Path, place: Path) -> None:
    """One file, whole or not at all; one that is there with the right checksum is kept."""
    if path.is_file() and md5_of(path) == remote.md5:
        return
    partial = path.with_name(path.name + ".partial")
    by_hand = f"or put {remote.name} (MD5 {remote.md5}) into {place} by hand"
    begun = partial.stat().st_size if partial.is_file() else 0
    try:
        _receive(remote.url, partial, begun)
        if begun and md5_of(partial) != remote.md5:  # what was there was of another file
            partial.unlink()
            _receive(remote.url, partial, 0)
    except urllib.error.HTTPError as error:
        error.close()
        raise OutputError(
            f"{remote.url}: the server answers {error.code} {error.reason}; try again later, {by_hand}."
        ) from None
    except (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError) as error:
        reason = getattr(error, "reason", None) or error
        raise OutputError(
            f"{remote.url}: no answer ({reason}); look at the network and try again, {by_hand}."
        ) from None
    if md5_of(partial) != remote.md5:
        found = md5_of(partial)
        partial.unlink()
        raise OutputError(
            f"{remote.url}: has MD5 {found}, not {remote.md5}, and was thrown away; try again, {by_hand}."
        )
    os.replace(partial, path)


def _receive(url: str, partial: Path, begun: int) -> None:
    """Append what follows the first ``begun`` bytes; start anew if the server sends everything."""
    request = urllib.request.Request(url, headers={"Range": f"bytes={begun}-"} if begun else {})
    try:
        answer = urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        error.close()
        if begun and error.code == 416:  # nothing follows: it is whole already, or of another file
            return
        raise
    with answer:
        continued = answer.status == 206 and (answer.headers.get("Content-Range") or "").startswith(f"bytes {begun}-")
        size = begun if continued else 0
        with partial.open("ab" if continued else "wb") as file:
            while block := answer.read(_BLOCK):
                size += len(block)
                if size > MAX_BYTES:
                    partial.unlink()
                    raise urllib.error.URLError("it sends more than 256 MiB")
                file.write(block)
        if answer.length:  # what came is kept, for the next time
            raise ConnectionError(f"the connection broke off, {answer.length} bytes early")
