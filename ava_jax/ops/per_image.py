"""Compiled calls that take images one by one, wherever their arrays lie.

XLA knows nothing of a custom call, and outside of `jax.shard_map` would bring all images to every device before it, for each to draw them
all. Here it is told that the leading axis may stay divided, and which results are sums over it.
"""

import functools
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_batching import sequential_vmap
from jax.experimental.custom_partitioning import custom_partitioning
from jax.sharding import NamedSharding, PartitionSpec

from ava_jax.core.types import Array

_REMEMBERED = 1024  # calls of different shapes, so that none is compiled twice outside of jit


def call_per_image(
    name: str,
    results: jax.ShapeDtypeStruct | Sequence[jax.ShapeDtypeStruct],
    arguments: Sequence[Array],
    per_image: Sequence[bool],
    *,
    results_per_image: Sequence[bool] | None = None,
    scratch: Callable | None = None,
    **attributes,
):
    """Calls what is registered under `name`. Works under jit, vmap and shard_map; differentiation is the caller's.

    Args:
      name: of the call.
      results: its results' types, one or several, as `jax.ffi.ffi_call` takes them.
      arguments: arrays of any shape.
      per_image: of each argument, whether its leading axis is that of the images; the others are the same for all.
      results_per_image: the same of each result, None for all; the others are sums over images.
      scratch: of a device's arguments and results: how many floats the call takes as one more result, or None for no such result. The same
        function for calls that are alike, else they are compiled anew.
      **attributes: NumPy numbers and arrays.

    Returns:
      One result, or a tuple of several.
    """
    several = isinstance(results, (list, tuple))
    results = tuple(results) if several else (results,)
    held = tuple((key, np.asarray(x).dtype.name, np.shape(x), tuple(np.ravel(x).tolist())) for key, x in sorted(attributes.items()))
    of_results = (True,) * len(results) if results_per_image is None else tuple(results_per_image)
    out = _made(name, results, tuple(per_image), of_results, scratch, held)(*arguments)
    return out if several else out[0]


@functools.lru_cache(maxsize=_REMEMBERED)
def _made(name, results, per_image, results_per_image, scratch, held):
    attributes = {key: np.asarray(values, dtype).reshape(shape)[()] for key, dtype, shape, values in held}

    def calling(types):
        def call(*arguments):
            floats = None if scratch is None else scratch(arguments, types)
            space = (
                () if floats is None else (jax.eval_shape(lambda x: jnp.broadcast_to(jnp.sum(x).astype(jnp.float32), floats), types[0]),)
            )
            return tuple(jax.ffi.ffi_call(name, (*types, *space))(*arguments, **attributes))[: len(types)]

        return call

    def per_device(shards: int):
        shapes = [(r.shape[0] // shards, *r.shape[1:]) if own else r.shape for r, own in zip(results, results_per_image)]
        return tuple(jax.ShapeDtypeStruct(shape, r.dtype) for shape, r in zip(shapes, results))

    def partition(mesh, arguments, _):
        axes, shards = _division(mesh, arguments, per_image)
        images, whole = NamedSharding(mesh, PartitionSpec(axes)), NamedSharding(mesh, PartitionSpec())

        def local(*own):
            out = calling(per_device(shards))(*own)
            return tuple(x if own or axes is None else jax.lax.psum(x, axes) for x, own in zip(out, results_per_image))

        pick = lambda flags: tuple(images if flag else whole for flag in flags)  # noqa: E731
        return mesh, local, pick(results_per_image), pick(per_image)

    call = custom_partitioning(calling(results))
    call.def_partition(partition=partition, decode_shardings=True, sharding_rule=functools.partial(_rule, per_image, results_per_image))
    return sequential_vmap(call)


def _division(mesh, arguments, per_image) -> tuple:
    """The axes of the device mesh over which images are divided, None for none, and into how many parts."""
    first = next(x for x, own in zip(arguments, per_image) if own)
    axes = first.sharding.spec[0] if first.sharding.spec else None
    names = () if axes is None else axes if isinstance(axes, tuple) else (axes,)
    shards = int(np.prod([mesh.shape[axis] for axis in names]))
    return (axes, shards) if names and first.shape[0] % shards == 0 else (None, 1)


def _rule(per_image, results_per_image, _, arguments, results) -> tuple[str, dict]:
    """Which axes belong together, in Shardy's notation: the images', and no others."""
    alone = []

    def axes(value, own) -> str:
        names = ["images"] if own else []
        while len(names) < len(value.shape):
            alone.append(f"a{len(alone)}")
            names.append(alone[-1])
        return " ".join(names)

    sides = [", ".join(map(axes, *side)) for side in ((arguments, per_image), (results, results_per_image))]
    return " -> ".join(sides), {"need_replication_factors": tuple(alone)}
