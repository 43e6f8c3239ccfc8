"""Distances of laws on the line: closed forms of Gaussians, and SciPy's quadrature of the definitions for mixtures."""

import itertools
import math

import numpy as np
import pytest
from scipy import integrate, optimize, special, stats

from collapse_jax.errors import SpecError
from collapse_jax.metrics import laws
from collapse_jax.specs.mixture import Mixture, points

DATA = ((0.5, 0.3, 0.2), (-1.2, 0.4, 1.6), (0.25**2, 0.18**2, 0.35**2))
OTHER = ((0.6, 0.4), (-0.5, 1.0), (0.3, 0.8))

pytestmark = pytest.mark.usefixtures("x64")


def normal(mean, variance):
    return Mixture([1.0], [float(mean)], [float(variance)])


GAUSSIANS = [
    (0, 1, 1, 1),
    (0, 1, 0.3, 2),
    (5, 0.01, -5, 3),
    (0, 1.9, 0, 1),
    (0, 1e-6, 1, 1),
    (0, 1, 1e-7, 1),
    (2, 1, 2, 1),
]


@pytest.mark.parametrize(("m", "v", "n", "w"), GAUSSIANS)
def test_gaussians_have_closed_forms(m, v, n, w):
    p, q = normal(m, v), normal(n, w)
    kl = (v / w - 1 + (m - n) ** 2 / w - math.log(v / w)) / 2
    assert laws.kl(p, q) == pytest.approx(kl, rel=1e-8, abs=1e-16)
    assert laws.w2(p, q) == pytest.approx(math.hypot(m - n, math.sqrt(v) - math.sqrt(w)), rel=1e-8, abs=1e-12)
    log = math.log(w / math.sqrt(v * (2 * w - v))) + (m - n) ** 2 / (2 * w - v)
    assert laws.chi2(p, q) == pytest.approx(math.expm1(log), rel=1e-8, abs=1e-16)
    if v == w:
        half = math.erf(abs(m - n) / math.sqrt(8 * v))
        assert laws.total_variation(p, q) == pytest.approx(half, rel=1e-8, abs=1e-14)
        assert laws.w1(p, q) == pytest.approx(abs(m - n), rel=1e-8, abs=1e-14)


def test_nearly_equal_laws_lose_no_digits():
    excess = 2e-4
    series = sum((-1) ** k * excess**k / k for k in range(2, 8)) / 2  # (excess - log(1 + excess)) / 2
    assert laws.kl(normal(0, 1 + excess), normal(0, 1)) == pytest.approx(series, rel=1e-8, abs=0)


def exact(p, q):
    """The distances by adaptive quadrature from the definitions, on panels shorter than any standard deviation."""
    weights, means, variances = (np.array(part) for part in p)
    others, centres, widths = (np.array(part) for part in q)
    cuts = np.linspace(-9, 9, 121)

    def first(x):
        return stats.norm.pdf(x, means, np.sqrt(variances)) @ weights

    def second(x):
        return stats.norm.pdf(x, centres, np.sqrt(widths)) @ others

    def gap(x):
        return (
            stats.norm.cdf(x, means, np.sqrt(variances)) @ weights
            - stats.norm.cdf(x, centres, np.sqrt(widths)) @ others
        )

    def integral(f, where):
        return sum(integrate.quad(f, a, b, epsabs=1e-13, epsrel=1e-10)[0] for a, b in itertools.pairwise(where))

    def split(f):
        grid = np.linspace(-4, 4, 60)
        signs = np.sign([f(x) for x in grid])
        places = np.flatnonzero(signs[1:] * signs[:-1] < 0)
        return sorted([*cuts, *(optimize.brentq(f, grid[i], grid[i + 1], xtol=1e-13) for i in places)])

    def difference(x):
        return first(x) - second(x)

    return {
        "tv": integral(lambda x: abs(difference(x)), split(difference)) / 2,
        "w1": integral(lambda x: abs(gap(x)), split(gap)),
        "kl": integral(lambda x: first(x) * np.log(first(x) / second(x)), cuts),
        "chi2": integral(lambda x: difference(x) ** 2 / second(x), cuts),
    }


def test_mixtures_agree_with_quadrature_of_the_definitions():
    found, wanted = laws.all(Mixture(*DATA), Mixture(*OTHER)), exact(DATA, OTHER)
    for name, value in wanted.items():
        assert found[name] == pytest.approx(value, rel=1e-8), name


def test_w2_agrees_with_the_coupling_of_many_quantiles():
    """The mean of squared gaps of quantiles at levels from bisection, extrapolated over the number of levels."""
    p, q = Mixture(*DATA), Mixture(*OTHER)
    found = []
    for count in (5_000, 20_000):
        level = (np.arange(count) + 0.5) / count
        low, high = np.full((2, count), -12.0), np.full((2, count), 12.0)
        for _ in range(50):
            middle = (low + high) / 2
            reached = [
                special.ndtr((x[:, None] - law[1]) / np.sqrt(law[2])) @ np.array(law[0])
                for law, x in zip((DATA, OTHER), middle, strict=True)
            ]
            below = np.stack(reached) < level
            low, high = np.where(below, middle, low), np.where(below, high, middle)
        found.append(np.mean((low[0] - low[1]) ** 2))
    assert laws.w2(p, q) == pytest.approx(math.sqrt(found[1] + (found[1] - found[0]) / 3), rel=2e-5)


def test_symmetry_triangle_and_shift():
    p, q = Mixture(*DATA), Mixture(*OTHER)
    for distance in (laws.total_variation, laws.w1, laws.w2):
        assert distance(p, q) == pytest.approx(distance(q, p), rel=1e-9)
        assert distance(p, p) < 1e-9
    far = Mixture(DATA[0], np.asarray(DATA[1]) + 100, DATA[2])
    assert laws.w1(p, far) == pytest.approx(100, rel=1e-9)
    assert laws.w2(p, far) == pytest.approx(100, rel=1e-9)
    assert laws.total_variation(p, far) == pytest.approx(1, abs=1e-12)


def test_narrow_and_many_components():
    """A comb of 40 needles against itself moved by a little: everything is known."""
    centres = np.linspace(-5, 5, 40)
    comb = Mixture(np.full(40, 1 / 40), centres, np.full(40, 1e-8))
    moved = Mixture(np.full(40, 1 / 40), centres + 1e-4, np.full(40, 1e-8))
    assert laws.total_variation(comb, moved) == pytest.approx(math.erf(1 / math.sqrt(8)), rel=1e-8)
    assert laws.w2(comb, moved) == pytest.approx(1e-4, rel=1e-7)
    assert laws.chi2(comb, moved) == pytest.approx(math.expm1(1), rel=1e-8)


def test_points():
    four = points([0.0, 1.0, 1.0, 3.0])
    assert laws.w2(four, points([0.5])) == pytest.approx(math.sqrt((0.25 * 3 + 6.25) / 4))
    assert laws.w1(four, points([0.5])) == pytest.approx((0.5 * 3 + 2.5) / 4, rel=1e-9)
    # a point of mass one: every quantile goes there
    assert laws.w2(points([2.0]), normal(0, 4)) == pytest.approx(math.sqrt(8), rel=1e-8)
    assert laws.w2(normal(0, 4), points([2.0])) == pytest.approx(math.sqrt(8), rel=1e-8)
    # two halves of a normal law, each to its own point
    half = math.sqrt(1 + 1 - 4 / math.sqrt(2 * math.pi))
    assert laws.w2(normal(0, 1), points([-1.0, 1.0])) == pytest.approx(half, rel=1e-8)


def test_tails_that_make_chi2_wide():
    """p^2/q is a Gaussian of variance 1/(2/1.99 - 1) = 199: wider than both laws."""
    assert laws.chi2(normal(0, 1.99), normal(0, 1)) == pytest.approx(1 / math.sqrt(1.99 * 0.01) - 1, rel=1e-8)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: laws.chi2(normal(0, 2), normal(0, 1)), "chi2.*infinite.*twice.*Use kl"),
        (lambda: laws.kl(normal(0, 1), points([0.0])), "KL.*infinite.*Use w1 or w2"),
        (lambda: laws.kl(points([0.0]), normal(0, 1)), "KL needs densities.*point at 0"),
        (lambda: laws.total_variation(points([0.0]), normal(0, 1)), "total variation needs densities"),
        (lambda: laws.chi2(normal(0, 1), points([0.0])), "chi2 needs densities"),
        (lambda: laws.w1(Mixture([1.0], [[0.0, 0.0]], [1.0]), normal(0, 1)), "one dimension, got 2.*project"),
        (lambda: laws.w2(Mixture([0.5, 0.5], [0.0, 1.0], [0.0, 1.0]), points([0.0])), "smooth one of them"),
    ],
)
def test_refusals_name_the_distance_and_the_cure(call, words):
    with pytest.raises(SpecError, match=words) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_all_marks_the_infinite_one():
    found = laws.all(normal(0, 4), normal(0, 1))
    assert found["chi2"] == math.inf
    assert found["w2"] == pytest.approx(1)
