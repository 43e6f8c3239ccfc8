"""The register: the one list of numbered results.

A theory function declares its result with ``@register(...)``; documentation, the ``collapse results`` table, figure
captions, citations and the coverage table of the proofs are all made from these declarations. The decorated
function computes plain arrays; the decorator wraps them into a ``Prediction`` that carries id, observable and kind.

An id may have parts: ``DAE-5`` is the spectrum of the chain, ``DAE-5/gain`` the operator norm that follows from it.
"""

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, ParamSpec

import jax.numpy as jnp

from collapse_jax.errors import UnknownResultError
from collapse_jax.trajectory import Kind, Prediction

Tag = Literal["paper", "derived"]
Sampler = Literal["exact", "brute-force"]
Arguments = ParamSpec("Arguments")

CITATIONS = {
    "zhu2024": (
        "Zhu, Wang, Ding, Qu, Zhu: Analyzing and Mitigating Model Collapse in Rectified Flow Models. "
        "arXiv:2412.08175 (CPAL 2026)."
    ),
    "dohmatob2024": (
        "Dohmatob, Feng, Kempe: Model Collapse Demystified: The Case of Regression. arXiv:2402.07712 (NeurIPS 2024)."
    ),
    "gerstgrasser2024": (
        "Gerstgrasser et al.: Is Model Collapse Inevitable? Breaking the Curse of Recursion by Accumulating Real and "
        "Synthetic Data. arXiv:2404.01413 (COLM 2024)."
    ),
    "barzilai2025": (
        "Barzilai, Shamir: When Models Don't Collapse: On the Consistency of Iterative MLE. arXiv:2505.19046 "
        "(NeurIPS 2025)."
    ),
    "suresh2024": "Suresh, Thangaraj, Khandavally: Rate of Model Collapse in Recursive Training. arXiv:2412.17646.",
    "bakshi2026": (
        "Bakshi, Chakraborty: From Collapse to Improvement: Statistical Perspectives on the Evolutionary Dynamics of "
        "Iterative Training on Contaminated Sources. arXiv:2602.10531."
    ),
    "collapse_jax": "The collapse_jax developers: collapse_jax, derived results and their proofs. 2026.",
}

SUBJECTS = {
    "CON": "contamination",
    "DAE": "dae",
    "MLE": "mle",
    "REG": "regression",
    "RF": "reflow",
    "SP": "spectral",
}
"""The room of each family of ids."""


@dataclass(frozen=True)
class Result:
    """One numbered result and how to ask for it.

    Attributes:
        id: such as ``DAE-5`` or ``DAE-5/gain``; ``base`` is the part before the slash.
        subject: name of the room that holds it (``dae``).
        statement: one line of plain text.
        kind, tag, citation: as in the contract; ``citation`` is a key of ``CITATIONS``.
        observable: what is predicted, and the name under which the measurement reports it.
        check: one phrase, how the measurement is made.
        example: spec fields of the default comparison; ``generations`` its length.
        samples: points per block of the default measurement (so large that the population holds, or small on purpose
            for statements that are exact at any n); ``sampler`` the way of sampling them.
        relevant: relative deviation that matters in the default comparison; larger than 1 % only where the statement
            itself claims no more than an order of magnitude.
        given: observables on whose realised values the statement is conditional (compared replicate by replicate).
        function: the public theory function.
        timed: whether the function takes ``generations``.
        curve: whether its values have a generation axis; not so for what is said of the last generation only.
    """

    id: str
    subject: str
    statement: str
    kind: Kind
    tag: Tag
    citation: str
    observable: str
    check: str
    example: Mapping[str, Any]
    generations: int
    samples: int
    sampler: Sampler
    relevant: float
    given: tuple[str, ...]
    function: Callable[..., Prediction] = field(repr=False)
    timed: bool
    curve: bool

    @property
    def base(self) -> str:
        """Id without its part: ``DAE-5`` for ``DAE-5/gain``."""
        return self.id.partition("/")[0]

    def predict(self, spec, generations: int, **realised) -> Prediction:
        """Call the theory function, with ``generations`` only where it takes them."""
        return self.function(spec, generations, **realised) if self.timed else self.function(spec, **realised)


_REGISTER: dict[str, Result] = {}


def register(
    id: str,
    *,
    statement: str,
    kind: Kind,
    observable: str,
    check: str,
    example: Mapping[str, Any],
    generations: int = 15,
    samples: int = 10**8,
    sampler: Sampler = "exact",
    relevant: float = 0.01,
    given: tuple[str, ...] = (),
    curve: bool = True,
    tag: Tag = "derived",
    citation: str = "collapse_jax",
) -> Callable[[Callable[Arguments, Any]], Callable[Arguments, Prediction]]:
    """Declare a result. The function returns an array, or ``(array, margin)`` for a statement with a stated error.

    Values of a function that takes ``generations`` are a curve over them, unless ``curve`` is False.
    """

    def declare(function: Callable[Arguments, Any]) -> Callable[Arguments, Prediction]:
        if id in _REGISTER:
            raise ValueError(
                f"result {id} is declared twice: by {_REGISTER[id].function.__name__} and {function.__name__}"
            )

        @functools.wraps(function)
        def predicted(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Prediction:
            out = function(*args, **kwargs)
            values, margin = out if isinstance(out, tuple) else (out, 0.0)
            # of full shape, so that vmap stacks it along the same axis as the values
            margin = jnp.broadcast_to(jnp.asarray(margin, values.dtype), values.shape)
            return Prediction(values, margin, result=id, observable=observable, kind=kind)

        timed = "generations" in inspect.signature(function).parameters
        # jaxtyping reads annotations off the wrapper: those of the bare arrays are not its own
        predicted.__annotations__ = {**function.__annotations__, "return": Prediction}
        _REGISTER[id] = Result(
            id=id,
            subject=SUBJECTS[id.partition("-")[0]],
            statement=statement,
            kind=kind,
            tag=tag,
            citation=citation,
            observable=observable,
            check=check,
            example=dict(example),
            generations=generations,
            samples=samples,
            sampler=sampler,
            relevant=relevant,
            given=given,
            function=predicted,
            timed=timed,
            curve=curve and timed,
        )
        return predicted

    return declare


def _load() -> None:
    """Import every theory room, which fills the register."""
    import collapse_jax.theory  # noqa: F401  (imported for its declarations)


def _order(id: str) -> tuple[str, int, str]:
    base, _, part = id.partition("/")
    subject, _, number = base.partition("-")
    return subject, int(number), part


def all_results(subject: str | None = None) -> list[Result]:
    """Every registered result in the order of its number; of one subject if named.

    >>> [r.id for r in all_results("dae")][:2]
    ['DAE-3', 'DAE-4']
    """
    _load()
    return [
        _REGISTER[id] for id in sorted(_REGISTER, key=_order) if subject is None or _REGISTER[id].subject == subject
    ]


def get(id: str) -> Result:
    """The result of that id.

    Raises:
        UnknownResultError: no such id; names the nearest one.

    >>> get("DAE-5").observable
    'spectrum'
    """
    import difflib

    _load()
    if id.upper() in _REGISTER:
        return _REGISTER[id.upper()]
    for known in _REGISTER:
        if known.lower() == id.lower():
            return _REGISTER[known]
    near = difflib.get_close_matches(id.upper(), _REGISTER, n=1)
    hint = f"did you mean {near[0]}?" if near else "`collapse results` lists them all."
    raise UnknownResultError(f"no result {id!r} is registered; {hint}")


def cite(id: str) -> str:
    """Citation of a result with its tag, ready for a caption.

    >>> cite("DAE-5").startswith("DAE-5 (derived)")
    True
    """
    result = get(id)
    return f"{result.id} ({result.tag}): {CITATIONS[result.citation]}"
