"""The numbers a correct library shows, in exact rationals rounded as printed."""

from fractions import Fraction

from proofs_check.dae.tools import step
from proofs_check.ground import INTERVAL, check, require


def rounds_to(value: Fraction, printed: str) -> bool:
    """Whether the value rounds to the printed decimals."""
    half = Fraction(1, 2 * 10 ** len(printed.partition(".")[2]))
    return abs(value - Fraction(printed)) <= half


@check(
    "DAE-5",
    "c = 1, x1 = 10: norm 0.9091, 0.8652, 0.6998 at j = 1, 5, 10",
    INTERVAL,
    "this chain, exact rationals",
    sole=False,
)
def chain_of_ten() -> None:
    """Nine rounds; numerators double their digits each round and stay exact."""
    value, norms = Fraction(10), {}
    for j in range(1, 11):
        norms[j] = value / (value + 1)
        value = step(value, Fraction(1))
    for j, printed in ((1, "0.9091"), (5, "0.8652"), (10, "0.6998")):
        require(rounds_to(norms[j], printed), f"j = {j}: {float(norms[j]):.6f}")


def crosses(form, low: Fraction, high: Fraction) -> bool:
    """Whether the function changes sign between two rationals."""
    return form(low) * form(high) < 0


@check(
    "DAE-13",
    "c = 1, A = 2, a = 1/2: gains 0.5, 0.5486, 2 - sqrt 2, 0.6667",
    INTERVAL,
    "this chain, exact rationals",
    sole=False,
)
def four_gains() -> None:
    """Bracket each limit between the gains that round to the printed value and look for the change of sign."""
    real, share = Fraction(2), Fraction(1, 2)
    mixed = share * real
    require(mixed / (mixed + 1) == Fraction(1, 2) and rounds_to(real / (real + 1), "0.6667"), "bound or real gain")

    def pool(norm: Fraction) -> Fraction:
        y = norm / (1 - norm)
        return y - mixed - (1 - share) * step(y, Fraction(1))

    def chain(norm: Fraction) -> Fraction:
        y = norm / (1 - norm)
        synthetic = (y - mixed) / (1 - share)
        return norm**2 * (synthetic + 1) - synthetic

    require(crosses(pool, Fraction("0.58575"), Fraction("0.58585")), "pool-fed")
    require(crosses(chain, Fraction("0.54855"), Fraction("0.54865")), "chain-fed")
    # 2 - sqrt 2 exactly: the gain g solves (2-g)^2 = 2, that is y^2 = 2
    require(Fraction("0.5858") ** 2 - 4 * Fraction("0.5858") + 2 < Fraction(1, 1000), "2 - sqrt 2")


@check(
    "DAE-6",
    "c = 2.5: x* = 2; 1.9 falls below 1e-3 and 2.1 grows above 20",
    INTERVAL,
    "these chains, exact fixed point",
    sole=False,
)
def around_the_threshold() -> None:
    """The fixed point in rationals, the two orbits in floats far from any rounding."""
    require(step(Fraction(2), Fraction(5, 2)) == 2, "fixed point")
    low, high = 1.9, 2.1
    for _ in range(100):
        low, high = step(low, 2.5), step(high, 2.5)
    require(low < 1e-3 and high > 20, f"{low:.3g}, {high:.3g}")
