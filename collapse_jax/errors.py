"""What goes wrong, by kind: every error of the library is a ``CollapseError`` and says in one line what to do.

All but ``UnknownResultError`` and ``OutputError`` are about a value that the caller chose, so they are
``ValueError`` too and existing ``except ValueError`` clauses keep working.
"""


class CollapseError(Exception):
    """Base of every error that the project raises on purpose."""


class SpecError(CollapseError, ValueError):
    """A spec (or an argument next to it) has a bad value: the message names the field, the value and the cure."""


class RegimeError(SpecError):
    """A result was asked about a chain that it does not cover: the message names the result that does."""


class MeasurementError(CollapseError, ValueError):
    """A measurement cannot be compared: wrong shape, too few replicates, or not a number."""


class UnknownResultError(CollapseError, LookupError):
    """No result of that id is registered."""


class OutputError(CollapseError, OSError):
    """Results cannot be written to, or read from, the folder given."""


class MissingExtraError(CollapseError, ImportError):
    """A package that only some functions need is not installed: the message says how to get it."""
