"""What a check is, how checks are run, and the tools that decide signs without a tolerance.

A check is a function without arguments that raises ``CheckFailed`` when its statement does not hold and may return a
short text (a measured number). It is declared with ``@check(...)``, which says what is shown and by what means.
"""

import importlib
import pkgutil
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import flint
import sympy as sp

from collapse_jax.results import SUBJECTS

SYMBOLIC = "symbolic identity"
SIGN = "polynomial sign"
INTERVAL = "certified interval"
ATTACK = "randomised attack"
HOLD = "library = derivation"
HOW = (SYMBOLIC, SIGN, INTERVAL, ATTACK, HOLD)


class CheckFailed(Exception):
    """The statement under check does not hold (or could not be decided)."""


@dataclass(frozen=True)
class Check:
    """One row of the table.

    Attributes:
        result: id of the result in the register, such as ``DAE-6``.
        shows, how, scope: what is shown, by which means (one of ``HOW``), for which parameters.
        uses: classical theorem taken as given, empty if none.
        sole: for intervals and attacks: no other row supports this statement for all parameters.
        run: raises when the statement fails; may return what it found.
    """

    result: str
    shows: str
    how: str
    scope: str
    uses: str
    sole: bool
    run: Callable[[], str | None]

    @property
    def subject(self) -> str:
        """Name of the room the result belongs to."""
        return SUBJECTS[self.result.partition("-")[0]]


@dataclass(frozen=True)
class Outcome:
    """A check after its run."""

    check: Check
    ok: bool
    found: str
    seconds: float


CHECKS: list[Check] = []


def check(result: str, shows: str, how: str, scope: str, *, uses: str = "", sole: bool | None = None):
    """Declare the decorated function as a check. By default only attacks and intervals are the sole support."""
    if how not in HOW:
        raise ValueError(f"how must be one of {HOW}, got {how!r}")
    alone = how in (INTERVAL, ATTACK) if sole is None else sole

    def declare(run: Callable[[], str | None]) -> Callable[[], str | None]:
        CHECKS.append(Check(result, shows, how, scope, uses, alone, run))
        return run

    return declare


def run_check(item: Check) -> Outcome:
    """Run one check. An exception of any kind is a failure: a check that cannot finish has shown nothing."""
    start = time.perf_counter()
    try:
        found, ok = item.run() or "", True
    except CheckFailed as failure:
        found, ok = str(failure), False
    except Exception as error:
        found, ok = f"{type(error).__name__}: {error}", False
    return Outcome(item, ok, found, time.perf_counter() - start)


def subjects() -> list[str]:
    """Every room of this package that holds checks: its modules and folders except the machinery."""
    import proofs_check

    names = (module.name for module in pkgutil.iter_modules(proofs_check.__path__))
    return sorted(name for name in names if name not in ("__main__", "ground"))


def load(subject: str | None = None) -> list[Check]:
    """Import the checks of a subject (of every subject if None), ordered by the number of their result."""
    for name in subjects() if subject is None else [subject]:
        importlib.import_module(f"proofs_check.{name}")
    chosen = [item for item in CHECKS if subject is None or item.subject == subject]
    return sorted(chosen, key=lambda item: (item.subject, int(item.result.partition("-")[2]), item.how == HOLD))


def registered(subject: str | None = None) -> list[str]:
    """Base ids of the results in the library's register, each once."""
    from collapse_jax.results import all_results

    return list(dict.fromkeys(entry.base for entry in all_results(subject)))


def uncovered(ids: Iterable[str], checks: Iterable[Check]) -> list[str]:
    """Registered results that no derivation covers. Holding the library to itself is none."""
    covered = {item.result for item in checks if item.how != HOLD}
    return [id for id in ids if id not in covered]


def require(condition, message: str) -> None:
    """Raise ``CheckFailed`` unless the condition holds. An undecided symbolic condition raises: it has no truth."""
    if not condition:
        raise CheckFailed(message)


def require_zero(expression, message: str) -> None:
    """The expression (or every entry of a matrix) is identically zero, by bringing it to normal form."""
    entries = list(expression) if isinstance(expression, sp.MatrixBase) else [expression]
    for entry in entries:
        rest = sp.cancel(sp.together(sp.expand(entry)))
        if rest != 0:
            rest = sp.simplify(rest)
        require(rest == 0, f"{message}: left over {str(rest)[:120]}")


def require_nonnegative(expression, message: str, *, strict: bool = False) -> None:
    """A rational function of positive symbols is >= 0 (> 0 if strict), by its coefficients.

    Numerator and denominator, both multiplied out, may have no negative coefficient; this is sufficient, and nothing
    weaker is accepted. ``strict`` also refuses the zero polynomial. Every symbol must be declared positive.
    """
    symbols = sorted(expression.free_symbols, key=str)
    require(all(symbol.is_positive for symbol in symbols), f"{message}: a symbol of {symbols} is not positive")
    above, below = sp.fraction(sp.cancel(sp.together(expression)))
    # the dummy lets a plain number be a polynomial too
    top, bottom = (sp.Poly(part, *symbols, sp.Dummy()) for part in (above, below))
    if bottom.LC() < 0:
        top, bottom = -top, -bottom
    for part in (top, bottom):
        require(all(value >= 0 for value in part.coeffs()), f"{message}: a negative coefficient in {part.as_expr()}")
    require(not (strict and top.is_zero), f"{message}: identically zero")


Verdict = Literal["proved", "refuted", "undecided"]


@dataclass(frozen=True)
class Certificate:
    """Answer of ``certify_positive``: the verdict, the boxes it took, and the box that refuted or stayed undecided."""

    verdict: Verdict
    boxes: int
    where: tuple[tuple[Fraction, Fraction], ...] = ()


def ball(low: Fraction, high: Fraction) -> flint.arb:
    """Ball that contains the whole interval."""
    return exact(low).union(exact(high))


def exact(value: Fraction) -> flint.arb:
    """Ball around a rational, as narrow as the working precision allows."""
    return flint.arb(flint.fmpq(value.numerator, value.denominator))


def certify_positive(function: Callable[..., flint.arb], box: Sequence[tuple], max_boxes: int = 20_000) -> Certificate:
    """Decide ``function > 0`` on a closed box in ball arithmetic by adaptive bisection.

    A sub-box on which the enclosure is positive is done. The statement is refuted where an enclosure of a sub-box or
    of its midpoint is <= 0. Otherwise the side that is longest relative to the whole box is halved. When the budget
    is spent the answer is ``undecided``: nothing is claimed then.
    """
    whole = tuple((Fraction(low), Fraction(high)) for low, high in box)
    pending, seen = [whole], 0
    while pending:
        current = pending.pop()
        if seen >= max_boxes:
            return Certificate("undecided", seen, current)
        seen += 1
        value = function(*(ball(low, high) for low, high in current))
        if value > 0:
            continue
        middle = function(*(exact((low + high) / 2) for low, high in current))
        if value <= 0 or middle <= 0:
            return Certificate("refuted", seen, current)
        widths = [
            (high - low) / (end - start) if end > start else Fraction(0)
            for (low, high), (start, end) in zip(current, whole, strict=True)
        ]
        axis = widths.index(max(widths))
        low, high = current[axis]
        for half in ((low, (low + high) / 2), ((low + high) / 2, high)):
            pending.append((*current[:axis], half, *current[axis + 1 :]))
    return Certificate("proved", seen)


def require_positive_on(
    function: Callable[..., flint.arb], box: Sequence[tuple], message: str, max_boxes=20_000
) -> str:
    """``function > 0`` on the box is certified; refuted and undecided both fail."""
    answer = certify_positive(function, box, max_boxes)
    where = ", ".join(f"[{float(low):.6g}, {float(high):.6g}]" for low, high in answer.where)
    require(answer.verdict == "proved", f"{message}: {answer.verdict} after {answer.boxes} boxes at {where}")
    return f"{answer.boxes} boxes"
