"""One fit: the minimiser (DAE-3), its bottleneck (DAE-4), its risk on real data (DAE-10), weight decay (DAE-16)."""

import numpy as np
import sympy as sp
from flint import fmpq

from proofs_check.dae.tools import (
    average,
    diagonal,
    eta,
    eye,
    generic,
    lam,
    loss,
    random_matrix,
    random_orthogonal,
    random_rational,
    rotation,
    s,
    second_moment,
    trace,
)
from proofs_check.ground import ATTACK, SIGN, SYMBOLIC, check, require, require_nonnegative, require_zero

# stand-ins for matrices of any size: only M Mi = Mi M = 1, R R = M and the order of products are used
W, Wt, S, M, Mi = sp.symbols("W Wt S M Mi", commutative=False)


def cancel_inverse(expression):
    """Multiply out and use M Mi = Mi M = 1."""
    return sp.expand(expression).subs(M * Mi, 1).subs(Mi * M, 1)


@check(
    "DAE-3",
    "averaged loss = tr W(S+s)W' - 2 tr WS + tr S",
    SYMBOLIC,
    "generic X, W, (d,n) in (2,1) (2,3) (3,2); a sum over rows of W and columns of X",
)
def averaged_loss() -> None:
    """The mean over the noise entries of the loss, as a polynomial identity in all entries of W and X."""
    for d, n in ((2, 1), (2, 3), (3, 2)):
        weights, points = generic("w", d, d), generic("x", d, n)
        moment = second_moment(points)
        claimed = (weights * (moment + s * sp.eye(d)) * weights.T).trace() - 2 * (weights * moment).trace()
        require_zero(loss(weights, points) - claimed - moment.trace(), f"d={d}, n={n}")


@check("DAE-3", "completed square, W* = S(S+s)^-1", SYMBOLIC, "all d, n, S, W")
def completed_square() -> None:
    """With M = S + s: (W - S/M) M (W - S/M)' = W M W' - W S - S W' + S M^-1 S for non-commuting letters."""
    square = cancel_inverse((W - S * Mi) * M * (Wt - Mi * S))
    require(square == sp.expand(W * M * Wt - W * S - S * Wt + S * Mi * S), "square does not expand to the loss")


@check("DAE-3", "gradient of the averaged loss vanishes at W*", SYMBOLIC, "generic X, (d,n) in (2,1) (2,3) (3,2)")
def gradient_vanishes() -> None:
    """Differentiate the averaged loss in every entry of W and insert S adj(M) / det M."""
    for d, n in ((2, 1), (2, 3), (3, 2)):
        weights, points = generic("w", d, d), generic("x", d, n)
        moment = second_moment(points)
        # a generic symmetric S keeps the adjugate small; the gradient depends on X through S alone
        letters = sp.Matrix(d, d, lambda i, j: sp.Symbol(f"S{min(i, j)}{max(i, j)}"))
        gradient = loss(weights, points).diff(weights)
        linear = 2 * (weights * (moment + s * sp.eye(d)) - moment)
        require_zero(sp.Matrix(gradient) - linear, f"gradient, d={d}, n={n}")
        shifted = letters + s * sp.eye(d)
        require_zero(letters * shifted.adjugate() * shifted - shifted.det() * letters, f"zero gradient, d={d}")


@check("DAE-3", "gains s_i^2/(s_i^2 + n s); limits: 1 on the span, 0 off it, 0 for large noise", SYMBOLIC, "all d, n")
def limits_of_the_gain() -> None:
    """In the eigenbasis of S, lambda = s_i^2/n; the projector is the small-noise limit of X (X'X + n s)^-1 X'."""
    singular, n = sp.symbols("singular n", positive=True)
    require_zero((lam / (lam + s)).subs(lam, singular**2 / n) - singular**2 / (singular**2 + n * s), "gain")
    require(sp.limit(lam / (lam + s), s, 0) == 1, "gain on the span as the noise vanishes")
    require((lam / (lam + s)).subs(lam, 0) == 0, "gain off the span")
    require(sp.limit(lam / (lam + s), s, sp.oo) == 0, "gain as the noise grows")
    points = sp.Matrix([[1, 2], [0, 1], [3, -1]])
    moment = second_moment(points)
    fitted = moment * (moment + s * sp.eye(3)).inv()
    projector = points * (points.T * points).inv() * points.T
    require_zero(fitted.applyfunc(lambda entry: sp.limit(sp.cancel(entry), s, 0)) - projector, "projector, n < d")


@check(
    "DAE-3", "no W beats W*; excess loss = completed square", ATTACK, "200 exact rational cases, d<=6, n<=8", sole=False
)
def minimiser_attack() -> None:
    """Exact rational loss (noise averaged per entry: s |W|^2) of random competitors, also for fewer points than d."""
    rng = np.random.default_rng(3)
    for _ in range(200):
        d, n = int(rng.integers(1, 7)), int(rng.integers(1, 9))
        points, noise = random_matrix(rng, d, n), random_rational(rng)
        moment = points * points.transpose() * fmpq(1, n)
        shifted = moment + eye(d, noise)
        best = moment * shifted.inv()
        other = best + random_matrix(rng, d, d) * fmpq(1, int(rng.integers(1, 30)))

        def exact_loss(weights, points=points, noise=noise, n=n):
            residual = weights * points - points
            return trace(residual * residual.transpose()) / n + noise * trace(weights * weights.transpose())

        gap = other - best
        excess = exact_loss(other) - exact_loss(best)
        require(excess == trace(gap * shifted * gap.transpose()), "excess is not the completed square")
        require(excess >= 0, "a competitor beats the minimiser")


@check(
    "DAE-4",
    "excess loss = |W R - S R^-1|^2, R = (S+s)^(1/2); rank(W R) = rank W",
    SYMBOLIC,
    "all d, n",
    uses="Eckart-Young: the best rank-k approximation keeps the largest singular values, uniquely iff there is a gap",
)
def bottleneck_is_eckart_young() -> None:
    """(W - S/M) M (W - S/M)' = B B' with B = W R - S R^-1; R is invertible, so the rank constraint carries over."""
    root, inverse = sp.symbols("R Ri", commutative=False)
    square = sp.expand((W * root - S * inverse) * (root * Wt - inverse * S))
    square = square.subs(root * inverse, 1).subs(inverse * root, 1).subs(root**2, M).subs(inverse**2, Mi)
    require(square == cancel_inverse((W - S * Mi) * M * (Wt - Mi * S)), "not a Frobenius distance")


@check(
    "DAE-4",
    "weight lambda^2/(lambda+s) and gain increase with lambda: top-k kept; tied weights",
    SIGN,
    "all lambda, s > 0",
)
def weight_increases() -> None:
    """Singular values of S R^-1 are the roots of the weight; W1 = W2' = diag(g^(1/2)) U' gives the same product."""
    weight, top = lam**2 / (lam + s), lam / (lam + s)
    require_nonnegative(sp.diff(weight, lam), "weight", strict=True)
    require_nonnegative(sp.diff(top, lam), "gain", strict=True)
    require_zero((0 - top) ** 2 * (lam + s) - weight, "dropped direction costs its weight")
    require_nonnegative(top, "the tied factor needs a real root of the gain", strict=True)


@check(
    "DAE-4",
    "unique only with a gap: a tie lambda_k = lambda_(k+1) > 0 lets the kept direction turn",
    SYMBOLIC,
    "all lambda, s",
)
def tie_is_not_unique() -> None:
    """In a plane of equal eigenvalues every unit vector u gives g u u' the same loss, and different products."""
    t = sp.Symbol("t", positive=True)
    unit = rotation(t)[:, 0]
    product = lam / (lam + s) * unit * unit.T
    cost = (product * (lam + s) * product.T).trace() - 2 * lam * product.trace()
    require_zero(cost + lam**2 / (lam + s), "loss depends on the direction")
    require(product.diff(t) != sp.zeros(2), "products coincide")


@check("DAE-4", "equal products of rank k differ by an invertible R", ATTACK, "50 exact rational cases", sole=False)
def factors_up_to_a_basis() -> None:
    """If V2 V1 = W2 W1 has rank k, R = (W2'W2)^-1 W2'V2 is invertible, V2 = W2 R and R V1 = W1 (exactly)."""
    rng = np.random.default_rng(44)
    for _ in range(50):
        d, k = 6, int(rng.integers(1, 6))
        outer, inner, turn = random_matrix(rng, d, k), random_matrix(rng, k, d), random_matrix(rng, k, k)
        if outer.rank() < k or inner.rank() < k or turn.rank() < k:
            continue
        other_outer, other_inner = outer * turn, turn.inv() * inner
        found = (outer.transpose() * outer).inv() * outer.transpose() * other_outer
        require(found.det() != 0 and outer * found == other_outer and found * other_inner == inner, "no such R")


def low_rank_problem(rng: np.random.Generator):
    """Exact S = Q diag(lambda) Q' with rational Q and sorted lambda, a noise variance and a width."""
    d = int(rng.integers(2, 7))
    values = sorted((random_rational(rng) for _ in range(d)), reverse=True)
    turn = random_orthogonal(rng, d)
    return turn * diagonal(values) * turn.transpose(), values, turn, random_rational(rng), int(rng.integers(1, d + 1))


@check("DAE-4", "no rank-k product has a lower loss", ATTACK, "300 exact rational products, d<=6", sole=False)
def rank_attack_exact() -> None:
    """Exact loss of random rank-k factors, far from and near to the claimed minimiser, which reaches its bound."""
    rng = np.random.default_rng(4)
    for trial in range(300):
        moment, values, turn, noise, k = low_rank_problem(rng)
        d, shifted = len(values), moment + eye(len(values), noise)

        def cost(weights, shifted=shifted, moment=moment):
            return trace(weights * shifted * weights.transpose()) - 2 * trace(weights * moment)

        kept = [v / (v + noise) if i < k else fmpq(0) for i, v in enumerate(values)]
        best = turn * diagonal(kept) * turn.transpose()
        least = -sum((v * v / (v + noise) for v in values[:k]), fmpq(0))
        require(cost(best) == least, "claimed minimiser misses its own value")
        scale = fmpq(1, 10 ** int(trial % 4))
        top = turn * diagonal([fmpq(int(i < k)) for i in range(d)])
        outer = top + random_matrix(rng, d, k) * random_matrix(rng, k, d) * scale * diagonal(
            [fmpq(int(i < k)) for i in range(d)]
        )
        inner = diagonal(kept) * turn.transpose() + random_matrix(rng, d, d) * scale
        require(cost(outer * inner) >= least, "a rank-k product beats the claimed minimiser")


def alternate(moment: np.ndarray, noise: float, k: int, decay: float, rng: np.random.Generator, rounds: int):
    """Minimise over one factor at a time (each a ridge problem with a unique solution); cost without its constant."""
    d = len(moment)
    shifted = moment + noise * np.eye(d)
    outer, inner = rng.normal(size=(d, k)), rng.normal(size=(k, d))
    values, basis = np.linalg.eigh(shifted)
    for _ in range(rounds):
        # outer: (W2 W1 - ...) normal equations; inner: a Sylvester equation, diagonal in two eigenbases
        outer = np.linalg.solve(inner @ shifted @ inner.T + decay * np.eye(k), inner @ moment).T
        scales, left = np.linalg.eigh(outer.T @ outer)
        inner = left @ ((left.T @ outer.T @ moment @ basis) / (scales[:, None] * values + decay)) @ basis.T
    weights = outer @ inner
    penalty = decay * (np.sum(outer**2) + np.sum(inner**2))
    return weights, np.trace(weights @ shifted @ weights.T) - 2 * np.trace(weights @ moment) + penalty


@check(
    "DAE-4", "alternating minimisation of the factors ends at W_k", ATTACK, "20 random starts, d=6, float64", sole=False
)
def alternating_attack() -> str:
    """Random spectra with a clear gap; cost is never below the claim, and product and claim agree at the end."""
    rng, worst = np.random.default_rng(40), 0.0
    for trial in range(20):
        d, k = 6, 1 + trial % 6
        values = np.cumprod(np.r_[20.0, rng.uniform(0.3, 0.6, d - 1)])
        turn, _ = np.linalg.qr(rng.normal(size=(d, d)))
        weights, cost = alternate((turn * values) @ turn.T, 1.0, k, 0.0, rng, 300)
        claimed = (turn[:, :k] * (values[:k] / (values[:k] + 1))) @ turn[:, :k].T
        least = -np.sum(values[:k] ** 2 / (values[:k] + 1))
        require(cost >= least - 1e-12 * abs(least), "alternating minimisation goes below the claim")
        worst = max(worst, np.linalg.norm(weights - claimed, 2))
    require(worst < 1e-9, f"products differ by {worst:.1e}")
    return f"largest difference {worst:.0e}"


@check(
    "DAE-10",
    "excess risk = tr(W-W*)(S+s)(W-W*)' = sum (lambda_i+s)(g_i-g_i^real)^2",
    SYMBOLIC,
    "generic plane; all d by the square",
)
def risk_identity() -> None:
    """Averaged loss of any W = Q diag(g) Q' on a generic rotated plane minus its minimum, both by DAE-3's first row."""
    t, first, second, g1, g2 = sp.symbols("t l1 l2 g1 g2", positive=True)
    turn = rotation(t)
    moment = turn * sp.diag(first, second) * turn.T

    def risk(gains):
        weights = turn * gains * turn.T
        return (weights * (moment + s * sp.eye(2)) * weights.T).trace() - 2 * (weights * moment).trace()

    excess = risk(sp.diag(g1, g2)) - risk(sp.diag(first / (first + s), second / (second + s)))
    claimed = sum((v + s) * (g - v / (v + s)) ** 2 for v, g in ((first, g1), (second, g2)))
    require_zero(sp.cancel(sp.together(excess)) - claimed, "risk")
    square = cancel_inverse((W - S * Mi) * M * (Wt - Mi * S))
    require(square == sp.expand(W * M * Wt - W * S - S * Wt + S * Mi * S), "general square")


@check("DAE-10", "at full collapse (W = 0) the excess is sum lambda^2/(lambda+s)", SYMBOLIC, "all lambda, s")
def risk_at_collapse() -> None:
    """Loss of W = 0 minus the minimal loss, one direction, from the averaged definition."""
    w = sp.Symbol("w", positive=True)
    scalar = loss(sp.Matrix([[w]]), sp.Matrix([[sp.sqrt(lam)]]))
    (best,) = sp.solve(sp.diff(scalar, w), w)
    require_zero(scalar.subs(w, 0) - scalar.subs(w, best) - lam**2 / (lam + s), "limit")


@check(
    "DAE-16",
    "soft threshold g = max(0, (lambda-eta)/(lambda+s)) minimises loss + 2 eta |W|_*",
    SYMBOLIC,
    "full width, all S, s, eta",
    uses="min of |W1|^2+|W2|^2 over factors of W is 2 |W|_* (nuclear norm)",
)
def soft_threshold() -> None:
    """Convex in W, so the subgradient condition decides: 2 (W - W*) M + 2 eta G = 0 with G in the subdifferential.

    In the common eigenbasis a living direction needs G = 1 and a dead one |G| <= 1. The factor 2 of the penalty is
    the scalar case w1^2 + w2^2 >= 2 w1 w2, with equality for equal factors.
    """
    first, second, w = sp.symbols("w1 w2 w", positive=True)
    require_zero(first**2 + second**2 - 2 * first * second - (first - second) ** 2, "normalisation of the penalty")
    scalar = loss(sp.Matrix([[w]]), sp.Matrix([[sp.sqrt(lam)]])) + 2 * eta * w
    (best,) = sp.solve(sp.diff(scalar, w), w)
    require_zero(best - (lam - eta) / (lam + s), "stationary gain")
    living = (lam / (lam + s) - best) * (lam + s) / eta
    require_zero(living - 1, "subgradient of a living direction")
    dead = (lam / (lam + s) - 0) * (lam + s) / eta
    require_zero(dead - lam / eta, "subgradient of a dead direction is lambda/eta, at most 1 iff lambda <= eta")
    require_zero(best.subs(eta, 0) - lam / (lam + s), "no decay")
    require(sp.diff(scalar, w, 2).is_positive, "not convex")


@check(
    "DAE-16",
    "what a direction saves, (lambda-eta)^2/(lambda+s), increases: the top k are kept",
    SIGN,
    "lambda > eta, all s; products that share the eigenvectors",
)
def decay_keeps_the_top() -> None:
    """Cost of a living direction against none, as a function of lambda = eta + excess."""
    excess, w = sp.symbols("excess w", positive=True)
    scalar = loss(sp.Matrix([[w]]), sp.Matrix([[sp.sqrt(lam)]])) + 2 * eta * w
    saved = scalar.subs(w, 0) - scalar.subs(w, (lam - eta) / (lam + s))
    require_zero(saved - (lam - eta) ** 2 / (lam + s), "saving")
    require_nonnegative(sp.diff(saved, lam).subs(lam, eta + excess), "saving increases", strict=True)


@check(
    "DAE-16",
    "any width k: cost >= sum over the top k of -(lambda-eta)^2/(lambda+s), zero if lambda <= eta",
    SYMBOLIC,
    "all d, k, S, s, eta > 0",
)
def decay_with_a_bottleneck() -> None:
    """Minimise over W2 for fixed W1, K = W1 M W1' + eta: what remains is -tr S W1' K^-1 W1 S + eta |W1|^2.

    With the singular values v_i and right singular vectors q_i (orthonormal) of W1 M^(1/2) and
    theta_i = v_i^2/(v_i^2 + eta), that is sum_i q_i' D(theta_i) q_i, D a function of S whose value at lambda is
    (eta^2 theta/(1-theta) - theta lambda^2)/(lambda+s). It exceeds its claimed minimum over theta by a square. The
    weight sum_i |q_il|^2 of an eigenvector is at most 1 and all weights add up to k, and the minimum falls with lambda
    (previous row): the least total puts weight 1 on the top k.
    """
    outer, outer_t, inner, inner_t, kernel, inverse = sp.symbols("W2 W2t W1 W1t K Ki", commutative=False)
    square = sp.expand((outer - S * inner_t * inverse) * kernel * (outer_t - inverse * inner * S))
    square = square.subs(kernel * inverse, 1).subs(inverse * kernel, 1)
    linear = outer * kernel * outer_t - outer * inner * S - S * inner_t * outer_t
    require(sp.expand(square - linear - S * inner_t * inverse * inner * S) == 0, "minimum over W2")
    theta, v2, w = sp.symbols("theta v2 w", positive=True)
    require_zero((v2 - eta * theta / (1 - theta)).subs(theta, v2 / (v2 + eta)), "singular value from theta")
    value = (eta * (eta * theta / (1 - theta)) - theta * lam**2) / (lam + s)
    living = value + (lam - eta) ** 2 / (lam + s)
    require_zero(living - ((1 - theta) * lam - eta) ** 2 / ((1 - theta) * (lam + s)), "square above the minimum")
    # theta = w/(1+w) runs over (0, 1), lambda = eta/(1+v2) over (0, eta)
    dead = value.subs({lam: eta / (1 + v2)}).subs(theta, w / (1 + w))
    require_nonnegative(dead, "a direction below eta costs", strict=True)


@check(
    "DAE-16",
    "width k < d: no factors of any orientation do better, alternation ends there",
    ATTACK,
    "24 random starts, d=5, k<=5, float64",
    sole=False,
)
def decay_attack() -> str:
    """Alternating minimisation of loss + decay from random factors, and its perturbations, against the claim."""
    rng, worst = np.random.default_rng(16), 0.0
    for trial in range(24):
        d, k, decay = 5, 1 + trial % 5, float(rng.uniform(0.05, 3.0))
        values = np.cumprod(np.r_[12.0, rng.uniform(0.3, 0.6, d - 1)])
        turn, _ = np.linalg.qr(rng.normal(size=(d, d)))
        weights, cost = alternate((turn * values) @ turn.T, 1.0, k, decay, rng, 1000)
        gains = np.maximum(0, (values - decay) / (values + 1)) * (np.arange(d) < k)
        least = -np.sum(gains**2 * (values + 1))
        require(cost >= least - 1e-12 * abs(least), "factors with a lower cost than the soft threshold")
        worst = max(
            worst, cost / least - 1 if least else 0.0, float(np.linalg.norm(weights - (turn * gains) @ turn.T, 2))
        )
    require(worst < 1e-9, f"products differ by {worst:.1e}")
    return f"largest difference {worst:.0e}"


@check("DAE-16", "mean of the noisy loss uses 1/n and no factor 1/2", SYMBOLIC, "one direction")
def normalisation() -> None:
    """The scalar loss of the definition is (1-w)^2 lambda + s w^2: the decay enters it unscaled."""
    w, noise = sp.symbols("w noise", positive=True)
    mean = average(sp.expand((w * (sp.sqrt(lam) + noise) - sp.sqrt(lam)) ** 2), [noise], s)
    require_zero(mean - ((1 - w) ** 2 * lam + s * w**2), "scalar loss")
