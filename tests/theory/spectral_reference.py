"""The truncated diffusion chain from its definition, in 30 digits: what the closed forms are held against.

Nothing here is shared with the library: laws are lists of Gaussian components pushed through the rounds one by one,
limits are plain sums over ages, Hermite coefficients come from raw moments, integrals are quadrature.
"""

import functools

import mpmath
import numpy as np
from mpmath import mpf

mpmath.mp.dps = 30
PROBES = [mpf(x) / 2 for x in range(-4, 5)]
ONE = mpf(1)
FREQUENCIES = [mpf(1) / 2, mpf(1), mpf(2)]


def exact(value):
    return mpf(float(value))


def data(spec):
    """Components (weight, mean, variance) of a one-dimensional spec."""
    columns = (np.asarray(v, float).ravel() for v in (spec.weights, spec.means, spec.covariances))
    return tuple(tuple(mpf(float(v)) for v in row) for row in zip(*columns, strict=True))


def step(spec, number=0):
    """(scale, noise variance) of a round."""
    time = exact(np.asarray(spec.truncation)[number] if spec.truncation.ndim else spec.truncation)
    if spec.process == "ve":
        return mpf(1), time**2
    if spec.process == "rectified_flow":
        return 1 - time, time**2
    scale = mpmath.exp(-exact(spec.rate) * time)
    return scale, 1 - scale**2


def reference_var(spec):
    scale, noise = step(spec)
    return noise / (1 - scale**2) if spec.process == "rectified_flow" else mpf(1)


def moved(law, scale, noise):
    return [(w, scale * mean, scale**2 * var + noise) for w, mean, var in law]


def weighted(share, law):
    return [(share * w, mean, var) for w, mean, var in law]


def chain(spec, generations):
    """Generated laws p_0 .. p_T by the definition of a round."""
    share, real = exact(spec.real_fraction), list(data(spec))
    laws = [real]
    for number in range(generations):
        pool = weighted(share, real) + weighted(1 - share, laws[-1])
        laws.append([part for part in moved(pool, *step(spec, number)) if part[0] > 0])
    return laws


def limit(spec, which="generated"):
    """The limit as a sum over ages until nothing is left; at real share 0 the Gaussian that a round leaves alone."""
    share, (scale, noise) = exact(spec.real_fraction), step(spec)
    if share == 0:
        return [(mpf(1), mpf(0), noise / (1 - scale**2))]
    law, parts, left = list(data(spec)), [], mpf(1)
    if which == "generated":
        law = moved(law, scale, noise)
    while left > mpf(10) ** -22:
        parts += weighted(share * left, law)
        left *= 1 - share
        law = moved(law, scale, noise)
    return parts + weighted(left, law)


@functools.cache
def hermite(order):
    """Coefficients of he_order, lowest first."""
    rows = [[mpf(1)], [mpf(0), mpf(1)]]
    for n in range(1, order):
        upper = [mpf(0), *rows[n]]
        lower = [n * v for v in rows[n - 1]] + [mpf(0), mpf(0)]
        rows.append([u - v for u, v in zip(upper, lower, strict=True)])
    return [v / mpmath.sqrt(mpmath.factorial(order)) for v in rows[order]]


def moments(mean, var, most):
    values = [mpf(1), mean]
    for n in range(1, most):
        values.append(mean * values[n] + n * var * values[n - 1])
    return values[: most + 1]


def expectation(law, polynomial):
    total = mpf(0)
    for w, mean, var in law:
        total += w * mpmath.fdot(polynomial, moments(mean, var, len(polynomial) - 1))
    return total


def modes(law, order, unit=ONE):
    """E he_m(X / sqrt(unit)), m = 0 .. order."""
    scaled = [(w, mean / mpmath.sqrt(unit), var / unit) for w, mean, var in law]
    return [expectation(scaled, hermite(m)) for m in range(order + 1)]


def spread(law, order, unit):
    """Variances of he_m."""
    scaled = [(w, mean / mpmath.sqrt(unit), var / unit) for w, mean, var in law]
    out = []
    for m in range(order + 1):
        p = hermite(m)
        square = [mpf(0)] * (2 * m + 1)
        for i, u in enumerate(p):
            for j, v in enumerate(p):
                square[i + j] += u * v
        out.append(expectation(scaled, square) - expectation(scaled, p) ** 2)
    return out


def cdf(law):
    return [mpmath.fsum(w * mpmath.ncdf(x, mean, mpmath.sqrt(var)) for w, mean, var in law) for x in PROBES]


@functools.cache
def fisher(law, unit=ONE):
    """E (score + x / unit)^2 by quadrature."""

    def integrand(x):
        sizes = [w * mpmath.npdf(x, mean, mpmath.sqrt(var)) for w, mean, var in law]
        density = mpmath.fsum(sizes)
        score = mpmath.fsum(s * (mean - x) / var for s, (_, mean, var) in zip(sizes, law, strict=True)) / density
        return density * (score + x / unit) ** 2

    ends = sorted({mean + k * mpmath.sqrt(var) for _, mean, var in law for k in (-12, -6, -3, -1, 1, 3, 6, 12)})
    with mpmath.workdps(18):
        return mpmath.quad(integrand, ends, maxdegree=5)


def gains(spec, orders):
    """E a^(m G) over geometric ages, by its closed form in 30 digits."""
    scale, share = step(spec)[0], exact(spec.real_fraction)
    return [share * scale**m / (1 - (1 - share) * scale**m) if m else mpf(1) for m in orders]


def losses(spec, generations):
    """(E (1 - scale)^2, E noise) of descent, round by round, from the list of all descents."""
    share, paths, rows = exact(spec.real_fraction), [(mpf(1), mpf(1), mpf(0))], []
    for number in range(generations + 1):
        rows.append((sum(w * (1 - s) ** 2 for w, s, _ in paths), sum(w * n for w, _, n in paths)))
        if number < generations:
            scale, noise = step(spec, number)
            pool = [(share, mpf(1), mpf(0))] + [((1 - share) * w, s, n) for w, s, n in paths]
            paths = [(w, scale * s, scale**2 * n + noise) for w, s, n in pool]
    return rows


def limit_losses(spec):
    """The same in the limit: E (1 - a^G)^2 and E (1 - a^2G)."""
    one, two = gains(spec, [1, 2])
    return 1 - 2 * one + two, 1 - two


def second_moment(law):
    return sum(w * (mean**2 + var) for w, mean, var in law)


def decay(spec, generations, power=0, root=False):
    factor = 1 - exact(spec.real_fraction)
    factor = (mpmath.sqrt(factor) if root else factor) * step(spec)[0] ** power
    return [factor**k if k else mpf(1) for k in range(generations + 1)]


def accumulated(spec, generations):
    """Pool modes when every law is kept: the mean of the modes of all laws so far."""
    start = modes(data(spec), spec.order, reference_var(spec))
    made, pools = [start], [start]
    for number in range(generations):
        scale = step(spec, number)[0]
        made.append([scale**m * c for m, c in enumerate(pools[-1])])
        pools.append([sum(column) / len(made) for column in zip(*made, strict=True)])
    return pools


def pool_noise(spec, finite):
    share, (scale, _), unit = exact(spec.real_fraction), step(spec), reference_var(spec)
    real, made = (spread(law, spec.order, unit) for law in (data(spec), limit(spec)))
    out = [mpf(0)]
    for m in range(1, spec.order + 1):
        below = 1 - ((1 - share) * scale**m) ** 2 + finite * (1 - share) * scale ** (2 * m) / spec.pool_size
        out.append((share * real[m] + (1 - share) * made[m]) / below)
    return out


def waves(law):
    out = []
    for frequency in FREQUENCIES:
        sizes = [w * mpmath.exp(-(frequency**2) * var / 2) for w, _, var in law]
        phases = [frequency * mean for _, mean, _ in law]
        cos = mpmath.fsum(s * mpmath.cos(p) for s, p in zip(sizes, phases, strict=True))
        sin = mpmath.fsum(s * mpmath.sin(p) for s, p in zip(sizes, phases, strict=True))
        out.append([cos, sin])
    return out


def predictions(id, spec, generations):
    """The reference of a registered result of one-dimensional data, as nested lists; conditional ones from 1."""
    law, unit, share, rate = data(spec), reference_var(spec), exact(spec.real_fraction), exact(spec.rate)
    scale = step(spec)[0]
    error = exact(spec.error_scale)
    if exact(spec.error_power) > 0:
        error *= exact(np.ravel(spec.truncation)[0]) ** -exact(spec.error_power)
    last = exact(np.ravel(spec.truncation)[: max(generations, 1)][-1])
    match id:
        case "SP-1":
            return [[v] * len(PROBES) for v in decay(spec, generations)]
        case "SP-2":
            return [scale] * (spec.order - 1)
        case "SP-3":
            return [mpmath.sqrt(a * second_moment(law) + b) for a, b in losses(spec, generations)]
        case "SP-4":
            return [cdf(parts) for parts in chain(spec, generations)]
        case "SP-5":
            return cdf(limit(spec))
        case "SP-5/pool":
            return cdf(limit(spec, "pool")) if share > 0 else cdf(limit(spec))
        case "SP-6" | "SP-11" | "SP-10" | "SP-15":
            return [modes(parts, spec.order, unit) for parts in chain(spec, generations)]
        case "SP-6/limit":
            return modes(limit(spec), spec.order, unit)
        case "SP-6/pool":
            return modes(limit(spec, "pool") if share > 0 else limit(spec), spec.order, unit)
        case "SP-7":
            return [[second_moment(limit(spec))]]
        case "SP-7/mean":
            return [sum(w * mean for w, mean, _ in limit(spec))]
        case "SP-8" | "SP-8/kl" | "SP-8/chi2":
            return decay(spec, generations)
        case "SP-8/w1":
            return decay(spec, generations, 1)
        case "SP-8/w2":
            return decay(spec, generations, 1, root=True)
        case "SP-8/slope":
            found = modes(law, 16, unit)
            lowest = next(n for n in range(1, 17) if abs(found[n]) > mpf(10) ** -5)
            return [(1 - share) * scale**lowest] * 3
        case "SP-9":
            return mpmath.sqrt(limit_losses(spec)[0] * fisher(law, unit)) * unit
        case "SP-9/moment":
            away, noise = limit_losses(spec)
            return mpmath.sqrt(away * second_moment(law) + noise * unit)
        case "SP-9/small":
            return rate * last / share * mpmath.sqrt(fisher(law))
        case "SP-10/w2" | "SP-10/kl":
            power = 1 if id == "SP-10/w2" else 2
            return [mpmath.fprod(step(spec, i)[0] ** power for i in range(k)) for k in range(generations + 1)]
        case "SP-11/bound":
            return [mpmath.sqrt(a * fisher(law, unit)) * unit for a, _ in losses(spec, generations)]
        case "SP-11/slow":
            now = mpmath.exp(-rate * last)
            lost = [1 - share * now**m / (1 - (1 - share) * now**m) for m in range(1, spec.order + 1)]
            return [-g * c for g, c in zip([mpf(0), *lost], modes(law, spec.order), strict=True)]
        case "SP-11/geometric":
            ratio = last / exact(np.asarray(spec.truncation)[generations - 2])
            return [-m * rate * last / (1 - (1 - share) / ratio) * c for m, c in enumerate(modes(law, spec.order))]
        case "SP-12":
            return error / (1 - scale * mpmath.sqrt(1 - share))
        case "SP-12/modes":
            added = exact(spec.error_scale)
            return [added / (1 - (1 - share) * scale**m) if m else mpf(0) for m in range(spec.order + 1)]
        case "SP-13":
            return pool_noise(spec, 1)
        case "SP-13/leading":
            return pool_noise(spec, 0)
        case "SP-14":
            return accumulated(spec, generations)
        case "SP-15/ve":
            first = second_moment(law)
            return [second_moment(parts) - first for parts in chain(spec, generations)]
        case "SP-15/fourier":
            return waves(limit(spec))
        case "SP-16":
            return [second_moment(limit(spec))]
        case "SP-16/denoised":
            level, noise = law[0][2], (1 - scale**2) / scale**2
            path = [level]
            for _ in range(generations):
                path.append(path[-1] ** 2 / (path[-1] + noise))
            return [[v] for v in path]
        case "SP-17":
            rated = [mpf(1) if m == 0 else share / (share + m * rate * last) for m in range(spec.order + 1)]
            return [g * c for g, c in zip(rated, modes(law, spec.order), strict=True)]
        case "SP-18":
            return modes(law, spec.order, unit)
        case "SP-19":
            power, size = exact(spec.error_power), exact(spec.error_scale)
            return mpmath.log(power * size / (rate * mpmath.sqrt(fisher(law)))) / (1 + power)
    raise KeyError(id)
