"""`raymarch_transformations.py IMPLEMENTATION CHECK ...`, on two devices: prints each check's largest error as JSON, relative to
the array's largest value."""

import functools
import json
import sys

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, PartitionSpec
from raymarch_scenes import STEP, cotangent, zoo

from ava_jax.ops import raymarch

rays, prims = jax.tree.map(lambda x: jnp.asarray(x[:4]), zoo(count=4, side=2, views=1, height=5, width=4))
weights = jnp.asarray(cotangent((*rays.origin.shape[:4], 4)))
march = functools.partial(raymarch, step_size=STEP, implementation=sys.argv[1])
mesh = jax.make_mesh((2,), ("batch",), axis_types=(AxisType.Auto,))
sharded, whole = PartitionSpec("batch"), PartitionSpec()


def loss(gain, prims, rays, weights, voxels=jnp.float32):
    """`gain` is shared by all frames, as a network's weights are."""
    prims = prims._replace(rgba=(prims.rgba * gain).astype(voxels), position=prims.position + 0.01 * gain)
    return jnp.sum(march(rays, prims) * weights)


gradient = jax.jit(jax.grad(loss, argnums=(0, 1)), static_argnums=4)


def error(ours, expected):
    pairs = zip(jax.tree.leaves(ours), jax.tree.leaves(expected), strict=True)
    return max(float(np.abs(np.asarray(a) - b).max() / np.abs(b).max()) for a, b in pairs)


def summed(gain, prims, rays, weights, voxels=jnp.float32):
    return jax.lax.psum(loss(gain, prims, rays, weights, voxels), "batch")


def unchecked(gain, prims, rays, weights):
    """As the trainer does: the gradient of the local loss, summed by hand."""
    d_gain, d_prims = jax.grad(loss, argnums=(0, 1))(gain, prims, rays, weights)
    return jax.lax.psum(d_gain, "batch"), d_prims


specs = (whole, sharded, sharded, sharded)
checked = jax.grad(jax.shard_map(summed, mesh=mesh, in_specs=specs, out_specs=whole), argnums=(0, 1))
narrow = functools.partial(summed, voxels=jnp.bfloat16)
narrow = jax.grad(jax.shard_map(narrow, mesh=mesh, in_specs=specs, out_specs=whole), argnums=(0, 1))
inside = jax.shard_map(jax.grad(summed, argnums=(0, 1)), mesh=mesh, in_specs=specs, out_specs=(whole, sharded))
by_hand = jax.shard_map(unchecked, mesh=mesh, in_specs=specs, out_specs=(whole, sharded), check_vma=False)


def shared(gain, prims, rays, weights):
    """All primitives replicated, the rays of one frame shared out: the primitives' gradients are sums over devices."""
    return jax.lax.psum(loss(gain, prims, rays, weights), "batch")


first = jax.tree.map(lambda x: x[:1], (prims, rays, weights))
repeated = jax.tree.map(lambda x: jnp.concatenate([x, x]), first[1:])
replicated = jax.shard_map(shared, mesh=mesh, in_specs=(whole, whole, sharded, sharded), out_specs=whole)

split = jax.tree.map(lambda x: x.reshape(2, 2, *x.shape[1:]), (prims, rays, weights))


def mapped(gain, *split):
    d_gain, d_prims = jax.vmap(jax.grad(loss, argnums=(0, 1)), in_axes=(None, 0, 0, 0))(gain, *split)
    return d_gain.sum(), jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), d_prims)


everything = (1.5, prims, rays, weights)
checks = {  # function, its arguments, those of `gradient` to compare with
    "vmap": (mapped, (1.5, *split), everything),
    "grad of shard_map": (checked, everything, everything),
    "grad in shard_map": (inside, everything, everything),
    "grad in shard_map, unchecked": (by_hand, everything, everything),
    "voxels in bfloat16": (narrow, everything, (*everything, jnp.bfloat16)),
    "replicated primitives": (jax.grad(replicated, argnums=(0, 1)), (1.5, first[0], *repeated), (1.5, *first)),
}
results = {}
for name in sys.argv[2:]:
    function, args, plain = checks[name]
    times = 2 if name == "replicated primitives" else 1  # both devices march the same rays there
    expected = jax.tree.map(lambda x: times * x, gradient(*plain))
    results[name] = error(jax.jit(function)(*args), expected)
print(json.dumps(results))
