"""Several devices, several processes: a mesh of all devices, data on it, and how processes find each other.

Parallelism is by data: one axis, ``data``, over all devices of all processes; parameters are copied, batches are split
(``generative.training``). Every process runs the same program on the same data; process 0 writes.
"""

import os

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
