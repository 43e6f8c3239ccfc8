"""What the checks of regression chains share: chains by brute force in NumPy, and kappa in balls."""

import numpy as np
import sympy as sp
from flint import arb

d, T, T0, n = sp.symbols("d T T_0 n", positive=True)
sigma, sigma0 = sp.symbols("sigma sigma_0", positive=True)


def rows_of(rng: np.random.Generator, spectrum: np.ndarray, weights: np.ndarray, rows: int, noise: float):
    """``chains`` designs ``[chains, rows, d]`` with labels made by ``weights`` [chains, d]."""
    inputs = rng.normal(size=(len(weights), rows, len(spectrum))) * np.sqrt(spectrum)
    labels = np.einsum("ctd,cd->ct", inputs, weights) + noise * rng.normal(size=inputs.shape[:2])
    return inputs, labels


def ridge_fit(inputs: np.ndarray, labels: np.ndarray, ridge: float) -> np.ndarray:
    """``(X^T X + T ridge)^-1 X^T Y`` of every chain, smallest norm at ridge 0."""
    if ridge == 0:
        return np.einsum("cdt,ct->cd", np.linalg.pinv(inputs), labels)
    rows, size = inputs.shape[1:]
    gram = np.einsum("ctd,cte->cde", inputs, inputs) + rows * ridge * np.eye(size)
    return np.linalg.solve(gram, np.einsum("ctd,ct->cd", inputs, labels)[..., None])[..., 0]


def chain_errors(rng, spectrum, truth, generators, learner, rounds: int, chains: int, block: int = 2000):
    """``[rounds + 1, chains]``, errors of learners of the labels of each generator; a fit is (rows, noise, ridge)."""
    spectrum, truth, found = np.asarray(spectrum, float), np.asarray(truth, float), []
    for start in range(0, chains, block):
        weights = np.broadcast_to(truth, (min(block, chains - start), len(truth)))
        path = []
        for number in range(rounds + 1):
            rows, noise, ridge = learner
            learned = ridge_fit(*rows_of(rng, spectrum, weights, rows, noise), ridge)
            path.append(((learned - truth) ** 2) @ spectrum)
            if number < rounds:
                rows, noise, ridge = generators
                weights = ridge_fit(*rows_of(rng, spectrum, weights, rows, noise), ridge)
        found.append(path)
    return np.concatenate(found, axis=1)


def score(values: np.ndarray, expected: float) -> float:
    """How many standard errors the mean is off."""
    return float((values.mean() - expected) / (values.std(ddof=1) / np.sqrt(len(values))))


def kappa(spectrum: list[arb], rows: arb, ridge: arb) -> arb:
    """The root of k - ridge = k df_1(k)/rows in a ball, by bisection of a function that is convex in k.

    ``f(k) = k - ridge - sum mu k/(mu + k)/rows`` has ``f(0) <= 0`` and one root to the right of which it is positive.
    """
    size = len(spectrum)
    if ridge == 0 and rows >= size:
        return arb(0)

    def rises(k):
        return k - ridge - sum(mu * k / (mu + k) for mu in spectrum) / rows > 0

    low, high = arb(0), ridge + sum(spectrum) / rows
    high = high.mid() * 2 + arb(1) / 2**300
    # without ridge 0 is a root too: start to the right of where f is least
    if ridge == 0:
        low = min(spectrum, key=lambda mu: float(mu.mid())).mid() * (size - rows) / rows / 2
    for _ in range(240):
        middle = ((low + high) / 2).mid()
        if rises(middle):
            high = middle
        else:
            low = middle
    return low.union(high)


def degrees(spectrum: list[arb], k: arb, power: int) -> arb:
    """df_m(k)."""
    return sum((mu / (mu + k)) ** power for mu in spectrum)
