"""What the command prints: tables for people, JSON for programs. rich is imported only when a table is drawn."""

import json
import os
import sys

import numpy as np

from collapse_jax.compare import Verdict
from collapse_jax.results import Result
from collapse_jax.trajectory import Prediction

ROWS = 30
"""A table shows at most this many generations; JSON has them all."""

COMPONENTS = 8
"""A table shows at most this many numbers of a generation."""


def plain(value):
    """Nested lists for JSON: what is not a finite number becomes None.

    >>> plain(np.array([[1.0, np.nan], [np.inf, 2.0]]))
    [[1.0, None], [None, 2.0]]
    """
    if isinstance(value, dict):
        return {name: plain(entry) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    if hasattr(value, "dtype"):
        return plain(np.asarray(value).tolist())
    return None if isinstance(value, float) and not np.isfinite(value) else value


def as_json(value) -> str:
    """One line of JSON."""
    return json.dumps(plain(value), allow_nan=False, ensure_ascii=False) + "\n"


def number(value: float) -> str:
    """Six significant digits.

    >>> number(1 / 3)
    '0.333333'
    """
    return f"{value:.6g}"


def percent(value: float) -> str:
    """A relative deviation in percent, two significant digits.

    >>> percent(0.00123), percent(0.0)
    ('0.12 %', '0 %')
    """
    return f"{100 * value:.2g} %"


def table(title: str, header: list[str], rows: list[list[str]], notes: list[str], *, align: str = "right") -> str:
    """A titled table with notes below it, as wide as the terminal (160 characters where there is none)."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    known = sys.stdout.isatty() or "COLUMNS" in os.environ
    # markup is off: statements are full of square brackets
    console = Console(width=None if known else 160, markup=False, highlight=False, emoji=False)
    drawn = Table(box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False)
    for position, name in enumerate(header):
        drawn.add_column(name, justify="left" if align == "left" or position == 0 else "right", overflow="fold")
    for row in rows:
        drawn.add_row(*row)
    with console.capture() as captured:
        if title:
            console.print(title, style="bold")
        console.print(drawn)
        for note in notes:
            console.print(note)
    return captured.get()


def results_table(results: list[Result]) -> str:
    """The register as a table."""
    header = ["id", "statement", "kind", "tag", "citation", "how it is checked"]
    rows = [[r.id, r.statement, r.kind, r.tag, r.citation, r.check] for r in results]
    return table("", header, rows, [f"{len(rows)} results; collapse cite ID spells the citation out."], align="left")


def curve_table(title: str, columns: dict[str, np.ndarray], *, curve: bool, notes: list[str], most: int) -> str:
    """Columns of cells side by side, thinned to what fits.

    Args:
        columns: by name, cells (text) of shape ``[rows, ...]`` or ``[]``; all of one shape.
        curve: whether the rows are generations.
        most: largest number of components to show.
    """
    shape = next(iter(columns.values())).shape
    rows = shape[0] if shape else 1
    flat = {name: cells.reshape(rows, -1) for name, cells in columns.items()}
    components = next(iter(flat.values())).shape[1] if rows else 0
    keep = np.unique(np.linspace(0, rows - 1, min(rows, ROWS)).round().astype(int))
    header, kept = [], []
    for component in range(min(components, most)):
        header += [f"{name} {component + 1}" if components > 1 else name for name in flat]
        kept += [cells[:, component] for cells in flat.values()]
    label = "generation" if curve else "component" if rows > 1 else ""
    body = [[str(row if curve else row + 1) if label else "", *(cells[row] for cells in kept)] for row in keep]
    notes = list(notes)
    if len(keep) < rows:
        notes.append(f"{len(keep)} of {rows} {label}s are shown; --json has all.")
    if components > most:
        notes.append(f"{most} of {components} components are shown; --json has all.")
    return table(title, [label, *header], body, notes)


def texts(values) -> np.ndarray:
    """An array of numbers as an array of text."""
    return np.vectorize(number, otypes=[object])(np.asarray(values, float))


def margin_note(prediction: Prediction) -> list[str]:
    """What an asymptotic law says of its own error, in one line; nothing for exact statements and bounds."""
    margin = np.asarray(prediction.margin, float)
    if prediction.kind != "asymptotic" or not margin.size:
        return []
    low, high = number(margin.min()), number(margin.max())
    return [f"stated error of this asymptotic law: {low if low == high else f'{low} to {high}'}"]


def prediction_table(result: Result, prediction: Prediction) -> str:
    """A prediction: generations down, components across."""
    title = f"{result.id} ({result.kind}, {result.tag}): {result.statement}"
    return curve_table(
        title,
        {result.observable: texts(prediction.values)},
        curve=result.curve,
        notes=margin_note(prediction),
        most=COMPONENTS,
    )


def verdict_line(verdict: Verdict, *, curve: bool) -> str:
    """A verdict in words, with the smallest deviation it could have caught."""
    parts = [f"{verdict.result} {verdict.status}"]
    if verdict.tightness is None or verdict.status == "violates":  # how loose a bound is, is no deviation
        place = f"generation {verdict.generation}" if curve else f"component {verdict.generation + 1}"
        parts[0] += f": largest deviation {percent(verdict.deviation)} at {place}"
    if np.isfinite(verdict.detectable):
        parts.append(
            f"a deviation of {percent(verdict.detectable)} of the whole curve would have been caught "
            f"(power 90 %, false alarms {percent(verdict.error_rate)}, {verdict.replicates} replicates)"
        )
    else:
        parts.append("no deviation could have been caught: no point was above the rounding floor")
    if verdict.status == "inconclusive":
        parts.append(f"to see {percent(verdict.relevant)} take more replicates or samples")
    if verdict.tightness is not None:
        parts.append(f"median of measured over bound {number(verdict.tightness)} (1 is tight)")
    if verdict.unresolved:
        total = verdict.points + verdict.unresolved
        parts.append(f"{verdict.unresolved} of {total} points lie below the rounding floor and were not tested")
    return "; ".join(parts) + "."
