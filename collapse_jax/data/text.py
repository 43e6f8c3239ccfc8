"""Text to start a chain from: what the Python standard library says of itself, or any text file, as numbers.

The docstrings of the standard library are English prose that every installation has. They differ a little between
versions of Python, so a text carries its SHA-256: two runs with one hash read the same characters. Nothing here reaches
for the network.
"""

import ast
import hashlib
import os
import sysconfig
from dataclasses import dataclass
from pathlib import Path

import numpy as np

ALPHABET = " abcdefghijklmnopqrstuvwxyz.,'-()"
"""Characters kept; letters in lower case, everything else and every run of blanks becomes one blank."""


@dataclass(frozen=True, eq=False)
class Text:
    """A text as numbers.

    Attributes:
        codes: uint8 ``[n]``, the place of each character in ``ALPHABET``.
        name: what the text is called in tables and captions.
        sha256: of the codes, in hexadecimal.
    """

    codes: np.ndarray
    name: str
    sha256: str

    def __len__(self) -> int:
        return len(self.codes)


def encode(text: str) -> np.ndarray:
    """Codes of a text: lower case, other characters as blanks, runs of blanks as one.

    >>> encode("A b!  C").tolist()
    [1, 0, 2, 0, 3]
    """
    places = {letter: place for place, letter in enumerate(ALPHABET)}
    kept = "".join(letter if letter in places else " " for letter in text.lower())
    return np.array([places[letter] for letter in " ".join(kept.split())], np.uint8)


def decode(codes) -> str:
    """The text of codes.

    >>> decode([1, 0, 2])
    'a b'
    """
    return "".join(ALPHABET[int(code)] for code in codes)


def from_string(text: str, name: str) -> Text:
    """A ``Text`` of any string.

    Raises:
        ValueError: fewer than 100 characters are left; says how many.
    """
    codes = encode(text)
    if len(codes) < 100:
        raise ValueError(f"{name}: {len(codes)} characters are left of the text; at least 100 are needed")
    return Text(codes, name, hashlib.sha256(codes.tobytes()).hexdigest())


def from_file(path: str | os.PathLike[str]) -> Text:
    """A ``Text`` of a file in UTF-8; what is no UTF-8 becomes a blank.

    Raises:
        OSError: the file cannot be read. ValueError: fewer than 100 characters are left.
    """
    return from_string(Path(path).read_text(encoding="utf-8", errors="replace"), Path(path).name)


def _docstrings(source: str) -> list[str]:
    """All docstrings of a module, in the order of the source."""
    holders = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    found = [node for node in ast.walk(ast.parse(source)) if isinstance(node, holders)]
    found.sort(key=lambda node: getattr(node, "lineno", 0))
    return [text for text in map(ast.get_docstring, found) if text]


def standard_library(characters: int | None = None) -> Text:
    """Docstrings of the modules of the standard library, in alphabetical order of the files.

    Args:
        characters: stop when so many are read; None reads all (about half a million).

    Raises:
        OSError: the sources of the standard library are not installed.

    >>> text = standard_library(2000)
    >>> len(text), text.codes.dtype, decode(text.codes[:6]).isascii()
    (2000, dtype('uint8'), True)
    """
    folder = Path(sysconfig.get_paths()["stdlib"])
    files = sorted(folder.glob("*.py"))
    if not files:
        raise FileNotFoundError(f"{folder} holds no Python sources: install those of the standard library")
    read, length = [], 0
    for file in files:
        read.append(encode(" ".join(_docstrings(file.read_text(encoding="utf-8")))))
        length += len(read[-1])
        if characters is not None and length >= characters:
            break
    codes = np.concatenate(read)[:characters]
    return Text(codes, "docstrings of the Python standard library", hashlib.sha256(codes.tobytes()).hexdigest())
