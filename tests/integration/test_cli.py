"""The command ``collapse``: what it answers, how it refuses, and what its exit code says."""

import dataclasses
import json
import os
import subprocess
import sys

import jax
import numpy as np
import pytest

import collapse_jax
from collapse_jax import cli
from collapse_jax.check import SPECS
from collapse_jax.cli_flags import example_text, spec_dict
from collapse_jax.results import CITATIONS, all_results, get
from collapse_jax.specs.dae import DAESpec

TOY = ["--spectrum", "10", "5", "2", "1", "0.5", "--resample-noise-var", "1"]
CHAIN = ["--spectrum", "4", "1", "--generations", "3", "--replicates", "8"]


@pytest.fixture(autouse=True)
def precision():
    """The command computes in float64 for its whole process; here the process is ours."""
    before = jax.config.jax_enable_x64
    yield
    jax.config.update("jax_enable_x64", before)


@pytest.fixture
def collapse(capsys):
    """Run the command in this process: exit code, stdout, stderr."""

    def run(*argv):
        try:
            code = cli.main(list(argv))
        except SystemExit as ended:
            code = ended.code
        out, err = capsys.readouterr()
        return code, out, err

    return run


def subprocess_of(*argv, **kwargs):
    return subprocess.run([sys.executable, "-m", "collapse_jax", *argv], capture_output=True, text=True, **kwargs)


def test_results_table_has_every_result_with_its_citation_and_check(collapse, monkeypatch):
    monkeypatch.setenv("COLUMNS", "400")
    code, out, err = collapse("results")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    for result in all_results():
        row = next(line for line in lines if line.split() and line.split()[0] == result.id)
        for cell in (result.statement, result.kind, result.tag, result.citation, result.check):
            assert cell in row


def test_results_json_is_the_register(collapse):
    code, out, err = collapse("results", "--subject", "dae", "--json")
    assert (code, err) == (0, "")
    rows = json.loads(out)
    assert [row["id"] for row in rows] == [result.id for result in all_results("dae")]
    assert set(rows[0]) == {"id", "subject", "statement", "kind", "tag", "citation", "observable", "check"}


def test_prediction_json_has_its_keys_and_the_real_data_first(collapse):
    code, out, err = collapse("predict", "DAE-5", *TOY, "--generations", "7", "--json")
    assert (code, err) == (0, "")
    answer = json.loads(out)
    assert set(answer) == {"result", "observable", "kind", "tag", "citation", "spec", "values"}
    assert (answer["result"], answer["observable"], answer["kind"]) == ("DAE-5", "spectrum", "exact")
    assert (answer["tag"], answer["citation"]) == ("derived", CITATIONS[get("DAE-5").citation])
    assert set(answer["spec"]) == {field.name for field in dataclasses.fields(DAESpec)}
    assert np.shape(answer["values"]) == (8, 5)
    assert answer["values"][0] == answer["spec"]["spectrum"] == [10, 5, 2, 1, 0.5]
    np.testing.assert_allclose(answer["values"][1], [100 / 11, 25 / 6, 4 / 3, 1 / 2, 1 / 6], rtol=1e-14)


def test_anchors_of_the_norm(collapse):
    answer = json.loads(collapse("predict", "DAE-5/gain", "--spectrum", "10", "--generations", "9", "--json")[1])
    assert [round(answer["values"][j], 4) for j in (0, 4, 9)] == [0.9091, 0.8652, 0.6998]


def test_spec_flags_take_dashes_and_underscores_and_the_defaults_of_the_spec(collapse):
    dashes = ["--noise-var", "2", "--resample-noise-var=.5", "--rank", "1"]
    underscores = ["--noise_var", "2", "--resample_noise_var=.5", "--rank", "1"]
    answers = [
        collapse("predict", "dae-5", "--spectrum", "3", "1", *flags, "--generations", "2", "--json")[1]
        for flags in (dashes, underscores)
    ]
    assert answers[0] == answers[1]
    assert json.loads(answers[0])["spec"] == {
        "spectrum": [3.0, 1.0],
        "noise_var": 2.0,
        "resample_noise_var": 0.5,
        "real_fraction": 0.0,
        "weight_decay": 0.0,
        "feed": "chain",
        "rank": 1,
        "regime": "replace",
    }


@pytest.mark.parametrize("result", all_results(), ids=lambda result: result.id)
def test_every_result_answers_for_its_own_example(collapse, result):
    code, out, err = collapse("predict", result.id, "--generations", "3", "--json")
    assert (code, err) == (0, "")
    answer = json.loads(out, parse_constant=pytest.fail)
    assert answer["spec"] == spec_dict(SPECS[result.subject](**result.example))
    if result.curve:
        assert len(answer["values"]) == 4


def test_prediction_table_thins_long_curves_and_says_so(collapse):
    code, out, err = collapse("predict", "DAE-5/gain", "--generations", "100")
    assert (code, err) == (0, "")
    assert get("DAE-5/gain").statement in " ".join(out.split())
    assert "30 of 101 generations are shown" in out
    rows = [line.split() for line in out.splitlines()]
    numbered = [row[0] for row in rows if len(row) == 2 and row[0].isdigit()]
    assert len(numbered) == 30
    assert (numbered[0], numbered[-1]) == ("0", "100")


def test_what_is_no_curve_needs_no_generations_and_json_has_no_infinity(collapse):
    answer = json.loads(collapse("predict", "DAE-6", *TOY, "--json")[1])
    assert answer["values"] is None  # no threshold at c = 1: infinity
    code, out, _ = collapse("predict", "DAE-8", "--spectrum", "50", "2")
    assert code == 0
    assert "stated error of this asymptotic law: 0.06" in out


REFUSED = {
    "predict DAE-5 --spectrum 1 --noise-var -1": "noise_var must be",
    "predict DAE-5 --spectrum 1 --noise-var -1e-3": "noise_var must be",
    "predict DAE-5 --spectrum 1 --noise-var nan": "noise_var must be",
    "predict DAE-5 --spectrum 1 --noise-var 0": "noise_var must be",
    "predict DAE-5 --spectrum 1 --resample-noise-var -inf": "resample_noise_var must be",
    "predict DAE-5 --spectrum": "spectrum must list at least one eigenvalue",
    "predict DAE-5 --spectrum 1 2": "spectrum must be sorted",
    "predict DAE-5 --spectrum 2 -1": "spectrum must be finite and non-negative, got -1",
    "predict DAE-5 --spectrum 2 nan": "spectrum must be finite",
    "predict DAE-5 --noise-var 1": "spectrum is missing: pass --spectrum X [X ...]",
    "predict DAE-13 --spectrum 1 --real-fraction 1.5": "real_fraction must be in [0, 1], got 1.5",
    "predict DAE-13 --spectrum 1 --real-fraction -0.1": "real_fraction must be in [0, 1], got -0.1",
    "predict DAE-4 --spectrum 2 1 --rank 3": "rank must be at most the dimension 2, got 3",
    "predict DAE-4 --spectrum 2 1 --rank 0": "rank must be",
    "predict DAE-4 --spectrum 2 1 --rank 1.5": "must be a whole number, got '1.5'",
    "predict DAE-5 --spectrum 1 --feed wine": "invalid choice: 'wine'",
    "predict DAE-5 --spectrum 1 --noise-var much": "must be a number, got 'much'",
    "predict DAE-5 --generations 0": "generations must be a whole number >= 1, got 0",
    "predict DAE-5 --generations -3": "generations must be a whole number >= 1, got -3",
    "predict DAE-5 --generations ten": "must be a number, got 'ten'",
    "predict DAE-5 --generations 1e15": "not enough memory",
    "simulate dae --spectrum 1 --replicates 1e12": "not enough memory",
    "compare DAE-18 --samples 1e12": "not enough memory",
    "predict DAE-5 --bogus 3": "unrecognized arguments: --bogus 3",
    "predict DAE-55": "no result 'DAE-55' is registered; did you mean DAE-5?",
    "predict nonsense": "collapse results",
    "predict DAE-5 --spectrum 1 --real-fraction 0.2": "ask DAE-13",
    "predict DAE-5 --spectrum 1 --feed prior": "ask DAE-17",
    "predict DAE-7 --spectrum 1 --resample-noise-var 3": "DAE-7 needs",
    "predict DAE-8 --spectrum 9 --resample-noise-var 3": "DAE-8 needs",
    "predict DAE-15/law --spectrum 1 --resample-noise-var 2 --feed pool --regime accumulate": "DAE-15/law needs",
    "predict DAE-19 --spectrum 1 --resample-noise-var 2": "DAE-19 needs",
    "predict": "the following arguments are required: ID",
    "": "the following arguments are required: COMMAND",
    "guess": "invalid choice: 'guess'",
    "results --subject art": "subject must be one of contamination, dae",
    "cite DAE-99": "no result 'DAE-99'",
    "simulate art": "subject must be one of contamination, dae",
    "simulate dae": "spectrum is missing",
    "simulate dae --spectrum 1 --samples 0": "samples must be a whole number >= 1, got 0",
    "simulate dae --spectrum 1 --replicates 1": "replicates must be a whole number >= 2, got 1",
    "simulate dae --spectrum 1 --generations 0": "generations must be a whole number >= 1, got 0",
    "simulate dae --spectrum 1 --generations -1": "generations must be a whole number >= 1, got -1",
    "simulate dae --spectrum 1 --seed -1": "seed must be a whole number from 0",
    "simulate dae --spectrum 1 --observable taste": "observable must be one of",
    "simulate dae --spectrum 1 --sampler magic": "invalid choice: 'magic'",
    "compare DAE-5 --samples 0": "samples must be a whole number >= 1, got 0",
    "compare DAE-5 --generations -1": "generations must be a whole number >= 1, got -1",
    "compare DAE-5 --error-rate 0": "error_rate must lie between 0 and 1, got 0",
    "compare DAE-5 --relevant nan": "relevant must lie between 0 and 1, got nan",
    "compare DAE-5 --spectrum 1 --feed prior": "ask DAE-17",
}


@pytest.mark.parametrize("line", REFUSED)
def test_bad_input_is_refused_in_one_line(collapse, line):
    code, out, err = collapse(*line.split())
    assert (code, out) == (2, "")
    assert err.startswith("collapse: ")
    assert err.count("\n") == 1
    assert REFUSED[line] in err


def test_simulation_json_has_mean_error_and_band(collapse):
    code, out, err = collapse("simulate", "dae", *CHAIN, "--samples", "1e4", "--seed", "3", "--json")
    assert (code, err) == (0, "")
    answer = json.loads(out)
    settings = {"generations": 3, "replicates": 8, "samples": 10_000, "sampler": "exact", "seed": 3}
    assert set(answer) == {"subject", "spec", "observables", *settings}
    assert answer["subject"] == "dae"
    assert {name: answer[name] for name in settings} == settings
    assert {"spectrum", "gain_norm"} <= set(answer["observables"])
    found = {name: np.asarray(values) for name, values in answer["observables"]["spectrum"].items()}
    assert set(found) == {"mean", "standard_error", "low", "high"}
    assert all(values.shape == (4, 2) for values in found.values())
    assert (found["low"] < found["mean"]).all()
    assert (found["mean"] < found["high"]).all()
    # eight times 10,000 points: a relative standard error of sqrt(2/80,000)
    np.testing.assert_allclose(found["mean"][0], [4, 1], rtol=4.5 * np.sqrt(2 / 80_000))


def test_simulation_table_of_one_observable(collapse):
    code, out, err = collapse("simulate", "dae", *CHAIN, "--observable", "gain_norm")
    assert (code, err) == (0, "")
    assert all(word in out for word in ("standard error", "95 % band", "8 chains of 10000 points", "seed 0"))
    assert len([line for line in out.splitlines() if line.split() and line.split()[0].isdigit()]) == 4 + 1


def test_simulation_with_every_point_in_memory(collapse):
    options = ["--observable", "gain_norm", "--sampler", "brute-force", "--samples", "50", "--json"]
    code, out, _ = collapse("simulate", "dae", *CHAIN, *options)
    assert code == 0
    answer = json.loads(out)
    assert answer["sampler"] == "brute-force"
    assert list(answer["observables"]) == ["gain_norm"]


def test_exit_codes_of_a_comparison(collapse, monkeypatch):
    code, out, err = collapse("compare", "DAE-5/gain", *CHAIN)
    assert (code, err) == (0, "")
    assert all(word in out for word in ("predicted", "measured", "DAE-5/gain agrees", "would have been caught"))

    code, out, err = collapse("compare", "DAE-5/gain", *CHAIN, "--samples", "9", "--json")
    assert (code, err) == (3, "")
    answer = json.loads(out)
    fields = {field.name for field in dataclasses.fields(collapse_jax.Verdict)}
    assert fields | {"spec", "tag", "citation"} <= set(answer)
    assert answer["status"] == "inconclusive"
    assert answer["detectable"] > 0.01
    assert answer["samples"] == 9

    found = cli.check("DAE-5/gain", DAESpec([4.0, 1.0]), key=jax.random.key(0), generations=3, replicates=8)
    wrong = dataclasses.replace(found, verdict=dataclasses.replace(found.verdict, status="violates"))
    monkeypatch.setattr(cli, "check", lambda *args, **kwargs: wrong)
    code, out, _ = collapse("compare", "DAE-5/gain", *CHAIN)
    assert code == 1
    assert "DAE-5/gain violates" in out


def test_cite(collapse):
    assert collapse("cite", "DAE-5") == (0, f"DAE-5 (derived): {CITATIONS[get('DAE-5').citation]}\n", "")


@pytest.mark.parametrize("command", ["predict DAE-5", "predict", "compare DAE-5", "simulate dae"])
def test_help_tells_units_ranges_and_choices(collapse, command):
    code, out, _ = collapse(*command.split(), "--help")
    out = " ".join(out.split())
    assert code == 0
    assert "training noise variance per entry, sigma^2 [data^2]; > 0; default 1" in out
    if command == "predict":  # of every subject: shared flags are listed with the first that has them
        assert "shared with those above: --real-fraction" in out
    else:
        assert "weight of real data in every round, a; [0, 1]; default 0" in out
    assert "{chain,pool,prior}" in out
    assert "3 compare: inconclusive" in out


def test_help_of_a_result_says_what_it_states(collapse):
    out = " ".join(collapse("predict", "DAE-5", "--help")[1].split())
    assert get("DAE-5").statement in " ".join(out.split())
    assert "Eigenvalues of the training second moment along the generations of pure replacement." in out
    assert example_text(get("DAE-5")) in out
    assert "null" in out


def test_running_out_of_memory_is_one_line(collapse, monkeypatch):
    def exhausted(*args):
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory\nallocating")

    monkeypatch.setattr(cli, "_answer", exhausted)
    code, out, err = collapse("results")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "not enough memory" in err


def test_interruption_is_one_line(collapse, monkeypatch):
    def interrupted(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "_answer", interrupted)
    assert collapse("results") == (130, "", "collapse: interrupted.\n")


def test_the_real_command_answers_in_float64_and_refuses_without_a_traceback():
    done = subprocess_of("predict", "DAE-5", *TOY, "--generations", "2", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["values"][1][0] == pytest.approx(100 / 11, rel=1e-14)
    refused = subprocess_of("predict", "DAE-5", "--spectrum", "1", "2")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.count("\n") == 1


def test_a_reader_that_left_is_no_error():
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "collapse_jax", "results"]
    with os.fdopen(writing, "w") as pipe:
        done = subprocess.run(command, stdout=pipe, stderr=subprocess.PIPE, text=True)
    assert done.stderr == ""


def test_prediction_loads_neither_networks_nor_pictures():
    code = (
        "import sys; from collapse_jax.cli import main; main(['predict', 'DAE-5', '--json']);"
        "heavy = {'flax', 'optax', 'diffrax', 'orbax', 'matplotlib', 'sklearn', 'rich', 'sympy'} & set(sys.modules);"
        "sys.exit(' '.join(heavy) or None)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_version(collapse):
    assert collapse("--version") == (0, f"collapse {collapse_jax.__version__}\n", "")
