"""The same chains token by token, on the loop that serves any family: slow, and what the counts are held against.

Every token of a round has an origin of its own, drawn for it: real, or a token of the last model. The family is a table
of proportions; the general loop (``recursion.regimes``) draws origins, keeps what a regime keeps, and fits.
"""

import jax
import jax.numpy as jnp
import numpy as np

from collapse_jax.errors import SpecError
from collapse_jax.recursion.regimes import Family, chain
from collapse_jax.simulate.contamination_chain import State, observe
from collapse_jax.specs.contamination import ContaminationSpec
from collapse_jax.specs.ground import concrete
from collapse_jax.specs.regime import Regime


def _tokens(key, law, number: int):
    """``[number]`` tokens of a law, as whole numbers of the law's own type (a pool has one type of number)."""
    total = jnp.cumsum(law)
    drawn = jax.random.uniform(key, (number,), law.dtype) * total[-1]
    return jnp.minimum(jnp.sum((drawn[:, None] >= total[None, :]).astype(law.dtype), axis=1), len(law) - 1)


def table_family(tokens: int, smoothing) -> Family:
    """Tables of proportions of ``tokens`` tokens, each count raised by ``smoothing``."""

    def fit(key, pool, previous):
        counts = pool.weights @ jax.nn.one_hot(pool.data.astype(int), tokens, dtype=pool.weights.dtype) + smoothing
        return counts / jnp.sum(counts)

    return Family(fit, lambda key, law, number: _tokens(key, law, number))


def run(spec: ContaminationSpec, key, *, generations: int, replicates: int, chains: int) -> dict:
    """What ``observe`` sees of rounds 0 ... ``generations``, tokens drawn one by one.

    Raises:
        SpecError: contexts, random sizes or a parametric model, which only the exact sampler has; traced sizes.
    """
    if spec.contexts is not None or spec.features is not None or spec.size_law != "fixed":
        raise SpecError(
            "sampler must be exact for contexts, size_law poisson and features, got 'brute-force': their tokens are "
            "drawn through counts only."
        )
    if not (concrete(spec.size) and concrete(spec.first_size)):
        raise SpecError("size must be known for sampler brute-force, got a traced value: take sampler exact.")
    sizes = (int(spec.start_size), *(int(n) for n in np.asarray(spec.sizes(generations))))
    regime = Regime(
        samples=sizes,
        kind=spec.regime,
        real_fraction=jnp.concatenate([jnp.ones(1, spec.truth.dtype), spec.shares(generations)]),
        real=spec.real,
    )
    laws = chain(
        table_family(spec.tokens, spec.smoothing),
        lambda key, number: _tokens(key, spec.truth, number),
        regime,
        generations + 1,
        replicates * chains,
        key,
        observe=lambda law: law,
    )
    laws = laws.reshape(replicates, chains, generations + 1, 1, spec.tokens)
    none = jnp.zeros((chains, 1), laws.dtype)

    def seen(law):
        return observe(spec, State(law, law, law, none), True)

    return jax.vmap(jax.vmap(seen, in_axes=1))(laws)
