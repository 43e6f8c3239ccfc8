"""Every result of contaminated training again, by loops over rounds in numbers of 40 digits, from the definitions.

``risks`` runs second moments of the chain (matrices, not the scalar that theory found); laws of large n and late laws
are written down as the sheet of the subject states them.
"""

import mpmath as mp
import numpy as np

mp.mp.dps = 40


def numbers(values):
    return [mp.mpf(float(v)) for v in np.ravel(np.asarray(values, float))]


class Chain:
    """The numbers of a spec, with its rounded sizes and shares as the library gives them in its own precision."""

    def __init__(self, spec, generations):
        self.tokens = spec.tokens
        self.rows = [numbers(row) for row in np.asarray(spec.truth, float).reshape(-1, spec.tokens)]
        self.truth = self.rows[0]
        self.real = mp.mpf(float(spec.start_size))
        self.c, self.n = mp.mpf(float(np.ravel(spec.real_fraction)[0])), mp.mpf(float(np.ravel(spec.size)[0]))
        self.a, self.b = mp.mpf(float(spec.real_power)), mp.mpf(float(spec.size_power))
        rounds = range(1, generations + 1)
        fraction = np.broadcast_to(
            np.asarray(spec.real_fraction, float),
            (generations,) if spec.real_fraction.ndim == 0 else spec.real_fraction.shape,
        )
        self.shares = [
            min(mp.mpf(1), mp.mpf(float(f)) * mp.power(t, -self.a)) for t, f in zip(rounds, fraction, strict=False)
        ]
        self.sizes = numbers(np.asarray(spec.sizes(generations)).round())
        self.smoothing = mp.mpf(float(spec.smoothing))
        self.generations = generations
        self.spec = spec

    @property
    def diversity(self):
        return 1 - sum(p * p for p in self.truth)


def second_moments(chain):
    """E hat P_t hat P_t' by the tower rule, matrix by matrix: nothing is assumed of its form."""
    size = chain.tokens
    real = mp.matrix([[p * q for q in chain.truth] for p in chain.truth])

    def drawn(moment, count):
        """Second moment of proportions of ``count`` tokens of a random law with this second moment and mean p*."""
        kept = moment * (1 - 1 / count)
        for i in range(size):
            kept[i, i] += chain.truth[i] / count
        return kept

    path = [drawn(real, chain.real)]
    for share, count in zip(chain.shares, chain.sizes, strict=True):
        mixed = real * (share**2 + 2 * share * (1 - share)) + path[-1] * (1 - share) ** 2
        path.append(drawn(mixed, count))
    return [moment - real for moment in path]


def trace(matrix):
    return sum(matrix[i, i] for i in range(matrix.rows))


def risks(chain):
    return [trace(m) for m in second_moments(chain)]


def inverse(chain):
    """A_t."""
    return [r / chain.diversity for r in risks(chain)]


def kept_risks(chain):
    """Second moments of the proportions of all data, from those of the new counts given the old ones."""
    path, total, spread = [chain.diversity / chain.real], chain.real, chain.diversity
    for share, count in zip(chain.shares, chain.sizes, strict=True):
        before = path[-1]
        # law of the round: p* + (1 - share) x, x the error so far; its own noise is H of that law over count
        noise = (spread - (1 - share) ** 2 * before) / count
        new = (1 - share) ** 2 * before + noise  # of the round's own proportions
        cross = (1 - share) * before
        old, fresh = total / (total + count), count / (total + count)
        path.append(old**2 * before + 2 * old * fresh * cross + fresh**2 * new)
        total += count
    return path


def anchored_risks(chain):
    """The chain about its anchor, and the anchor about the truth."""
    path = [mp.mpf(0)]
    spread = chain.diversity * (1 - 1 / chain.real)  # mean of 1 - |r|^2
    for share, count in zip(chain.shares, chain.sizes, strict=True):
        before = (1 - share) ** 2 * path[-1]
        path.append(before + (spread - before) / count)
    return [chain.diversity / chain.real + value for value in path]


def binomial_mean(count, chance, function):
    """E f(B) by summing."""
    count = int(count)
    weight, total = (1 - chance) ** count, mp.mpf(0)
    if chance == 1:
        return function(count)
    for k in range(count + 1):
        total += weight * function(k)
        weight *= mp.mpf(count - k) / (k + 1) * chance / (1 - chance)
    return total


def filter_risks(chain):
    path = [chain.diversity / chain.real]
    for share, count in zip(chain.shares, chain.sizes, strict=True):
        some = 1 - (1 - share) ** count
        path.append(chain.diversity * binomial_mean(count, share, lambda k: mp.mpf(1) / k if k else mp.mpf(0)) / some)
    return path


def pool_risks(chain):
    """The number of real tokens so far, its whole distribution round by round."""
    law, path = {0: mp.mpf(1)}, [chain.diversity / chain.real]
    for share, count in zip(chain.shares, chain.sizes, strict=True):
        grown = {}
        for k in range(int(count) + 1):
            chance = mp.binomial(int(count), k) * share**k * (1 - share) ** (int(count) - k)
            for j, weight in law.items():
                grown[j + k] = grown.get(j + k, mp.mpf(0)) + weight * chance
        law = grown
        path.append(chain.diversity * sum(weight / (chain.real + j) for j, weight in law.items()))
    return path


def total_risks(chain):
    weights = numbers(chain.spec.contexts)
    spreads = [1 - sum(p * p for p in row) for row in chain.rows]
    path = [[1 / chain.real] * len(weights)]
    for share, count in zip(chain.shares, chain.sizes, strict=True):
        now = []
        for chance, before in zip(weights, path[-1], strict=True):

            def after(k, before=before, share=share):
                return before if k == 0 else mp.mpf(1) / k + (1 - mp.mpf(1) / k) * (1 - share) ** 2 * before

            now.append(binomial_mean(count, chance, after))
        path.append(now)
    return [sum(w * h * a for w, h, a in zip(weights, spreads, row, strict=True)) for row in path]


def poisson_risks(chain):
    path = [1 / chain.real]
    for share, count in zip(chain.shares, chain.sizes, strict=True):
        mean, chance, weight = count - 1, mp.mpf(0), mp.exp(1 - count)
        for k in range(400):
            chance += weight / (k + 1)
            weight *= mean / (k + 1)
        path.append(chance + (1 - chance) * (1 - share) ** 2 * path[-1])
    return [chain.diversity * value for value in path]


def smoothed_means(chain):
    added = chain.tokens * chain.smoothing
    path = [[(chain.real * p + chain.smoothing) / (chain.real + added) for p in chain.truth]]
    for share, count in zip(chain.shares, chain.sizes, strict=True):
        law = [share * p + (1 - share) * q for p, q in zip(chain.truth, path[-1], strict=True)]
        path.append([(count * q + chain.smoothing) / (count + added) for q in law])
    return path


def variances(chain):
    path = [1 / chain.real]
    for share, count in zip(chain.shares, chain.sizes, strict=True):
        path.append(1 / count + (1 - share) ** 2 * path[-1])
    return path


def late_mean(chain, law):
    times = range(chain.generations // 2 + 1, chain.generations + 1)
    return chain.diversity * sum(law(mp.mpf(t)) for t in times) / len(times)


def settled(chain):
    share, count = chain.shares[0], chain.sizes[0]
    return count * share * (2 - share) + (1 - share) ** 2


def quasi_static(chain):
    pairs = zip(chain.shares, chain.sizes, strict=True)
    return [1 / chain.real] + [1 / (n * s * (2 - s) + (1 - s) ** 2) for s, n in pairs]


def designed(chain):
    path = inverse(chain)
    sizes = [
        (1 - (1 - s) ** 2 * before) / (after - (1 - s) ** 2 * before) if after > (1 - s) ** 2 * before else mp.inf
        for s, before, after in zip(chain.shares, path, path[1:], strict=False)
    ]
    return [chain.real, *sizes]


def break_even(share, effective):
    gained = 1 - (1 - share) ** 2
    return (effective - (1 - share) ** 2) / gained if gained else mp.inf


def steady(chain):
    sizes, out = [chain.real, *chain.sizes], []
    for t in range(chain.generations + 1):
        least = min([mp.mpf(1), *chain.shares[:t]])
        out.append(
            chain.diversity
            * sum((1 - least) ** (2 * (t - s)) / sizes[s] if t > s else 1 / sizes[s] for s in range(t + 1))
        )
    return out


def decaying(chain):
    out = []
    for t in range(chain.generations + 1):
        bounds = [mp.mpf(1) if t else 1 / chain.real]
        for s in range(t + 1):
            product, worst = mp.mpf(1), mp.mpf(0)
            for u in range(s, t):
                share = chain.shares[u]
                product *= (1 - share) ** 2
                worst = max(worst, 1 / (chain.sizes[u] * share * (2 - share)) if share else mp.inf)
            bounds.append(product * (1 / chain.real if s == 0 else 1) + worst)
        out.append(chain.diversity * min(bounds))
    return out


def products(chain, start):
    out = [mp.mpf(start)]
    for share in chain.shares:
        out.append(out[-1] * (1 - share) ** 2)
    return out


def remembered(chain):
    sizes, best = [chain.real, *chain.sizes], mp.mpf(0)
    for s in range(chain.generations + 1):
        product = mp.mpf(1)
        for u in range(s, chain.generations):
            product *= (1 - chain.shares[u]) ** 2
        best = max(best, product / sizes[s])
    return chain.diversity * best


def beta_fourth(chain, p):
    total = 2 * chain.sizes[0] * chain.shares[0]
    first, second = total * p, total * (1 - p)
    raw = [mp.mpf(1)]
    for k in range(4):
        raw.append(raw[-1] * (first + k) / (first + second + k))
    return sum(mp.binomial(4, k) * raw[k] * (-p) ** (4 - k) for k in range(5))


def absent(chain, p):
    total, low = 2 * chain.sizes[0] * chain.shares[0], 1 / (2 * chain.sizes[0])
    return mp.betainc(total * p, total * (1 - p), 0, low, regularized=True)


def kept_limit(chain):
    ratio, root = chain.real / chain.sizes[0], 1 / mp.sqrt(chain.sizes[0])
    product = mp.gamma(1 + ratio) ** 2 / (mp.gamma(1 + ratio - root) * mp.gamma(1 + ratio + root))
    return chain.diversity * (1 - (1 - 1 / chain.real) * product)


def harmonic(chain):
    rest = 2 * chain.c + 1 - chain.b
    if abs(rest) < 1e-6:
        return lambda t: t ** (-2 * chain.c) * mp.log(t) / chain.n
    return lambda t: t ** (1 - chain.b) / (rest * chain.n)


def slope(chain):
    if chain.a < 1:
        return min(chain.a - chain.b, mp.mpf(0))
    return mp.mpf(0) if chain.a > 1 else -max(min(chain.b - 1, 2 * chain.c), mp.mpf(0))


def kept_late(chain):
    share, count = chain.shares[0], chain.sizes[0]
    if abs(share - mp.mpf(1) / 2) < 1e-6:
        return late_mean(chain, lambda t: mp.log(t) / (count * t))
    return late_mean(chain, lambda t: 1 / ((2 * share - 1) * count * t))


def covariances(chain):
    return [[[m[i, j] for j in range(chain.tokens)] for i in range(chain.tokens)] for m in second_moments(chain)]


def risk_of(factor):
    return lambda chain: [factor(chain) for _ in range(chain.generations + 1)]


REFERENCES = {
    "CON-1": risks,
    "CON-2": covariances,
    "CON-2/mean": lambda c: [c.truth] * (c.generations + 1),
    "CON-2/size": lambda c: [1 / a for a in inverse(c)],
    "CON-3": risks,
    "CON-3/unrolled": risks,
    "CON-3/limit": lambda c: c.diversity,
    "CON-4": risks,
    "CON-4/limit": lambda c: c.diversity / settled(c),
    "CON-5": lambda c: break_even(c.shares[0], c.real),
    "CON-5/never": risk_of(lambda c: c.diversity / c.real),
    "CON-6": designed,
    "CON-6/step": lambda c: break_even(Chain(c.spec, c.generations + 1).shares[-1], 1 / inverse(c)[-1]),
    "CON-6/floor": lambda c: [mp.mpf(1)] + [(1 - s) ** 2 for s in c.shares],
    "CON-7": steady,
    "CON-7/decaying": decaying,
    "CON-7/size": lambda c: [c.diversity / n for n in (c.real, *c.sizes)],
    "CON-7/summable": lambda c: products(c, c.diversity / c.real),
    "CON-8": slope,
    "CON-8/share": lambda c: late_mean(c, lambda t: t ** (c.a - c.b) / (2 * c.c * c.n)),
    "CON-8/harmonic": lambda c: late_mean(c, harmonic(c)),
    "CON-8/balance": lambda c: c.diversity / (1 + 2 * c.c * c.n),
    "CON-8/collapse": lambda c: c.diversity,
    "CON-8/summable": remembered,
    "CON-9": lambda c: [c.diversity * q for q in quasi_static(c)],
    "CON-9/product": lambda c: (
        [c.diversity / c.real] + [c.diversity / (1 + 2 * n * s) for n, s in zip(c.sizes, c.shares, strict=True)]
    ),
    "CON-10": filter_risks,
    "CON-10/pool": pool_risks,
    "CON-10/mixing": lambda c: c.diversity / (c.sizes[0] * c.shares[0]) if c.shares[0] else mp.inf,
    "CON-11": kept_risks,
    "CON-12": lambda c: -min(mp.mpf(1), 2 * c.shares[0]),
    "CON-12/constant": kept_late,
    "CON-12/none": risk_of(kept_limit),
    "CON-13": anchored_risks,
    "CON-13/floor": risk_of(lambda c: c.diversity / c.real),
    "CON-14": lambda c: [p * (1 - p) / (2 * c.sizes[0] * c.shares[0] + 1) for p in c.truth],
    "CON-14/fourth": lambda c: [beta_fourth(c, p) for p in c.truth],
    "CON-14/absence": lambda c: [absent(c, p) for p in c.truth],
    "CON-15": lambda c: [sum(m[i, i] / p for i, p in enumerate(c.truth)) for m in second_moments(c)],
    "CON-15/kl": lambda c: [(c.tokens - 1) * a / 2 for a in inverse(c)],
    "CON-15/tv": lambda c: [mp.sqrt(a * c.diversity * c.tokens) / 2 for a in inverse(c)],
    "CON-16": total_risks,
    "CON-16/random": poisson_risks,
    "CON-17": lambda c: [c.spec.features.shape[0] * v / 2 for v in variances(c)],
    "CON-17/error": variances,
    "CON-17/limit": lambda c: c.spec.features.shape[0] / (2 * c.sizes[0] * c.shares[0] * (2 - c.shares[0])),
    "CON-18": smoothed_means,
    "CON-18/limit": lambda c: [
        p + c.tokens * c.smoothing / (c.tokens * c.smoothing + c.sizes[0] * c.shares[0]) * (mp.mpf(1) / c.tokens - p)
        for p in c.truth
    ],
}


def predictions(id, spec, generations):
    """The reference values of a result as a float array."""

    def plain(value):
        return [plain(v) for v in value] if isinstance(value, list) else float(value)

    return np.array(plain(REFERENCES[id](Chain(spec, generations))))
