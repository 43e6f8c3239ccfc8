"""The linear denoising autoencoder with trained factors: fitted by gradient descent, generation after generation.

The loss. W = W_2 W_1, W_1 ``[k, d]`` and W_2 ``[d, k]`` without bias, learns to undo noise: the mean over n points x of
||W (x + e) - x||^2 with e iid of variance noise_var per entry, plus weight_decay (||W_1||^2 + ||W_2||^2) (Frobenius
norms). The expectation over e is taken exactly: E ||W (x + e) - x||^2 = ||W x - x||^2 + noise_var ||W||^2, and the mean
of the first term over the points is tr[(W - I) S (W - I)^T], S their second moment. S is sufficient, so a step of
training costs O(d^2 k) whatever n. ``loss`` is that average, ``noisy_loss`` the same loss with e drawn.

The start. An untrained W is the projector onto a random k-dimensional subspace: W_1 has orthonormal rows and
W_2 = W_1^T, untied with a small independent part on top. All gains are 1 at first and *decay* to their values. From a
tiny start the large directions would grow first and stopping early would look like collapse; from independent random
factors W has negative eigenvalues, which descent first has to bring to zero, a saddle.

The descent. Adam (b2 = 0.95) with a step that falls to zero along a cosine, on the full batch. Plain descent is slow
here: where the optimal gain is 0 the loss is noise_var (w_1 w_2)^2, quartic in the factors, and the gain falls only as
1 / (4 noise_var t) (exponentially where weight_decay exceeds the eigenvalue). ``gradient_norm`` is the witness of
convergence: in float32 it ends near 1e-6 times the largest eigenvalue over noise_var, and gains are right to 1e-5, for
second moments up to 100 noise_var (1e-2 at 1000: take more steps). What stays behind longest is an eigenvalue far below
noise_var at the border of a narrow bottleneck: it may not be picked up yet, an error as large as its small gain.

No closed form is used here: what the minimum looks like (DAE-3, DAE-4, DAE-16; derived) is for theory to say. Points
follow the habit of networks: their last axis is the coordinate, ``[..., d]``.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array, Float, PRNGKeyArray

from collapse_jax.errors import MeasurementError, SpecError
from collapse_jax.specs.dae import DAESpec
from collapse_jax.specs.ground import as_float, check, concrete, whole_number
from collapse_jax.trajectory import Trajectory

STEPS = 2000
"""Default number of gradient steps of a fit."""

LEARNING_RATE = 0.1
"""Default first step size of Adam; the factors start with entries of order 1 / sqrt(d)."""

UNTIED = 0.1
"""Relative size of the independent part of an untied decoder at the start."""

# Full precision (accelerators otherwise round float32 factors to fewer bits).
_dot = partial(jnp.matmul, precision="highest")


# Under vmap these run one matrix after the other: two batched factorisations at a time can exhaust the threads of a
# small machine, each waiting for the other's.
@jax.custom_batching.sequential_vmap
def _orthonormal(matrix: Float[Array, "d k"]) -> Float[Array, "d k"]:
    return jnp.linalg.qr(matrix)[0]


@jax.custom_batching.sequential_vmap
def _eigen(matrix: Float[Array, "d d"]) -> tuple[Float[Array, "d"], Float[Array, "d d"]]:
    values, vectors = jnp.linalg.eigh(matrix)
    return jnp.maximum(values[::-1], 0), vectors[:, ::-1]


@jax.custom_batching.sequential_vmap
def _singular_values(matrix: Float[Array, "d d"]) -> Float[Array, "d"]:
    return jnp.linalg.svd(matrix, compute_uv=False)


class LinearDAE(nnx.Module):
    """Two-layer linear denoising autoencoder without bias, x -> W_2 W_1 x.

    Untrained it projects onto a random ``width``-dimensional subspace (see the module's docstring).

    Args:
        dimension: d >= 1.
        width: k, the width of the bottleneck, 1 <= k <= d; None for d.
        tied: W_2 = W_1^T, one matrix of parameters.
        dtype: of the parameters; None for the default float.
        rngs: its ``params`` stream draws the start.

    Attributes:
        encoder: parameter W_1 ``[k, d]``.
        decoder: parameter W_2 ``[d, k]``; None if tied.

    Raises:
        SpecError: dimension or width out of range.

    >>> model = LinearDAE(3, 2, rngs=nnx.Rngs(0))
    >>> model(jnp.ones((5, 3))).shape
    (5, 3)
    """

    def __init__(self, dimension: int, width: int | None = None, *, tied: bool = False, dtype=None, rngs: nnx.Rngs):
        dimension = whole_number("dimension", dimension, 1)
        width = dimension if width is None else whole_number("width", width, 1)
        if width > dimension:
            raise SpecError(f"width must be at most the dimension {dimension}, got {width}.")
        dtype = jax.dtypes.canonicalize_dtype(float) if dtype is None else dtype
        basis = _orthonormal(jax.random.normal(rngs.params(), (dimension, width), dtype))
        self.encoder = nnx.Param(basis.T)
        apart = UNTIED / dimension**0.5 * jax.random.normal(rngs.params(), (dimension, width), dtype)
        self.decoder = None if tied else nnx.Param(basis + apart)

    @property
    def factors(self) -> tuple[Float[Array, "*models k d"], Float[Array, "*models d k"]]:
        """(W_1, W_2), also if tied; with leading axes for a stack of models made by ``vmap``."""
        encoder = self.encoder[...]
        return encoder, encoder.mT if self.decoder is None else self.decoder[...]

    @property
    def map(self) -> Float[Array, "*models d d"]:
        """The end-to-end map W = W_2 W_1, with leading axes for a stack of models."""
        encoder, decoder = self.factors
        return _dot(decoder, encoder)

    def __call__(self, points: Float[Array, "*batch d"]) -> Float[Array, "*batch d"]:
        """Denoise points ``[..., d]``."""
        encoder, decoder = self.factors
        return _dot(_dot(points, encoder.T), decoder.T)


class Fit(NamedTuple):
    """A fitted autoencoder.

    Attributes:
        model: the trained ``LinearDAE``.
        gradient_norm: norm of the gradient of ``loss / noise_var`` over all factors at the end, a scalar >= 0.
    """

    model: LinearDAE
    gradient_norm: Float[Array, ""]


def _decay(model: LinearDAE, spec: DAESpec):
    encoder, decoder = model.factors
    return spec.weight_decay * (jnp.sum(encoder**2) + jnp.sum(decoder**2))


def loss(model: LinearDAE, second_moment: Float[Array, "d d"], spec: DAESpec) -> Float[Array, ""]:
    """The denoising loss on points with that second moment, the training noise averaged out exactly (DAE-3; derived).

    tr[(W - I) S (W - I)^T] + noise_var ||W||_F^2 + weight_decay (||W_1||_F^2 + ||W_2||_F^2), in data^2.

    Args:
        model: the autoencoder of dimension d.
        second_moment: S = X^T X / n ``[d, d]``, symmetric, in data^2; no mean removed.
        spec: its noise_var and weight_decay are read.

    >>> model = LinearDAE(2, tied=True, rngs=nnx.Rngs(0))  # untrained and of full width: W = I
    >>> round(float(loss(model, jnp.eye(2), DAESpec(spectrum=[1.0, 1.0], noise_var=3.0))), 4)
    6.0
    """
    fitted = model.map
    off = fitted - jnp.eye(fitted.shape[0], dtype=fitted.dtype)
    return jnp.sum(_dot(off, second_moment) * off) + spec.noise_var * jnp.sum(fitted**2) + _decay(model, spec)


def noisy_loss(model: LinearDAE, points: Float[Array, "n d"], spec: DAESpec, key: PRNGKeyArray) -> Float[Array, ""]:
    """The denoising loss with the training noise drawn; its expectation over ``key`` is ``loss`` (DAE-3; derived).

    Mean over the points of ||W (x + e) - x||^2, e iid N(0, noise_var), plus the weight decay of ``loss``; in data^2.

    Args:
        model: the autoencoder of dimension d.
        points: ``[n, d]``.
        spec: its noise_var and weight_decay are read.
        key: random key of the noise.

    >>> spec = DAESpec(spectrum=[1.0, 1.0], noise_var=3.0)
    >>> model = LinearDAE(2, rngs=nnx.Rngs(0))
    >>> noisy_loss(model, jnp.ones((4, 2)), spec, jax.random.key(1)).shape
    ()
    """
    noise = jnp.sqrt(spec.noise_var) * jax.random.normal(key, points.shape, points.dtype)
    return jnp.mean(jnp.sum((model(points + noise) - points) ** 2, axis=-1)) + _decay(model, spec)


def _train(key, second_moment, spec: DAESpec, rate, tied: bool, steps: int) -> Fit:
    """``fit`` without its door; ``rate`` is a scalar array."""
    model = LinearDAE(spec.dimension, spec.width, tied=tied, dtype=spec.spectrum.dtype, rngs=nnx.Rngs(params=key))
    graph, start = nnx.split(model)
    adam = optax.scale_by_adam(b2=0.95)
    rates = rate * jnp.asarray((1 + np.cos(np.pi * np.arange(steps) / steps)) / 2, spec.spectrum.dtype)

    def objective(params):
        return loss(nnx.merge(graph, params), second_moment, spec) / spec.noise_var

    def step(state, rate):
        params, memory = state
        update, memory = adam.update(jax.grad(objective)(params), memory)
        return (jax.tree.map(lambda value, change: value - rate * change, params, update), memory), None

    # optax counts its steps in integers and multiplies them into floats
    with jax.numpy_dtype_promotion("standard"):
        (params, _), _ = jax.lax.scan(step, (start, adam.init(start)), rates)
    return Fit(nnx.merge(graph, params), optax.tree.norm(jax.grad(objective)(params)))


_fit = jax.jit(_train, static_argnames=("tied", "steps"))


def fit(
    key, second_moment, spec: DAESpec, *, tied: bool = False, steps: int = STEPS, learning_rate=LEARNING_RATE
) -> Fit:
    """Train a linear denoising autoencoder by gradient descent on ``loss``, from a fresh random start.

    Where it converges it is at the minimum over maps of rank k: DAE-3 and DAE-4, with weight decay DAE-16 (derived).

    Args:
        key: random key of the start.
        second_moment: ``[d, d]`` second moment of the points to train on, symmetric positive semidefinite [data^2].
        spec: dimension, rank, noise_var and weight_decay are read (the real spectrum and the feed are not).
        tied: W_2 = W_1^T.
        steps: gradient steps, >= 1 (static).
        learning_rate: first step size of Adam, > 0.

    Returns:
        The trained model and the norm of the last gradient: converged where that is about 1e-5 (float32).

    Raises:
        SpecError: a bad argument; names it, the value found and the requirement.

    >>> spec = DAESpec(spectrum=[3.0, 1.0], noise_var=1.0, rank=1)
    >>> fitted = fit(jax.random.key(0), jnp.diag(jnp.array([3.0, 1.0])), spec)
    >>> round(float(fitted.model.map[0, 0]), 3), bool(fitted.gradient_norm < 1e-3)
    (0.75, True)
    """
    _checked_spec(spec)
    second_moment = _checked_second_moment(second_moment, spec)
    steps, rate = whole_number("steps", steps, 1), _checked_rate(learning_rate, spec)
    return _fit(key, second_moment, spec, rate, tied=bool(tied), steps=steps)


def _second_moment(points: Float[Array, "n d"]) -> Float[Array, "d d"]:
    return _dot(points.T, points) / points.shape[0]


@partial(jax.jit, static_argnames=("generations", "replicates", "samples", "tied", "steps"))
def _trained_chain(spec, key, rate, *, generations: int, replicates: int, samples: int, tied: bool, steps: int) -> dict:
    dtype, shape = spec.spectrum.dtype, (samples, spec.dimension)

    def one(key):
        real_key, key = jax.random.split(key)
        real_points = jnp.sqrt(spec.spectrum)[None, :] * jax.random.normal(real_key, shape, dtype)
        real = _second_moment(real_points)

        def generation(carry, key):
            points, training, blocks = carry
            fit_key, pool_key, noise_key = jax.random.split(key, 3)
            model, gradient_norm = _train(fit_key, training, spec, rate, tied, steps)
            eigenvalues, vectors = _eigen(training)
            seen = {"gains": _singular_values(model.map), "spectrum": eigenvalues, "gradient_norm": gradient_norm}
            if spec.feed == "pool":
                root = vectors * jnp.sqrt(eigenvalues)[None, :]
                points = _dot(jax.random.normal(pool_key, shape, dtype), root.T)
            elif spec.feed == "prior":
                points = jnp.zeros_like(points)
            noise = jnp.sqrt(spec.resample_noise_var) * jax.random.normal(noise_key, shape, dtype)
            points = model(points + noise)
            synthetic = _second_moment(points)
            if spec.regime == "accumulate":
                blocks = blocks + 1
                training = training + (synthetic - training) / blocks
            else:
                training = spec.real_fraction * real + (1 - spec.real_fraction) * synthetic
            return (points, training, blocks), seen

        first = (real_points, real, jnp.ones((), dtype))
        return jax.lax.scan(generation, first, jax.random.split(key, generations + 1))[1]

    return jax.vmap(one)(jax.random.split(key, replicates))


def trained_chain(
    spec: DAESpec,
    generations: int,
    replicates: int,
    key,
    *,
    samples: int,
    tied: bool = False,
    steps: int = STEPS,
    learning_rate=LEARNING_RATE,
) -> dict[str, Trajectory]:
    """The denoising-autoencoder chain on points, its factors trained anew by gradient descent in every round.

    Once per replicate the real points are drawn, iid N(0, diag(spectrum)), with second moment S_real. Every round
    trains an autoencoder with ``fit`` on the training second moment S (S_real at first) and sends points through it,
    x' = W (x + e), e iid N(0, resample_noise_var): the previous block (feed ``chain``; the real points at first), fresh
    points N(0, S) (``pool``), or none, x = 0 (``prior``). With S' the second moment of the new block the next round
    trains on a S_real + (1 - a) S' (regime ``replace``), or on the mean second moment of all blocks so far
    (``accumulate``). The population's law of the gains is DAE-5 with DAE-16 (derived); given the realised spectrum of
    a round its gains are DAE-16, without sampling error.

    Args:
        spec: the chain; everything in it is read.
        generations: rounds of retraining, >= 0.
        replicates: independent chains, >= 1.
        key: random key; decides everything.
        samples: points per block, >= 1.
        tied: W_2 = W_1^T.
        steps: gradient steps of every round, >= 1.
        learning_rate: first step size of Adam, > 0.

    Returns:
        By observable, values ``[replicates, generations + 1, ...]``, entry j of the autoencoder trained in round j + 1
        (entry 0 on real points): ``gains`` [d] singular values of W, descending; ``gain_norm`` the largest;
        ``spectrum`` [d] eigenvalues of the second moment it was trained on, descending [data^2]; ``gradient_norm`` of
        its training at the end (see ``Fit``). Resolutions are those of the arithmetic: how far training has converged
        is for ``gradient_norm`` to say.

    Raises:
        SpecError: a bad argument; names it, the value found and the requirement.
        MeasurementError: a training left the finite numbers; names its generation and replicate.

    >>> run = trained_chain(DAESpec(spectrum=[4.0, 1.0]), 2, 3, jax.random.key(0), samples=100, steps=500)
    >>> run["gains"].values.shape
    (3, 3, 2)
    """
    _checked_spec(spec)
    sizes = {
        "generations": whole_number("generations", generations, 0),
        "replicates": whole_number("replicates", replicates, 1),
        "samples": whole_number("samples", samples, 1),
        "steps": whole_number("steps", steps, 1),
    }
    seen = _trained_chain(spec, key, _checked_rate(learning_rate, spec), tied=bool(tied), **sizes)
    if concrete(seen["gains"]):
        finite = np.isfinite(
            np.concatenate([np.asarray(seen["gains"]), np.asarray(seen["gradient_norm"])[..., None]], -1)
        )
        finite = finite.all(axis=-1)
        if not finite.all():
            generation, replicate = min((j, i) for i, j in np.argwhere(~finite).tolist())
            raise MeasurementError(
                f"training gave numbers that are not finite in generation {generation} of replicate {replicate}: "
                f"lower learning_rate, found {float(learning_rate):g}, or check that the spec's chain does not diverge."
            )
    eps = float(jnp.finfo(spec.spectrum.dtype).eps) * spec.dimension
    top = jnp.max(seen["spectrum"][:, :, 0], axis=0)
    measured = {
        "gain_norm": (seen["gains"][:, :, 0], eps),
        "gains": (seen["gains"], eps),
        "spectrum": (seen["spectrum"], eps * top[:, None]),
        "gradient_norm": (seen["gradient_norm"], eps * (1 + top / spec.noise_var)),
    }
    return {name: Trajectory(values, floor, observable=name) for name, (values, floor) in measured.items()}


def _checked_spec(spec) -> None:
    if not isinstance(spec, DAESpec):
        raise SpecError(f"spec must be a DAESpec, got {type(spec).__name__}: build one with DAESpec(spectrum=[...]).")
    if jnp.ndim(spec.spectrum) != 1:
        raise SpecError(
            f"spectrum must have one axis here, got shape {jnp.shape(spec.spectrum)}: use one call for each spec."
        )


def _floats(name: str, value, spec: DAESpec) -> Array:
    array = as_float(name, value, spec.spectrum.dtype)
    if not isinstance(array, jax.Array):
        raise SpecError(f"{name} must be numeric, got {value!r}: pass a number or an array.")
    return array.astype(spec.spectrum.dtype)


def _checked_rate(value, spec: DAESpec):
    rate = _floats("learning_rate", value, spec)
    if jnp.ndim(rate) != 0:
        raise SpecError(f"learning_rate must be one number, got shape {jnp.shape(rate)}.")
    check("learning_rate", rate, lambda v: np.isfinite(v) & (v > 0), "finite and positive")
    return rate


def _checked_second_moment(value, spec: DAESpec):
    matrix = _floats("second_moment", value, spec)
    wanted = (spec.dimension, spec.dimension)
    if jnp.shape(matrix) != wanted:
        raise SpecError(
            f"second_moment must have shape {wanted}, that of the spec's dimension, got {jnp.shape(matrix)}."
        )
    check("second_moment", matrix, np.isfinite, "finite")
    if concrete(matrix):
        array = np.asarray(matrix, np.float64)
        slack = 1e-4 * np.abs(array).max()
        if np.abs(array - array.T).max() > slack:
            raise SpecError("second_moment must be symmetric: pass X^T X / n of points X [n, d].")
        least = np.linalg.eigvalsh((array + array.T) / 2)[0]
        if least < -slack:
            raise SpecError(f"second_moment must have no negative eigenvalue, got {least:.4g}: pass X^T X / n.")
    return matrix
