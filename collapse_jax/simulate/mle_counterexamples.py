"""The consistent families that collapse: exact maximisers of discontinuous likelihoods, and what they lead to.

*jump*: ``p = U[0,1]/2 + (1-alpha) U[0,1-2 alpha]/2 + alpha U[2,3]/4 + alpha U[mu, mu+f(alpha)]/4``, 0 <= alpha <= 1/4.
Up to 1/10 f is 1/39, beyond it ln f falls linearly through -2n ln 34 at 1/8. The likelihood is piecewise increasing in
alpha, with a fall wherever a point leaves [0, 1 - 2 alpha], or the densest window in [2, 3] loses one: its maximum is
at one of those places or at 1/4. All of them are tried, in logarithms (f underflows).

*fuse*: type one is ``h = sum_j (1-alpha_j) prod_(k<j) alpha_k U[j, j+1-2 alpha_j]`` (intervals are counted from 0
here), whose fit is ``alpha_j = min(1/4, (1 - M_j)/2)``, M_j the largest offset seen in [j, j+1]; type two is ``U[0,J]/2
+ U(window of width f(J) in [J-1, J+f])/2``. Counts and largest offsets are sufficient, and are drawn as such. Each
round both log likelihoods are compared and the larger one makes the next batch.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from collapse_jax.errors import SpecError
from collapse_jax.simulate.draws import binomial, walk_up
from collapse_jax.specs.ground import whole_number
from collapse_jax.specs.mle import MLESpec
from collapse_jax.trajectory import Trajectory

_TOP = 32  # largest points that may decide the first alpha: farther ones do so with chance 1e-10
_BEYOND = 64  # points in [2, 3] that a fit may hold
_INTERVALS = 6  # that a fuse chain may reach


def _flat(name, values, resolution=0.0):
    return {name: Trajectory(values, jnp.full(values.shape[1:], resolution, values.dtype), name)}


def _checked(spec: MLESpec, family: str, generations, replicates, samples) -> float:
    if not isinstance(spec, MLESpec) or spec.family != family:
        raise SpecError(f"family must be {family} for this observable, got {getattr(spec, 'family', spec)!r}.")
    for name, value in (("generations", generations), ("replicates", replicates), ("samples", samples)):
        whole_number(name, value)
    if spec.batch.ndim:
        raise SpecError(f"batch must be one number for family {family}, got a schedule of {spec.batch.shape[0]}.")
    return float(spec.batch)


# --- jump ------------------------------------------------------------------------------------------------------------


def log_width(alpha, size):
    """ln f(alpha) of the jump family of n = ``size``."""
    fall = (2 * size * np.log(34.0) - np.log(39.0) + 1) / 0.025
    return -np.log(39.0) - fall * jnp.maximum(alpha - 0.1, 0)


def _alpha_of_width(logs, size):
    """The largest alpha whose width is at least ``exp(logs)``, at most 1/4; -1 if none above 1/10."""
    fall = (2 * size * np.log(34.0) - np.log(39.0) + 1) / 0.025
    alpha = 0.1 + (-np.log(39.0) - logs) / fall
    return jnp.where(logs > -np.log(39.0), -1, jnp.minimum(alpha, 0.25))


def _inside(alpha):
    """ln of the density of a point in [0, 1 - 2 alpha]."""
    return jnp.log(0.5 + (1 - alpha) / (2 * (1 - 2 * alpha)))


def jump_fit(points, valid, size):
    """alpha and mu of the exact maximum-likelihood fit of the jump family.

    Args:
        points: ``[N]`` of which ``valid`` are there, in [0, 1] or [2, 3].
        size: n, on which f depends.

    Returns:
        ``(alpha, mu)``; mu is 2 while no point is in [2, 3].
    """
    low = jnp.sort(jnp.where(valid & (points <= 1), points, -1.0))[::-1]  # largest first, then -1
    count = jnp.sum(low >= 0)
    ranks = jnp.arange(points.shape[0])
    room = min(_BEYOND, points.shape[0])
    high = jnp.sort(jnp.where(valid & (points >= 2), points, jnp.inf))[:room]
    beyond = jnp.sum(valid & (points >= 2))
    # narrowest window of each number of points
    gaps = high[None, :] - high[:, None]
    lag = jnp.arange(room)
    narrow = jnp.stack(
        [jnp.min(jnp.where(jnp.isfinite(jnp.diagonal(gaps, j)), jnp.diagonal(gaps, j), jnp.inf)) for j in range(room)]
    )
    narrow = jnp.where(lag < beyond, jnp.where(lag == 0, 0, narrow), jnp.inf)
    logs = jnp.where(narrow > 0, jnp.log(jnp.where(narrow > 0, narrow, 1)), -jnp.inf)
    falls = _alpha_of_width(logs, size)
    # candidates: where a point leaves, where a window loses one, the end
    alphas = jnp.concatenate([jnp.where(low >= 0, (1 - low) / 2, -1), falls, jnp.array([0.25], low.dtype)])
    kept = jnp.concatenate([count - ranks, jnp.full(room + 1, -1)])
    ascending = low[::-1]
    bounded = points.shape[0] - jnp.searchsorted(ascending, jnp.asarray(0.0, low.dtype), side="left").astype(int)
    within = jnp.searchsorted(ascending, 1 - 2 * alphas, side="right").astype(int) - (points.shape[0] - bounded)
    kept = jnp.where(kept >= 0, kept, within)
    held = jnp.searchsorted(logs, log_width(alphas, size), side="right").astype(int)
    own = jnp.concatenate([jnp.zeros(points.shape[0], int), lag + 1, jnp.zeros(1, int)])
    held = jnp.minimum(jnp.maximum(held, own), beyond)
    good = (alphas >= 0) & (alphas <= 0.25)
    alpha = jnp.where(good, alphas, 0)
    logs_alpha = jnp.log(jnp.where(alpha > 0, alpha, 1) / 4)
    spike = jnp.logaddexp(0.0, -log_width(alpha, size))
    kept, count, held, known = (v.astype(low.dtype) for v in (kept, count, held, beyond))
    likelihood = kept * _inside(alpha) + (count - kept) * np.log(0.5)
    likelihood = likelihood + jnp.where(beyond > 0, known * logs_alpha + held * spike, 0)
    likelihood = jnp.where(good & ((alpha > 0) | (beyond == 0)), likelihood, -jnp.inf)
    best = alpha[jnp.argmax(likelihood)]
    width = jnp.exp(log_width(best, size))
    near = jnp.sum((high[None, :] >= high[:, None]) & (high[None, :] <= high[:, None] + width), axis=1)
    start = high[jnp.argmax(jnp.where(jnp.isfinite(high), near, -1))]
    return best, jnp.where(beyond > 0, jnp.minimum(start, 3 - width), 2.0)


def jump_sample(key, alpha, mu, size, count: int):
    """``[count]`` points of one member of the jump family."""
    which_key, place_key = jax.random.split(key)
    which = jax.random.uniform(which_key, (count,), alpha.dtype)
    place = jax.random.uniform(place_key, (count,), alpha.dtype)
    width = jnp.exp(log_width(alpha, size))
    ends = jnp.stack([jnp.full_like(alpha, 0.5), 1 - alpha / 2, 1 - alpha / 4])
    part = jnp.searchsorted(ends, which, side="right")
    start = jnp.stack([0 * mu, 0 * mu, 0 * mu + 2, mu])[part]
    return start + place * jnp.stack([0 * alpha + 1, 1 - 2 * alpha, 0 * alpha + 1, width])[part]


def _jump_tv(alpha):
    """Half the integral of |p - p*|, piece by piece: [0, 1-2 alpha], [1-2 alpha, 1], and what is beyond 1."""
    density = 0.5 + (1 - alpha) / (2 * (1 - 2 * alpha))
    beyond = alpha / 4 + alpha / 4
    return (jnp.abs(density - 1) * (1 - 2 * alpha) + jnp.abs(0.5 - 1) * 2 * alpha + beyond) / 2


@partial(jax.jit, static_argnames=("count", "generations", "runs", "batch"))
def jump_paths(key, *, count: int, generations: int, runs: int, batch: int = 256) -> dict:
    """Runs of the jump family with all their points, every batch kept.

    Returns:
        ``alpha`` and ``mu`` ``[runs, generations + 1]`` (entry 0 the truth), ``beyond`` ``[runs, generations]`` points
        of batch t in [2, 3], ``first_gap`` ``[runs]`` 1 - x_max of the real batch.
    """
    size = float(count)

    def one(key):
        def generation(carry, inputs):
            points, alpha, mu = carry
            key, number = inputs
            fresh = jump_sample(key, alpha, mu, size, count)
            points = jax.lax.dynamic_update_slice_in_dim(points, fresh, number * count, 0)
            valid = jnp.arange(points.shape[0]) < (number + 1) * count
            alpha, mu = jump_fit(points, valid, size)
            return (points, alpha, mu), (alpha, mu, jnp.sum(fresh >= 2), jnp.max(fresh))

        start = jnp.zeros(generations * count), jnp.zeros(()), jnp.full((), 2.0)
        inputs = jax.random.split(key, generations), jnp.arange(generations)
        _, (alpha, mu, beyond, largest) = jax.lax.scan(generation, start, inputs)
        first = jnp.concatenate([start[1][None], alpha]), jnp.concatenate([start[2][None], mu])
        return {"alpha": first[0], "mu": first[1], "beyond": beyond, "first_gap": 1 - largest[0]}

    return jax.lax.map(one, jax.random.split(key, runs), batch_size=min(batch, runs))


def jump_chain(spec: MLESpec, generations: int, replicates: int, key, *, samples: int) -> dict[str, Trajectory]:
    """Collapse of the jump family: ``samples`` runs a replicate, exact maximisation over all points.

    Args:
        spec: family jump.
        generations: number of fits, >= 2.

    Returns:
        ``alpha`` and ``jump_tv`` ``[replicates, generations + 1]`` averages; ``collapsed`` share of runs with alpha(2)
        > 1/10; ``first_ratio`` least ratio of alpha(1) to min(1/4, (1 - x_max)/2); ``forced_alpha`` least alpha(2) of
        runs whose second batch reaches [2, 3] (NaN if none).

    Raises:
        SpecError: a bad argument.
    """
    count = int(_checked(spec, "jump", generations, replicates, samples))
    if generations < 2:
        raise SpecError(f"generations must be at least 2 for the jump family, got {generations}.")
    runs = jump_paths(key, count=count, generations=generations, runs=replicates * samples)
    runs = jax.tree.map(lambda leaf: leaf.reshape(replicates, samples, *leaf.shape[1:]), runs)
    alpha = runs["alpha"]
    floor = jnp.full(generations + 1, 1e-6 if alpha.dtype == jnp.float32 else 1e-14, alpha.dtype).at[0].set(jnp.inf)
    found = {
        "alpha": Trajectory(jnp.mean(alpha, axis=1), floor, "alpha"),
        "jump_tv": Trajectory(jnp.mean(_jump_tv(alpha), axis=1), floor, "jump_tv"),
    }
    usual = jnp.minimum(0.25, runs["first_gap"] / 2)
    found |= _flat("collapsed", jnp.mean(alpha[:, :, 2] > 0.1, axis=1, dtype=alpha.dtype))
    found |= _flat("first_ratio", jnp.min(alpha[:, :, 1] / usual, axis=1), 1e-5)
    forced = jnp.min(jnp.where(runs["beyond"][:, :, 1] > 0, alpha[:, :, 2], jnp.inf), axis=1)
    return found | _flat("forced_alpha", jnp.where(jnp.isfinite(forced), forced, jnp.nan))


@partial(jax.jit, static_argnames=("runs",))
def _first_fits(spec: MLESpec, key, *, runs: int):
    """The first alpha from the largest points alone, what it usually is, and whether its batch reaches [2, 3]."""
    size, dtype = spec.batch, spec.mean.dtype
    rank_key, seen_key = jax.random.split(key)
    ranks = jnp.arange(_TOP, dtype=dtype)
    there = ranks < size
    # the k-th largest of n uniform points is the one before it times U^(1/(n-k+1))
    logs = jnp.log1p(-jax.random.uniform(rank_key, (runs, _TOP), dtype)) / jnp.where(there, size - ranks, 1)[None]
    gaps = -jnp.expm1(jnp.cumsum(logs, axis=1))
    alphas = jnp.minimum(gaps / 2, 0.25)
    likelihood = (size - ranks)[None] * _inside(alphas) - ranks[None] * np.log(2.0)
    likelihood = jnp.where(there[None], likelihood, -jnp.inf)
    alpha = jnp.take_along_axis(alphas, jnp.argmax(likelihood, axis=1)[:, None], axis=1)[:, 0]
    missed = jnp.exp(size * jnp.log1p(-alpha / 2))
    return alpha, alphas[:, 0], jax.random.uniform(seen_key, (runs,), dtype) >= missed


def first_fits(spec: MLESpec, generations: int, replicates: int, key, *, samples: int) -> dict[str, Trajectory]:
    """First fits of the jump family from their largest points alone: millions of runs.

    Returns:
        Shares of runs ``[replicates]``: ``late_first`` (alpha(1) above ``threshold`` ln n/n), ``first_usual`` (it is
        min(1/4, (1 - x_max)/2)), ``reached`` (its batch has a point in [2, 3]).

    Raises:
        SpecError: a bad argument.
    """
    size = _checked(spec, "jump", generations, replicates, samples)
    alpha, usual, reached = _first_fits(spec, key, runs=replicates * samples)
    late = alpha > spec.threshold * np.log(size) / size
    shares = {"late_first": late, "first_usual": alpha == usual, "reached": reached}
    found = {}
    for name, values in shares.items():
        found |= _flat(name, jnp.mean(values.reshape(replicates, samples), axis=1, dtype=spec.mean.dtype))
    return found


# --- fuse ------------------------------------------------------------------------------------------------------------


def _fit_offsets(largest):
    """alpha of an interval from the largest offset seen in it."""
    return jnp.minimum(0.25, (1 - largest) / 2)


def _first_visits(key, spec: MLESpec, intervals: int, runs: int):
    """Waiting times of the first visits, jump by jump, and the state at the last of them.

    Before interval j + 1 is visited every alpha is fixed, so that the batches until a visit are geometric, and the
    points beyond are a binomial number that is not 0.

    Returns:
        ``waits`` [runs, intervals], batches from one first visit to the next; ``alphas``, ``counts`` [runs, intervals +
        1] of the intervals up to the last visited.
    """
    size, dtype = spec.batch, spec.mean.dtype
    keys = iter(jax.random.split(key, 4 * intervals + 1))

    def uniform():
        return 1 - jax.random.uniform(next(keys), (runs,), dtype)  # never 0

    gap = -jnp.expm1(jnp.log(uniform()) / size)
    alphas, waits = [jnp.minimum(0.25, gap / 2)], []
    counts = jnp.full((runs, 1), size, dtype)
    for _ in range(intervals):
        reach = jnp.prod(jnp.stack(alphas, axis=1), axis=1)
        log_missed = size * jnp.log1p(-reach)
        wait = jnp.maximum(jnp.ceil(jnp.log(uniform()) / log_missed), 1)
        none = jnp.exp(log_missed)
        # uniform over what is left above the chance of no point: one point at least
        level = none + (1 - none) * (1 - uniform())
        odds = reach / (1 - reach)
        beyond = walk_up(level, none, lambda k, odds=odds: jnp.maximum(size - k, 0) / (k + 1) * odds, size)
        beyond = jnp.clip(beyond, 1, size)
        # the other points of these batches, spread over the intervals known so far
        left, mass, spread = wait * size - beyond, 1 - reach, []
        before = jnp.ones_like(reach)
        for place, alpha in enumerate(alphas):
            share = (1 - alpha) * before
            last = place == len(alphas) - 1
            part = jnp.clip(share / mass, 0, 1)
            drawn = left if last else binomial(jax.random.fold_in(key, 97 * len(waits) + place), left, part)
            spread.append(drawn)
            left, mass, before = left - drawn, mass - share, before * alpha
        counts = jnp.concatenate([counts + jnp.stack(spread, axis=1), beyond[:, None]], axis=1)
        largest = jnp.exp(jnp.log(uniform()) / beyond)
        alphas.append(_fit_offsets(largest))
        waits.append(wait)
    return jnp.stack(waits, axis=1), jnp.stack(alphas, axis=1), counts


def log_likelihood_one(alphas, counts):
    """Log likelihood of type one at its fit: counts of the intervals visited so far, ``[..., intervals]``."""
    visited = counts > 0
    last = jnp.sum(visited, axis=-1, keepdims=True) - 1
    place = jnp.arange(counts.shape[-1]).reshape((1,) * (counts.ndim - 1) + (-1,))
    inner = jnp.log1p(-alphas) - jnp.log1p(-2 * alphas)
    passed = jnp.where(place < last, jnp.log(jnp.where(place < last, alphas, 1)), 0)
    before = jnp.cumsum(passed, axis=-1) - passed
    return jnp.sum(jnp.where(visited, counts * (before + inner), 0), axis=-1)


def log_likelihood_two(spec: MLESpec, number, points, held):
    """Log likelihood of type two at its fit: J = ``number``, N ``points`` in [0, J], ``held`` of them in the window."""
    log_f = -(spec.fuse ** (number - 1)) * jnp.log(3 * number)
    flat = -jnp.log(2 * number)
    return (points - held) * flat + held * jnp.logaddexp(flat, -np.log(2.0) - log_f)


@partial(jax.jit, static_argnames=("intervals", "runs"))
def waits(spec: MLESpec, key, *, intervals: int, runs: int):
    """``[runs, intervals]`` synthetic batches until [1, 2], [2, 3], ... are first reached."""
    return jnp.cumsum(_first_visits(key, spec, intervals, runs)[0], axis=1)


def waiting(spec: MLESpec, generations: int, replicates: int, key, *, samples: int) -> dict[str, Trajectory]:
    """Share of chains of the fuse family that have not reached [1, 2] after t synthetic batches.

    Returns:
        ``waiting`` ``[replicates, generations + 1]``.

    Raises:
        SpecError: a bad argument.
    """
    _checked(spec, "fuse", generations, replicates, samples)
    times = waits(spec, key, intervals=1, runs=replicates * samples)[:, 0].reshape(replicates, samples, 1)
    later = times > jnp.arange(generations + 1, dtype=times.dtype)[None, None]
    values = jnp.mean(later, axis=1, dtype=spec.mean.dtype)
    floor = jnp.zeros(generations + 1, values.dtype).at[0].set(jnp.inf)
    return {"waiting": Trajectory(values, floor, "waiting")}


@partial(jax.jit, static_argnames=("runs",))
def _visit(spec: MLESpec, key, *, runs: int):
    number = spec.interval
    _, alphas, counts = _first_visits(key, spec, number - 1, runs)
    points = jnp.sum(counts, axis=1)
    one = log_likelihood_one(alphas, counts)
    two = log_likelihood_two(spec, jnp.asarray(number, points.dtype), points, jnp.ones_like(points))
    return two - one, points


def visit(spec: MLESpec, generations: int, replicates: int, key, *, samples: int) -> dict[str, Trajectory]:
    """Lead of type two when ``interval`` is first visited, one run a replicate.

    Returns:
        ``visit_gap`` and ``visit_points`` ``[replicates]``.

    Raises:
        SpecError: a bad argument, or samples other than 1.
    """
    _checked(spec, "fuse", generations, replicates, samples)
    if samples != 1:
        raise SpecError(f"samples must be 1 for visit_gap, got {samples}: its bound is a statement on each run.")
    gap, points = _visit(spec, key, runs=replicates)
    return _flat("visit_gap", gap) | _flat("visit_points", points)


@partial(jax.jit, static_argnames=("generations", "runs"))
def fuse_paths(spec: MLESpec, key, *, generations: int, runs: int) -> dict:
    """Runs of the fuse family round by round: the type with the larger log likelihood makes the next batch.

    Returns:
        ``[runs, generations + 1]``: ``tv`` to the truth, ``type`` (0 while type one wins, else J), ``farthest``
        interval (1 for [0, 1]), ``lead`` of type two in log likelihood.
    """
    size, dtype = spec.batch, spec.mean.dtype
    places = jnp.arange(_INTERVALS)

    def model_chances(alphas, number):
        """Chance of each interval, and the largest offset that a point may have there."""
        passed = jnp.concatenate([jnp.ones_like(alphas[:, :1]), jnp.cumprod(alphas, axis=1)[:, :-1]], axis=1)
        one = passed * (1 - alphas)
        one = one.at[:, -1].set(passed[:, -1])
        flat = jnp.where(places[None] < number[:, None], 1 / jnp.maximum(number, 1).astype(dtype)[:, None], 0)
        first = (number == 0)[:, None]
        return jnp.where(first, one, flat), jnp.where(first, 1 - 2 * alphas, 1)

    def generation(carry, inputs):
        key = inputs
        alphas, counts, largest, number, held = carry
        split_key, count_key, offset_key = jax.random.split(key, 3)
        chances, scale = model_chances(alphas, number)
        second = number > 0
        free = jnp.where(second, binomial(split_key, jnp.broadcast_to(size, (runs,)), jnp.full(runs, 0.5, dtype)), size)

        def thin(state, inputs):
            left, mass = state
            key, chance = inputs
            part = jnp.where(mass > 1e-15, jnp.clip(chance / jnp.where(mass > 1e-15, mass, 1), 0, 1), 0)
            drawn = binomial(key, left, part)
            return (left - drawn, mass - chance), drawn

        start = free, jnp.ones_like(free)
        (left, _), drawn = jax.lax.scan(thin, start, (jax.random.split(count_key, _INTERVALS), chances.T))
        fresh = drawn.T.at[:, 0].add(left)
        uniform = 1 - jax.random.uniform(offset_key, fresh.shape, dtype)
        offsets = scale * jnp.exp(jnp.log(uniform) / jnp.maximum(fresh, 1))
        largest = jnp.where(fresh > 0, jnp.maximum(largest, offsets), largest)
        hits = jnp.where(second, size - free, 0)
        counts = counts + fresh + jnp.where(places[None] == number[:, None] - 1, hits[:, None], 0)
        seen = counts > 0
        alphas = jnp.where(seen, _fit_offsets(largest), 0)
        farthest = jnp.sum(seen, axis=1)
        points = jnp.sum(counts, axis=1)
        top = jnp.maximum(farthest, 2).astype(dtype)
        held = jnp.where(second & (number == farthest), held + hits, 1.0)
        lead = log_likelihood_two(spec, top, points, held) - log_likelihood_one(alphas, counts)
        lead = jnp.where(farthest >= 2, lead, -jnp.inf)
        number = jnp.where(lead > 0, farthest, 0)
        return (alphas, counts, largest, number, held), (number, farthest, lead, alphas[:, 0])

    zeros = jnp.zeros((runs, _INTERVALS), dtype)
    start = zeros, zeros, zeros, jnp.zeros(runs, int), jnp.ones(runs, dtype)
    inputs = jax.random.split(key, generations)
    _, (number, farthest, lead, alpha) = jax.lax.scan(generation, start, inputs)
    # half the integral of |p - U[0,1]|: inside [0, 1] by density, beyond it all mass counts
    one = (jnp.abs((1 - alpha) / (1 - 2 * alpha) - 1) * (1 - 2 * alpha) + 2 * alpha + alpha) / 2
    inside = 0.5 / jnp.maximum(number, 1).astype(dtype)
    tv = jnp.where(number > 0, (jnp.abs(inside - 1) + 1 - inside) / 2, one)

    def path(values, first):
        return jnp.concatenate([jnp.full_like(values[:1], first), values]).T

    return {"tv": path(tv, 0), "type": path(number, 0), "farthest": path(farthest, 1), "lead": path(lead, -jnp.inf)}


def takeover(spec: MLESpec, generations: int, replicates: int, key, *, samples: int) -> dict[str, Trajectory]:
    """Distance from the truth of the runs that type two has won by the last round.

    Returns:
        ``takeover_tv`` ``[replicates]``, the least of them (NaN if there is none), and ``taken``, their share.

    Raises:
        SpecError: a bad argument.
    """
    _checked(spec, "fuse", generations, replicates, samples)
    runs = fuse_paths(spec, key, generations=generations, runs=replicates * samples)
    won, tv = (runs[name][:, -1].reshape(replicates, samples) for name in ("type", "tv"))
    least = jnp.min(jnp.where(won > 0, tv, jnp.inf), axis=1)
    found = _flat("takeover_tv", jnp.where(jnp.isfinite(least), least, jnp.nan), 1e-5)
    return found | _flat("taken", jnp.mean(won > 0, axis=1, dtype=tv.dtype))


MEASURES = {
    **dict.fromkeys(("alpha", "jump_tv", "collapsed", "first_ratio", "forced_alpha"), jump_chain),
    **dict.fromkeys(("late_first", "first_usual", "reached"), first_fits),
    "waiting": waiting,
    **dict.fromkeys(("visit_gap", "visit_points"), visit),
    **dict.fromkeys(("takeover_tv", "taken"), takeover),
}
