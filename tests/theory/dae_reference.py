"""The denoising-autoencoder chain from its definition, in 50 digits: what the closed forms are held against.

Nothing here is shared with the library: curves are the plain recursion of one direction at a time, limits are roots
of a polynomial chosen by following the chain, integrals are quadrature.
"""

import mpmath
from mpmath import mpf

mpmath.mp.dps = 50
SMALLEST = mpmath.exp(-(mpf(10) ** 15))  # the documented floor of logarithms


def numbers(spec):
    """Fields of a spec as exact 50-digit numbers."""
    exact = {name: mpf(float(getattr(spec, name))) for name in ("noise_var", "resample_noise_var")}
    exact |= {name: mpf(float(getattr(spec, name))) for name in ("real_fraction", "weight_decay")}
    return [mpf(float(value)) for value in spec.spectrum], exact


def moments(spec, generations):
    """Eigenvalues of the training second moment, ``[generations + 1][d]``, exact numbers (no under- or overflow)."""
    spectrum, v = numbers(spec)
    columns = [
        _direction(real, v, spec.feed, spec.regime, index < spec.width, generations)
        for index, real in enumerate(spectrum)
    ]
    return [list(row) for row in zip(*columns, strict=True)]


def _direction(real, v, feed, regime, passes, generations):
    noise, resample, share, decay = v["noise_var"], v["resample_noise_var"], v["real_fraction"], v["weight_decay"]
    pool, block, path = real, real, [real]
    floor = SMALLEST if real > 0 else mpf(0)
    for generation in range(1, generations + 1):
        gain = max(mpf(0), (pool - decay) / (pool + noise)) if passes else mpf(0)
        fed = {"chain": block, "pool": pool, "prior": mpf(0)}[feed]
        block = gain * gain * (fed + resample)
        block = max(block, floor) if gain > 0 and (fed > 0 or resample > 0) else block
        if regime == "accumulate":
            pool = (generation * pool + block) / (generation + 1)
        else:
            pool = share * real + (1 - share) * block
        path.append(pool)
    return path


def gains(spec, generations):
    """Gains of the fitted map, ``[generations + 1][d]``."""
    _, v = numbers(spec)
    decay, noise = v["weight_decay"], v["noise_var"]
    return [
        [max(mpf(0), (m - decay) / (m + noise)) if index < spec.width else mpf(0) for index, m in enumerate(row)]
        for row in moments(spec, generations)
    ]


def step(snr, ratio):
    """One round of replacement."""
    return snr**2 * (snr + ratio) / (snr + 1) ** 2


def snrs(spec):
    """Real SNRs and the noise ratio."""
    spectrum, v = numbers(spec)
    return [value / v["noise_var"] for value in spectrum], v["resample_noise_var"] / v["noise_var"]


def _positive_roots(coefficients):
    while coefficients and coefficients[0] == 0:
        coefficients = coefficients[1:]
    if len(coefficients) < 2:
        return []
    with mpmath.workdps(120):
        if len(coefficients) == 3:
            square, linear, constant = coefficients
            root = mpmath.sqrt(linear**2 - 4 * square * constant)
            roots = [(-linear - root) / (2 * square), (-linear + root) / (2 * square)]
        else:
            roots = mpmath.polyroots(coefficients, maxsteps=200, extraprec=200)
    return sorted(mpmath.re(r) for r in roots if abs(mpmath.im(r)) < mpf(10) ** -40 and mpmath.re(r) > 0)


def stable_and_border(real, ratio, share, feed):
    """(limit from a low start, border, limit from a high start) of one direction: roots of y' = y as a polynomial."""
    if feed == "chain":
        roots = _positive_roots([2 - (1 - share) * ratio, 1 - 2 * share * real, -share * real])
    elif share == 1:
        roots = [real] if real > 0 else []
    else:
        square = 2 - share * real - (1 - share) * ratio
        roots = _positive_roots([share, square, 1 - 2 * share * real, -share * real])
    if share == 0 or real == 0:
        roots = [mpf(0), *roots]  # without a real part nothing is a state too

    def rises(y):
        if feed == "pool":
            return share * real + (1 - share) * step(y, ratio) > y
        block = (y - share * real) / (1 - share) if share < 1 else mpf(0)
        return share * real + (1 - share) * (y / (y + 1)) ** 2 * (block + ratio) > y

    endless = rises(mpf(10) ** 30)
    if not roots:
        return mpmath.inf, mpmath.inf, mpmath.inf
    if len(roots) == 1:
        return roots[0], mpmath.inf, mpmath.inf if endless and feed == "chain" and share > 0 else roots[0]
    return roots[0], roots[1], mpmath.inf if endless else roots[-1]


def limits(spec):
    """Training SNR at (low limit, border, high limit) of every direction."""
    real, ratio = snrs(spec)
    share = mpf(float(spec.real_fraction))
    return [
        stable_and_border(x, ratio, share, spec.feed) if index < spec.width else (share * x, mpmath.inf, share * x)
        for index, x in enumerate(real)
    ]


def limit_from_data(spec):
    """Eigenvalues that the chain from real data ends at: the state next to the start on the side it moves to."""
    (real, _), noise = snrs(spec), mpf(float(spec.noise_var))
    return [noise * (high if x > border else low) for x, (low, border, high) in zip(real, limits(spec), strict=True)]


def fall_integral(snr, ratio):
    """Integral of dx/(x - h(x)) from 1 to ``snr``, by quadrature in log x."""
    if snr <= 1:
        return mpf(0)
    ends = mpmath.linspace(0, mpmath.log(snr), 9)
    return mpmath.quad(lambda u: mpmath.e**u / (mpmath.e**u - step(mpmath.e**u, ratio)), ends)


def entropy_rank(values):
    """exp of the entropy of normalised values."""
    total = sum(values)
    return mpmath.exp(-sum(p * mpmath.log(p) for p in (v / total for v in values) if p > 0))


def predictions(id, spec, generations):
    """The reference of a registered result, as nested lists; conditional ones at the spec's own values."""
    real, ratio = snrs(spec)
    _, v = numbers(spec)
    noise, share = v["noise_var"], v["real_fraction"]
    match id:
        case "DAE-3":
            return [x / (x + 1) for x in real]
        case "DAE-4":
            return [x / (x + 1) if index < spec.width else mpf(0) for index, x in enumerate(real)]
        case "DAE-5" | "DAE-13/curve" | "DAE-15" | "DAE-17" | "DAE-18" | "DAE-19":
            return moments(spec, generations)
        case "DAE-5/gain":
            return [max(row) for row in gains(spec, generations)]
        case "DAE-5/log":
            return [[mpmath.log(m) if m else -mpmath.inf for m in row] for row in moments(spec, generations)]
        case "DAE-6":
            return 1 / (ratio - 2) if ratio > 2 else mpmath.inf
        case "DAE-7":
            x = real[0]
            after = step(x, ratio)
            slowest = (after / (after + 1)) / (x / (x + 1)) if x > 0 else mpf(0)
            return [slowest**j * x / (x + 1) for j in range(generations + 1)]
        case "DAE-8":
            out = []
            for x in real:
                up = max(x, mpf(1))
                lost = (up - step(up, ratio)) / (1 - step(mpf(1), ratio))
                out.append(max(mpf(0), fall_integral(up, ratio) - mpmath.log(lost) / 2))
            return out
        case "DAE-8/integral":
            return [fall_integral(x, ratio) for x in real]
        case "DAE-8/tail":
            path = []
            for j in range(generations + 1):
                row = []
                for index, x in enumerate(real):
                    if x == 0 or (j > 0 and index >= spec.width):
                        row.append(-mpmath.inf)
                    elif ratio > 0:
                        row.append(mpmath.log(noise) + mpf(2) ** j * mpmath.log(ratio * x) - mpmath.log(ratio))
                    else:
                        row.append(mpmath.log(noise) + mpf(3) ** j * mpmath.log(x))
                path.append(row)
            return path
        case "DAE-9":
            return [entropy_rank(row) for row in moments(spec, generations)]
        case "DAE-10":
            spectrum, _ = numbers(spec)
            best = [x / (x + 1) for x in real]
            return [
                sum((m + noise) * (g - b) ** 2 for m, g, b in zip(spectrum, row, best, strict=True))
                for row in gains(spec, generations)
            ]
        case "DAE-11":
            x, delta = real[0], 1 / (real[0] + 2)
            return (x / (x + 1)) ** 2 * ((1 + delta) * x + (1 + 2 * delta) * ratio)
        case "DAE-12":
            out = []
            for j in range(generations + 1):
                a = mpf(1) / (j + 1) if spec.regime == "accumulate" else share
                out.append([a * x / (a * x + 1) if i < spec.width else mpf(0) for i, x in enumerate(real)])
            return out
        case "DAE-13" | "DAE-13/chain":
            return limit_from_data(spec)
        case "DAE-14":
            both = limits(spec)
            return [[low for low, _, _ in both], [high for _, _, high in both]]
        case "DAE-14/border":
            return limits(spec)[0][1]
        case "DAE-15/law":
            kappa = mpmath.exp(1 - mpmath.euler)
            return [
                [noise * mpmath.lambertw(kappa * x * mpmath.exp(x) / (j + 1)).real for x in real]
                for j in range(generations + 1)
            ]
        case "DAE-16":
            return gains(spec, generations)
        case "DAE-17/border" | "DAE-17/limit":
            roots = _positive_roots([1, 2 - ratio, 1]) if ratio >= 4 else []
            if id == "DAE-17/border":
                return roots[0] if roots else mpmath.inf
            return roots[-1] if roots else mpf(0)
    raise KeyError(id)


def worst_error(values, reference, tiny):
    """Largest error of ``values`` in the sense of ``trajectory.accuracy``, and where.

    Relative where the logarithm of the reference is within 1, else the error of the logarithm relative to it. Values
    that are to be zero, infinite or below ``tiny`` (underflow) count as right or as infinitely wrong.
    """
    flat, exact = [float(v) for v in values.ravel()], _flatten(reference)
    assert len(flat) == len(exact), (values.shape, len(exact))
    worst = (0.0, None)
    for index, (value, true) in enumerate(zip(flat, exact, strict=True)):
        if mpmath.isinf(true) or true == 0 or abs(true) < tiny:
            error = 0.0 if value == true or (abs(value) <= tiny and abs(true) < tiny) else float("inf")
        elif (value > 0) != (true > 0) or value == 0 or value in (float("inf"), float("-inf")):
            error = float("inf")
        else:
            log = mpmath.log(abs(true))
            error = float(abs(mpmath.log(abs(mpf(value))) - log) / max(1, abs(log)))
        if error > worst[0]:
            worst = (error, index)
    return worst


def _flatten(nested):
    if isinstance(nested, list):
        return [value for part in nested for value in _flatten(part)]
    return [nested]
