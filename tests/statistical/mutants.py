"""Theory with one slip in it: the rooms of a subject run again from their source text, one occurrence replaced."""

import inspect
import sys
import types
from unittest import mock

import collapse_jax.results
from collapse_jax import theory
from collapse_jax.theory import dae_limits, dae_recursion

ROOMS = (dae_recursion, dae_limits, theory.dae, theory.dae_mixed, theory.dae_variants)  # in the order of their imports


def mutant(id, function, old, new):
    """The registered result ``id`` of a library in which ``function`` says ``new`` where it said ``old``."""
    holders = [room for room in ROOMS if f"def {function}(" in inspect.getsource(room)]
    assert len(holders) == 1, f"{function} is not the name of one function"
    source = inspect.getsource(holders[0])
    start = source.index(f"def {function}(")
    end = source.find("\n\n\n", start)
    body = source[start : end if end > 0 else None]
    assert body.count(old) == 1, f"{old!r} occurs {body.count(old)} times in {function}"
    return _run({holders[0].__name__: source.replace(body, body.replace(old, new))})[id]


def _run(changed):
    rooms = {}
    with mock.patch.object(collapse_jax.results, "_REGISTER", {}) as register, mock.patch.dict(sys.modules):
        for room in ROOMS:
            name = room.__name__
            rooms[name] = types.ModuleType(name)
            sys.modules[name] = rooms[name]
            exec(compile(changed.get(name) or inspect.getsource(room), name, "exec"), rooms[name].__dict__)
        return dict(register)
