"""Strict settings for every test; shapes and types are checked by the pytest option --jaxtyping-packages."""

import functools

import hypothesis
import jax
import pytest
import threadpoolctl

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")

hypothesis.settings.register_profile(
    "strict",
    deadline=None,
    derandomize=True,
    max_examples=30,
    print_blob=True,
    suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture],
)
hypothesis.settings.load_profile("strict")


@pytest.fixture(params=["float32", "float64"])
def precision(request):
    """Name of the floating type of this run: the test runs once without and once with 64-bit numbers."""
    with jax.enable_x64(request.param == "float64"):
        yield request.param


@pytest.fixture
def x64():
    """64-bit numbers for one test."""
    with jax.enable_x64(True):
        yield


@pytest.fixture
def quick_compilation():
    """Compile in half the time to slower programs: for what runs once."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


@pytest.fixture(autouse=True, scope="module")
def _room_for_programs():
    """Every compiled program holds some memory maps, and a process may hold 65,530 of them: forget the old ones."""
    yield
    try:
        with open("/proc/self/maps") as file:
            held = sum(1 for _ in file)
    except OSError:  # not on Linux
        return
    if held > 15000:
        jax.clear_caches()


@functools.cache
def _limits():
    return threadpoolctl.ThreadpoolController()


@pytest.fixture(autouse=True, scope="session")
def _one_thread_each():
    """NumPy's threads of several test processes would otherwise fight for the same cores."""
    with _limits().limit(limits=1):
        yield
