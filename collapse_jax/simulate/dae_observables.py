"""From the matrices of a chain to its observables, and how small a number of each can still be trusted.

Resolution. Every round rounds its d x d products and its eigenvalues relative to the largest eigenvalue, so after j
rounds an eigenvalue is known to

    resolution_j = eps (d + 8 (j + 1)) (1 + |log(top_j / top_0)|) top_j ,

top the largest eigenvalue: d for the sums inside a product, 8 roundings a round, and the logarithm because collapse
squares (or cubes) a small eigenvalue each round and multiplies its relative error by 2 (or 3) as it does its
logarithm. The observables take it over by their first derivative. (Close to an unstable fixed point the chain itself
pulls neighbouring starts apart; that is not counted as rounding.) The smallest normal number ends the scale.
"""

import jax.numpy as jnp

from collapse_jax.simulate.wishart import dot
from collapse_jax.specs.dae import DAESpec
from collapse_jax.trajectory import Trajectory

CURVES = ("spectrum", "gains", "gain_norm", "effective_rank", "excess_risk", "log_spectrum")
FUNCTIONALS = ("first_gains", "real_spectrum", "limit_spectrum", "lifetime")


def best_map(real, spec: DAESpec):
    """The map fitted on the real second moment ``[d, d]``, full width, no weight decay: solves (S + noise) W = S."""
    return jnp.linalg.solve(real + spec.noise_var * jnp.eye(spec.dimension, dtype=real.dtype), real)


def observe(eigenvalues, gains, fitted_map, real, best, spec: DAESpec) -> dict:
    """What one round leaves behind: eigenvalues and gains ``[d]`` descending, and the excess risk on real data.

    The excess risk is tr[(W - W*) (S_real + noise_var I) (W - W*)^T], W* = ``best``: how much worse than the best
    linear denoiser W removes noise of variance noise_var from real points (units of data squared).
    """
    off = fitted_map - best
    risk = jnp.sum(dot(off, real + spec.noise_var * jnp.eye(spec.dimension, dtype=real.dtype)) * off)
    return {"spectrum": eigenvalues, "gains": gains, "excess_risk": risk}


def _tiny(dtype) -> float:
    return float(jnp.finfo(dtype).tiny)


def _relative_rounding(top, dimension: int):
    """Rounding relative to the top eigenvalue, ``[replicates, generations + 1]`` (see the module's docstring)."""
    logs = jnp.log(jnp.maximum(top, _tiny(top.dtype)))
    rounds = 1 + jnp.arange(top.shape[1], dtype=top.dtype)
    eps = float(jnp.finfo(top.dtype).eps)
    return eps * (dimension + 8 * rounds)[None, :] * (1 + jnp.abs(logs - logs[:, :1]))


def spectrum_resolution(top, dimension: int):
    """Absolute resolution of eigenvalues ``[generations + 1, 1]``, the worst over the replicates of ``top``."""
    return jnp.maximum(jnp.max(_relative_rounding(top, dimension) * top, axis=0), _tiny(top.dtype))[:, None]


def effective_rank(spectrum):
    """exp of the entropy of the normalised ``spectrum`` [..., d]: in [1, d]; 1 for a spectrum of zeros.

    >>> float(effective_rank(jnp.array([2.0, 2.0, 0.0])))
    2.0
    """
    top = jnp.max(spectrum, axis=-1, keepdims=True)
    scaled = spectrum / jnp.where(top > 0, top, 1)
    total = jnp.sum(scaled, axis=-1, keepdims=True)
    share = scaled / jnp.where(total > 0, total, 1)
    return jnp.exp(-jnp.sum(jnp.where(share > 0, share * jnp.log(jnp.where(share > 0, share, 1)), 0), axis=-1))


def lifetime(log_snr):
    """Generation at which each ``log_snr`` [replicates, generations + 1, d] first falls below 0, log-interpolated.

    Between j and j + 1 with x_j >= 1 > x_{j+1} it is j + log x_j / (log x_j - log x_{j+1}); 0 for x_0 < 1, and
    NaN if no x_j is below 1.

    >>> lifetime(jnp.array([[[1.0, -1.0], [0.5, -2.0], [-0.5, -3.0]]])).tolist()
    [[1.5, 0.0]]
    """
    below = log_snr < 0
    after = jnp.argmax(below, axis=1)[:, None]
    before = jnp.maximum(after - 1, 0)
    high = jnp.take_along_axis(log_snr, before, axis=1)[:, 0]
    low = jnp.take_along_axis(log_snr, after, axis=1)[:, 0]
    crossed = before[:, 0].astype(log_snr.dtype) + high / jnp.where(high > low, high - low, 1)
    crossed = jnp.where(below[:, 0], 0, crossed)
    return jnp.where(jnp.any(below, axis=1), crossed, jnp.nan)


def trajectories(seen: dict, spec: DAESpec) -> dict[str, Trajectory]:
    """All observables of a chain from what ``observe`` saw, stacked to ``[replicates, generations + 1, ...]``."""
    spectrum, gains, risk = seen["spectrum"], seen["gains"], seen["excess_risk"]
    dimension, dtype = spec.dimension, spectrum.dtype
    eps, tiny = float(jnp.finfo(dtype).eps), _tiny(dtype)
    top = spectrum[:, :, 0]
    relative = _relative_rounding(top, dimension)
    absolute = spectrum_resolution(top, dimension)
    logs = jnp.log(jnp.maximum(spectrum, tiny))

    # dg/dl = (noise + decay) / (l + noise)^2, plus the rounding of g itself
    steepness = (spec.noise_var + spec.weight_decay) / (jnp.min(spectrum, axis=0) + spec.noise_var) ** 2
    gains_floor = absolute * steepness + eps
    # entropy: d eigenvalues, each share off by p, the entropy by p (1 + |log p|)
    share = jnp.max(relative, axis=0)
    rank = effective_rank(spectrum)
    rank_floor = jnp.max(rank, axis=0) * dimension * share * (1 + jnp.abs(jnp.log(share)))
    rank_floor = jnp.where(jnp.min(top, axis=0) > tiny / eps, rank_floor, jnp.inf)
    # risk is a squared length in which W and W* are off by at most the steepest gain times the resolution
    length = jnp.sqrt(jnp.max(jnp.sum(spectrum[:, 0], axis=-1)) + dimension * spec.noise_var)
    off = jnp.maximum(absolute[:, 0], absolute[0, 0])
    off = (off * (spec.noise_var + spec.weight_decay) / spec.noise_var**2 + eps * dimension) * length
    risk_floor = 2 * jnp.sqrt(jnp.max(jnp.abs(risk), axis=0)) * off + off**2
    # a logarithm is off by the relative error of its eigenvalue; nothing is known below the resolution
    blur = jnp.max(relative[:, :, None] * top[:, :, None] / jnp.maximum(spectrum, tiny), axis=0)
    blur = jnp.where((blur < 1) & (jnp.min(spectrum, axis=0) > tiny), blur, jnp.inf)
    lives = lifetime(logs - jnp.log(spec.noise_var))
    longest = jnp.max(jnp.where(jnp.isnan(lives), 0, lives), axis=0)
    life_floor = eps * (dimension + 8 * spectrum.shape[1]) * (1 + longest)

    measured = {
        "spectrum": (spectrum, absolute),
        "gains": (gains, gains_floor),
        "gain_norm": (gains[:, :, 0], gains_floor[:, 0]),
        "effective_rank": (rank, rank_floor),
        "excess_risk": (risk, risk_floor),
        "log_spectrum": (logs, blur + eps * jnp.max(jnp.abs(logs), axis=0)),
        "first_gains": (gains[:, 0], gains_floor[0]),
        "real_spectrum": (spectrum[:, 0], absolute[0]),
        "limit_spectrum": (spectrum[:, -1], absolute[-1]),
        "lifetime": (lives, life_floor),
    }
    return {name: Trajectory(values, floor, observable=name) for name, (values, floor) in measured.items()}
