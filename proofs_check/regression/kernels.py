"""Kernel chains: a fixed design exactly (REG-16), a finite pool of inputs attacked (REG-17)."""

import numpy as np
import sympy as sp

from proofs_check.ground import ATTACK, SYMBOLIC, check, require, require_zero
from proofs_check.regression.equivalents import predicted
from proofs_check.regression.tools import n, score, sigma0

h, c = sp.symbols("h c", positive=True)


@check(
    "REG-16", "f' = h(f + noise): mean h^n c, variance s^2 h^2 (1-h^2n)/(1-h^2); n s^2 at h = 1", SYMBOLIC, "all n, h"
)
def fixed_design() -> None:
    """K(K + T lambda)^-1 is diagonal in the eigenvectors of K, h = k/(k + T lambda); noise is rotation invariant."""
    variance = sigma0**2 * h**2 * (1 - h ** (2 * n)) / (1 - h**2)
    require_zero(sp.simplify(variance.subs(n, n + 1) - h**2 * (variance + sigma0**2)), "variance")
    require_zero(variance.subs(n, 0), "start")
    require_zero(sp.simplify(sp.limit(variance.subs(n, 7), h, 1) - 7 * sigma0**2), "h = 1")
    require_zero(sp.simplify(h ** (n + 1) * c - h * h**n * c), "mean")
    k, T, lam, mu = sp.symbols("k T lambda mu", positive=True)
    require_zero(sp.simplify((k / (k + T * lam)).subs(k, T * mu) - mu / (mu + lam)), "in units of T")


@check("REG-16", "a kernel matrix by linear solves: in-sample error, z below 5", ATTACK, "T = 12 inputs", sole=False)
def attack_fixed() -> str:
    """An RBF kernel on random points, targets a sine."""
    rng = np.random.default_rng(16)
    points = np.sort(rng.uniform(0, 6, 12))
    gram = np.exp(-((points[:, None] - points) ** 2))
    hat, clean = gram @ np.linalg.inv(gram + 12 * 0.02 * np.eye(12)), np.sin(points)
    values, vectors = np.linalg.eigh(gram)
    kept, along = values / (values + 12 * 0.02), vectors.T @ clean
    runs, scores = np.broadcast_to(clean, (40000, 12)), []
    for number in range(1, 5):
        runs = (runs + 0.3 * rng.normal(size=runs.shape)) @ hat.T
        variance = 0.09 * sum(kept ** (2 * k) for k in range(1, number + 1))
        expected = ((1 - kept**number) ** 2 * along**2 + variance).mean()
        scores.append(score(((runs - clean) ** 2).mean(1), expected))
    require(max(map(abs, scores)) < 5, f"z = {scores}")
    return f"largest z {max(map(abs, scores)):.2f}"


@check(
    "REG-17",
    "rows drawn from a pool of digit images: REG-6 with the eigenvalues of K/N within 15 %",
    ATTACK,
    "RBF and cubic kernels on 600 digits, ridge 3e-3 to 1e-1, T = 150, 12 runs",
)
def attack_pool() -> str:
    """Predictions over the pool by linear solves with the kernel matrix; the teacher is a ridge fit of real labels."""
    from collapse_jax.data.images import centred, digits

    rng, worst, set_ = np.random.default_rng(17), 0.0, digits()
    points = centred(set_)[0][:, :600].T
    points = points / np.sqrt((points**2).sum(1).mean())
    labels = np.where(np.asarray(set_.labels)[:600] < 5, 1.0, -1.0)
    apart = ((points[:, None] - points[None]) ** 2).sum(-1)
    for gram in (np.exp(-apart / 2), ((1 + points @ points.T) / 2) ** 3):
        teacher = gram @ np.linalg.solve(gram + 600 * 1e-3 * np.eye(600), labels)
        values, vectors = np.linalg.eigh(gram / 600)
        real = values > 1e-10
        spectrum, truth = values[real], (vectors.T @ teacher)[real] / np.sqrt(600 * values[real])
        for ridge in (3e-3, 1e-2, 1e-1):
            law, _ = predicted(spectrum, truth, (150, 0.3, ridge), (150, 0.3, ridge), 2)
            found = np.array([pool_run(rng, gram, teacher, 150, 0.3, ridge, 2) for _ in range(12)])
            noise = found.std(0, ddof=1) / len(found) ** 0.5
            worst = max(worst, ((abs(found.mean(0) - law) - 3 * noise) / law).max())
    require(worst <= 0.15, f"{worst:.3f} beyond three standard errors")
    return f"{100 * worst:.1f} % beyond three standard errors"


def pool_run(rng, gram, teacher, rows: int, noise: float, ridge: float, rounds: int) -> list[float]:
    """Errors of learners over the pool along one chain."""
    labels, found = teacher, []
    for _ in range(rounds + 1):
        for learner in (True, False):
            at = rng.integers(0, len(teacher), rows)
            seen = labels[at] + noise * rng.normal(size=rows)
            fitted = gram[:, at] @ np.linalg.solve(gram[np.ix_(at, at)] + rows * ridge * np.eye(rows), seen)
            if learner:
                found.append(((fitted - teacher) ** 2).mean())
        labels = fitted
    return found
