"""What every experiment shares: flags, an estimate of the time, progress, resume, the verdict table, the figures.

An experiment is a list of stages. Each is a function ``(settings, key) -> Stage`` whose key depends on the seed and
its own name only, so that a run continued after an interruption ends in the identical result.

Networks are trained and sampled on all devices there are. On several hosts the same command is started once on each,
with ``distributed.VARIABLES`` in the environment and a results folder that all of them see; process 0 writes, prints.
"""

import argparse
import hashlib
import math
import os
import sys
import time
import zlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
from rich.console import Console
from rich.table import Table

from collapse_jax import distributed
from collapse_jax.errors import CollapseError, OutputError, SpecError
from experiments.storage import Partial, environment, read_json, require_writable

ROW_RATE = 1e-3
"""Family-wise error rate of a row: tables have up to a hundred of them, and a run must not fail by chance."""


@dataclass(frozen=True)
class Stage:
    """What a stage gives: arrays for the figures, rows of the verdict table, remarks to print."""

    arrays: Mapping[str, np.ndarray]
    rows: list[dict] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


class Settings(Protocol):
    """Any frozen dataclass that says which stages run and how long each is expected to take on two cores."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def stages(self) -> dict[str, float]: ...


@dataclass(frozen=True)
class Desk:
    """What a stage that runs long is given besides its settings and its key.

    Attributes:
        folder: a place for checkpoints, emptied when the run is complete; the logs ``metrics.jsonl`` in it are kept.
        say: ``(line, done=None)`` shows a line of progress while the stage runs; if it says which share of the stage
            is done, the time left is said too.
    """

    folder: Path
    say: Callable[..., None]

    def chain(self, title: str, place: int, chains: int, rounds: int) -> Callable[..., None]:
        """``say(line, round=None)`` of chain ``place`` (from 0) of so many, of so many rounds each."""

        def say(line: str, number: int | None = None) -> None:
            self.say(f"{title}: {line}", None if number is None else (place + number / rounds) / chains)

        return say


@dataclass(frozen=True)
class Experiment:
    """A claim and how to put it to the test.

    Attributes:
        name: of the module and of the default results folder.
        claim: one sentence for the help text.
        presets: settings by preset name; the first is the default.
        stages: stage functions by name.
        draw: ``(folder) -> list of figure paths``; reads the saved results only.
        long: whether stages train networks: they are called ``(settings, key, desk)`` and keep checkpoints.

    Settings with a field ``data`` get a flag ``--data``.
    """

    name: str
    claim: str
    presets: Mapping[str, Settings]
    stages: Mapping[str, Callable[..., Stage]]
    draw: Callable[[Path], list[Path]]
    long: bool = False


def row(chain: str, verdict, *, samples: int | str, note: str = "") -> dict:
    """A row of the verdict table from a ``Verdict``."""
    return {"chain": chain, "samples": samples, "note": note, **verdict.as_dict()}


def observation(
    result: str, observable: str, chain: str, *, samples: int | str, deviation: float, error: float
) -> dict:
    """A row that reports how far a population law carries where it is not claimed to hold; not a verdict."""
    return {
        "chain": chain,
        "samples": samples,
        "note": "",
        "result": result,
        "observable": observable,
        "status": "observed",
        "deviation": deviation if math.isfinite(deviation) else None,
        "standard_error": error if math.isfinite(error) else None,
    }


def _parse(experiment: Experiment, argv) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog=f"python -m experiments.{experiment.name}",
        description=experiment.claim,
        epilog="An interrupted run is continued by the same command, to the identical result.",
    )
    default = next(iter(experiment.presets))
    costs = ", ".join(
        f"{name}: about {_clock(sum(found.stages.values()))} on 2 cores"
        if _measured(experiment, name)
        else f"{name}: for {LARGE[name]}, its time is said as it runs"
        for name, found in experiment.presets.items()
    )
    parser.add_argument("--preset", choices=list(experiment.presets), default=default, help=costs)
    parser.add_argument("--seed", type=int, default=0, help="seed of every random number, >= 0 (default 0)")
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("results") / experiment.name,
        help=f"results folder, replaced when the run is complete (default results/{experiment.name})",
    )
    if hasattr(experiment.presets[default], "data"):
        parser.add_argument(
            "--data", help="images to use: digits, fashion-mnist, cifar10, or a path (default: what the preset says)"
        )
    arguments = parser.parse_args(argv)
    if arguments.seed < 0:
        parser.error(f"--seed must be >= 0, got {arguments.seed}")
    return arguments


LARGE = {"gpu": "one GPU", "paper": "several GPUs or hosts"}
"""What the large presets of experiments that train networks are made for."""


def _measured(experiment: Experiment, preset: str) -> bool:
    """Whether the times of a preset were measured; those of ``LARGE`` only say how stages compare."""
    return not (experiment.long and preset in LARGE)


def _fingerprint(data: str) -> str:
    """SHA-256 of the images of a run; those that are not there, or broken, are refused before any work is done."""
    from collapse_jax.data import images

    try:
        found = images.load(data)
    except (FileNotFoundError, ValueError) as error:
        raise SpecError(f"--data: {error}") from None
    return hashlib.sha256(np.ascontiguousarray(found.images).tobytes()).hexdigest()


def _clock(seconds: float) -> str:
    return (
        f"{seconds:.0f} s"
        if seconds < 100
        else f"{seconds / 60:.0f} min"
        if seconds < 5400
        else f"{seconds / 3600:.1f} h"
    )


def _run(experiment: Experiment, arguments, console: Console) -> Path:
    import jax

    jax.config.update("jax_enable_x64", True)
    flags = os.environ.get("XLA_FLAGS", "")
    if "xla_gpu_deterministic_ops" not in flags:  # an interrupted run ends in the identical result on GPUs too
        os.environ["XLA_FLAGS"] = f"{flags} --xla_gpu_deterministic_ops=true".strip()
    distributed.start()
    console.quiet = not distributed.is_writer()
    settings = experiment.presets[arguments.preset]
    if getattr(arguments, "data", None):
        settings = replace(settings, data=arguments.data)
    described = {"experiment": experiment.name, "preset": arguments.preset, "seed": arguments.seed, **asdict(settings)}
    if "data" in described:
        described["data_sha256"] = _fingerprint(described["data"])
    out: Path = arguments.out
    require_writable(out)
    made = Partial(out, described) if distributed.is_writer() else None
    distributed.wait("the folder is made")
    partial = made or Partial(out, described)
    started, root = time.time(), jax.random.key(arguments.seed)
    total = sum(settings.stages.values())
    told = f"about {_clock(total)}" + ("" if _measured(experiment, arguments.preset) else " (a guess: see below)")
    console.print(f"[bold]{experiment.name}[/bold]  preset {arguments.preset}, seed {arguments.seed}, {told}")
    if partial.resumed:
        console.print(f"continuing the run found in {partial.folder}")
    arrays, rows, spent, expected = {}, [], 0.0, 0.0
    for place, (name, cost) in enumerate(settings.stages.items(), 1):
        stage_started = time.time()
        done = partial.load(name)
        if done is None:
            title = f"[{place}/{len(settings.stages)}] {name}"
            with console.status(f"{title} ...") as status:
                # the key hangs on the name, not on the place: a stage gives the same numbers in every preset order
                given = [settings, jax.random.fold_in(root, zlib.crc32(name.encode()))]
                if experiment.long:
                    given.append(Desk(partial.folder / name, _progress(console, status, title)))
                stage = experiment.stages[name](*given)
            done = dict(stage.arrays), {"rows": stage.rows, "remarks": stage.remarks}
            if distributed.is_writer():
                partial.save(name, *done)
            spent, expected = spent + time.time() - stage_started, expected + cost
            took = f"{time.time() - stage_started:5.1f} s"
        else:
            took = "  kept "
            total -= cost
        speed = spent / expected if expected else 1.0
        left = max(0.0, (total - expected) * speed)
        console.print(
            f"  [{place}/{len(settings.stages)}] {name:<12} {took}   about {_clock(left)} left", highlight=False
        )
        for remark in done[1]["remarks"]:
            console.print(f"        {remark}", highlight=False)
        arrays |= {f"{name}/{key}": value for key, value in done[0].items()}
        rows += [{"stage": name, **entry} for entry in done[1]["rows"]]
    if not distributed.is_writer():
        return out
    with console.status("drawing"):
        files = {
            "settings.json": described,
            "verdicts.json": rows,
            "environment.json": environment(started, time.time() - started),
        }
        partial.finish(out, files, arrays, experiment.draw)
    return out


def _progress(console: Console, status, title: str) -> Callable[..., None]:
    """Lines of progress: in place on a terminal, one after the other elsewhere."""
    begun: list[tuple[float, float]] = []

    def say(line: str, done: float | None = None) -> None:
        if done is not None:
            # from the first report on: what was done before it may have been done by an earlier run
            begun.append((time.time(), done))
            (started, at), (now, _) = begun[0], begun[-1]
            if done > at:
                line += f" (stage: about {_clock((now - started) * (1 - done) / (done - at))} left)"
        if console.is_terminal:
            status.update(f"{title}: {line}")
        else:
            console.print(f"  {title}: {line}", highlight=False, markup=False)

    return say


def verdict_table(rows: list[dict], console: Console) -> None:
    """Print the verdicts: what was claimed, what was found, what would have been noticed."""
    table = Table(title="verdicts", title_justify="left", caption_justify="left", show_lines=False, pad_edge=False)
    for name in ("result", "observable", "chain", "n", "verdict", "deviation", "would catch", "tightness"):
        table.add_column(name, overflow="fold")
    colour = {"agrees": "green", "violates": "red", "inconclusive": "yellow", "observed": "cyan"}
    for entry in rows:
        error = entry.get("standard_error")
        deviation = _percent(entry.get("deviation")) + (
            f" ± {_percent(error, sign=False)}" if error is not None else ""
        )
        table.add_row(
            entry["result"],
            entry["observable"],
            entry["chain"],
            f"{entry['samples']:.0e}".replace("e+0", "e") if isinstance(entry["samples"], int) else entry["samples"],
            f"[{colour[entry['status']]}]{entry['status']}[/]",
            deviation,
            _percent(entry.get("detectable"), sign=False),
            "" if entry.get("tightness") is None else f"{entry['tightness']:.3f}",
        )
    rates = sorted({entry["error_rate"] for entry in rows if "error_rate" in entry})
    table.caption = (
        f"family-wise error rate {', '.join(map(str, rates))} per row; 'would catch': smallest relative deviation "
        "found with 90 % power; "
        if rates
        else ""
    ) + "'observed' rows say how far the population law carries at that n, they are no verdicts"
    console.print(table)


def _percent(value, sign: bool = True) -> str:
    if value is None:
        return "-"
    shown = 100 * value
    text = f"{shown:+.2g}" if sign else f"{shown:.2g}"
    return text + " %"


def main(experiment: Experiment, argv=None) -> int:
    """Run an experiment from the command line. Returns the exit code: 0, 1 if a verdict is violated, 2 on bad input."""
    arguments = _parse(experiment, argv)
    console = Console(soft_wrap=False, width=None if sys.stdout.isatty() else 140)
    try:
        out = _run(experiment, arguments, console)
    except KeyboardInterrupt:
        print("\ninterrupted: the finished stages are kept; the same command continues.", file=sys.stderr)
        return 130
    except CollapseError as error:
        print(f"{experiment.name}: {error}", file=sys.stderr)
        return 2
    if not distributed.is_writer():
        return 0
    rows = read_json(out / "verdicts.json")
    verdict_table(rows, console)
    for figure in sorted(out.glob("*.png")):
        console.print(f"figure   {figure}", highlight=False, soft_wrap=True)
    console.print(f"results  {out}  (settings, environment, arrays, verdicts)", highlight=False, soft_wrap=True)
    return 1 if any(entry["status"] == "violates" for entry in rows) else 0


__all__ = ["ROW_RATE", "Desk", "Experiment", "OutputError", "Stage", "main", "observation", "row", "verdict_table"]
