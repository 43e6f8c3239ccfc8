"""``python -m proofs_check``: every check in one table, and what remains unproved.

Exits non-zero if a check fails or a registered result has no derivation here.
"""

import argparse
import json
import sys
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from proofs_check import ground
from proofs_check.ground import ATTACK, HOLD, INTERVAL, SIGN, SYMBOLIC, Check, Outcome


def judge(checks: Sequence[Check], ids: Sequence[str]) -> tuple[list[Outcome], list[str]]:
    """Outcomes of the checks, and the results among ``ids`` that none of them covers."""
    return [ground.run_check(item) for item in checks], ground.uncovered(ids, checks)


def exit_code(outcomes: Sequence[Outcome], missing: Sequence[str]) -> int:
    """0 only if every check holds and no result is left without one."""
    return int(bool(missing) or not outcomes or not all(outcome.ok for outcome in outcomes))


def table(outcomes: Sequence[Outcome]) -> Table:
    """One row per check."""
    rows = Table(show_lines=False, pad_edge=False)
    for name in ("id", "what is shown", "how", "scope", "found", "status", "s"):
        rows.add_column(name, overflow="fold", no_wrap=name in ("id", "status", "s"))
    for outcome in outcomes:
        item, status = outcome.check, "[green]ok[/]" if outcome.ok else "[bold red]FAILED[/]"
        rows.add_row(item.result, item.shows, item.how, item.scope, outcome.found, status, f"{outcome.seconds:.2f}")
    return rows


def summary(outcomes: Sequence[Outcome], missing: Sequence[str]) -> list[str]:
    """What is proved for all parameters, what only on a box, what only attacked, and what is taken as given."""
    derived = [outcome for outcome in outcomes if outcome.check.how != HOLD]
    results = list(dict.fromkeys(outcome.check.result for outcome in derived))
    weak = [o.check for o in derived if o.ok and o.check.sole and o.check.how in (INTERVAL, ATTACK)]
    proved = {o.check.result for o in derived if o.ok and o.check.how in (SYMBOLIC, SIGN)}
    whole = [id for id in results if id in proved and all(item.result != id for item in weak)]
    failed = [outcome.check for outcome in outcomes if not outcome.ok]
    lines = [f"Proved for all parameters, every part: {', '.join(whole) or 'none'}."]
    for how, title in ((INTERVAL, "Certified only on the stated box"), (ATTACK, "Only attacked, not proved")):
        lines += [f"{title}: {item.result}, {item.shows} ({item.scope})." for item in weak if item.how == how]
    lines += [f"Taken as given: {o.check.uses} ({o.check.result})." for o in derived if o.check.uses]
    lines += [f"FAILED: {item.result}, {item.shows}." for item in failed]
    lines += [f"No check: {id}." for id in missing]
    return lines


def as_json(outcomes: Sequence[Outcome], missing: Sequence[str]) -> str:
    """The table for machines."""
    fields = ("result", "shows", "how", "scope", "uses", "sole")
    rows = [
        {name: getattr(o.check, name) for name in fields} | {"found": o.found, "ok": o.ok, "seconds": o.seconds}
        for o in outcomes
    ]
    return json.dumps({"checks": rows, "uncovered": list(missing)}, indent=1)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the checks of one subject or of all, print them, return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m proofs_check", description=__doc__)
    parser.add_argument("--subject", choices=ground.subjects(), help="only this subject")
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")
    options = parser.parse_args(argv)
    outcomes, missing = judge(ground.load(options.subject), ground.registered(options.subject))
    if options.json:
        print(as_json(outcomes, missing))
    else:
        # wide enough to read in a log file; a real terminal keeps its own width
        console = Console(width=None if sys.stdout.isatty() else 200, highlight=False)
        console.print(table(outcomes))
        for line in summary(outcomes, missing):
            console.print(line, markup=False)
        console.print(f"{len(outcomes)} checks in {sum(outcome.seconds for outcome in outcomes):.0f} s.")
    return exit_code(outcomes, missing)


if __name__ == "__main__":
    sys.exit(main())
