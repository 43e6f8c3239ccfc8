"""Which function measures an observable: what the ``measure`` of every subject asks first."""

from collections.abc import Callable, Mapping

from collapse_jax.errors import SpecError


def chosen(
    measures: Mapping[str, Callable],
    observable: str,
    sampler: str,
    exact: Callable | None = None,
    brute_force: Callable | None = None,
) -> Callable:
    """The function of ``measures`` that measures ``observable``, or ``brute_force`` where that is its other sampler.

    Args:
        measures: functions by the names of what they measure.
        observable: a name in ``measures``.
        sampler: ``exact`` or ``brute-force``.
        exact, brute_force: the function that has another one, and the other one; None if there is no other sampler.

    Raises:
        SpecError: an unknown observable or sampler (names the known ones).

    >>> chosen({"mean": max, "sum": sum}, "sum", "brute-force", sum, min) is min
    True
    """
    if observable not in measures:
        raise SpecError(f"observable must be one of {', '.join(sorted(measures))}, got {observable!r}.")
    chain = measures[observable]
    if sampler == "exact":
        return chain
    if brute_force is None:
        raise SpecError(f"sampler must be exact for this subject, got {sampler!r}: particles are exact in law.")
    if sampler != "brute-force":
        raise SpecError(f"sampler must be exact or brute-force, got {sampler!r}.")
    if chain is not exact:
        raise SpecError(f"sampler must be exact for {observable}, got 'brute-force': only whole chains have both.")
    return brute_force
