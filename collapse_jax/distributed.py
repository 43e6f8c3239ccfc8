"""Several devices, several processes: a mesh of all devices, data on it, and how processes find each other.

Parallelism is by data: one axis, ``data``, over all devices of all processes; parameters are copied, batches of
training (``generative.training``) and points to be carried (``generative.samplers``) are split. Every process runs the
same program on the same data and keeps what comes out whole (``local``), so that all else is the same on one device and
on many; process 0 writes.
"""

import os
from collections.abc import Callable

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from collapse_jax.errors import SpecError

AXIS = "data"
"""Name of the mesh axis."""

VARIABLES = ("COLLAPSE_COORDINATOR", "COLLAPSE_PROCESSES", "COLLAPSE_PROCESS")
"""Environment variables that ``start`` reads: host:port of process 0, how many processes, which one this is."""


def data_mesh(devices: int | None = None) -> Mesh:
    """A mesh of one axis over the first ``devices`` devices, None for all, of all processes.

    Raises:
        SpecError: there are not that many.

    >>> data_mesh(1).size, data_mesh(1).axis_names
    (1, ('data',))
    """
    found = jax.devices()
    count = len(found) if devices is None else devices
    if not 1 <= count <= len(found):
        raise SpecError(f"devices must be between 1 and the {len(found)} there are, got {count}.")
    return jax.make_mesh((count,), (AXIS,), devices=found[:count], axis_types=(AxisType.Auto,))


def everywhere(batch: int) -> Mesh | None:
    """The mesh of the devices that share batches of ``batch`` points; None if there is one alone, and nothing to share.

    All devices of all processes; of a single process as many as divide the batch.

    >>> mesh = everywhere(7)
    >>> mesh is None or mesh.size == 7
    True
    """
    count = len(jax.devices())
    if jax.process_count() == 1:
        count = max(share for share in range(1, count + 1) if batch % share == 0)
    return data_mesh(count) if count > 1 else None


def put(leaf, sharding):
    """An array, or keys, placed as ``sharding`` says; in a run of several processes each passes the whole array.

    >>> put(np.ones(2), NamedSharding(data_mesh(1), PartitionSpec())).shape
    (2,)
    """
    if jax.process_count() == 1:
        return jax.device_put(leaf, sharding)
    if jax.numpy.issubdtype(jax.numpy.result_type(leaf), jax.dtypes.prng_key):
        return jax.random.wrap_key_data(put(jax.random.key_data(leaf), sharding), impl=jax.random.key_impl(leaf))
    values = np.asarray(leaf)
    return jax.make_array_from_callback(values.shape, sharding, lambda index: values[index])


def replicate(tree, mesh: Mesh):
    """A pytree of arrays, whole on every device of the mesh; every process passes the same values.

    >>> replicate({"w": np.ones(2)}, data_mesh(1))["w"].is_fully_replicated
    True
    """
    everywhere = NamedSharding(mesh, PartitionSpec())

    def place(leaf):
        done = isinstance(leaf, jax.Array) and leaf.sharding.is_equivalent_to(everywhere, leaf.ndim)
        return leaf if done else put(leaf, everywhere)

    return jax.tree.map(place, tree)


def split(tree, mesh: Mesh):
    """A pytree of arrays split along their first axis over the mesh; every process passes the whole arrays.

    Raises:
        SpecError: an array whose first axis is no whole multiple of the devices.

    >>> split(np.ones((4, 2)), data_mesh(1)).shape
    (4, 2)
    """

    def place(leaf):
        if np.shape(leaf)[0] % mesh.size:
            raise SpecError(f"first axis must be a multiple of the {mesh.size} devices, got {np.shape(leaf)[0]}.")
        return put(leaf, NamedSharding(mesh, PartitionSpec(AXIS)))

    return jax.tree.map(place, tree)


def local(tree):
    """A pytree of arrays that every device holds whole, as arrays of the first device of this process.

    >>> local(replicate({"w": np.ones(2)}, data_mesh(1)))["w"].tolist()
    [1.0, 1.0]
    """

    def mine(leaf):
        if not leaf.is_fully_replicated:
            raise ValueError(f"an array of shape {leaf.shape} lies in parts on {leaf.sharding}: replicate it first.")
        return leaf.addressable_data(0)

    return jax.tree.map(mine, tree)


def by_parts(function: Callable, mesh: Mesh | None) -> Callable:
    """Inside a program: ``function(whole, parts)`` with the first axis of ``parts`` split over the devices of a mesh.

    Args:
        function: maps a pytree, the same everywhere, and one of arrays ``[n, ...]`` to one of arrays ``[n, ...]``, row
            by row.
        mesh: None leaves the function as it is.

    >>> by_parts(lambda factor, x: factor * x, data_mesh(1))(2.0, np.ones(2)).tolist()
    [2.0, 2.0]
    """
    if mesh is None:
        return function
    run = jax.shard_map(
        function, mesh=mesh, in_specs=(PartitionSpec(), PartitionSpec(AXIS)), out_specs=PartitionSpec(AXIS)
    )
    return lambda whole, parts: jax.lax.with_sharding_constraint(
        run(whole, parts), NamedSharding(mesh, PartitionSpec())
    )


def share(program: Callable, mesh: Mesh | None, whole, parts):
    """``program(whole, parts)``, a program made of ``by_parts``, with its arrays placed on the mesh and taken from it.

    Args:
        program: compiled.
        mesh: None calls the program as it is.
        whole: a pytree of arrays, the same everywhere.
        parts: one of arrays ``[n, ...]``, any n: the devices' last places are filled up with copies of the first row.

    >>> share(jax.jit(by_parts(lambda factor, x: factor * x, data_mesh(1))), data_mesh(1), 2.0, np.ones(3)).tolist()
    [2.0, 2.0, 2.0]
    """
    if mesh is None:
        return program(whole, parts)
    count = jax.tree.leaves(parts)[0].shape[0]

    def filled(leaf):
        return np.concatenate([leaf, np.repeat(leaf[:1], -count % mesh.size, axis=0)])

    done = local(program(replicate(whole, mesh), split(jax.tree.map(filled, parts), mesh)))
    return jax.tree.map(lambda leaf: leaf[:count], done)


def wait(name: str) -> None:
    """Until every process has come to this point.

    Args:
        name: of the point, the same in every process.

    >>> wait("here")  # one process
    """
    if jax.process_count() > 1:
        from jax.experimental.multihost_utils import sync_global_devices

        sync_global_devices(name)


def start(coordinator: str | None = None, processes: int | None = None, process: int | None = None) -> None:
    """Join the processes of a run; before anything else touches a device.

    Each argument that is None is read from the environment (``VARIABLES``). If nothing says that there are several
    processes nothing is done.

    Args:
        coordinator: host:port of process 0.
        processes: how many there are.
        process: which one this is, from 0.

    Raises:
        SpecError: only some of the three are given, or they are no numbers in range.

    >>> start()  # one process
    """
    given = [
        os.environ.get(name) if value is None else value
        for name, value in zip(VARIABLES, (coordinator, processes, process), strict=True)
    ]
    missing = [name for name, value in zip(VARIABLES, given, strict=True) if value is None]
    if len(missing) == len(VARIABLES):
        return
    if missing:
        raise SpecError(f"several processes need all of {', '.join(VARIABLES)}, missing: {', '.join(missing)}.")
    address, count, place = given
    try:
        count, place = int(count or 0), int(place or 0)
    except ValueError:
        raise SpecError(f"{VARIABLES[1]} and {VARIABLES[2]} must be whole numbers, got {given[1:]}.") from None
    if not 0 <= place < count:
        raise SpecError(f"{VARIABLES[2]} must be in 0 ... {VARIABLES[1]} - 1, got {place} of {count}.")
    jax.distributed.initialize(str(address), count, place)


def is_writer() -> bool:
    """True in the one process that writes files and prints: process 0.

    >>> is_writer()
    True
    """
    return jax.process_index() == 0
