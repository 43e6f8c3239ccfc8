"""Text as characters: the documentation inside Python's own standard library, or a text file of the user.

Every Python installation carries its standard library with docstrings: about a million characters of English prose
about programs, under the PSF licence. They are read off the syntax trees of the source files (nothing is imported or
run). Versions of Python differ a little, so that a corpus knows its version and a hash of its characters.
"""

import ast
import hashlib
import os
import platform
import re
import sysconfig
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from collapse_jax.errors import SpecError

ALPHABET = "\n !\"#$%&'()*+,-./0123456789:;<=>?@[\\]^_`abcdefghijklmnopqrstuvwxyz{|}~"
"""Characters that are kept, in the order of their codes: printable ASCII in lower case, and the end of a line."""

MAX_BYTES = 2**28  # of a text file: more is a mistake, not a corpus for this project


@dataclass(frozen=True, eq=False)
class Corpus:
    """Text, document by document.

    Attributes:
        documents: int32 arrays of codes, places in ``ALPHABET``.
        name: what the corpus is called in tables and captions, with its version.
        sha256: of all codes, document after document.
    """

    documents: tuple[np.ndarray, ...]
    name: str
    sha256: str

    @property
    def size(self) -> int:
        """Number of characters."""
        return sum(len(document) for document in self.documents)

    def split(self, seed: int, share: float) -> tuple[np.ndarray, np.ndarray]:
        """All characters of a random ``share`` of the documents (by count of characters, at least that), and the rest.

        >>> kept, rest = standard_library().split(0, 0.25)
        >>> bool(len(kept) >= 0.25 * (len(kept) + len(rest)))
        True
        """
        order = np.random.default_rng(seed).permutation(len(self.documents))
        ends = np.cumsum([len(self.documents[i]) for i in order])
        count = int(np.searchsorted(ends, share * ends[-1])) + 1
        first, second = ([self.documents[i] for i in part] for part in (order[:count], order[count:]))
        empty = [np.empty(0, np.int32)]
        return np.concatenate(first or empty), np.concatenate(second or empty)


def encode(text: str) -> np.ndarray:
    """Codes of a text in lower case; what is not in ``ALPHABET`` is left out.

    >>> decode(encode("Große Maße!"))
    'groe mae!'
    """
    table = np.full(128, -1, np.int32)
    table[[ord(character) for character in ALPHABET]] = np.arange(len(ALPHABET))
    found = np.frombuffer(text.lower().encode("ascii", "ignore"), np.uint8)
    codes = table[found]
    return codes[codes >= 0]


def decode(codes) -> str:
    """The text of codes."""
    return "".join(ALPHABET[code] for code in np.asarray(codes).ravel())


def words(text: str) -> list[str]:
    """Runs of at least three letters.

    >>> words("to be, or not to be")
    ['not']
    """
    return re.findall(r"[a-z]{3,}", text.lower())


def _corpus(texts, name: str) -> Corpus:
    documents = tuple(codes for codes in map(encode, texts) if len(codes))
    digest = hashlib.sha256(b"".join(document.tobytes() for document in documents)).hexdigest()
    return Corpus(documents, name, digest)


def standard_library() -> Corpus:
    """Docstrings of the modules directly in Python's standard library, one document for each module.

    >>> corpus = standard_library()
    >>> corpus.size > 500_000, len(corpus.sha256)
    (True, 64)
    """
    folder = Path(sysconfig.get_path("stdlib"))
    texts = [_docstrings(file.read_text("utf-8", "replace")) for file in sorted(folder.glob("*.py"))]
    return _corpus(texts, f"docstrings of Python {platform.python_version()}'s standard library")


def _docstrings(source: str) -> str:
    try:
        tree = ast.parse(source)
    except SyntaxError:  # a file of another Python that somebody put there
        return ""
    found = [
        ast.get_docstring(node)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    return "\n\n".join(text for text in found if text)


def text_file(path: str | os.PathLike[str]) -> Corpus:
    """A text file in UTF-8; blank lines end a document.

    Raises:
        SpecError: no such file, too large, not text, or nothing in it; names the file.
    """
    path = Path(path)
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise SpecError(f"{path}: {size:,} bytes are more than {MAX_BYTES:,}: give a smaller text file.")
        text = path.read_bytes().decode("utf-8")
    except OSError as error:
        raise SpecError(f"{path}: cannot be read ({error.strerror}): give a text file.") from None
    except UnicodeDecodeError as error:
        raise SpecError(f"{path}: byte {error.start} is not UTF-8: give a text file in UTF-8.") from None
    corpus = _corpus(re.split(r"\n\s*\n", text), path.name)
    if not corpus.documents:
        raise SpecError(f"{path}: holds none of the characters that are kept: give a text file with letters.")
    return corpus
