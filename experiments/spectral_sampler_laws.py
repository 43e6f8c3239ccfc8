"""Laws that a discretised sampler makes when its score is exact, in one dimension and without sampling noise.

A reverse Euler-Maruyama step from time t to t - h takes x to ``x + h (x + 2 s_t(x)) + sqrt(2 h) Z``, s_t the score of
the smoothed training pool. On a uniform grid that is a sum of Gaussians over the grid points; such sums converge faster
than any power of the spacing once the kernel is wider than it. What the sampler makes is again a mixture (a Gaussian of
variance 2h behind each grid point), so the next round's score is exact too. The steps of the probability-flow ODE are
monotone maps of the line: they are followed on quantiles.
"""

import functools
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from scipy import special

from collapse_jax.metrics.hermite import columns
from collapse_jax.specs.mixture import Mixture

START = 4.0
"""Time at which the reverse process starts, from the exact law of the pool at that time: no error of the prior."""


def times(steps: int, stop: float, start: float = START) -> np.ndarray:
    """``[steps + 1]`` falling times, uniform in their square root: finer near the truncation, where the score bends."""
    return np.linspace(np.sqrt(start), np.sqrt(stop), steps + 1) ** 2


@dataclass(frozen=True)
class Grid:
    """A uniform grid ``[-reach, reach]``; ``count`` points."""

    reach: float
    count: int

    @property
    def points(self) -> np.ndarray:
        """``[count]``."""
        return np.linspace(-self.reach, self.reach, self.count)

    @property
    def spacing(self) -> float:
        """Distance of neighbours."""
        return 2 * self.reach / (self.count - 1)


def _mixture_parts(x, log_weights, means, variances):
    """Density and score of a mixture of ``[K]`` at ``x`` ``[n]``."""
    off = means[None] - x[:, None]
    logs = log_weights - jnp.log(2 * np.pi * variances) / 2
    logs = logs[None] - off**2 / (2 * variances)[None]
    top = jnp.max(logs, axis=1, keepdims=True)
    mass = jnp.exp(logs - top)
    total = jnp.sum(mass, axis=1)
    return jnp.exp(top[:, 0]) * total, jnp.sum(mass * off / variances[None], axis=1) / total


def _smoothed(pool, t):
    """Components of the pool after the forward process up to ``t``."""
    log_weights, means, variances = pool
    shrink = jnp.exp(-t)
    return log_weights, shrink * means, shrink**2 * variances - jnp.expm1(-2 * t)


@jax.jit
def _one_round(x, nodes, steps, pool):
    """Weights, means and variances of what the sampler makes of a pool; ``nodes`` padded beyond ``steps``."""
    spacing = x[1] - x[0]
    density = _mixture_parts(x, *_smoothed(pool, nodes[0]))[0]
    nothing = jnp.zeros_like(x)

    def step(i, carry):
        density = carry[0]
        h = nodes[i] - nodes[i + 1]
        target = x + h * (x + 2 * _mixture_parts(x, *_smoothed(pool, nodes[i]))[1])
        kernel = jnp.exp(-((x[:, None] - target[None]) ** 2) / (4 * h)) / jnp.sqrt(4 * np.pi * h)
        return kernel @ density * spacing, density, target, h

    carry = (density, nothing, nothing, jnp.zeros_like(spacing))
    _, density, target, h = jax.lax.fori_loop(0, steps, step, carry)
    weights = density * spacing
    return weights / jnp.sum(weights), target, jnp.full_like(x, 2 * h)


@functools.partial(jax.jit, static_argnames=("rounds",))
def _recursion(x, nodes, steps, share, data, *, rounds: int):
    padding = len(x) - len(data[0])
    start = [jnp.pad(part, (0, padding), constant_values=fill) for part, fill in zip(data, (0, 0, 1), strict=True)]

    def one(law, _):
        log_weights = jnp.log(jnp.concatenate([share * data[0], (1 - share) * law[0]]))
        pool = (log_weights, jnp.concatenate([data[1], law[1]]), jnp.concatenate([data[2], law[2]]))
        law = _one_round(x, nodes, steps, pool)
        return law, law

    return jax.lax.scan(one, tuple(start), None, length=rounds)[1]


def euler_maruyama_laws(data: Mixture, share: float, stop: float, steps: int, rounds: int, grid: Grid) -> list[Mixture]:
    """``[rounds + 1]`` laws: the data, then what each round's discretised sampler makes of the pool before it.

    Args:
        data: one-dimensional, isotropic components of positive variance.
        share: alpha, real share of every pool; the first pool is real.
        stop: truncation time t0 > 0.
        steps: Euler-Maruyama steps a round, on ``times``.
        grid: its spacing must be below the width of the last step's noise.
    """
    # one length for all step counts, so that they share a compiled program
    nodes = np.full(1 + 512 * -(-steps // 512), stop)
    nodes[: steps + 1] = times(steps, stop)
    parts = (data.weights, data.means[:, 0], data.covariances)
    made = _recursion(jnp.asarray(grid.points), jnp.asarray(nodes), steps, jnp.asarray(share), parts, rounds=rounds)
    weights, means, variances = (np.asarray(part) for part in made)
    return [data] + [Mixture(weights[k], means[k, :, None], variances[k]) for k in range(rounds)]


def quantiles(law: Mixture, levels, *, reach: float = 40.0):
    """Quantiles of a one-dimensional law by bisection; ``levels`` ``[n]`` in (0, 1)."""

    def halve(_, ends):
        low, high = ends
        middle = (low + high) / 2
        below = law.cdf(middle) < levels
        return jnp.where(below, middle, low), jnp.where(below, high, middle)

    ends = (jnp.full_like(levels, -reach), jnp.full_like(levels, reach))
    low, high = jax.lax.fori_loop(0, 60, halve, ends)
    return (low + high) / 2


class Line:
    """A one-dimensional mixture on 6001 nodes: fast where many laws are compared that differ by 1e-3 or more.

    Distances are those of the laws whose distribution functions join the nodes by straight lines: right to about 1e-6.
    """

    nodes = np.linspace(-9, 9, 6001)

    def __init__(self, law: Mixture):
        weights, means = np.asarray(law.weights), np.asarray(law.means)[:, 0]
        spread = np.sqrt(np.asarray(law.covariances))
        self.cdf, self.density = np.zeros_like(self.nodes), np.zeros_like(self.nodes)
        for part in np.array_split(np.flatnonzero(weights > 1e-16), 1 + len(weights) // 100):
            off = (self.nodes[:, None] - means[part]) / spread[part]
            self.cdf += special.ndtr(off) @ weights[part]
            self.density += np.exp(-(off**2) / 2) @ (weights[part] / spread[part]) / np.sqrt(2 * np.pi)

    def w2(self, other: "Line") -> float:
        """W2 to another law [data units]."""
        levels = np.union1d(self.cdf, other.cdf)
        levels = levels[(levels > 1e-12) & (levels < 1 - 1e-12)]
        gap = np.interp(levels, self.cdf, self.nodes) - np.interp(levels, other.cdf, other.nodes)
        first, second = gap[:-1], gap[1:]
        return float(np.sqrt(np.sum(np.diff(levels) * (first**2 + first * second + second**2) / 3)))

    def modes(self, order: int) -> np.ndarray:
        """Hermite coefficients ``[order + 1]``; the trapezoidal sum of a smooth density converges at once."""
        spacing = self.nodes[1] - self.nodes[0]
        return np.stack([self.density @ column for column in columns(self.nodes, order)]) * spacing
