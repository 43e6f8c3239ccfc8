"""Stages of ``deep_dae`` (D-F10): autoencoders trained by the same steps, a deep one and a linear one, on images.

Images are centred and turned to principal coordinates. Each generation a new denoiser D learns the pool at one noise
level sigma, and the next synthetic points are D(x + e), x drawn from the pool, e of the same level: replacement, or
pool-fed with a real share. For a linear D the population recursion is DAE-5 and DAE-13 along every direction; for a
deep one no formula is claimed, and rows say how far the linear one carries. The linear control, trained by the same
steps, tells finite training and finite pools apart from what depth changes.

What is seen of a generation: the variance of its synthetic points along each direction (about the mean of the real
images); its gain along each direction, the slope of <u, D(y)> on <u, y> over noisy *real* points kept from training;
its risk on those, over the best linear denoiser's; and how much of the synthetic pictures lies at high frequency.
Generation 0 is the real data, with the best linear denoiser.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from collapse_jax.distributed import everywhere
from collapse_jax.generative.flows import Points, denoising_loss
from collapse_jax.generative.networks import MLP, fresh, parameter_count, types
from collapse_jax.generative.training import adam, averaged, begin, train
from collapse_jax.metrics.images import high_frequency_share
from collapse_jax.recursion.retraining import retrain
from collapse_jax.specs.dae import DAESpec
from collapse_jax.theory.dae import excess_risk
from collapse_jax.theory.dae_mixed import mixed_limit, mixed_spectrum
from experiments.diffusion_chain import single
from experiments.diffusion_stages import principal
from experiments.harness import Stage, observation

SHOWN = 6
"""Pictures kept of each generation."""

HELD_OUT = 5
"""Every fifth image is kept from training: gains, risk and pictures are those of such images."""


class LinearMap(nnx.Module):
    """A matrix ``[d, d]`` without bias, zero at first, whatever time it is told: the control."""

    def __init__(self, dimension: int, *, rngs: nnx.Rngs):
        start = nnx.initializers.zeros
        self.map = nnx.Linear(dimension, dimension, use_bias=False, kernel_init=start, rngs=rngs, **types(jnp.float32))

    def __call__(self, t, x, cond=None):
        return self.map(x)


def untrained(settings, network: str, key, dimension: int):
    """Graph and parameters of a ``deep`` or ``linear`` denoiser."""
    if network == "linear":
        return fresh(key, LinearMap, dimension)
    return fresh(key, MLP, dimension, width=settings.width, depth=settings.depth)


def learned(settings, network: str, key, points, noise_std):
    """A denoiser trained on points ``[n, d]`` from a fresh start: ``(graph, parameters)``, the averaged ones."""
    start_key, train_key = jax.random.split(key)
    graph, parameters = untrained(settings, network, start_key, points.shape[1])
    optimizer = adam(settings.linear_rate if network == "linear" else settings.learning_rate, settings.steps)
    done = train(
        graph,
        begin(parameters, optimizer),
        train_key,
        Points(points),
        denoising_loss,
        optimizer,
        steps=settings.steps,
        batch=settings.batch,
        arguments=(jnp.asarray(noise_std, points.dtype),),
        dispatch=settings.dispatch,
        decay=settings.decay,
        mesh=everywhere(settings.batch),
    )
    return graph, averaged(done.state)


@partial(jax.jit, static_argnames="graph")
def denoised(graph, parameters, key, points, noise_std):
    """Points ``[n, d]`` with fresh noise, and what the denoiser makes of them."""
    noisy = points + noise_std * jax.random.normal(key, points.shape, points.dtype)
    told = jnp.full(points.shape[0], 1 / (1 + noise_std), points.dtype)
    return noisy, nnx.merge(graph, parameters)(told, noisy)


def chain(
    settings, network: str, key, look_key, real, held, noise_std: float, share: float, picture, *, folder, named, report
):
    """One chain, seen by generation from 0: variances, gains, risk on real data, high frequencies, pictures.

    Args:
        settings: sizes of network and training.
        network: ``deep`` or ``linear``.
        key: of all draws of training and generation.
        look_key: of the noise in which every generation is looked at.
        real, held: ``[n, d]`` real points to train on, and others to look at.
        noise_std: sigma of training and of generation.
        share: real share of every pool.
        picture: ``[n, d] -> [n, height, width]`` (or with channels), without the mean image.
        folder, named, report: of ``retrain``.
    """
    count, spectrum = settings.pool, np.mean(np.asarray(real, float) ** 2, axis=0)
    kept = round(share * count)

    def drawn(key, points, number: int):
        return points[jax.random.randint(key, (number,), 0, points.shape[0])]

    def generation(number, key, state, folder):
        real_key, learn_key, feed_key, made_key = jax.random.split(key, 4)
        pool = jnp.concatenate([drawn(real_key, real, kept), state["points"][: count - kept]])
        graph, parameters = learned(settings, network, learn_key, pool, noise_std)
        made = denoised(graph, parameters, made_key, drawn(feed_key, pool, count), noise_std)[1]
        # the same noise for every generation: differences between them are not those of the draws
        noisy, back = denoised(graph, parameters, look_key, held, noise_std)
        slope = jnp.sum(noisy * back, axis=0) / jnp.sum(noisy**2, axis=0)
        risk = jnp.sum(jnp.mean((back - held) ** 2, axis=0))
        return {"points": made, "gains": slope, "risk": risk, "shown": back[:SHOWN]}

    def observe(number, key, state):
        points = np.asarray(state["points"], float)
        pictures = picture(points)
        return {
            "variance": np.mean(points**2, axis=0),
            "gains": state["gains"],
            "risk": state["risk"],
            "high": high_frequency_share(pictures).value,
            "shown": state["shown"],
        }

    noise_var = noise_std**2
    first_key, key = jax.random.split(key)
    # what a perfect linear denoiser of the real data would be, in the same noise
    gain = jnp.asarray(spectrum / (spectrum + noise_var), real.dtype)
    noisy = held + noise_std * jax.random.normal(look_key, held.shape, held.dtype)
    start = {
        "points": drawn(first_key, real, count),
        "gains": gain,
        "risk": jnp.sum(jnp.mean((gain * noisy - held) ** 2, axis=0)),
        "shown": (gain * noisy)[:SHOWN],
    }
    return retrain(
        generation,
        start,
        settings.generations,
        key,
        observe=observe,
        folder=folder,
        settings=named,
        report=report,
    )


def laws(spectrum: np.ndarray, noise_var: float, share: float, generations: int) -> dict[str, np.ndarray]:
    """The linear population recursion by generation, 0 the real data: DAE-5 without, DAE-13 with a real share.

    ``gains`` of generation k are those of the map trained on pool k - 1, ``variance`` that of its output.
    """
    spec = DAESpec(spectrum, noise_var=noise_var, resample_noise_var=noise_var, real_fraction=share, feed="pool")
    pool = np.asarray(mixed_spectrum(spec, generations).values)
    gains = pool / (pool + noise_var)
    made = gains**2 * (pool + noise_var)
    risk = np.asarray(excess_risk(spec, generations).values)
    limit = np.asarray(mixed_limit(spec).values)
    return {
        # of generation k the map is the one trained on the pool of k - 1
        "gains": np.concatenate([gains[:1], gains[:-1]]),
        "variance": np.concatenate([spectrum[None], made[:-1]]),
        "excess": np.concatenate([risk[:1], risk[:-1]]),
        "gains_limit": limit / (limit + noise_var),
    }


def _stage(network: str):
    """Stage of one network: every real share, every seed."""

    def stage(settings, key, desk) -> Stage:
        points, frame, mean, pictures = principal(settings.data, settings.components)
        # a deep network may memorise its real images: it is looked at on others
        apart = np.arange(len(points)) % HELD_OUT == 0
        points, held = points[~apart], points[apart]
        # the theory is about the second moment of what is trained on: its directions, about the mean of all images
        values, turn = np.linalg.eigh(points.T @ points / len(points))
        spectrum, turn = values[::-1], turn[:, ::-1]
        points, held, frame = points @ turn, held @ turn, turn.T @ frame
        noise_var = float(spectrum[min(settings.noise_direction, len(spectrum)) - 1])
        predicted = [laws(spectrum, noise_var, share, settings.generations) for share in settings.shares]
        with jax.enable_x64(False):
            measured = _measured(settings, network, single(key), desk, points, held, frame, pictures, noise_var)
        return _table(
            settings, network, pictures.name, spectrum, noise_var, measured, predicted, (frame, mean, pictures)
        )

    return stage


def _measured(settings, network, key, desk, points, held, frame, pictures, noise_var) -> list[dict[str, np.ndarray]]:
    """By real share: what ``chain`` sees, stacked over seeds."""
    real, shape, found = jnp.asarray(points, jnp.float32), pictures.images.shape[1:], []
    names = ("components", "noise_direction", "pool", "width", "depth", "steps", "batch", "decay", "dispatch")
    rates = ("learning_rate", "linear_rate")
    named = {name: getattr(settings, name) for name in names + rates} | {"data": pictures.name, "network": network}

    def picture(points):
        return (points @ frame).reshape(-1, *shape)

    _, parameters = untrained(settings, network, key, points.shape[1])
    trainings = len(settings.shares) * settings.seeds * settings.generations
    desk.say(
        f"{network}: {trainings} trainings of {settings.steps} steps of {settings.batch}, "
        f"{parameter_count(parameters)} parameters; {len(points)} images of {pictures.name}, the same in every chain"
    )

    for place, share in enumerate(settings.shares):
        runs = []
        for seed in range(settings.seeds):
            where = f"{network}, a = {share:g}, seed {seed + 1} of {settings.seeds}"

            say = desk.chain(
                where, place * settings.seeds + seed, len(settings.shares) * settings.seeds, settings.generations
            )

            def report(number, seen, say=say):
                variance = seen["variance"].sum() / np.mean(points**2, axis=0).sum()
                say(f"generation {number} of {settings.generations}, variance {variance:.3f} of real", number)

            runs.append(
                chain(
                    settings,
                    network,
                    jax.random.fold_in(key, seed),
                    jax.random.key(seed),  # for both networks and every share
                    real,
                    jnp.asarray(held, jnp.float32),
                    float(np.sqrt(noise_var)),
                    share,
                    picture,
                    folder=desk.folder / f"share{place}_seed{seed}",
                    named=named | {"share": share, "seed": seed},
                    report=report,
                )
            )
        found.append({name: np.stack([run[name] for run in runs]) for name in runs[0]})
    return found


def _table(settings, network, source, spectrum, noise_var, measured, predicted, parts) -> Stage:
    """Arrays, rows and remarks of one network."""
    frame, mean, pictures = parts
    floor = float(np.sum(spectrum * noise_var / (spectrum + noise_var)))
    last, rows, remarks = settings.generations, [], []
    for share, seen, law in zip(settings.shares, measured, predicted, strict=True):
        # against what the first denoiser would do in this very noise: the noise drawn cancels
        seen["excess"] = seen["risk"] - seen["risk"][:, :1]
        seen["ratio"] = seen["variance"].sum(axis=-1) / spectrum.sum()
        ratio = law["variance"].sum(axis=-1) / spectrum.sum()
        result = "DAE-13/curve" if share else "DAE-5"
        chain = f"{source}, {network}, a = {share:g}"
        for name, values, ideal in (
            ("gain of the top direction", seen["gains"][:, last, 0], law["gains"][last, 0]),
            ("output variance ratio", seen["ratio"][:, last], ratio[last]),
            ("excess risk on real data", seen["excess"][:, last], law["excess"][last]),
        ):
            off, error = values.mean() - ideal, values.std(ddof=1) / np.sqrt(len(values))
            rows.append(
                observation(
                    "DAE-10" if name.startswith("excess") else result,
                    f"{name}, generation {last}",
                    chain,
                    samples=settings.pool,
                    deviation=float(off / ideal),
                    error=float(error / ideal),
                )
            )
        within = np.abs(seen["gains"].mean(axis=0) - law["gains"]).max(axis=0)
        remarks.append(
            f"{chain}: variance {_path(seen['ratio'])} of the real one by generation, linear law "
            f"{' '.join(f'{value:.3f}' for value in ratio)}"
        )
        first, end = seen["excess"][:, 1].mean(), seen["excess"][:, -1].mean()
        remarks.append(
            f"{chain}: risk on real data over that of the best linear denoiser ({floor:.3f}): {first:+.3f} at first, "
            f"{end:+.3f} in the end, law {law['excess'][-1]:+.3f}; gains off the law by at most {within.max():.3f}, "
            f"in direction {int(within.argmax()) + 1}"
        )
    arrays = {
        name: np.stack([seen[name] for seen in measured]) for name in ("gains", "variance", "ratio", "excess", "high")
    }
    arrays |= {f"{name}_law": np.stack([law[name] for law in predicted]) for name in predicted[0]}

    def shown(points):
        made = (points[:, 0] @ frame + mean).reshape(*points.shape[:1], *points.shape[2:4], *pictures.images.shape[1:])
        return made.astype(np.float32)

    arrays |= {
        "shares": settings.shares,
        "spectrum": spectrum,
        "noise_var": noise_var,
        "floor": floor,
        "samples": settings.pool,
        "network": network,
        "data": source,
        "shown": shown(np.stack([seen["shown"] for seen in measured])),
    }
    return Stage({name: np.asarray(value) for name, value in arrays.items()}, rows, remarks)


def _path(values) -> str:
    mean, error = values.mean(axis=0), values.std(axis=0, ddof=1) / np.sqrt(len(values))
    return " ".join(f"{value:.3f}" for value in mean) + f" (± {error.max():.3f})"


deep, linear = _stage("deep"), _stage("linear")
