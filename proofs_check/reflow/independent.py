"""Fresh noise every round: rates of samplers, rounds to collapse, drift budgets, Heun (RF-6, 7, 8, 18)."""

import mpmath as mp
import numpy as np
import sympy as sp

from proofs_check.ground import ATTACK, SIGN, SYMBOLIC, check, require, require_nonnegative, require_zero
from proofs_check.reflow.tools import L, between, h, slope, t

m = between(t, t, 1, L, 0)
p = sp.diff(m, t) / 2
v = slope(t, 1, L, 0)


def gain(size, steps: int, *, heun=False) -> float:
    """A_N on the uniform grid in float64."""
    s = np.linspace(0, 1, steps + 1)
    slopes = (s * size - (1 - s)) / (s**2 * size + (1 - s) ** 2)
    now, then = slopes[:-1], slopes[1:]
    return float(np.prod(1 + (now + then * (1 + now / steps)) / (2 * steps) if heun else 1 + now / steps))


def rate(size):
    """k(lambda)."""
    return 1 + np.pi / 4 * (np.sqrt(size) + 1 / np.sqrt(size))


@check(
    "RF-6",
    "int theta'^2 dt = k(l) with theta' = sqrt l/m_t; k >= 1 + pi/2; equal angles: pi^2/4",
    SYMBOLIC,
    "all l",
    uses="RF-15: int dt/m = pi/(2 sqrt l)",
)
def first_order() -> None:
    """d(p/m) = (2 l - (1+l) m)/m^2 dt gives 2 l int m^-2 = 2 + (1+l) int 1/m."""
    require_zero(p**2 - ((1 + L) * m - L), "p^2")
    require_zero(sp.diff(p / m, t) - (2 * L - (1 + L) * m) / m**2, "antiderivative")
    ends = (p / m).subs(t, 1) - (p / m).subs(t, 0)
    found = (ends + (1 + L) * sp.pi / (2 * sp.sqrt(L))) / 2
    require_zero(sp.simplify(found - 1 - sp.pi / 4 * (sp.sqrt(L) + 1 / sp.sqrt(L))), "k")
    require_zero(sp.expand((sp.sqrt(L) - 1) ** 2 / sp.sqrt(L) - (sp.sqrt(L) + 1 / sp.sqrt(L) - 2)), "least at 1")
    N = sp.Symbol("N", positive=True)
    series = sp.series(2 * sp.log(sp.cos(sp.pi * h / 2)) / h, h, 0, 4).removeO().subs(h, 1 / N)
    require_zero(series - (-(sp.pi**2) / 4 / N - (sp.pi / 2) ** 4 / 6 / N**3), "equal angles")


@check(
    "RF-6",
    "time reversed: E x_s x_r at 1-s, 1-r and 1/l is that at l over l; A_1 = 0, A_2 = l/(l+1)",
    SYMBOLIC,
    "all N",
)
def exact_facts() -> None:
    """The same cosines, so A_N(l)/sqrt l = A_N(1/l) sqrt l."""
    s, r = sp.symbols("s r", positive=True)
    require_zero(between(1 - s, 1 - r, 1, 1 / L, 0) - between(s, r, 1, L, 0) / L, "mirror")
    require_zero(1 + v.subs(t, 0), "one step")
    half = sp.Rational(1, 2)
    require_zero((1 + half * v.subs(t, 0)) * (1 + half * v.subs(t, half)) - L / (L + 1), "two steps")


@check("RF-6", "A_N ~ (N-1) l at 0, N-1 at infinity", SYMBOLIC, "N = 2 ... 7, and the telescoping product for all N")
def ends() -> None:
    """At infinity v_t = 1/t but at 0: (1 - 1/N) prod (k+1)/k; at 0 by the mirror."""
    N, k = sp.symbols("N k", integer=True, positive=True)
    require_zero(sp.limit(v, L, sp.oo) - 1 / t, "slope")
    require_zero(sp.simplify((1 - 1 / N) * sp.product((k + 1) / k, (k, 1, N - 1)) - (N - 1)), "product")
    for steps in range(2, 8):
        whole = sp.prod(1 + v.subs(t, sp.Rational(j, steps)) / steps for j in range(steps))
        require_zero(sp.limit(sp.cancel(whole), L, sp.oo) - (steps - 1), "infinity")
        require_zero(sp.limit(sp.cancel(whole / L), L, 0) - (steps - 1), "zero")


@check("RF-6", "next order: 0 >= log(A_N^2/l) + k/N >= -0.13 (sqrt l + 1/sqrt l)^3/N^3", ATTACK, "N 5-640, l 0.01-100")
def envelope() -> str:
    """No term of order N^-2, and the margin of the library holds."""
    worst = 0.0
    for steps in (5, 7, 10, 20, 40, 80, 160, 320, 640):
        for size in 10 ** np.linspace(-2, 2, 41):
            off = np.log(gain(size, steps) ** 2 / size) + rate(size) / steps
            scaled = off * steps**3 / (np.sqrt(size) + 1 / np.sqrt(size)) ** 3
            require(-0.13 < scaled < 1e-6 * steps**2, f"{scaled} at N = {steps}, l = {size:.3g}")
            worst = min(worst, scaled)
    return f"{worst:.3f}"


@check("RF-7", "Phi' = 1/(l k(l)); Phi(oo) - Phi(0) = 8 arccos(2/pi)/sqrt(pi^2-4) = 2.91", SYMBOLIC, "all l")
def lifetime() -> str:
    """dl/ds = -k l in rounds over N."""
    w = sp.sqrt(1 - 4 / sp.pi**2)
    Phi = 8 / (sp.pi * w) * sp.atan((sp.sqrt(L) + 2 / sp.pi) / w)
    k = 1 + sp.pi / 4 * (sp.sqrt(L) + 1 / sp.sqrt(L))
    require_zero(sp.simplify(sp.diff(Phi, L) - 1 / (L * k)), "rate")
    whole = sp.limit(Phi, L, sp.oo) - Phi.subs(L, 0)
    claimed = 8 * sp.acos(2 / sp.pi) / sp.sqrt(sp.pi**2 - 4)
    require(abs(sp.N(whole - claimed, 40)) < 1e-35, "total")
    require(abs(float(claimed) - 2.91) < 0.005, "2.91")
    return f"{float(claimed):.4f}"


@check("RF-7", "rounds to a level: the estimate is within one round", ATTACK, "N 20, 50, 200, a factor 10 inside")
def rounds() -> str:
    """Chains of A_N^2, crossings interpolated in the logarithm."""
    worst = 0.0
    for steps in (20, 50, 200):
        for start, level in ((1.0, 0.1), (4.0, 0.05), (0.1 * steps**2, 10 / steps**2), (0.5, 0.3)):
            path = [start]
            while path[-1] >= level:
                path.append(gain(path[-1], steps) ** 2)
            count = len(path) - 2 + np.log(path[-2] / level) / np.log(path[-2] / path[-1])
            root = lambda y: np.arctan((np.sqrt(y) + 2 / np.pi) / np.sqrt(1 - 4 / np.pi**2))  # noqa: E731
            law = steps * 8 / (np.pi * np.sqrt(1 - 4 / np.pi**2)) * (root(start) - root(level))
            worst = max(worst, abs(count - law))
    require(worst < 1, f"off by {worst:.2f} rounds")
    return f"{worst:.2f} rounds"


@check("RF-7", "the slope of A_N^2 stays below 1, so the limit with real images is unique", ATTACK, "N = 2 ... 300")
def slopes() -> str:
    """Peak near 1/3, about 1 - 2.36/N."""
    sizes, peak = 10 ** np.linspace(-4, 4, 801), 0.0
    for steps in (2, 3, 5, 10, 30, 100, 300):
        values = np.array([gain(size, steps) ** 2 for size in sizes])
        rises = np.diff(values) / np.diff(sizes)
        require(rises.max() < 1, f"slope {rises.max()} at N = {steps}")
        peak = (1 - rises.max()) * steps
    require(abs(peak - 2.36) < 0.02, f"1 - {peak:.3f}/N")
    return f"1 - {peak:.3f}/N at N = 300"


@check("RF-7", "y >= a L, and y <= L from y <= L: A_N^2 <= y (RF-5)", SIGN, "all a")
def floor() -> None:
    """y' - a L = (1-a) A^2; L - y' = (1-a)(L - A^2)."""
    a, A2, lost = sp.symbols("a A2 lost", positive=True)
    share = 1 / (1 + a)  # any share in (0, 1)
    require_nonnegative(sp.cancel(share * L + (1 - share) * A2 - share * L), "floor")
    require_nonnegative(sp.cancel((A2 + lost) - (share * (A2 + lost) + (1 - share) * A2)), "ceiling")


@check("RF-8", "E log(chi^2_n/n) = -1/n + O(n^-2), variance 2/n + O(n^-2)", SYMBOLIC, "n -> oo", uses="digamma series")
def logarithms() -> None:
    """psi(n/2) - log(n/2) and psi'(n/2)."""
    n = sp.Symbol("n", positive=True)
    y = n / 2
    digamma = -1 / (2 * y) - 1 / (12 * y**2)  # psi(y) - log y
    require_zero(sp.limit(digamma * n, n, sp.oo) + 1, "mean")
    for points in (20, 100, 1000):
        mean = mp.digamma(mp.mpf(points) / 2) - mp.log(mp.mpf(points) / 2)
        require(abs(mean + mp.mpf(1) / points) < mp.mpf(1) / points**2, "mean to n^-2")
        spread = mp.psi(1, mp.mpf(points) / 2)
        require(abs(spread - mp.mpf(2) / points) < mp.mpf(3) / points**2, "variance to n^-2")


@check(
    "RF-8", "exploding flow: sqrt(l + s^2) solves dx/ds = s x/(l + s^2); 1/l' = 1/l + 1/s^2; for all j", SYMBOLIC, "all"
)
def exploding() -> None:
    """dx/ds = (x - D)/s with D = l x/(l + s^2)."""
    s, j = sp.symbols("s j", positive=True)
    require_zero(sp.diff(sp.sqrt(L + s**2), s) - (1 - L / (L + s**2)) / s * sp.sqrt(L + s**2), "flow")
    after = s**2 * L / (L + s**2)
    require_zero(1 / after - 1 / L - 1 / s**2, "a round")
    path = 1 / (1 / L + j / s**2)
    require_zero(sp.cancel(path.subs(j, j + 1) - s**2 * path / (path + s**2)), "all rounds")


@check(
    "RF-18",
    "Heun adds h^3 (v''/12 - v^3/6) to log gain; int v^3 = (l^2-1)/(4l); in all (1/l - l)/(4 N^2)",
    SYMBOLIC,
    "all l",
)
def heun() -> None:
    """Series of one step; then p^2 = (1+l) m - l reduces the integral."""
    a, c, d = sp.symbols("a c d")
    later = a + c * h + d * h**2 / 2
    step = sp.series(sp.log(1 + h / 2 * (a + later * (1 + h * a))), h, 0, 4).removeO()
    whole = a * h + c * h**2 / 2 + d * h**3 / 6
    require_zero(sp.expand(step - whole - h**3 * (d / 12 - a**3 / 6)), "one step")
    inside = -(1 + L) / (2 * m) + L / (4 * m**2)
    require_zero(sp.diff(inside, t) - v**3, "antiderivative")
    cube = sp.simplify(inside.subs(t, 1) - inside.subs(t, 0))
    require_zero(cube - (L**2 - 1) / (4 * L), "int v^3")
    rise = sp.simplify(sp.diff(v, t).subs(t, 1) - sp.diff(v, t).subs(t, 0))
    require_zero(rise - (1 / L - L), "v' at the ends")
    require_zero(sp.simplify(2 * (rise / 12 - cube / 6) - (1 / L - L) / 4), "twice, for the square")


@check(
    "RF-18",
    "next order within 0.18 (sqrt l + 1/sqrt l)^3/N^3; borders 0.76 (N=10), 0.17 (N=2); -1.34 at l=1",
    ATTACK,
    "N 5-640",
)
def heun_envelope() -> str:
    """The margin of the library, and the sheet's numbers."""
    worst = 0.0
    for steps in (5, 7, 10, 20, 40, 80, 160, 320, 640):
        for size in 10 ** np.linspace(-2, 2, 41):
            off = gain(size, steps, heun=True) ** 2 / size - 1 - (1 / size - size) / (4 * steps**2)
            worst = max(worst, abs(off) * steps**3 / (np.sqrt(size) + 1 / np.sqrt(size)) ** 3)
    require(worst < 0.18, f"{worst}")
    for steps, border in ((10, 0.76), (2, 0.17)):
        low, high = gain(border - 0.01, steps, heun=True) ** 2, gain(border + 0.01, steps, heun=True) ** 2
        require(low > border - 0.01 and high < border + 0.01, f"no border at {border}")
    require(abs((gain(1.0, 100, heun=True) ** 2 - 1) * 100**3 + 1.34) < 0.01, "l = 1")
    return f"{worst:.3f}"
