"""One fit: denoisers and velocities, exact integration, Euler steps, losses, reverse SDEs (RF-3 to 5, 15, 17)."""

from itertools import pairwise

import mpmath as mp
import numpy as np
import sympy as sp

from proofs_check.ground import ATTACK, SYMBOLIC, check, require, require_zero
from proofs_check.reflow.tools import M0, M1, C, L, between, equal_angles, euler, flowed, h, slope, t, uniform

x, x1, z, D = sp.symbols("x x_1 z D", real=True)
M = between(t, t)
S2 = M0 * M1 - C**2  # square of the parallelogram of z and x


@check("RF-3", "x_t/t = x_1 + sigma z; x_1 - z = (x_1 - x_t)/(1-t); losses; score by Tweedie", SYMBOLIC, "0 < t < 1")
def denoiser() -> None:
    """The score of p_t = int p(x_1) N(x; t x_1, (1-t)^2) is the posterior mean of -(x - t x_1)/(1-t)^2."""
    at = (1 - t) * z + t * x1
    require_zero(at / t - (x1 + (1 - t) / t * z), "noise level")
    require_zero((x1 - at) / (1 - t) - (x1 - z), "target")
    v = (D - x) / (1 - t)
    require_zero((v - (x1 - x) / (1 - t)) ** 2 - (D - x1) ** 2 / (1 - t) ** 2, "loss")
    require_zero((t * v - x) / (1 - t) + (x - t * D) / (1 - t) ** 2, "score")


@check(
    "RF-3", "two modes: velocity and score from the density by quadrature", ATTACK, "3 places, 20 digits", sole=False
)
def two_modes() -> str:
    """No posterior formula: integrals over x_1 of the mixture's density, and a numerical derivative of log p_t."""
    with mp.workdps(20):
        mean, within, worst = mp.mpf("0.9"), mp.sqrt(mp.mpf("0.19")), mp.mpf(0)

        def density(y):
            return sum(mp.npdf(y, side * mean, within) for side in (-1, 1)) / 2

        def moment(place, time, power):
            spread = 1 - time
            ends = [-4, -1, 0, 1, 4]
            return mp.quad(lambda y: y**power * density(y) * mp.npdf(place, time * y, spread), ends)

        for time, place in ((0.3, -0.8), (0.5, 0.2), (0.7, 1.1)):
            time, place = mp.mpf(time), mp.mpf(place)
            v = (moment(place, time, 1) / moment(place, time, 0) - place) / (1 - time)
            score = mp.diff(lambda y, time=time: mp.log(moment(y, time, 0)), place)
            worst = max(worst, abs(score - (time * v - place) / (1 - time)))
        require(worst < mp.mpf(10) ** -6, f"off by {mp.nstr(worst, 3)}")
        return f"{mp.nstr(worst, 2)}"


@check("RF-4", "v_t = m'/(2m); sqrt m_t solves dX/dt = v X: A = sqrt(M_1/M_0)", SYMBOLIC, "every coupling, m_t > 0")
def one_direction() -> None:
    """Independent pairs: the printed slope."""
    require_zero(slope(t) - sp.diff(M, t) / (2 * M), "slope")
    require_zero(sp.diff(M, t) / 2 - slope(t) * M, "flow")
    require_zero(slope(t, 1, L, 0) - (t * L - (1 - t)) / (t**2 * L + (1 - t) ** 2), "independent")


@check(
    "RF-4",
    "d dimensions: M_t' = V M_t + M_t V' for V M_t = E (x-z) x_t', the equation of A_t M_0 A_t'",
    SYMBOLIC,
    "2 x 2 symbols stand for blocks",
    uses="a linear ODE has one solution",
)
def matrices() -> None:
    """Both start at M_0, so A M_0 A' = M_1."""
    first, second, cross = (sp.Matrix(2, 2, sp.symbols(f"{name}:4", real=True)) for name in "pqr")  # zz', xx', xz'
    first, second = first + first.T, second + second.T
    moment = (1 - t) ** 2 * first + t * (1 - t) * (cross + cross.T) + t**2 * second
    product = t * second - (1 - t) * first + (1 - t) * cross - t * cross.T
    require_zero((product + product.T - moment.diff(t)).expand(), "Lyapunov")


@check("RF-4", "random couplings, d = 3: A E zz' A' = E xx' by Runge-Kutta; A not symmetric", ATTACK, "20", sole=False)
def attack_matrices() -> str:
    """Moments of random joint Gaussians."""
    rng, worst, skew = np.random.default_rng(4), 0.0, 0.0
    for _ in range(20):
        root = rng.normal(size=(6, 8))
        joint = root @ root.T / 8 + 0.2 * np.eye(6)
        first, second, cross = joint[:3, :3], joint[3:, 3:], joint[3:, :3]

        def velocity(s, first=first, second=second, cross=cross):
            between = (1 - s) ** 2 * first + s * (1 - s) * (cross + cross.T) + s**2 * second
            return (s * second - (1 - s) * first + (1 - s) * cross - s * cross.T) @ np.linalg.inv(between)

        A, width = np.eye(3), 1 / 400
        for k in range(400):
            s = k * width
            a = velocity(s) @ A
            c = velocity(s + width / 2) @ (A + width / 2 * a)
            d = velocity(s + width / 2) @ (A + width / 2 * c)
            e = velocity(s + width) @ (A + width * d)
            A = A + width / 6 * (a + 2 * c + 2 * d + e)
        worst, skew = max(worst, abs(A @ first @ A.T - second).max()), max(skew, abs(A - A.T).max())
    require(worst < 1e-5, f"off by {worst:.1e}")
    require(skew > 0.1, "every map was symmetric")
    return f"{worst:.0e}"


@check("RF-5", "1 + h v_t = E[x_t x_{t+h}]/m_t: a product of cosines; one step gives C/M_0", SYMBOLIC, "all grids")
def cosines() -> None:
    """The square roots of the m_t telescope."""
    require_zero(1 + h * slope(t) - between(t, t + h) / M, "step")
    require_zero(1 + slope(0) - C / M0, "one step")
    require_zero((1 + t * slope(0)) * (1 + (1 - t) * slope(t)) * M0 * M - between(0, t) * between(t, 1), "two steps")
    require_zero(slope(0, 1, L**2, L) + 1 - L, "deterministic coupling: one step is exact")


@check(
    "RF-5",
    "x_t turns monotonically: its angle has the rate s/m_t; angle k theta/N at the printed time; log cos is concave",
    SYMBOLIC,
    "all",
    uses="Jensen; |cos| <= 1",
)
def angles() -> None:
    """z = sqrt M_0 (1, 0), x = sqrt M_1 (cos, sin)."""
    theta, phi = sp.symbols("theta phi", positive=True)
    r0, r1 = sp.sqrt(M0), sp.sqrt(M1)
    along, across = (1 - t) * r0 + t * r1 * sp.cos(theta), t * r1 * sp.sin(theta)
    rate = sp.simplify(sp.diff(across, t) * along - across * sp.diff(along, t))
    require_zero(sp.simplify(rate - r0 * r1 * sp.sin(theta)), "rate times m_t")
    time = r0 * sp.sin(phi) / (r0 * sp.sin(phi) + r1 * sp.sin(theta - phi))
    turned = (across * sp.cos(phi) - along * sp.sin(phi)).subs(t, time)
    require_zero(sp.simplify(sp.expand_trig(sp.together(turned))), "angle at the time")
    require_zero(sp.simplify(sp.diff(sp.log(sp.cos(phi)), phi, 2) + 1 / sp.cos(phi) ** 2), "concave")


@check("RF-5", "random grids and couplings: below the bound, equal angles on it", ATTACK, "300 draws", sole=False)
def attack_bound() -> str:
    """Grids are sorted uniform numbers."""
    rng, tight = np.random.default_rng(5), 0.0
    with mp.workdps(25):
        for index in range(300):
            first, second = (mp.mpf(float(v)) for v in 10 ** rng.uniform(-2, 2, 2))
            rho, steps = mp.mpf(float(rng.uniform(-0.95, 1))), int(rng.integers(1, 8))
            cross, top = rho * mp.sqrt(first * second), mp.sqrt(second / first)
            grid = [mp.mpf(0), *(mp.mpf(float(v)) for v in np.sort(rng.uniform(size=steps - 1))), mp.mpf(1)]
            gain = euler(first, second, cross, grid)
            require(abs(gain) <= top * (1 + mp.mpf(10) ** -20), "a sampler inflates")
            best = top * mp.cos(mp.acos(rho) / steps) ** steps
            if rho >= 0:
                require(gain <= best * (1 + mp.mpf(10) ** -20), "above the bound")
                tight = max(tight, float(gain / best) if steps > 1 else 0.0)
            if index < 30:
                attained = euler(first, second, cross, equal_angles(first, second, cross, steps))
                require(abs(attained - best) < top * mp.mpf(10) ** -15, "equal angles miss the bound")
    return f"tightest {tight:.4f}"


@check(
    "RF-15",
    "residual = s^2/m_t, s^2 = M_0 M_1 - C^2; s/m_t is the rate of an arc tangent, of theta in all; straightness",
    SYMBOLIC,
    "every coupling",
)
def losses() -> None:
    """With l = M_0 - 2C + M_1 = m''/2: (m'/2)^2 + s^2 = l m."""
    size, half = M0 - 2 * C + M1, sp.diff(M, t) / 2
    require_zero(size - half**2 / M - S2 / M, "residual")
    s = sp.sqrt(S2)
    require_zero(sp.simplify(sp.diff(sp.atan(half / s), t) - s / M), "rate")
    # the two ends: angles at the other corners of the triangle of 0, z, x; theta is what is left of pi
    up, down = (M1 - C) / s, (M0 - C) / s
    tangent = sp.simplify((up + down) / (1 - up * down))
    require_zero(sp.simplify(tangent - s / C), "tan theta")
    # int v^2 m dt = size - s theta; the chord of the endpoint map is (sqrt M_1 - sqrt M_0)^2
    loss = sp.Symbol("loss", positive=True)
    found = size - loss - (sp.sqrt(M1) - sp.sqrt(M0)) ** 2
    require_zero(found - (2 * sp.sqrt(M0 * M1) - 2 * C - loss), "straightness")


@check("RF-15", "independent pairs: loss 1.5708 sqrt l, straightness 0.4292 sqrt l", ATTACK, "quadrature", sole=False)
def anchors() -> str:
    """From the slopes alone."""
    with mp.workdps(25):
        for size in (mp.mpf("0.2"), mp.mpf(1), mp.mpf(7)):
            loss = mp.quad(
                lambda s, size=size: 1 + size - slope(s, 1, size, 0) ** 2 * between(s, s, 1, size, 0), [0, 1]
            )
            require(abs(loss - mp.pi / 2 * mp.sqrt(size)) < mp.mpf(10) ** -15, "loss")
            chord = mp.sqrt(size) - 1
            ends = [0, 0.25, 0.5, 0.75, 1]
            bend = mp.quad(
                lambda s, size=size, chord=chord: (
                    (slope(s, 1, size, 0) * mp.sqrt(between(s, s, 1, size, 0)) - chord) ** 2
                ),
                ends,
            )
            require(abs(bend - (2 - mp.pi / 2) * mp.sqrt(size)) < mp.mpf(10) ** -15, "straightness")
    return "1.5708, 0.4292"


@check(
    "RF-17",
    "in Y = X/sqrt m the reverse SDE is dY = -g^2/(2m) Y ds + g/sqrt m dW; int dt/m = theta/s; variance M_0",
    SYMBOLIC,
    "one direction, any coupling, the score of its own Gaussian law",
    uses="RF-15 for the integral",
)
def reverse() -> None:
    """The noise of Y has variance 1 - exp(-int g^2/m)."""
    g, y = sp.symbols("g y", positive=True)
    drift = -slope(t) - g**2 / (2 * M)  # of X per unit of s, with the score -X/m
    # d(X/sqrt m)/ds = (drift + m'/(2m)) Y as ds = -dt
    require_zero(drift + sp.diff(M, t) / (2 * M) + g**2 / (2 * M), "pull")
    spread = sp.Function("S")
    require_zero((2 * (-(g**2) / (2 * M)) * spread(t) + g**2 / M).subs(spread(t), 1), "stationary at 1")
    require_zero(sp.integrate(1 / (1 + t * (y - 1)) ** 2, (t, 0, 1)).simplify() - 1 / y, "after Reflow: 1/A")
    with mp.workdps(25):
        for size in (mp.mpf("0.3"), mp.mpf(5)):
            whole = mp.quad(lambda s, size=size: 1 / between(s, s, 1, size, 0), [0, 0.5, 1])
            require(abs(whole - mp.pi / (2 * mp.sqrt(size))) < mp.mpf(10) ** -18, "independent: pi/(2 sqrt l)")


@check("RF-17", "Euler-Maruyama: latents kept and their variance within z 5", ATTACK, "3 sizes, 400 steps", sole=False)
def attack_reverse() -> str:
    """Steps equal in the logarithm of the odds of t; their bias is below the noise."""
    rng, worst = np.random.default_rng(17), 0.0
    for size in (0.25, 1.0, 4.0):
        points, g = 40000, 0.8
        image = np.sqrt(size) * rng.normal(size=points)
        state, odds = image.copy(), np.linspace(12, -12, 1201)
        times = 1 / (1 + np.exp(-odds))
        for now, then in pairwise(times):
            s, width = (now + then) / 2, now - then
            m = s**2 * size + (1 - s) ** 2
            v = (s * size - (1 - s)) / m
            noise = g * np.sqrt(width) * rng.normal(size=points)
            middle = state + width / 2 * (-v - g**2 / (2 * m)) * state
            state = state + width * (-v - g**2 / (2 * m)) * middle + noise
        kept = np.sqrt(size) * (state @ image) / (image @ image)
        error = np.std(state) / np.sqrt(points)
        worst = max(worst, abs(kept - np.exp(-np.pi * g**2 / (4 * np.sqrt(size)))) / error)
        worst = max(worst, abs(state.var() - 1) / np.sqrt(2 / points))
    require(worst < 5, f"z = {worst:.1f}")
    return f"largest z {worst:.2f}"


@check(
    "RF-5", "anchor: N = 10, l = 1 keeps 0.7726; exact integration keeps all (RF-4)", ATTACK, "25 digits", sole=False
)
def anchor_sampler() -> str:
    """From the slopes."""
    with mp.workdps(25):
        kept = euler(mp.mpf(1), mp.mpf(1), mp.mpf(0), uniform(10)) ** 2
        require(abs(kept - mp.mpf("0.7726")) < mp.mpf("5e-5"), f"{kept}")
        require(abs(flowed(mp.mpf(1), mp.mpf(3), mp.mpf("0.4")) - mp.sqrt(3)) < mp.mpf(10) ** -15, "exact")
        return mp.nstr(kept, 6)
