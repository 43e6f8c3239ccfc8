"""Finite samples without real data (DAE-11): the bound on an event, and how often the norm rises."""

import numpy as np
import sympy as sp

from proofs_check.dae.tools import c, gain, x
from proofs_check.ground import ATTACK, SIGN, SYMBOLIC, check, require, require_nonnegative, require_zero


@check(
    "DAE-11", "x' <= g^2 [(1+d)x + (1+2d)c] from |S| + 2|XE'/n| + |EE'/n| and 2 sqrt(cx) <= x + c", SIGN, "all x, c, d"
)
def event_bound() -> None:
    """|W S W| = g^2 lambda_1 as g^2 lambda increases; |W Z W| <= g^2 |Z| for the noise terms, in units of sigma^2."""
    d, root, noise_root = sp.symbols("d root noise_root", positive=True)
    require_nonnegative(sp.diff(gain(x) ** 2 * x, x), "g^2 lambda increases", strict=True)
    terms = x + 2 * d * sp.sqrt(c * x) + (1 + d) * c
    gap = ((1 + d) * x + (1 + 2 * d) * c - terms).subs({x: root**2, c: noise_root**2})
    require_zero(gap - d * (root - noise_root) ** 2, "what the arithmetic mean adds is a square")


@check(
    "DAE-11", "c <= 1: the bound is < x iff at c = 1 d x (x+2) < x + 1; d <= 1/(x+2) suffices", SIGN, "all x, d; c <= 1"
)
def monotone_condition() -> None:
    """The bound increases with c, so c = 1 is the worst; there its gap below x has the sign of x + 1 - d x (x+2)."""
    d, w = sp.symbols("d w", positive=True)
    bound = gain(x) ** 2 * ((1 + d) * x + (1 + 2 * d) * c)
    require_nonnegative(sp.diff(bound, c), "increases with c", strict=True)
    require_zero(x - bound.subs(c, 1) - x * (x + 1 - d * x * (x + 2)) / (x + 1) ** 2, "gap at c = 1")
    # d = 1/((1+w)(x+2)) runs over (0, 1/(x+2)); the end itself leaves x + 1 - x = 1
    require_nonnegative((x + 1 - d * x * (x + 2)).subs(d, 1 / ((1 + w) * (x + 2))), "sufficient", strict=True)
    require_zero((x + 1 - d * x * (x + 2)).subs(d, 1 / (x + 2)) - 1, "end of the range")


@check("DAE-11", "the plain norm argument covers c x < 1 only", SYMBOLIC, "all x, c")
def plain_argument() -> None:
    """g (sqrt x + sqrt c) < sqrt x iff sqrt(c x) < 1, with |E|^2/n at its population value c."""
    root, noise_root = sp.symbols("root noise_root", positive=True)
    gap = root - gain(root**2) * (root + noise_root)
    require_zero(gap * (root**2 + 1) - root * (1 - root * noise_root), "gap")


def norm(matrices: np.ndarray) -> np.ndarray:
    """Operator norms of a stack."""
    return np.linalg.norm(matrices, 2, axis=(-2, -1))


@check(
    "DAE-11",
    "bound holds on actual matrices with the smallest d of the event",
    ATTACK,
    "2000 random X, E, d <= 6, n from 3",
    sole=False,
)
def event_attack() -> str:
    """Measure d from the realised noise (also correlated with X, to reach the worst case), compare the next top SNR."""
    rng, closest = np.random.default_rng(11), 0.0
    for _ in range(2000):
        size, n = int(rng.integers(1, 7)), int(rng.integers(3, 200))
        points = rng.normal(size=(size, n)) * 10 ** rng.uniform(-1, 1, (size, 1))
        ratio = 10 ** rng.uniform(-2, 0.5)
        mixed = rng.normal(size=(size, n)) + rng.uniform(0, 1) * points / np.sqrt(np.mean(points**2))
        noise = np.sqrt(ratio) * mixed
        moment = points @ points.T / n
        top = norm(moment)
        fitted = np.linalg.solve(moment + np.eye(size), moment)
        generated = fitted @ (points + noise)
        event = max(
            norm(noise @ noise.T / n - ratio * np.eye(size)) / ratio, norm(points @ noise.T / n) / np.sqrt(ratio * top)
        )
        bound = (top / (top + 1)) ** 2 * ((1 + event) * top + (1 + 2 * event) * ratio)
        share = norm(generated @ generated.T / n) / bound
        require(share <= 1 + 1e-12, f"bound exceeded by {share - 1:.1e}")
        closest = max(closest, share)
    return f"closest approach {closest:.3f}"


def share_that_rises(n: int, runs: int, seed: int) -> float:
    """Share of chains (isotropic, d = 5, x1 = 10, c = 1, Gaussian data) whose norm rises in the first round."""
    rng = np.random.default_rng(seed)
    points = np.sqrt(10.0) * rng.normal(size=(runs, 5, n))
    moment = points @ points.transpose(0, 2, 1) / n
    fitted = np.linalg.solve(moment + np.eye(5), moment)
    generated = fitted @ (points + rng.normal(size=points.shape))
    after = generated @ generated.transpose(0, 2, 1) / n
    return float(np.mean(norm(after) > norm(moment)))


@check(
    "DAE-11",
    "norm rises in 31 % of runs at n = 36, in (almost) none at n = 720",
    ATTACK,
    "5000 and 500 runs of one round, Gaussian data",
)
def rises_when_small() -> str:
    """Below the scale (x1+2)^2 d the norm can rise; five binomial standard errors around the stated share."""
    small, large = share_that_rises(36, 5000, 36), share_that_rises(720, 500, 720)
    # the stated share comes from 200 runs itself, which dominates the error
    spread = np.sqrt(0.31 * 0.69 * (1 / 5000 + 1 / 200))
    require(abs(small - 0.31) < 5 * spread and large <= 0.01, f"shares {small:.3f} and {large:.4f}")
    return f"{100 * small:.1f} % and {100 * large:.1f} %"


@check("DAE-11", "typical d is 2 sqrt(d/n) for Gaussian noise", ATTACK, "20 draws each at (d,n) = (20,2000) (40,4000)")
def typical_event() -> str:
    """Median of |EE'/n - 1| and |XE'/n| against the stated size, within 15 %."""
    rng, ratios = np.random.default_rng(12), []
    for d, n in ((20, 2000), (40, 4000)):
        draws = []
        for _ in range(20):
            # Wishart by its Cholesky factor would do; the sizes are small enough for the noise itself
            noise, points = rng.normal(size=(2, d, n))
            draws.append(max(norm(noise @ noise.T / n - np.eye(d)), norm(points @ noise.T / n)))
        ratios.append(float(np.median(draws) / (2 * np.sqrt(d / n))))
    require(all(abs(ratio - 1) < 0.15 for ratio in ratios), f"ratios {ratios}")
    return "ratio " + ", ".join(f"{ratio:.3f}" for ratio in ratios)
