"""Text as numbers: encoding, the corpus that every installation has, files, refusals."""

import hashlib

import numpy as np
import pytest

from collapse_jax.data import text


def test_codes_and_back():
    written = "Hello,  World! (it's 1 test-case)\n"
    codes = text.encode(written)
    assert codes.dtype == np.uint8
    assert text.decode(codes) == "hello, world (it's test-case)"
    np.testing.assert_array_equal(text.encode(text.decode(codes)), codes)
    assert len(set(text.ALPHABET)) == len(text.ALPHABET) == 33


def test_standard_library_is_prose_with_a_hash_and_cut_where_asked():
    short, longer = text.standard_library(5000), text.standard_library(20_000)
    assert (len(short), len(longer)) == (5000, 20_000)
    np.testing.assert_array_equal(short.codes, longer.codes[:5000])
    assert short.sha256 == hashlib.sha256(short.codes.tobytes()).hexdigest() != longer.sha256
    letters = np.bincount(longer.codes, minlength=len(text.ALPHABET)) / len(longer)
    assert 0.1 < letters[0] < 0.25  # blanks
    assert letters[text.ALPHABET.index("e")] == letters[1:].max()
    assert longer.codes.max() < len(text.ALPHABET)


def test_docstrings_come_in_the_order_of_the_source():
    source = (
        '"""Top."""\ndef f():\n    """First."""\nclass C:\n    """Second."""\n    def g(self):\n        """Third."""\n'
    )
    assert text._docstrings(source) == ["Top.", "First.", "Second.", "Third."]


def test_files_and_refusals(tmp_path):
    file = tmp_path / "book.txt"
    file.write_bytes(b"A line of text. \xff\n" * 20)
    read = text.from_file(file)
    assert read.name == "book.txt"
    assert text.decode(read.codes[:16]) == "a line of text. "
    file.write_text("short")
    with pytest.raises(ValueError, match=r"^book.txt: 5 characters .* at least 100"):
        text.from_file(file)
    with pytest.raises(OSError, match="missing"):
        text.from_file(tmp_path / "missing.txt")
