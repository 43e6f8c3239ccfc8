"""What the checks of rectified flow share: least-squares slopes from second moments, and their integration."""

from itertools import pairwise

import mpmath as mp
import sympy as sp

t, h = sp.symbols("t h", positive=True)
M0, M1, L = sp.symbols("M_0 M_1 lambda", positive=True)
C = sp.Symbol("C", real=True)
b, tau, u, q, mu = sp.symbols("b tau u q mu", positive=True)


def between(s, r, first=M0, second=M1, cross=C):
    """E x_s x_r."""
    return (1 - s) * (1 - r) * first + ((1 - s) * r + s * (1 - r)) * cross + s * r * second


def slope(s, first=M0, second=M1, cross=C):
    """Least squares of x - z on x_s: E (x - z) x_s / E x_s^2."""
    return ((1 - s) * (cross - first) + s * (second - cross)) / between(s, s, first, second, cross)


def euler(first, second, cross, times):
    """Endpoint gain of Euler steps, from the slopes."""
    gain = mp.mpf(1)
    for now, then in pairwise(times):
        gain *= 1 + (then - now) * slope(now, first, second, cross)
    return gain


def uniform(steps):
    """N + 1 times."""
    return [mp.mpf(k) / steps for k in range(steps + 1)]


def equal_angles(first, second, cross, steps):
    """Times at which x_t has turned by equal angles, each found as a root."""
    whole = mp.acos(cross / mp.sqrt(first * second))
    if whole == 0:
        return uniform(steps)
    times = [mp.mpf(0)]
    for k in range(1, steps):
        turned = mp.cos(whole * k / steps)

        def gap(s, turned=turned):
            size = mp.sqrt(between(s, s, first, second, cross) * first)
            return between(0, s, first, second, cross) / size - turned

        low, high = mp.mpf(0), mp.mpf(1)
        for _ in range(mp.mp.prec + 8):
            middle = (low + high) / 2
            low, high = (middle, high) if gap(middle) > 0 else (low, middle)
        times.append((low + high) / 2)
    return [*times, mp.mpf(1)]


def heun(first, second, cross, times):
    """Endpoint gain of Heun steps."""
    gain = mp.mpf(1)
    for now, then in pairwise(times):
        width, v = then - now, slope(now, first, second, cross)
        gain *= 1 + width / 2 * (v + slope(then, first, second, cross) * (1 + width * v))
    return gain


def flowed(first, second, cross):
    """Endpoint gain of exact integration, by quadrature."""
    return mp.exp(mp.quad(lambda s: slope(s, first, second, cross), [0, 0.25, 0.5, 0.75, 1]))
