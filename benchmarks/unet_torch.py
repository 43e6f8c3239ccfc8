"""How fast does a U-Net train and sample here, against the same network in PyTorch, and on a GPU against its peak?

``python -m benchmarks.unet_torch`` (PyTorch: ``benchmarks/requirements-torch.txt``) times both libraries in turn in one
process: same layers and number of parameters, same batch, float32, on each core that the process may use (``taskset -c
0`` for one) a thread of PyTorch's and, here, a thread of one device or (``--devices``) a device, as XLA's convolutions
hardly use a second thread; a training step is a rectified flow step with Adam and an average of the weights, a sample
is 20 Euler steps. With the same weights both give the same output, which is checked first. The ratio is said by the
clock and by processor time, which other work on the machine disturbs less. ``--gpu`` times the 35.7 million parameters
of the 32x32 network in bfloat16 and says which share of the peak that is, measured by one large product of matrices.
"""

# pyright: reportMissingImports=false

import argparse
import os
import time
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from benchmarks.timing import machine
from collapse_jax import distributed
from collapse_jax.generative import samplers, training
from collapse_jax.generative.flows import Points, independent_flow_loss
from collapse_jax.generative.networks import fresh, parameter_count
from collapse_jax.generative.unet import UNet

NETWORKS = {
    "8x8x1": (8, 1, {"width": 32, "multipliers": (1, 2), "blocks": 1, "attention": (4,)}),
    "28x28x1": (28, 1, {"width": 16, "multipliers": (1, 2, 2), "blocks": 1, "attention": (7,)}),
}
LARGE = (32, 3, {"width": 128, "multipliers": (1, 2, 2, 2), "blocks": 2, "attention": (16,)})
BATCH, SOLVER_STEPS = 128, 20

_optimizer = optax.adam(1e-3)


class Job(NamedTuple):
    """``train(steps)`` and ``sample()``, which wait for the result; ``parameters`` is how many there are."""

    train: Callable[[int], None]
    sample: Callable[[], None]
    parameters: int


def here(size: int, channels: int, options: dict, batch: int = BATCH, dispatch: int = 1, mesh=None) -> Job:
    """The network of this library on one device or those of a mesh, ``dispatch`` training steps in one program."""
    graph, parameters = fresh(jax.random.key(0), UNet, size, channels, **options)
    data = Points(jax.random.normal(jax.random.key(1), (4 * batch, size, size, channels)))
    state = training.begin(parameters, _optimizer)

    def train(steps: int) -> None:
        nonlocal state
        state = training.train(
            graph,
            state,
            jax.random.key(2),
            data,
            independent_flow_loss,
            _optimizer,
            steps=int(state.step) + steps,
            batch=batch,
            dispatch=dispatch,
            mesh=mesh,
        ).state
        jax.block_until_ready(state)

    def sample() -> None:
        noise = jax.random.normal(jax.random.key(3), (batch, size, size, channels))
        grid = samplers.uniform(SOLVER_STEPS)
        jax.block_until_ready(samplers.transport(graph, state.average, noise, grid, solver="euler", mesh=mesh))

    return Job(train, sample, parameter_count(parameters))


def torch_there(size: int, channels: int, options: dict, threads: int, batch: int = BATCH) -> Job:
    """The same in PyTorch."""
    import torch

    from benchmarks.torch_unet import UNet as TorchUNet

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    model = TorchUNet(size, channels, **options).to(memory_format=torch.channels_last)
    average = [p.detach().clone() for p in model.parameters()]
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, foreach=True)
    data = torch.randn(4 * batch, channels, size, size).to(memory_format=torch.channels_last)

    def train(steps: int) -> None:
        for _ in range(steps):
            x = data[torch.randint(0, len(data), (batch,))]
            t, noise = torch.rand(batch), torch.randn_like(x)
            mixed = (1 - t)[:, None, None, None] * noise + t[:, None, None, None] * x
            loss = torch.mean((model(t, mixed) - (x - noise)) ** 2)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            with torch.no_grad():
                torch._foreach_lerp_(average, list(model.parameters()), 0.001)
            loss.item()

    def sample() -> None:
        with torch.inference_mode():
            x = torch.randn(batch, channels, size, size).to(memory_format=torch.channels_last)
            for step in range(SOLVER_STEPS):
                x = x + model(torch.full((batch,), step / SOLVER_STEPS), x) / SOLVER_STEPS

    return Job(train, sample, sum(p.numel() for p in model.parameters()))


def difference(size: int, channels: int, options: dict) -> float:
    """Largest difference of the two networks' outputs with the same drawn weights, over the largest output."""
    import torch

    from benchmarks.torch_unet import UNet as TorchUNet

    graph, parameters = fresh(jax.random.key(0), UNet, size, channels, **options)
    rng, model = np.random.default_rng(0), TorchUNet(size, channels, **options)
    parameters = jax.tree.map(lambda leaf: jnp.asarray(0.1 * rng.normal(size=leaf.shape), leaf.dtype), parameters)
    names = dict(model.named_parameters())
    for path, leaf in jax.tree_util.tree_leaves_with_path(nnx.to_pure_dict(parameters)):
        *place, last = (str(getattr(part, "key", part)) for part in path)
        name = ".".join(place).replace("conditioning.inward", "times.0").replace("conditioning.outward", "times.1")
        name = f"{name}.conv" if place[0] == "halves" else name
        value = np.asarray(leaf)
        value = value.transpose(3, 2, 0, 1) if value.ndim == 4 else value.T
        with torch.no_grad():
            names.pop(f"{name}.{'bias' if last == 'bias' else 'weight'}").copy_(torch.from_numpy(value.copy()))
    assert not names
    t, x = rng.uniform(size=4).astype(np.float32), rng.normal(size=(4, size, size, channels)).astype(np.float32)
    made = np.asarray(jax.jit(nnx.merge(graph, parameters))(jnp.asarray(t), jnp.asarray(x)))
    with torch.no_grad():
        other = model(torch.from_numpy(t), torch.from_numpy(x.transpose(0, 3, 1, 2).copy())).numpy()
    return float(np.abs(made - other.transpose(0, 2, 3, 1)).max() / np.abs(made).max())


def seconds(function) -> np.ndarray:
    """Time of one call ``[2]``: by the clock, and of the processor over all threads (other work does not count)."""
    started = np.array([time.perf_counter(), time.process_time()])
    function()
    return np.array([time.perf_counter(), time.process_time()]) - started


def against_torch(names, steps: int, rounds: int) -> None:
    """Both in turn, ``rounds`` times; the best of each."""
    threads = len(os.sched_getaffinity(0))
    used = f"{threads} threads, {len(jax.devices())} devices here, load {os.getloadavg()[0]:.1f}, batch {BATCH}"
    print(f"{machine().replace('float64', 'float32')}, {used}")
    print(f"{'network':<10} {'parameters':>10} {'':>8} {'here':>12} {'PyTorch':>12} {'ratio':>6} {'processor':>9}")
    for name in names:
        ours = here(*NETWORKS[name], mesh=distributed.everywhere(BATCH))
        theirs = torch_there(*NETWORKS[name], threads)
        if ours.parameters != theirs.parameters:
            raise SystemExit(f"the networks differ: {ours.parameters} and {theirs.parameters} parameters")
        off = difference(*NETWORKS[name])
        if off > 1e-3:
            raise SystemExit(f"the networks differ by {off:.2g} of their output with the same weights")
        trains = [partial(job.train, steps) for job in (ours, theirs)]
        for what, unit, amount, calls in (
            ("train", "steps/s", steps, trains),
            ("sample", "images/s", BATCH, [ours.sample, theirs.sample]),
        ):
            for call in calls:  # compile, warm up
                call()
            times = [[seconds(call) for call in calls] for _ in range(rounds)]
            least = np.min(times, axis=0)  # [library, clock or processor]
            rates, ratio = amount / least[:, 0], least[1] / least[0]
            print(
                f"{name:<10} {ours.parameters:>10,} {what:>8} {rates[0]:>8.2f} {unit:<8} {rates[1]:>8.2f} "
                f"{ratio[0]:>6.2f} {ratio[1]:>10.2f}",
                flush=True,
            )


def flops(size: int, channels: int, options: dict, batch: int) -> float:
    """Multiplications and additions of one forward pass, as the compiler counts them."""

    def forward(x):
        return UNet(size, channels, **options, rngs=nnx.Rngs(0))(jnp.zeros(batch), x)

    lowered = jax.jit(forward).lower(jnp.zeros((batch, size, size, channels)))
    return float(dict(lowered.cost_analysis() or {}).get("flops", np.nan))


def matrix_peak(size: int = 8192, products: int = 20, rounds: int = 3) -> float:
    """FLOP/s of products of square bfloat16 matrices, one after the other in one program; the best of ``rounds``."""
    a = jax.random.normal(jax.random.key(0), (size, size), jnp.bfloat16) / size**0.5

    @jax.jit
    def run(x):
        return jax.lax.scan(lambda x, _: (a @ x, None), x, None, length=products)[0]

    jax.block_until_ready(run(a))
    least = min(seconds(lambda: jax.block_until_ready(run(a)))[0] for _ in range(rounds))
    return 2 * size**3 * products / least


def on_gpu(batch: int = 256, dispatch: int = 10) -> None:
    """Images a second in training and sampling and the share of the peak, three passes for a training step."""
    gpus = [device for device in jax.devices() if device.platform == "gpu"]
    if not gpus:
        print("no GPU was available: the 35.7 million parameter network was not timed")
        return
    kind = gpus[0].device_kind
    peak = matrix_peak()
    size, channels, options = LARGE
    job = here(size, channels, options | {"dtype": jnp.bfloat16}, batch, dispatch)
    job.train(dispatch)
    job.sample()
    trained = 10 * dispatch * batch / seconds(partial(job.train, 10 * dispatch))[0]
    sampled = batch / seconds(job.sample)[0]
    work = flops(*LARGE, batch) / batch
    print(f"{kind}, {job.parameters:,} parameters, batch {batch}, bfloat16, {dispatch} steps per dispatch")
    print(f"train {trained:,.0f} images/s, {3 * work * trained / peak:.0%} of the measured {peak / 1e12:.0f} TFLOP/s")
    print(f"sample {sampled:,.0f} images/s by {SOLVER_STEPS} Euler steps, {SOLVER_STEPS * work * sampled / peak:.0%}")


def main(argv=()) -> None:
    """Print the table of both libraries (or what keeps it from being made), or of a GPU."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gpu", action="store_true", help="time the large network on a GPU instead")
    parser.add_argument("--devices", action="store_true", help="one device for each core here, not one for all")
    parser.add_argument("--networks", nargs="*", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--steps", type=int, default=10, help="training steps of a round")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args(argv)
    if arguments.gpu:
        on_gpu()
        return
    try:
        import torch  # noqa: F401
    except ImportError:
        print("PyTorch is not installed: pip install -r benchmarks/requirements-torch.txt")
        return
    if arguments.devices:
        jax.config.update("jax_num_cpu_devices", len(os.sched_getaffinity(0)))
    against_torch(arguments.networks, arguments.steps, arguments.rounds)


if __name__ == "__main__":
    import sys

    main(sys.argv[1:])
