"""Command-line flags: spec fields become flags by what their dataclasses say of them; numbers are read strictly."""

import argparse
import copy
import dataclasses
import re
from collections.abc import Mapping

import numpy as np

from collapse_jax.check import SPECS
from collapse_jax.errors import CollapseError, SpecError
from collapse_jax.results import Result

_FIELD = "spec_"  # in front of a spec field's name among the parsed arguments: `generations` could be a field too

NUMBERS = 10**8
"""The command holds at most this many numbers of one observable."""


class Parser(argparse.ArgumentParser):
    """A parser that reports a bad command line as an error of the library instead of printing its usage."""

    def __init__(self, *args, **kwargs):
        kwargs.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        super().__init__(*args, allow_abbrev=False, **kwargs)
        # argparse alone takes -1e-3 and -inf for options, and then misses the value of the flag before them
        self._negative_number_matcher = re.compile(r"^-(\d|\.\d|inf|nan)", re.IGNORECASE)

    def error(self, message: str):
        """Raise what argparse found wrong, with the place that explains it."""
        raise CollapseError(f"{message} ({self.prog} --help says more)")


def with_dashes(argv: list[str]) -> list[str]:
    """The same words with dashes for underscores in the names of flags.

    >>> with_dashes(["predict", "--noise_var=1", "a_b"])
    ['predict', '--noise-var=1', 'a_b']
    """
    return [re.sub("^--[^=]*", lambda flag: flag[0].replace("_", "-"), word) for word in argv]


def real(text: str) -> float:
    """A number, as an argparse type."""
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be a number, got {text!r}") from None


def whole(text: str) -> int:
    """A whole number, as an argparse type; 1e8 is one.

    >>> whole("1e8")
    100000000
    """
    try:
        return int(text)
    except ValueError:
        value = real(text)
    if not value.is_integer():
        raise argparse.ArgumentTypeError(f"must be a whole number, got {text!r}")
    return int(value)


def whole_or_none(text: str) -> int | None:
    """A whole number or the word none, as an argparse type."""
    return None if text.lower() == "none" else whole(text)


def at_least(name: str, value: int, least: int) -> int:
    """``value``, if it is as large as ``least``.

    Raises:
        SpecError: it is not.
    """
    if value < least:
        raise SpecError(f"{name} must be a whole number >= {least}, got {value}.")
    return value


def with_known_scalars(spec):
    """The same spec, its scalars NumPy numbers: JAX leaves arithmetic on them alone while it traces a formula.

    A result decides from the spec whether it covers it. Under ``jit`` even a ratio of two known arrays is unknown, and
    such a condition would pass unchecked; a ratio of NumPy numbers is known.
    """
    known = copy.copy(spec)
    for field in dataclasses.fields(spec):
        value = getattr(spec, field.name)
        if hasattr(value, "dtype") and value.ndim == 0:
            object.__setattr__(known, field.name, np.asarray(value))
    return known


def fits(spec, generations: int, copies: int = 1) -> None:
    """Refuse what no memory holds before anything is allocated: an allocation that fails may end the process.

    Raises:
        SpecError: generations times the spec's largest array times ``copies`` is more than ``NUMBERS``.
    """
    widest = max(np.size(getattr(spec, field.name)) for field in dataclasses.fields(spec))
    if (generations + 1) * widest * copies > NUMBERS:
        raise SpecError(
            f"not enough memory: generations x components x replicates (or samples) must be at most {NUMBERS:.1g}, "
            f"got {generations + 1:.3g} x {widest} x {copies:.3g}."
        )


def shown(value) -> str:
    """A spec value as it would be typed.

    >>> shown((10.0, 0.5)), shown(1.0), shown(None)
    ('10 0.5', '1', 'none')
    """
    if value is None:
        return "none"
    if isinstance(value, str):
        return value
    return " ".join(f"{number:g}" for number in np.ravel(np.asarray(value)).tolist())


def flag(name: str) -> str:
    """The flag of a spec field.

    >>> flag("noise_var")
    '--noise-var'
    """
    return "--" + name.replace("_", "-")


def add_spec_flags(parser: argparse.ArgumentParser, subjects: list[str], note: str) -> None:
    """Add a group of flags for each subject, made from the fields of its spec; ``note`` stands above them.

    A flag of several subjects is listed with the first one; what it means to another says the help of its results.
    """
    taken: set[str] = set()
    for subject in subjects:
        shared = [flag(field.name) for field in dataclasses.fields(SPECS[subject]) if field.name in taken]
        above = f" Flags shared with those above: {', '.join(shared)}; their meaning here: --help after an ID."
        group = parser.add_argument_group(f"the chain ({subject})", note + (above if shared else ""))
        for field in dataclasses.fields(SPECS[subject]):
            if field.name in taken:
                continue
            taken.add(field.name)
            kind, choices = field.metadata["type"], field.metadata["choices"]
            told = [field.metadata["help"], field.metadata["range"]]
            required = field.default is dataclasses.MISSING
            told.append("no default" if required else f"default {shown(field.default)}")
            options: dict = {"dest": _FIELD + field.name, "default": argparse.SUPPRESS}
            if choices:
                options |= {"choices": choices}
            elif kind is list:
                options |= {"type": real, "nargs": "*", "metavar": "X"}
            elif kind is int:
                options |= {"type": whole if field.default is not None else whole_or_none, "metavar": "N"}
            else:
                options |= {"type": real, "metavar": "X"}
            help = "; ".join(part for part in told if part)
            group.add_argument(flag(field.name), help=help.replace("%", "%%"), **options)


def spec_of(args: argparse.Namespace, subject: str, example: Mapping | None = None):
    """The spec that the flags describe; without any, the one of ``example``.

    Raises:
        SpecError: a bad value, or a field that has no default is missing.
    """
    cls = SPECS[subject]
    given = {name.removeprefix(_FIELD): value for name, value in vars(args).items() if name.startswith(_FIELD)}
    if not given and example is not None:
        return cls(**example)
    fields = {field.name: field for field in dataclasses.fields(cls)}
    for name in given:
        if name not in fields:
            raise SpecError(f"{flag(name)} does not belong to the chain of subject {subject}.")
    for name, field in fields.items():
        if field.default is dataclasses.MISSING and name not in given:
            raise SpecError(f"{name} is missing: pass {flag(name)} X [X ...] ({field.metadata['help']}).")
    return cls(**given)


def spec_dict(spec) -> dict:
    """A spec as plain numbers, lists and words."""
    plain = {field.name: getattr(spec, field.name) for field in dataclasses.fields(spec)}
    bare = (type(None), str)
    return {name: value if isinstance(value, bare) else np.asarray(value).tolist() for name, value in plain.items()}


def example_text(result: Result) -> str:
    """The flags that spell out a result's example.

    >>> from collapse_jax.results import get
    >>> example_text(get("DAE-5"))
    '--spectrum 10 5 2 1 0.5 --noise-var ... --resample-noise-var ...'
    """
    return " ".join(f"{flag(name)} {shown(value)}" for name, value in result.example.items())
