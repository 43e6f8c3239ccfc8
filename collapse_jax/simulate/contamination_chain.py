"""Contaminated chains through their counts: what a round leaves behind is a table of proportions, nothing else.

A replicate is many independent chains at once; every observable is a mean over them, so that 64 replicates of 2000
chains show the risk to a few parts in a thousand. All rounds are one scan, the replicates are mapped in blocks. A law
``[chains, C, K]`` is carried from round to round: ``C`` contexts, one in most specs. Distances are summed as squares of
differences from the truth, never as differences of squares.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from collapse_jax.simulate.draws import multinomial, poisson
from collapse_jax.specs.contamination import ContaminationSpec
from collapse_jax.trajectory import Trajectory

BLOCK = 8192  # chains run side by side
NEWTON = 40  # steps of a fit; each leaves about a tenth of the error


class State(NamedTuple):
    """What a chain carries.

    Attributes:
        law: ``[chains, C, K]``, what the next round draws from beside real tokens.
        counts: ``[chains, C, K]`` of all rounds so far (accumulate).
        real: ``[chains, C, K]``, where real tokens come from.
        parameters: ``[chains, d]`` of a parametric model.
    """

    law: Any
    counts: Any
    real: Any
    parameters: Any


def rows(spec: ContaminationSpec):
    """``[C, K]``: the truth, one row a context."""
    return spec.truth if spec.contexts is not None else spec.truth[None]


def centred(spec: ContaminationSpec):
    """``[d, K]``: features with mean zero under the truth."""
    features = spec.features
    return features - (features @ spec.truth)[:, None]


def information(spec: ContaminationSpec):
    """``[d, d]``: covariance of the features under the truth."""
    features = centred(spec)
    return (features * spec.truth[None]) @ features.T


def _fitted(spec: ContaminationSpec, proportions):
    """Maximum likelihood in the family ``p* exp(theta . f)``: parameters and law, by a fixed-slope Newton iteration."""
    features = centred(spec)
    wanted = jnp.einsum("...k,dk->...d", proportions[..., 0, :], features)
    slope = jnp.linalg.inv(information(spec))

    def law_of(parameters):
        tilt = parameters @ features
        tilted = spec.truth[None] * jnp.exp(tilt - jnp.max(tilt, axis=-1, keepdims=True))
        return tilted / jnp.sum(tilted, axis=-1, keepdims=True)

    def step(_, parameters):
        return parameters + (wanted - law_of(parameters) @ features.T) @ slope

    parameters = jax.lax.fori_loop(0, NEWTON, step, jnp.zeros_like(wanted))
    return parameters, law_of(parameters)[..., None, :]


def _estimate(spec: ContaminationSpec, counts, former: State | None, real) -> State:
    """The model fitted on ``counts`` ``[chains, C, K]``; a context without tokens keeps its row."""
    number = jnp.sum(counts, axis=-1, keepdims=True)
    smoothed = counts + spec.smoothing
    total = number + spec.tokens * spec.smoothing
    law = smoothed / jnp.where(total > 0, total, 1)
    if former is not None:
        law = jnp.where(total > 0, law, former.law)
    parameters = jnp.zeros((*counts.shape[:1], 1), counts.dtype)
    if spec.features is not None:
        parameters, law = _fitted(spec, law)
    return State(law, counts, law if real is None else real, parameters)


def _round_sizes(key, spec: ContaminationSpec, size, chains: int):
    """Tokens of a round in each context, ``[chains, C]``."""
    if spec.contexts is not None:
        law = jnp.broadcast_to(spec.contexts[None], (chains, spec.contexts.shape[0]))
        return multinomial(key, jnp.broadcast_to(size, (chains,)), law)
    if spec.size_law == "poisson":
        return 1 + poisson(key, jnp.broadcast_to(size - 1, (chains, 1)))
    return jnp.broadcast_to(size, (chains, 1))


def start(key, spec: ContaminationSpec, chains: int) -> State:
    """Round 0: real tokens only."""
    truth = jnp.broadcast_to(rows(spec)[None], (chains, *rows(spec).shape))
    counts = multinomial(key, jnp.broadcast_to(spec.start_size, truth.shape[:2]), truth)
    return _estimate(spec, counts, None, None if spec.real == "anchor" else truth)


def advance(key, spec: ContaminationSpec, state: State, share, size) -> State:
    """One round: tokens of the mixture of real source and last model, then a fit."""
    size_key, token_key = jax.random.split(key)
    sizes = _round_sizes(size_key, spec, size, len(state.law))
    counts = multinomial(token_key, sizes, share * state.real + (1 - share) * state.law)
    if spec.regime == "accumulate":
        counts = state.counts + counts
    return _estimate(spec, counts, state, state.real)


def _log_excess(x):
    """``(1 + x) log(1 + x) - x`` for x >= -1, by its series near zero."""
    near = jnp.abs(x) < 0.3
    small = jnp.where(near, x, 0)
    series = jnp.zeros_like(x)
    for order in range(28, 1, -1):
        series = small * (1 / (order * (order - 1)) - series)
    above = jnp.where(near, 1, jnp.maximum(1 + x, 0))
    plain = jnp.where(above > 0, above * jnp.log(jnp.where(above > 0, above, 1)), 0) - x
    return jnp.where(near, small * series, plain)


def _exp_excess(x):
    """``e^x - 1 - x``, by its series near zero."""
    near = jnp.abs(x) < 0.3
    small = jnp.where(near, x, 0)
    series = jnp.zeros_like(x)
    for order in range(18, 1, -1):
        series = small / order * (1 + series)
    return jnp.where(near, small * series, jnp.expm1(x) - x)


def observe(spec: ContaminationSpec, state: State, everything: bool) -> dict:
    """Means over the chains of what a round shows."""
    truth, law = rows(spec), state.law
    off = law - truth[None]
    if spec.contexts is not None:
        risks = jnp.mean(jnp.sum(off * off, axis=-1), axis=0)
        alive = jnp.sum((law > 0).astype(law.dtype), axis=(1, 2))
        return {"context_risk": risks, "total_risk": spec.contexts @ risks, "alive": jnp.mean(alive)}
    off, truth, law = off[:, 0], truth, law[:, 0]
    seen = {"risk": jnp.mean(jnp.sum(off * off, axis=-1))}
    if not everything:
        return seen
    some = truth > 0
    relative = jnp.where(some, off / jnp.where(some, truth, 1), 0)
    seen |= {
        "mean": jnp.mean(law, axis=0),
        "covariance": off.T @ off / len(off),
        "chi2": jnp.mean(jnp.sum(relative * off, axis=-1)),
        "kl": jnp.mean(jnp.sum(truth * _log_excess(relative), axis=-1)),
        "tv": jnp.mean(jnp.sum(jnp.abs(off), axis=-1)) / 2,
        "absence": jnp.mean((law == 0).astype(off.dtype), axis=0),
        "fourth_moment": jnp.mean(off**4, axis=0),
    }
    if spec.features is not None:
        tilt = state.parameters @ centred(spec)
        loss = jnp.log1p(jnp.sum(truth * _exp_excess(tilt), axis=-1))
        scatter = jnp.sum((state.parameters @ information(spec)) * state.parameters, axis=-1)
        seen |= {"excess_loss": jnp.mean(loss), "parameter_error": jnp.mean(scatter) / spec.features.shape[0]}
    return seen


@partial(jax.jit, static_argnames=("generations", "replicates", "chains", "everything"))
def run(spec: ContaminationSpec, key, *, generations: int, replicates: int, chains: int, everything: bool) -> dict:
    """What ``observe`` sees of rounds 0 ... ``generations``, each array ``[replicates, generations + 1, ...]``."""
    shares, sizes = spec.shares(generations), spec.sizes(generations)
    # replicates side by side are one long array: mapping would run both samplers of a binomial
    block = max(1, min(replicates, BLOCK // chains))
    blocks = -(-replicates // block)

    def seen(state):
        apart = jax.tree.map(lambda leaf: leaf.reshape(block, chains, *leaf.shape[1:]), state)
        return jax.vmap(lambda state: observe(spec, state, everything))(apart)

    def one(key):
        first_key, rounds_key = jax.random.split(key)
        state = start(first_key, spec, block * chains)

        def step(state, inputs):
            key, share, size = inputs
            state = advance(key, spec, state, share, size)
            return state, seen(state)

        inputs = jax.random.split(rounds_key, generations), shares, sizes
        _, rest = jax.lax.scan(step, state, inputs)
        return jax.tree.map(
            lambda first, rest: jnp.moveaxis(jnp.concatenate([first[None], rest]), 0, 1), seen(state), rest
        )

    found = jax.lax.map(one, jax.random.split(key, blocks))
    return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:])[:replicates], found)


def late_slope(values):
    """Least-squares slope of log values ``[replicates, T + 1]`` against log t, from T/10 (at least 2) on."""
    last = values.shape[1] - 1
    times = jnp.arange(max(last // 10, 2), last + 1)
    x = jnp.log(times.astype(values.dtype))
    x = x - jnp.mean(x)
    return jnp.log(values[:, times]) @ x / jnp.sum(x * x)


def trajectories(spec: ContaminationSpec, seen: dict) -> dict[str, Trajectory]:
    """All observables of a chain, with the size below which each is rounding."""
    some = seen["total_risk"] if spec.contexts is not None else seen["risk"]
    generations, eps = some.shape[1] - 1, float(jnp.finfo(some.dtype).eps)
    made: dict[str, Any] = dict(seen)
    if spec.contexts is None:
        risk = seen["risk"]
        made["final_risk"] = risk[:, -1]
        made["risk_ratio"] = jnp.concatenate([jnp.ones_like(risk[:, :1]), risk[:, 1:] / risk[:, :-1]], axis=1)
        made["effective_size"] = spec.diversity / risk
        sizes = jnp.concatenate([spec.start_size[None], spec.sizes(generations)])
        made["size"] = jnp.broadcast_to(sizes, risk.shape)
        if generations >= 20:
            made["late_slope"] = late_slope(risk)
        if generations >= 2:
            made["late_risk"] = jnp.mean(risk[:, generations // 2 + 1 :], axis=1)
        if "mean" in seen:
            made["final_mean"] = seen["mean"][:, -1]
            made["final_variance"] = jnp.diagonal(seen["covariance"][:, -1], axis1=-2, axis2=-1)
            made["final_fourth_moment"] = made.pop("fourth_moment")[:, -1]
            made["absence"] = seen["absence"][:, -1]
        if "excess_loss" in seen:
            made["final_loss"] = seen["excess_loss"][:, -1]
    # a proportion is off by a rounding of the law it was drawn from; squares of differences by twice that
    root = jnp.sqrt(jnp.max(some, axis=0))
    squared = 4 * eps * (root + eps)

    def floor(name, values):
        if name in ("risk", "total_risk", "kl", "chi2", "excess_loss", "parameter_error"):
            return squared / jnp.min(jnp.where(spec.truth > 0, spec.truth, 1))
        return 8 * eps * jnp.max(jnp.abs(values))

    return {name: Trajectory(values, floor(name, values), observable=name) for name, values in made.items()}
