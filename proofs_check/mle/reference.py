"""Every prediction of the library anew, in 40 digits, from the definition of the chain: moments round by round.

Nothing is shared with the library: no closed form where a recursion of moments says the same, no stable rewriting where
40 digits do not need one. ``predict(id, spec, rounds)`` returns values as nested lists, entry 0 the truth.
"""

from collections.abc import Callable

import mpmath as mp
import numpy as np
from mpmath import mpf

DIGITS = 40
ONE = mpf(1)


def exact(value):
    return mpf(float(value))


class Case:
    """The numbers of a spec as exact fractions."""

    def __init__(self, spec, rounds: int):
        self.spec, self.rounds = spec, rounds
        for name in ("mean", "size", "threshold", "fuse"):
            setattr(self, name, exact(getattr(spec, name)))
        self.variances = [exact(v) for v in np.ravel(np.asarray(spec.variance, float))]
        self.variance = self.variances[0]
        self.weights = [exact(v) for v in np.asarray(spec.weights, float)]
        self.weight = None if spec.real_weight is None else exact(spec.real_weight)
        self.sizes = [exact(v) for v in np.broadcast_to(np.asarray(spec.batch, float), max(rounds, 1))[:rounds]]
        self.shares = [exact(v) for v in np.broadcast_to(np.asarray(spec.real_fraction, float), max(rounds, 1))]
        self.n, self.share = exact(np.ravel(spec.batch)[0]), self.shares[0]
        self.kept = spec.regime == "accumulate"

    def steps(self):
        """a_t."""
        total, found = mpf(0), []
        for n in self.sizes:
            total += n
            found.append(n / total**2 if self.kept else 1 / n)
        return found

    def start(self):
        """Variance of a real point, and the coefficient of m^2 in the variance of a point of mean m."""
        m, s = self.mean, self.size
        table = {
            "bernoulli": (m - m**2, -ONE),
            "binomial": (s * (m / s) * (1 - m / s), -1 / s),
            "poisson": (m, 0 * ONE),
            "gaussian": (self.variance, 0 * ONE),
            "exponential": (m**2, ONE),
            "gamma": (s * (m / s) ** 2, 1 / s),
            "negative-binomial": (m * (1 + m / s), 1 / s),
            "beta": (1 / m**2, ONE),
        }
        return table[self.spec.family]

    def symbols(self):
        return self.weights if self.spec.family == "multinomial" else [self.mean, 1 - self.mean]

    def shapes(self):
        return [n * (self.size if self.spec.family == "gamma" else 1) for n in self.sizes]

    def divisor(self, n):
        return n if self.spec.divisor == "n" else n - 1


def wander(case, start, curvature):
    """E V(m_t) and Var m_t."""
    noise, variance = [start], [mpf(0)]
    for a in case.steps():
        variance.append(variance[-1] + a * noise[-1])
        noise.append(noise[-1] + curvature * a * noise[-1])
    return noise, variance


def means(case):
    return wander(case, *case.start())


def kept_for_ever(case):
    """From E V after all rounds: what the variance of a point has changed by, over v_2."""
    start, curvature = case.start()
    if curvature == 0:
        return start / case.n * mp.zeta(2)
    return start / curvature * (mp.nprod(lambda i: 1 + curvature / (case.n * i**2), [1, mp.inf]) - 1)


def shared(case):
    """D_t with a fresh real share, by the law of total variance; entry 0 the truth."""
    start, curvature = case.start()
    path = [mpf(0)]
    for n, share in zip(case.sizes, case.shares, strict=False):
        old = path[-1]
        made = start + curvature * old  # E V(m)
        if case.spec.split == "random":
            # a point has mean (1-share) d and variance (1-share) V + share V_0 + share (1-share) d^2
            noise = ((1 - share) * made + share * start + share * (1 - share) * old) / n
        else:
            noise = ((1 - share) * made + share * start) / n
        path.append((1 - share) ** 2 * old + noise)
    return path


def fixed_point(step):
    """The fixed point of an affine map, infinite where its slope is 1 or more."""
    zero = step(mpf(0))
    slope = step(ONE) - zero
    return mp.inf if slope >= 1 else zero / (1 - slope)


def shared_limit(case):
    start, curvature = case.start()
    n, share = case.n, case.share

    def step(old):
        made = start + curvature * old
        extra = share * (1 - share) * old if case.spec.split == "random" else 0
        return (1 - share) ** 2 * old + ((1 - share) * made + share * start + extra) / n

    return fixed_point(step)


def weighted(case, weight=None):
    start, curvature = case.start()
    weight = case.weight if weight is None else weight
    real, made = case.share * case.n, (1 - case.share) * case.n
    return fixed_point(
        lambda old: (1 - weight) ** 2 * (old + (start + curvature * old) / made) + weight**2 * start / real
    )


def best_weight(case):
    return mp.findroot(lambda w: mp.diff(lambda v: weighted(case, v), w), (mpf("0.2"), mpf("0.7")), solver="anderson")


def anchored(case, rounds=None):
    """D_t with a kept anchor: variance and covariance with the anchor's mean."""
    start, curvature = case.start()
    share, n = case.share, case.n
    old, met, path = mpf(0), mpf(0), [mpf(0)]
    for number in range(1, (case.rounds if rounds is None else rounds) + 1):
        if number == 1:
            # the anchor and the rest of the first batch
            old, met = start / n, start / n
        else:
            anchor = start / (share * n) if share else mpf(0)
            noise = (start + curvature * old) / n / (1 - share) if share < 1 else mpf(0)
            old, met = (
                share**2 * anchor + (1 - share) ** 2 * (old + noise) + 2 * share * (1 - share) * met,
                share * anchor + (1 - share) * met,
            )
        path.append(old)
    return path


def anchored_limit(case):
    start, curvature = case.start()
    share, n = case.share, case.n
    anchor = start / (share * n)
    return fixed_point(
        lambda old: (
            share**2 * anchor
            + (1 - share) ** 2 * old
            + (1 - share) * (start + curvature * old) / n
            + 2 * share * (1 - share) * anchor
        )
    )


def subsampled(case):
    """By the second moments of pool points: chance that two draws are one point, mean products within and across."""
    start, curvature = case.start()
    n, path = case.n, [mpf(0)]
    pooled = square = mpf(0)  # E (pool mean)^2, mean of E x^2, about the truth
    for t in range(1, case.rounds + 1):
        old = path[-1]
        made = start + curvature * old
        batch = old + made / n  # E of the square of a batch's mean
        # sum over batches of products with the new one: the old pool's mean times the new model's
        pooled = (mpf(t - 1) ** 2 * pooled + 2 * (t - 1) * pooled + batch) / mpf(t) ** 2
        square = ((t - 1) * square + made + old) / t
        points = n * t
        if case.spec.replacement == "with":
            path.append(square / n + (1 - 1 / n) * pooled)
        else:
            pairs = (points**2 * pooled - points * square) / (points * (points - 1)) if points > 1 else mpf(0)
            path.append(square / n + (1 - 1 / n) * pairs)
    return path


def leading_subsample(case):
    start, _ = case.start()
    path = [mpf(0)]
    for t in range(1, case.rounds + 1):
        if case.spec.replacement == "with":
            total = 2 + sum(mpf(2) / i**2 for i in range(2, t + 1))
        else:
            total = 1 + sum((2 - mpf(1) / (i - 1)) / i**2 for i in range(2, t + 1)) + 1 - mpf(1) / t
        path.append(start / case.n * total)
    return path


def running(case, factor, first=ONE):
    """Products of factor(n_t)."""
    path = [first]
    for n in case.sizes:
        path.append(path[-1] * factor(n))
    return path


def added(case, term):
    path = [mpf(0)]
    for n in case.sizes:
        path.append(path[-1] + term(n))
    return path


def chi_scale(case, n):
    return mp.sqrt(2 / case.divisor(n)) * mp.gamma(n / 2) / mp.gamma((n - 1) / 2)


def chi_log(case, n, lost=1):
    return mp.ninf if n <= lost else mp.digamma((n - lost) / 2) + mp.log(2 / case.divisor(n))


def replaced_mean(case, variance):
    path, current = [mpf(0)], variance
    for n in case.sizes:
        path.append(path[-1] + current / n)
        current = current * (n - 1) / case.divisor(n)
    return path


def w2(case):
    """E (mu_t - mu_0)^2 + E sigma_t^2 - 2 sigma_0 E sigma_t + sigma_0^2."""
    shrunk = running(case, lambda n: chi_scale(case, n))
    squares = running(case, lambda n: (n - 1) / case.divisor(n), case.variance)
    moved = replaced_mean(case, case.variance)
    return [w + s - 2 * case.variance * c + case.variance for w, s, c in zip(moved, squares, shrunk, strict=True)]


def kept_variances(case, variance):
    """E of the fitted variance and of the squared error of the mean, from sums of squares about the pool's mean."""
    fitted, mean, path, wander, total = variance, mpf(0), [variance], [mpf(0)], mpf(0)
    for n in case.sizes:
        before, total = total, total + n
        mean = mean + (n / total) ** 2 * fitted / n
        scatter = fitted * (case.divisor(before) if before else 0) + (n - 1) * fitted
        scatter += before * n / total * fitted / n if before else 0
        fitted = scatter / case.divisor(total)
        path.append(fitted)
        wander.append(mean)
    return path, wander


def kept_limit(case, variance):
    n = case.n
    if case.spec.divisor == "n":
        value = mp.nprod(lambda i: 1 - 1 / (n * i**2), [1, mp.inf]) if n > 1 else mpf(0)
        return variance * value
    return variance * mp.nprod(lambda i: 1 - 1 / (i * (n * i - 1)), [2, mp.inf])


def columns(case, path):
    """One column a direction, or none."""
    paths = [path(variance) for variance in case.variances]
    if not case.spec.variance.ndim:
        return paths[0]
    return [list(row) for row in zip(*paths, strict=True)]


def log_volume(case):
    return added(case, lambda n: mp.fsum(chi_log(case, n, j) for j in range(1, len(case.variances) + 1)))


def rank(case):
    path = [mpf(len(case.variances))]
    for n in case.sizes:
        path.append(min(path[-1], n - 1))
    return path


def survival(case, factors):
    return [min(ONE, mp.sqrt(case.variance) / case.threshold * f) for f in factors]


def survival_by_moment(case):
    ratio, a, divisor = case.variance / case.threshold**2, (case.n - 1) / 2, case.divisor(case.n)
    path = [ONE if ratio >= 1 else mpf(0)]
    for k in range(1, case.rounds + 1):

        def logs(s, k=k):
            return s * mp.log(ratio) + k * (s * mp.log(2 / divisor) + mp.loggamma(a + s) - mp.loggamma(a))

        # convex in s: a search that knows no slope, then the slope's zero
        low, high = mpf(0), mpf(1)
        while logs(2 * high) < logs(high):
            high *= 2
        high *= 2
        slope = lambda s, k=k: mp.log(ratio) + k * (mp.log(2 / divisor) + mp.digamma(a + s))  # noqa: E731
        best = mpf(0) if slope(mpf(0)) >= 0 else mp.findroot(slope, (low, high), solver="anderson")
        path.append(min(ONE, mp.exp(logs(best))))
    return path


def diversity(case):
    return wander(case, sum(p - p**2 for p in case.symbols()), -ONE)


def unfixed(case):
    bound = [case.n**2 / (2 * (case.n - 1)) * h for h in diversity(case)[0]]
    return [ONE, *(min(ONE, value) for value in bound[1:])]


def fixation_time(case):
    n, p = int(case.n), case.mean
    if p in (0, 1):
        return mpf(0)

    def row(q):
        return [mp.binomial(n, i) * q**i * (1 - q) ** (n - i) for i in range(1, n)]

    if n == 1:
        return ONE
    with mp.workdps(25):
        matrix = mp.matrix(n - 1, n - 1)
        for i in range(1, n):
            for j, value in enumerate(row(mpf(i) / n)):
                matrix[i - 1, j] = (1 if i - 1 == j else 0) - value
        tau = mp.lu_solve(matrix, mp.matrix([1] * (n - 1)))
        return 1 + mp.fsum(c * tau[i] for i, c in enumerate(row(p)))


def dead(rounds):
    """q_0, q_1, ..."""
    path = [mpf(0)]
    for _ in range(rounds):
        path.append(mp.exp(path[-1] - 1))
    return path


def alive(case, chance):
    """Survival curve from its values at k >= 1."""
    watched = case.symbols()[0] * case.n
    return [ONE if watched > 0 else mpf(0), *(chance(k, watched) for k in range(1, case.rounds + 1))]


def inverse_mean(case):
    true = case.mean if case.spec.family == "beta" else 1 / case.mean
    path = [true]
    for shape in case.shapes():
        path.append(path[-1] * shape / (shape - 1) if shape > 1 else mp.inf)
    return path


def true_mean(case):
    return 1 / case.mean if case.spec.family == "beta" else case.mean


def left_ball(case):
    path, total = [mpf(0)], mpf(0)
    for a in case.steps():
        total += a
        path.append(min(ONE, 2 * mp.erfc(case.threshold / mp.sqrt(2 * case.variance * total))))
    return path


B = 4 * mp.log(2)


def ladder(log_z):
    """E z^steps of a ladder of the walk E/4 - ln 2."""
    least = 4 * (1 - 1 / B)
    root = mp.findroot(
        lambda theta: -theta * mp.log(2) - mp.log(1 - theta / 4) + log_z, (least, 4 - mpf(10) ** -30), solver="anderson"
    )
    return 1 - root / 4


def over_gap(case, kept):
    """Mean of kept(min(1/2, 1 - x_max)) over the largest of n uniform points."""
    n = case.n
    inner = mp.quad(
        lambda y: n * (1 - y) ** (n - 1) * kept(y),
        [0, 1 / n, 4 / n, 16 / n, mpf(1) / 2] if n > 40 else mp.linspace(0, mpf(1) / 2, 6),
    )
    return inner + mpf(2) ** -n * kept(mpf(1) / 2)


def first_tail(case):
    gamma = 2 * (B - 1 - mp.log(B)) / B
    stays = 1 - ladder(mpf(0))
    constant = stays / (1 - gamma / 2) / (1 - 1 / (1 - gamma / 2) / B)
    return min(ONE, constant * case.n ** (-gamma * case.threshold))


def waiting(case):
    return [over_gap(case, lambda y, t=t: (1 - y / 2) ** (case.n * t)) for t in range(case.rounds + 1)]


def visit_gap(case):
    j = case.spec.interval
    return (case.fuse ** (j - 1) - case.n) * mp.log(3 * j) + mp.log(4 * j)


def kl(case):
    parameters = 2 if case.spec.family == "normal" else 1
    path = [mpf(0)]
    for a in case.steps():
        path.append(path[-1] + parameters * a / 2)
    return path


REFERENCES: dict[str, Callable] = {
    "MLE-1": lambda c: means(c)[1],
    "MLE-1/accumulate": lambda c: means(c)[1],
    "MLE-1/mean": lambda c: [true_mean(c)] * (c.rounds + 1),
    "MLE-1/spread": lambda c: means(c)[0],
    "MLE-2": kept_for_ever,
    "MLE-2/replace": lambda c: c.start()[0] / -c.start()[1] if c.start()[1] < 0 else mp.inf,
    "MLE-3": shared,
    "MLE-3/fixed": shared,
    "MLE-3/limit": shared_limit,
    "MLE-4": weighted,
    "MLE-4/weight": best_weight,
    "MLE-5": anchored,
    "MLE-5/limit": anchored_limit,
    "MLE-6": subsampled,
    "MLE-6/leading": leading_subsample,
    "MLE-7": lambda c: running(c, lambda n: (n - 1) / c.divisor(n), c.variance),
    "MLE-7/scale": lambda c: running(c, lambda n: chi_scale(c, n), mp.sqrt(c.variance)),
    "MLE-7/log": lambda c: added(c, lambda n: chi_log(c, n)),
    "MLE-7/spread": lambda c: added(c, lambda n: mp.polygamma(1, (n - 1) / 2)),
    "MLE-7/mean": lambda c: replaced_mean(c, c.variance),
    "MLE-7/w2": w2,
    "MLE-8": lambda c: columns(c, lambda v: kept_variances(c, v)[0]),
    "MLE-8/mean": lambda c: columns(c, lambda v: kept_variances(c, v)[1]),
    "MLE-8/limit": lambda c: (
        [kept_limit(c, v) for v in c.variances] if c.spec.variance.ndim else kept_limit(c, c.variance)
    ),
    "MLE-9": log_volume,
    "MLE-9/covariance": lambda c: columns(c, lambda v: running(c, lambda n: (n - 1) / c.divisor(n), v)),
    "MLE-9/rank": rank,
    "MLE-10": lambda c: survival(c, running(c, lambda n: mp.exp(-1 / (4 * n)))),
    "MLE-10/mean": lambda c: survival(c, running(c, lambda n: chi_scale(c, n))),
    "MLE-10/moment": survival_by_moment,
    "MLE-11": lambda c: diversity(c)[0],
    "MLE-11/accumulate": lambda c: diversity(c)[0],
    "MLE-11/distance": lambda c: [diversity(c)[0][0] - h for h in diversity(c)[0]],
    "MLE-11/fixation": lambda c: c.symbols(),
    "MLE-11/support": lambda c: sum(1 - (1 - p) ** c.n for p in c.symbols()),
    "MLE-12": unfixed,
    "MLE-12/time": fixation_time,
    "MLE-12/diffusion": lambda c: -2 * c.n * sum(p * mp.log(p) for p in c.symbols() if p > 0),
    "MLE-13": lambda c: alive(c, lambda k, count: 1 - mp.exp(-count / k)),
    "MLE-13/branching": lambda c: alive(c, lambda k, count: 1 - dead(k)[k] ** count),
    "MLE-13/late": lambda c: alive(c, lambda k, count: 1 - mp.exp(-2 * count / k)),
    "MLE-14": lambda c: [mpf(c.mean == 0), *(dead(t)[t] ** (c.n * c.mean) for t in range(1, c.rounds + 1))],
    "MLE-15": lambda c: [mpf(0), *np.cumsum([mp.digamma(k) - mp.log(k) for k in c.shapes()])],
    "MLE-15/spread": lambda c: [mpf(0), *np.cumsum([mp.polygamma(1, k) for k in c.shapes()])],
    "MLE-15/square": lambda c: [
        true_mean(c) ** 2 * mp.fprod(1 + 1 / k for k in c.shapes()[:t]) for t in range(c.rounds + 1)
    ],
    "MLE-15/inverse": inverse_mean,
    "MLE-16": left_ball,
    "MLE-17": kl,
    "MLE-18": first_tail,
    "MLE-19": lambda c: 1 - over_gap(c, lambda y: (1 - y / 4) ** c.n),
    "MLE-19/tv": lambda c: [mpf(0)] * (c.rounds + 1),
    "MLE-19/first": lambda c: ONE,
    "MLE-19/usual": lambda c: 1 - ladder(mpf(0)),
    "MLE-19/point": lambda c: 1 - mpf(4) / 5 * (1 - ladder(mpf(0))) / (1 - mpf(4) / 5 * ladder(-mp.log(2))),
    "MLE-19/forced": lambda c: ONE / 10,
    "MLE-20": lambda c: mpf(3) / 8,
    "MLE-21": waiting,
    "MLE-21/limit": lambda c: [mpf(2) / (2 + t) for t in range(c.rounds + 1)],
    "MLE-21/gap": visit_gap,
    "MLE-21/tv": lambda c: 1 - mpf(1) / 4,
}


def predict(id: str, spec, rounds: int):
    """Nested lists of 40-digit numbers."""
    with mp.workdps(DIGITS):
        return REFERENCES[id](Case(spec, rounds))
