"""The ``collapse`` command: results, predict, simulate, compare, cite, download, export.

It computes in float64, answers on stdout (a table, or JSON with ``--json``), and says in one line on stderr what is
wrong with a command. Exit codes: 0 done (for ``compare``: agrees), 1 violates, 2 bad command or value, 3 inconclusive.
"""

import inspect
import os
import sys
import textwrap

import jax
import numpy as np

import collapse_jax
from collapse_jax import cli_data
from collapse_jax import cli_flags as flags
from collapse_jax import cli_tables as tables
from collapse_jax.check import REPLICATES, SPECS, check, measure
from collapse_jax.compare import band
from collapse_jax.errors import CollapseError, MeasurementError, UnknownResultError
from collapse_jax.results import CITATIONS, Result, all_results, cite, get

EXIT_CODES = {"agrees": 0, "violates": 1, "inconclusive": 3}
BAD_INPUT = 2
INTERRUPTED = 130
BROKEN_PIPE = 141

GENERATIONS = 15
"""Default length of ``simulate``."""

SAMPLES = 10_000
"""Default points per generation of ``simulate``."""

EPILOG = """\
Flags may be written with dashes or underscores. Whole numbers may be written like 1e8.
Exit codes: 0 done (compare: agrees), 1 compare: violates, 2 bad command or value, 3 compare: inconclusive."""

NULLS = "JSON has no NaN and no infinity: both are null."


def _named(argv: list[str]) -> tuple[Result | None, list[str]]:
    """The result that a command line is about, and the subjects whose flags it may use."""
    for word in argv[1:]:
        if argv[0] == "simulate" and word in SPECS:
            return None, [word]
        try:
            result = get(word)
        except UnknownResultError:
            continue
        return result, [result.subject]
    return None, list(SPECS)


def _about(result: Result | None, otherwise: str) -> str:
    """What ``--help`` says first: of the result named, its statement, summary, unit and example."""
    if result is None:
        return otherwise
    paragraphs = (inspect.getdoc(result.function) or "").split("\n\n")
    told = paragraphs[:1] + [" ".join(p.split()) for p in paragraphs if p.startswith("Returns:")]
    told = [f"{result.id} ({result.kind}, {result.tag}): {result.statement}", *told]
    told.append(f"Its example, taken when no flag of the chain is given: {flags.example_text(result)}")
    return "\n\n".join(textwrap.fill(part, 100) for part in told)


def _add_budget(parser, *, samples: str, replicates: int = REPLICATES) -> None:
    """The flags of a measurement."""
    group = parser.add_argument_group("the measurement")
    group.add_argument(
        "--replicates",
        type=flags.whole,
        default=replicates,
        metavar="N",
        help=f"independent chains; range >= 2; default {replicates}",
    )
    group.add_argument(
        "--samples", type=flags.whole, metavar="N", help=f"points that a generation makes, n; range >= 1; {samples}"
    )
    group.add_argument(
        "--seed",
        type=flags.whole,
        default=0,
        metavar="N",
        help="of the random numbers; range 0 ... 2^63 - 1; default 0",
    )
    group.add_argument(
        "--sampler",
        choices=("exact", "brute-force"),
        help="exact: draws sufficient statistics, at a cost that --samples does not raise; brute-force: every point",
    )


def _add_rates(parser) -> None:
    """The flags of a verdict."""
    group = parser.add_argument_group("the verdict")
    group.add_argument(
        "--error-rate",
        type=flags.real,
        default=0.01,
        metavar="P",
        help="false alarms over all generations together; range 0 ... 1; default 0.01",
    )
    group.add_argument(
        "--relevant",
        type=flags.real,
        default=None,
        metavar="P",
        help="relative deviation that matters; what could not see it is inconclusive; range 0 ... 1; default that of "
        "the result, mostly 0.01",
    )


def _add_generations(parser, default: str) -> None:
    parser.add_argument(
        "--generations", type=flags.whole, metavar="T", help=f"number of retrainings; range >= 1; {default}"
    )


def _build_parser(result: Result | None, subjects: list[str]) -> flags.Parser:
    """The parser, with the flags of ``subjects`` and, in its help, what is known of ``result``."""
    parser = flags.Parser(
        prog="collapse",
        description="Model collapse: what theory predicts, what simulation measures, and whether the two agree.",
        epilog=EPILOG,
    )
    parser.add_argument("--version", action="version", version=f"collapse {collapse_jax.__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)

    def command(name, run, help, description=None):
        made = commands.add_parser(name, help=help, description=description or help, epilog=EPILOG)
        made.set_defaults(run=run)
        return made

    default = f"default {result.generations}" if result else "default: as the result declares"
    example = "Without any of these flags, the result's example. With some, defaults for the rest."

    made = command("results", _results, "list the numbered results")
    made.add_argument("--subject", help=f"one subject only: {', '.join(SPECS)}")
    made.add_argument("--json", action="store_true", help="a list of objects instead of a table")

    help = "compute what a result says"
    made = command("predict", _predict, help, _about(result, help))
    made.add_argument("id", metavar="ID", help="of the result, such as DAE-5; collapse results lists them")
    _add_generations(made, f"{default}; not used by results that are no curves")
    made.add_argument("--json", action="store_true", help=f"an object with nested lists instead of a table. {NULLS}")
    flags.add_spec_flags(made, subjects, example)

    help = "measure a chain"
    made = command("simulate", _simulate, help)
    made.add_argument("subject", metavar="SUBJECT", help=f"one of: {', '.join(SPECS)}")
    _add_generations(made, f"default {GENERATIONS}")
    made.add_argument(
        "--observable",
        metavar="NAME",
        help="what to measure; default: the subject's first curve, with --json all that the same run shows",
    )
    made.add_argument("--json", action="store_true", help=f"an object with nested lists instead of a table. {NULLS}")
    _add_budget(made, samples=f"default {SAMPLES}")
    flags.add_spec_flags(made, subjects, "What the chain is.")

    help = "hold a result against a measurement; the verdict is the exit code: 0 agrees, 1 violates, 3 inconclusive"
    made = command("compare", _compare, help, _about(result, help))
    made.add_argument("id", metavar="ID", help="of the result, such as DAE-5; collapse results lists them")
    _add_generations(made, default)
    made.add_argument("--json", action="store_true", help=f"the verdict as an object instead of a table. {NULLS}")
    _add_budget(made, samples=f"default {result.samples}" if result else "default: as the result declares")
    _add_rates(made)
    flags.add_spec_flags(made, subjects, example)

    made = command("cite", _cite, "print the citation of a result")
    made.add_argument("id", metavar="ID", help="of the result, such as DAE-5")

    cli_data.add_commands(command)
    return parser


def _results(args) -> tuple[str, int]:
    if args.subject is not None and args.subject not in SPECS:
        raise CollapseError(f"subject must be one of {', '.join(SPECS)}, got {args.subject!r}.")
    listed = all_results(args.subject)
    if not args.json:
        return tables.results_table(listed), 0
    keys = ("id", "subject", "statement", "kind", "tag", "citation", "observable", "check")
    rows = [{key: getattr(r, key) for key in keys} | {"citation": CITATIONS[r.citation]} for r in listed]
    return tables.as_json(rows), 0


def _cite(args) -> tuple[str, int]:
    return cite(args.id) + "\n", 0


def _generations(args, default: int) -> int:
    return default if args.generations is None else flags.at_least("generations", args.generations, 1)


def _predict(args) -> tuple[str, int]:
    result = get(args.id)
    spec = flags.spec_of(args, result.subject, result.example)
    generations = _generations(args, result.generations) if result.timed else 0
    flags.fits(spec, generations)
    # one program for the whole formula: compiling it step by step would take seconds
    known = flags.with_known_scalars(spec)
    with np.errstate(all="ignore"):
        prediction = jax.jit(lambda: result.predict(known, generations))()
    if not args.json:
        return tables.prediction_table(result, prediction), 0
    answer = {
        "result": result.id,
        "observable": result.observable,
        "kind": result.kind,
        "tag": result.tag,
        "citation": CITATIONS[result.citation],
        "spec": flags.spec_dict(spec),
        "values": prediction.values,
    }
    return tables.as_json(answer), 0


def _key(args, spec, generations: int, samples: int, sampler: str):
    """The random key of a measurement, after a look at the sizes that come with it."""
    flags.at_least("replicates", args.replicates, 2)
    flags.at_least("samples", samples, 1)
    flags.fits(spec, generations, args.replicates)
    if sampler == "brute-force":
        flags.fits(spec, generations if getattr(spec, "regime", "") == "accumulate" else 1, samples)
    if not 0 <= args.seed < 2**63:
        raise CollapseError(f"seed must be a whole number from 0 to 2^63 - 1, got {args.seed}.")
    return jax.random.key(args.seed)


def _simulate(args) -> tuple[str, int]:
    subject = args.subject.lower()
    if subject not in SPECS:
        raise CollapseError(f"subject must be one of {', '.join(SPECS)}, got {args.subject!r}.")
    spec, generations = flags.spec_of(args, subject), _generations(args, GENERATIONS)
    samples = SAMPLES if args.samples is None else args.samples
    sampler = "exact" if args.sampler is None else args.sampler
    key = _key(args, spec, generations, samples, sampler)
    wanted = args.observable or next(r.observable for r in all_results(subject) if r.curve)
    measured = measure(subject, wanted, spec, generations, args.replicates, key, samples=samples, sampler=sampler)
    names = list(measured) if args.json and args.observable is None else [wanted]
    found = {}
    for name in names:
        values = np.asarray(measured[name].values, float)
        with np.errstate(invalid="ignore", over="ignore"):  # lifetimes that never end, thresholds at infinity
            mean, low, high = band(measured[name])
            error = values.std(axis=0, ddof=1) / np.sqrt(len(values))
        found[name] = {"mean": mean, "standard_error": error, "low": low, "high": high}
    if args.json:
        settings = {
            "subject": subject,
            "spec": flags.spec_dict(spec),
            "generations": generations,
            "replicates": args.replicates,
            "samples": samples,
            "sampler": sampler,
            "seed": args.seed,
        }
        return tables.as_json(settings | {"observables": found}), 0
    shown = {name.replace("_", " "): tables.texts(values) for name, values in found[wanted].items()}
    low, high = shown.pop("low"), shown.pop("high")
    shown["95 % band"] = low + " ... " + high  # arrays of text
    curve = any(r.curve for r in all_results(subject) if r.observable == wanted)
    others = ", ".join(name for name in measured if name != wanted)
    notes = [f"{args.replicates} chains of {samples} points per generation, {sampler}, seed {args.seed}."]
    notes += ["The band holds for all generations and components at once."]
    notes += [f"The same run shows (--observable NAME): {others}."] if others else []
    return tables.curve_table(f"{subject}: {wanted}", shown, curve=curve, notes=notes, most=2), 0


def _compare(args) -> tuple[str, int]:
    result = get(args.id)
    spec, generations = flags.spec_of(args, result.subject, result.example), _generations(args, result.generations)
    samples = result.samples if args.samples is None else args.samples
    sampler = result.sampler if args.sampler is None else args.sampler
    key = _key(args, spec, generations, samples, sampler)
    relevant = result.relevant if args.relevant is None else args.relevant
    for name, value in (("error_rate", args.error_rate), ("relevant", relevant)):
        if not 0 < value < 1:
            raise MeasurementError(f"{name} must lie between 0 and 1, got {value}.")
    done = check(
        result.id,
        spec,
        key=key,
        generations=generations,
        replicates=args.replicates,
        samples=samples,
        sampler=sampler,
        error_rate=args.error_rate,
        relevant=relevant,
    )
    verdict, code = done.verdict, EXIT_CODES[done.verdict.status]
    if args.json:
        settings = {
            "tag": result.tag,
            "citation": CITATIONS[result.citation],
            "spec": flags.spec_dict(spec),
            "generations": generations,
            "samples": samples,
            "sampler": sampler,
            "seed": args.seed,
        }
        return tables.as_json(verdict.as_dict() | settings), code
    measured, predicted = np.asarray(done.trajectory.values, float), np.asarray(done.prediction.values, float)
    with np.errstate(invalid="ignore", over="ignore"):
        if predicted.shape == measured.shape:  # conditional on what each replicate realised
            predicted = predicted.mean(axis=0)
        error = measured.std(axis=0, ddof=1) / np.sqrt(len(measured))
    side = {"upper bound": "at most", "lower bound": "at least"}.get(result.kind, "predicted")
    columns = {side: tables.texts(predicted), "measured": tables.texts(measured.mean(axis=0))}
    columns["standard error"] = tables.texts(error)
    title = f"{result.id} ({result.kind}, {result.tag}): {result.statement}"
    notes = [*tables.margin_note(done.prediction), tables.verdict_line(verdict, curve=result.curve)]
    text = tables.curve_table(f"{title}\n{result.observable}", columns, curve=result.curve, notes=notes, most=3)
    return text, code


def _silence_stdout() -> None:
    """Let the interpreter flush what is left into nothing when it ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _fail(message: str, code: int) -> int:
    print("collapse:", " ".join(message.split()), file=sys.stderr)
    return code


def _answer(argv: list[str]) -> int:
    argv = flags.with_dashes(argv)
    result, subjects = _named(argv) if argv else (None, list(SPECS))
    args = _build_parser(result, subjects).parse_args(argv)
    text, code = args.run(args)
    sys.stdout.write(text)
    return code


def main(argv: list[str] | None = None) -> int:
    """Run the command with these words (the command line's if None) and return its exit code."""
    jax.config.update("jax_enable_x64", True)
    try:
        try:
            return _answer(sys.argv[1:] if argv is None else argv)
        finally:
            sys.stdout.flush()
    except CollapseError as error:
        return _fail(str(error), BAD_INPUT)
    except KeyboardInterrupt:
        return _fail("interrupted.", INTERRUPTED)
    except BrokenPipeError:
        _silence_stdout()
        return BROKEN_PIPE
    except OSError as error:
        _silence_stdout()
        return _fail(f"cannot write the answer: {error.strerror or error}.", BAD_INPUT)
    except (MemoryError, jax.errors.JaxRuntimeError) as error:
        if isinstance(error, jax.errors.JaxRuntimeError) and "RESOURCE_EXHAUSTED" not in str(error):
            raise
        return _fail("not enough memory: take fewer generations, replicates or samples.", BAD_INPUT)
