"""Text corpora: what is read, what is kept, and that broken files are refused by name."""

import ast
import hashlib
import textwrap
from pathlib import Path

import numpy as np
import pytest

from collapse_jax.data import text
from collapse_jax.errors import SpecError


@pytest.fixture(scope="module")
def library():
    return text.standard_library()


def test_library_is_documentation(library):
    shown = text.decode(np.concatenate(library.documents))
    assert text.decode(text.encode(ast.get_docstring(ast.parse(Path(textwrap.__file__).read_text())))) in shown
    assert "import re" not in shown.splitlines()  # sources are not documentation
    assert shown.count(" the ") > 2000
    assert set(shown) <= set(text.ALPHABET)
    assert "standard library" in library.name


def test_hash_is_that_of_the_codes(library):
    joined = np.concatenate(library.documents)
    assert joined.dtype == np.int32
    assert library.sha256 == hashlib.sha256(joined.tobytes()).hexdigest()
    assert library.size == len(joined)


def test_split_keeps_documents_whole(library):
    first, rest = library.split(3, 0.3)
    assert len(first) + len(rest) == library.size
    assert 0.3 <= len(first) / library.size < 0.3 + max(map(len, library.documents)) / library.size
    again = library.split(3, 0.3)
    np.testing.assert_array_equal(first, again[0])
    assert not np.array_equal(first[:100], library.split(4, 0.3)[0][:100])


def test_codes_come_back():
    written = "Roses are red,\n\tviolets ~ blue"
    assert text.decode(text.encode(written)) == "roses are red,\nviolets ~ blue"
    assert text.encode("").shape == (0,)


def test_documents_of_a_file_end_at_blank_lines(tmp_path):
    (tmp_path / "poem.txt").write_text("one\ntwo\n\n  \nthree\n")
    corpus = text.text_file(tmp_path / "poem.txt")
    assert [text.decode(document) for document in corpus.documents] == ["one\ntwo", "three\n"]
    assert corpus.name == "poem.txt"


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "cannot be read"), (b"\xff\xfe\x00", "byte 0 is not UTF-8"), (b"", "holds none of the characters")],
)
def test_what_is_no_text_is_refused_by_name(tmp_path, content, message):
    path = tmp_path / "text.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SpecError, match=message) as refused:
        text.text_file(path)
    assert "text.txt" in str(refused.value)


def test_a_file_that_is_too_large_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(text, "MAX_BYTES", 3)
    (tmp_path / "text.txt").write_text("long")
    with pytest.raises(SpecError, match="4 bytes are more than 3"):
        text.text_file(tmp_path / "text.txt")
