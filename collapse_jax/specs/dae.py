"""The linear denoising-autoencoder chain.

Round by round a linear map W is trained to denoise points with second moment S (training noise of variance
``noise_var`` per entry), then produces the next points as W(X + E), the entries of E iid with variance
``resample_noise_var``. Everything that the population chain does depends on the eigenvalues of S, the two noise
variances, the real fraction, the feed of the generator and the rank of W.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from collapse_jax.errors import SpecError
from collapse_jax.specs.ground import as_float, check, concrete, parameter, pytree

Feed = Literal["chain", "pool", "prior"]
Regime = Literal["replace", "accumulate"]


@pytree
@dataclass(frozen=True)
class DAESpec:
    """What a linear denoising-autoencoder chain is.

    Attributes:
        spectrum: ``[d]`` eigenvalues of the real second moment, descending, >= 0 (units of data squared).
        noise_var: sigma^2 > 0, variance per entry of the training noise (units of data squared).
        resample_noise_var: sigma-hat^2 >= 0, variance per entry of the generation noise E (units of data squared).
        real_fraction: a in [0, 1], the weight of the real second moment in every round's training data.
        weight_decay: eta >= 0 on the squared norms of both factors (units of data squared; DAE-16).
        feed: what the generator is fed: ``chain`` the previous synthetic block, ``pool`` draws from the mixed pool,
            ``prior`` noise alone. With ``real_fraction`` 0 the population chain is the same for chain and pool.
        rank: width of the bottleneck, 1 <= rank <= d; None for full width.
        regime: ``replace`` (the synthetic block is renewed each round, beside the real share), or ``accumulate``
            (every block ever made is kept, the first one real; pool-fed, real_fraction 0).

    Raises:
        SpecError: a value out of range; the message names the field, the value and the requirement.

    >>> DAESpec(spectrum=[10.0, 5.0, 2.0], noise_var=1.0).dimension
    3
    """

    spectrum: Any = parameter(
        "eigenvalues of the real second moment, descending [data^2]", range=">= 0, descending", type=list
    )
    noise_var: Any = parameter("training noise variance per entry, sigma^2 [data^2]", default=1.0, range="> 0")
    resample_noise_var: Any = parameter(
        "generation noise variance per entry, sigma-hat^2 [data^2]", default=1.0, range=">= 0"
    )
    real_fraction: Any = parameter("weight of real data in every round, a", default=0.0, range="[0, 1]")
    weight_decay: Any = parameter("weight decay eta on both factors [data^2]", default=0.0, range=">= 0")
    feed: Feed = parameter(
        "what the generator is fed", default="chain", static=True, choices=("chain", "pool", "prior"), type=str
    )
    rank: int | None = parameter(
        "width of the bottleneck", default=None, range="1 ... d, none = full", static=True, type=int
    )
    regime: Regime = parameter(
        "what a round trains on", default="replace", static=True, choices=("replace", "accumulate"), type=str
    )

    def __post_init__(self):
        spectrum = as_float("spectrum", self.spectrum)
        object.__setattr__(self, "spectrum", spectrum)
        for name in ("noise_var", "resample_noise_var", "real_fraction", "weight_decay"):
            object.__setattr__(self, name, as_float(name, getattr(self, name), spectrum.dtype))
        if concrete(spectrum):
            if spectrum.ndim == 0 or spectrum.shape[-1] == 0:
                raise SpecError("spectrum must list at least one eigenvalue, got none: pass for example [10, 5, 2].")
            check("spectrum", spectrum, lambda v: np.isfinite(v) & (v >= 0), "finite and non-negative")
            check("spectrum", spectrum, lambda v: np.all(np.diff(v, axis=-1) <= 0), "sorted from largest to smallest")
        check("noise_var", self.noise_var, lambda v: np.isfinite(v) & (v > 0), "finite and positive")
        check("resample_noise_var", self.resample_noise_var, lambda v: np.isfinite(v) & (v >= 0), "finite and >= 0")
        check("real_fraction", self.real_fraction, lambda v: (v >= 0) & (v <= 1), "in [0, 1]")
        check("weight_decay", self.weight_decay, lambda v: np.isfinite(v) & (v >= 0), "finite and >= 0")
        if self.feed not in ("chain", "pool", "prior"):
            raise SpecError(f"feed must be chain, pool or prior, got {self.feed!r}.")
        if self.regime not in ("replace", "accumulate"):
            raise SpecError(f"regime must be replace or accumulate, got {self.regime!r}.")
        if self.rank is not None and (not isinstance(self.rank, int | np.integer) or self.rank < 1):
            raise SpecError(f"rank must be a whole number >= 1 or None, got {self.rank!r}.")
        if self.rank is not None and spectrum.ndim and self.rank > spectrum.shape[-1]:
            raise SpecError(f"rank must be at most the dimension {spectrum.shape[-1]}, got {self.rank}.")
        if self.regime == "accumulate":
            if self.feed != "pool":
                raise SpecError(f"regime accumulate is pool-fed: set feed to pool, got {self.feed!r}.")
            check("real_fraction", self.real_fraction, lambda v: v == 0, "0 with regime accumulate")

    @property
    def dimension(self) -> int:
        """d, the number of directions."""
        return self.spectrum.shape[-1]

    @property
    def width(self) -> int:
        """Number of directions that pass the bottleneck."""
        return self.dimension if self.rank is None else int(self.rank)
