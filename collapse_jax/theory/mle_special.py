"""Special functions of iterative maximum likelihood that keep their digits (and gradients) where plain ones cancel.

Everything is a sum of smooth terms: a Stirling series where the argument is at least ``_FAR``, reached by the
recurrence of the function in question from below. Arguments are arrays, > 0 unless said otherwise.
"""

import jax.numpy as jnp
import numpy as np

_FAR = 10.0
_STEPS = 10  # of the recurrence: any positive argument is then beyond _FAR
_BERNOULLI = (1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6, -3617 / 510, 43867 / 798, -174611 / 330)


def _series(coefficients, z):
    """The polynomial with these coefficients, lowest first."""
    total = jnp.zeros_like(z)
    for value in reversed(coefficients):
        total = total * z + float(value)  # a number of NumPy would bring its own precision
    return total


def log1p_less(x):
    """log(1 + x) - x for x > -1, without cancellation near 0."""
    near = jnp.abs(x) < 0.3
    small = jnp.where(near, x, 0)
    series = small**2 * _series([(-1.0) ** (k + 1) / (k + 2) for k in range(28)], small)
    far = jnp.where(near, 1, x)
    return jnp.where(near, series, jnp.log1p(far) - far)


def sinh_excess(y):
    """(sinh(x)/x - 1)/x^2 with x^2 = y, entire in y; for y = -x^2 it is (1 - sin(x)/x)/x^2. 1/6 at 0."""
    near = jnp.abs(y) < 1
    factorials = np.cumprod(np.arange(2.0, 32.0))  # 2!, 3!, ...
    series = _series([1 / factorials[2 * k + 1] for k in range(12)], jnp.where(near, y, 0))
    rising, falling = jnp.sqrt(jnp.where(y >= 1, y, 1)), jnp.sqrt(jnp.where(y <= -1, -y, 1))
    above = (jnp.sinh(rising) / rising - 1) / rising**2
    below = (1 - jnp.sin(falling) / falling) / falling**2
    return jnp.where(near, series, jnp.where(y > 0, above, below))


def _ladder(x):
    """x, x + 1, ... along a new last axis, and the argument beyond them; steps are taken only below ``_FAR``."""
    steps = jnp.where(x < _FAR, jnp.ceil(_FAR - x), 0)
    places = jnp.arange(_STEPS, dtype=x.dtype).reshape((1,) * x.ndim + (-1,))
    taken = places < steps[..., None]
    return jnp.where(taken, x[..., None] + places, 1), taken, steps


def digamma_less_log(x):
    """psi(x) - ln x, negative, about -1/(2x); relative accuracy up to any x."""
    x = jnp.asarray(x)
    rungs, taken, steps = _ladder(x)
    top = x + steps
    inverse = 1 / top
    tail = -inverse / 2 - inverse**2 * _series([value / (2 * k + 2) for k, value in enumerate(_BERNOULLI)], inverse**2)
    below = jnp.sum(jnp.where(taken, 1 / rungs, 0), axis=-1)
    return tail + jnp.where(steps > 0, jnp.log1p(steps / x) - below, 0)


def trigamma(x):
    """psi'(x), the derivative of the digamma function."""
    x = jnp.asarray(x)
    rungs, taken, steps = _ladder(x)
    inverse = 1 / (x + steps)
    tail = inverse + inverse**2 / 2 + inverse**3 * _series(_BERNOULLI, inverse**2)
    return tail + jnp.sum(jnp.where(taken, 1 / rungs**2, 0), axis=-1)


def _stirling(x):
    """ln Gamma(x) - [(x - 1/2) ln x - x + ln(2 pi)/2] for x >= ``_FAR``."""
    inverse = 1 / x
    return inverse * _series([v / ((2 * k + 1) * (2 * k + 2)) for k, v in enumerate(_BERNOULLI)], inverse**2)


def log_gamma_ratio(x, step):
    """ln[Gamma(x + step) / (Gamma(x) x^step)] for step >= 0: small at large x, where it is step (step - 1)/(2x)."""
    x, step = jnp.broadcast_arrays(x, step)
    rungs, taken, steps = _ladder(x)
    top = x + steps
    part = step / top
    far = (top + step - 0.5) * log1p_less(part) + (step - 0.5) * part + _stirling(top + step) - _stirling(top)
    below = jnp.sum(jnp.where(taken, jnp.log1p(step[..., None] / rungs), 0), axis=-1)
    return far + jnp.where(steps > 0, step * jnp.log1p(steps / x) - below, 0)


def branching_log(generations: int, dtype):
    """-ln q_t for t = 1 ... ``generations``, q_(t+1) = exp(q_t - 1), q_0 = 0: about 2/t.

    With y_t = -1/ln q_t, y_(t+1) = 1/(1 - exp(-1/y_t)) = y_t + 1/2 + g(1/y_t), g(r) = r/12 - r^3/720 + ...; y_1 = 1.
    All but g is known in advance, so that its sum, a logarithm of t, is all that is carried.
    """
    import jax

    factorials = np.cumprod(np.arange(1.0, 22.0))
    terms = [value / factorials[2 * k + 1] for k, value in enumerate(_BERNOULLI)]

    def step(carried, number):
        reciprocal = 1 + (number - 1) / 2 + carried
        rate = 1 / reciprocal
        return carried + rate * _series(terms, rate**2), rate

    numbers = jnp.arange(1, generations + 1, dtype=dtype)
    return jax.lax.scan(step, jnp.zeros((), dtype), numbers)[1]
