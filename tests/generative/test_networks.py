"""The networks: shapes, sizes, the zero start, classes, types of numbers, equal graphs, refusals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from collapse_jax.errors import SpecError
from collapse_jax.generative.networks import MLP, PatchMixer, fresh, parameter_count, time_features
from collapse_jax.generative.unet import UNet

IMAGES = [
    (PatchMixer, (8, 1), {"patch": 2}),
    (PatchMixer, (28, 1), {"patch": 4, "classes": 10}),
    (PatchMixer, (32, 3), {"patch": 4}),
    (UNet, (8, 1), {"multipliers": (1, 2, 2), "classes": 10}),
    (UNet, (28, 1), {"multipliers": (1, 2, 2), "attention": (7,)}),
    (UNet, (32, 3), {"multipliers": (1, 2, 2, 2), "blocks": 2, "attention": (16, 8)}),
]


@pytest.fixture(autouse=True)
def _standard_promotion(quick_compilation):
    """Flax mixes types of numbers."""
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


def scrambled(network, *sizes, **options):
    """A network all of whose parameters are drawn, also those that start at zero."""
    graph, parameters = fresh(jax.random.key(0), network, *sizes, **options)
    leaves, structure = jax.tree.flatten(parameters)
    keys = jax.random.split(jax.random.key(1), len(leaves))
    drawn = [0.2 * jax.random.normal(key, leaf.shape, leaf.dtype) for key, leaf in zip(keys, leaves, strict=True)]
    return graph, jax.tree.unflatten(structure, drawn)


@jax.jit(static_argnames="graph")
def ask(graph, parameters, t, x, cond=None):
    return nnx.merge(graph, parameters)(t, x, cond)


@pytest.mark.parametrize(("network", "sizes", "options"), IMAGES)
def test_images_keep_shape_and_type(network, sizes, options):
    size, channels = sizes
    x = jnp.ones((3, size, size, channels))
    for cond in (None, jnp.array([0, 1, 9])) if options.get("classes") else (None,):
        made = jax.eval_shape(
            lambda t, x, cond=cond: network(*sizes, **options, rngs=nnx.Rngs(0))(t, x, cond), jnp.zeros(3), x
        )
        assert (made.shape, made.dtype) == (x.shape, x.dtype)


def test_counts_of_parameters():
    """The U-Net of 32x32 colour images, whose 35.7 million are published, and a perceptron counted by hand."""
    sizes = {"width": 128, "multipliers": (1, 2, 2, 2), "blocks": 2, "attention": (16,)}
    assert parameter_count(nnx.eval_shape(lambda: UNet(32, 3, **sizes, rngs=nnx.Rngs(0)))) == 35_746_307
    d, w, layers = 2, 128, 3
    square = w * w + w
    by_hand = 2 * square + (d * w + w) + (layers - 1) * square + layers * square + (w * d + d)
    assert parameter_count(nnx.eval_shape(lambda: MLP(d, width=w, depth=layers, rngs=nnx.Rngs(0)))) == by_hand


@pytest.mark.parametrize(
    ("network", "sizes", "options", "shape"),
    [
        (MLP, (2,), {"width": 16, "classes": 3}, (2,)),
        (PatchMixer, (4, 1), {"patch": 2, "width": 8, "blocks": 1, "classes": 3}, (4, 4, 1)),
        pytest.param(  # many layers to compile
            *(UNet, (4, 1), {"width": 4, "attention": (2,), "classes": 3}, (4, 4, 1)), marks=pytest.mark.slow
        ),
    ],
)
def test_zero_at_first_then_time_class_and_point_matter(network, sizes, options, shape):
    t, x = jnp.linspace(0, 1, 4), jax.random.normal(jax.random.key(2), (4, *shape))
    graph, parameters = fresh(jax.random.key(0), network, *sizes, **options)
    assert not np.any(ask(graph, parameters, t, x))
    again, others = fresh(jax.random.key(5), network, *sizes, **options)
    assert graph == again
    assert hash(graph) == hash(again)
    assert jax.tree.structure(others) == jax.tree.structure(parameters)
    graph, parameters = scrambled(network, *sizes, **options)
    made = ask(graph, parameters, t, x)
    label = ask(graph, parameters, t, x, jnp.array([0, 1, 2, 3]))
    np.testing.assert_allclose(made[3], label[3], rtol=1e-5)  # label 3 of 3 classes says that there is none
    for changed in (ask(graph, parameters, 1 - t, x), ask(graph, parameters, t, x + 1), label[:3]):
        assert np.abs(np.asarray(changed) - np.asarray(made[: len(changed)])).max() > 1e-3
    # each point is answered by itself
    np.testing.assert_allclose(ask(graph, parameters, t[::-1], x[::-1])[::-1], made, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("network", "sizes", "options", "shape"),
    [
        (MLP, (2,), {"width": 16}, (2,)),
        (PatchMixer, (4, 1), {"patch": 2, "width": 8, "blocks": 1}, (4, 4, 1)),
        (UNet, (8, 1), {"width": 8, "multipliers": (1,), "blocks": 1}, (8, 8, 1)),
    ],
)
def test_narrow_arithmetic_keeps_wide_weights(network, sizes, options, shape):
    """bfloat16 keeps 8 bits: a product of a few layers is off by a few times 2^-8 of its size."""
    t, x = jnp.linspace(0, 1, 64), jax.random.normal(jax.random.key(2), (64, *shape))
    graph, parameters = scrambled(network, *sizes, **options, dtype=jnp.bfloat16)
    assert {leaf.dtype for leaf in jax.tree.leaves(parameters)} == {jnp.dtype(jnp.float32)}
    narrow = ask(graph, parameters, t, x)
    wide = ask(scrambled(network, *sizes, **options)[0], parameters, t, x)
    assert narrow.dtype == jnp.float32
    off = np.sqrt(np.mean((np.asarray(narrow) - np.asarray(wide)) ** 2) / np.mean(np.asarray(wide) ** 2))
    assert 1e-4 < off < 8 * 2**-8


def test_patches_are_cut_and_put_back_in_place():
    """With zero everywhere but the bias of the head, patch by patch the same picture appears."""
    graph, parameters = fresh(jax.random.key(0), PatchMixer, 4, 1, patch=2, width=4, blocks=1)
    model = nnx.merge(graph, parameters)
    model.head.bias[...] = jnp.arange(4.0)
    made = model(jnp.zeros(1), jnp.zeros((1, 4, 4, 1)))[0, :, :, 0]
    np.testing.assert_array_equal(made, np.tile([[0, 1], [2, 3]], (2, 2)))


def test_features_of_the_time_are_on_the_unit_circle():
    features = time_features(jnp.linspace(0, 1, 7), 16)
    np.testing.assert_allclose(features[:, :8] ** 2 + features[:, 8:] ** 2, 1, rtol=1e-5)
    np.testing.assert_allclose(features[:, 0], np.cos(np.linspace(0, 1, 7)), rtol=1e-5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda rngs: MLP(2, width=15, rngs=rngs), "width must be even"),
        (lambda rngs: MLP(0, rngs=rngs), "dimension must be a whole number >= 1"),
        (lambda rngs: MLP(2, dtype=int, rngs=rngs), "dtype must be a floating type"),
        (lambda rngs: PatchMixer(8, patch=3, rngs=rngs), "patch must divide the size 8, got 3"),
        (lambda rngs: UNet(28, multipliers=(1, 2, 2, 2), rngs=rngs), "size must halve 3 times, got 28"),
        (lambda rngs: UNet(28, attention=(8,), rngs=rngs), "attention must name sizes of levels"),
        (lambda rngs: UNet(8, width=6, rngs=rngs), "width must be a multiple of 4"),
        (lambda rngs: UNet(8, multipliers=(), rngs=rngs), "multipliers must list"),
        (lambda rngs: MLP(2, width=4, rngs=rngs)(jnp.zeros(1), jnp.zeros((1, 2)), jnp.zeros(1, int)), "cond must be"),
    ],
)
def test_bad_sizes_are_refused(make, message):
    with pytest.raises(SpecError, match=f"^{message}"):
        make(nnx.Rngs(0))
