"""Who may import whom, read from the source; rooms that do not exist yet are covered once they do."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ARRAYS = {"jax", "numpy", "jaxtyping"}
GROUND = {"collapse_jax.errors", "collapse_jax.results", "collapse_jax.trajectory"}


def modules(folder):
    """Every Python file below a folder (or the file of that name), by dotted name."""
    place = ROOT / folder
    files = [place] if place.is_file() else sorted(place.rglob("*.py"))
    return {".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): file for file in files}


def imports(file):
    """Dotted names that a file imports anywhere, also inside functions; relative ones spelled out."""
    package = ".".join(file.relative_to(ROOT).parts[:-1])
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            # "from package import name" may name a module: both are what is imported
            found |= {base} | {f"{base}.{alias.name}" for alias in node.names if base.startswith("collapse_jax")}
    return found


def within(name, packages):
    return any(name == package or name.startswith(package + ".") for package in packages)


def outside(file, allowed):
    """Imports of a file that are neither allowed nor of the standard library."""
    return {
        name
        for name in imports(file)
        if not within(name, allowed)
        and name.partition(".")[0] not in sys.stdlib_module_names
        and name != "collapse_jax"
    }


def files_of(*folders):
    return [pytest.param(file, id=name) for folder in folders for name, file in modules(folder).items()]


@pytest.mark.parametrize("file", files_of("collapse_jax/theory"))
def test_theory_knows_arrays_specs_and_the_ground_files(file):
    """Roots are found by optimistix, which is loaded by the functions that need it."""
    assert not outside(file, ARRAYS | GROUND | {"collapse_jax.specs", "collapse_jax.theory", "optimistix"})
    on_loading = [node for node in ast.parse(file.read_text()).body if isinstance(node, ast.Import | ast.ImportFrom)]
    assert "optimistix" not in " ".join(ast.unparse(node) for node in on_loading)


@pytest.mark.parametrize("file", files_of("collapse_jax/theory"))
def test_theory_of_a_subject_knows_no_other_subject(file):
    subject = file.stem.partition("_")[0]
    allowed = {"ground", "mixture", "regime", subject}
    for name in imports(file):
        if name.startswith(("collapse_jax.specs.", "collapse_jax.theory.")) and file.stem != "__init__":
            assert name.split(".")[2].partition("_")[0] in allowed, name


@pytest.mark.parametrize("file", files_of("collapse_jax/simulate"))
def test_simulation_never_knows_theory_or_the_register(file):
    rooms = {"collapse_jax.specs", "collapse_jax.metrics", "collapse_jax.recursion", "collapse_jax.simulate"}
    own = rooms | {"scipy", "diffrax", "lineax"}
    assert not outside(file, ARRAYS | {"collapse_jax.errors", "collapse_jax.trajectory"} | own)


@pytest.mark.parametrize("file", files_of("collapse_jax/metrics"))
def test_metrics_know_arrays_and_specs(file):
    """Optimal transport with entropy comes from an extra, which is loaded by the functions that need it."""
    allowed = ARRAYS | {"scipy", "collapse_jax.errors", "collapse_jax.specs", "collapse_jax.metrics"}
    assert not outside(file, allowed | {"ott"})
    on_loading = [node for node in ast.parse(file.read_text()).body if isinstance(node, ast.Import | ast.ImportFrom)]
    assert "ott" not in " ".join(ast.unparse(node) for node in on_loading).replace(".", " ").split()


@pytest.mark.parametrize("file", files_of("collapse_jax/specs"))
def test_specs_know_neither_side(file):
    assert not outside(file, ARRAYS | {"collapse_jax.errors", "collapse_jax.specs"})


@pytest.mark.parametrize("file", files_of("collapse_jax/compare.py"))
def test_comparison_knows_the_pytrees_and_neither_side(file):
    assert not outside(file, {"numpy", "scipy", "collapse_jax.errors", "collapse_jax.trajectory"})


@pytest.mark.parametrize(
    "file", files_of("collapse_jax/errors.py", "collapse_jax/trajectory.py", "collapse_jax/results.py")
)
def test_ground_files_know_the_ground(file):
    allowed = ARRAYS | GROUND | ({"collapse_jax.theory"} if file.stem == "results" else set())  # filled on demand
    assert not outside(file, allowed)


@pytest.mark.parametrize(
    "file", files_of("collapse_jax/generative", "collapse_jax/recursion", "collapse_jax/metrics", "collapse_jax/data")
)
def test_networks_and_loops_know_neither_theory_nor_simulation(file):
    assert not {name for name in imports(file) if within(name, {"collapse_jax.theory", "collapse_jax.simulate"})}


@pytest.mark.parametrize("file", files_of("figures"))
def test_figures_draw_without_jax(file):
    heavy = {"jax", "flax", "optax", "collapse_jax.theory", "collapse_jax.simulate", "collapse_jax.generative"}
    assert not {name for name in imports(file) if within(name, heavy)}


@pytest.mark.parametrize("file", files_of("proofs_check"))
def test_proofs_derive_anew(file):
    """Only library.py holds the code against what was derived, and asks the register for functions; others name ids."""
    forbidden = {"collapse_jax.simulate", "collapse_jax.compare", "collapse_jax.check"}
    forbidden |= set() if file.stem == "library" else {"collapse_jax.theory", "collapse_jax.results.get"}
    assert not {name for name in imports(file) if within(name, forbidden)}


def library():
    return [param for param in files_of("collapse_jax") if param.values[0].name not in ("cli.py", "__main__.py")]


@pytest.mark.parametrize("file", library())
def test_library_neither_prints_nor_sets_switches(file):
    source = file.read_text()
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    assert not [call for call in calls if isinstance(call.func, ast.Name) and call.func.id == "print"]
    strings = [node.value for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Constant)]
    assert "jax_enable_x64" not in strings


def test_import_of_the_library_is_light():
    """Networks, solvers, checkpoints, plots and data sets are loaded by the rooms that use them."""
    heavy = ["flax", "optax", "diffrax", "optimistix", "equinox", "orbax", "matplotlib", "sklearn", "rich", "tyro"]
    code = f"import sys, collapse_jax; print([name for name in {heavy} if name in sys.modules])"
    shown = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"


def test_rule_reader_sees_what_it_should(tmp_path, monkeypatch):
    """Imports inside functions, relative ones and modules named by from-imports are all seen."""
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    file = tmp_path / "collapse_jax" / "theory" / "bad.py"
    file.parent.mkdir(parents=True)
    file.write_text(
        "def f():\n    from collapse_jax import simulate\n    from ..generative import dae\n    import flax.nnx\n"
    )
    seen = imports(file)
    assert {"collapse_jax.simulate", "collapse_jax.generative.dae", "flax.nnx"} <= seen
    assert outside(file, ARRAYS | GROUND) >= {"collapse_jax.simulate", "collapse_jax.generative", "flax.nnx"}
