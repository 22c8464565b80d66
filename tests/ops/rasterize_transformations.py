"""`rasterize_transformations.py CHECK ...`, on eight devices: prints each check's largest error, relative to the array's largest value, and
how many gathers its program has, as JSON."""

import functools
import json
import re
import sys

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from rasterize_scenes import icosphere

from ava_jax.core.types import Cameras
from ava_jax.ops import mesh

HEIGHT, WIDTH, IMAGES = 18, 17, 8
rng = np.random.default_rng(0)
ball, faces = icosphere(1)
edges, uvs = mesh.mesh_edges(faces), rng.random((len(ball), 2)).astype(np.float32)
points = jnp.asarray(ball * rng.uniform(0.7, 1.2, (IMAGES, 1, 1)) + [0, 0, 3], jnp.float32)
places = rng.uniform(-0.3, 0.3, (IMAGES, 3))
cameras = Cameras(np.tile(np.eye(3), (IMAGES, 1, 1)), places, np.full((IMAGES, 2), 20.0), np.tile([8.0, 9.0], (IMAGES, 1)))
cameras = jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), cameras)
shared = jnp.asarray(rng.random((8, 8, 3)), jnp.float32), jnp.asarray(rng.random((len(ball), 3)), jnp.float32)  # texture, colours
weights = jnp.asarray(rng.standard_normal((IMAGES, HEIGHT, WIDTH, 6)), jnp.float32)


def pictures(points, shared, cameras, filtering):
    """Every compiled call: both ways to colour, mip levels, a second layer, outlines."""
    texture, colours = shared
    options = {"edges": edges, "outputs": ("colour", "mask")}
    read = mesh.render_mesh(points, faces, cameras, HEIGHT, WIDTH, texture=texture, uvs=uvs, filtering=filtering, **options)
    vertices = mesh.project(points, cameras)
    behind = mesh.rasterize(vertices, faces, HEIGHT, WIDTH, behind=read.fragments)
    second = mesh.interpolate(colours, faces, behind) * behind.depth[..., None]
    return jnp.concatenate([read.colour, read.mask[..., None], second[..., :2]], -1)


def loss(points, shared, cameras, weights, filtering="trilinear"):
    return jnp.sum(pictures(points, shared, cameras, filtering) * weights)


gradient = jax.value_and_grad(loss, (0, 1, 2))
bilinear = jax.value_and_grad(functools.partial(loss, filtering="bilinear"), (0, 1, 2))  # explicit axes know no indexing by divided arrays
given = points, shared, cameras, weights
images, whole = PartitionSpec("images"), PartitionSpec()
specs = images, whole, images, images


def on_a_mesh(kind: AxisType):
    devices = jax.make_mesh((IMAGES,), ("images",), axis_types=(kind,))
    return devices, [jax.device_put(x, NamedSharding(devices, spec)) for x, spec in zip(given, specs)]


def summed(*local):
    return jax.lax.psum(loss(*local), "images")


def by_hand(*local):
    """As the trainer does: the gradient of the local loss, summed by hand."""
    value, (d_points, d_shared, d_cameras) = jax.value_and_grad(loss, (0, 1, 2))(*local)
    return jax.lax.psum(value, "images"), (d_points, jax.lax.psum(d_shared, "images"), d_cameras)


def mapped(points, shared, cameras, weights):
    """Two images at a time, four times."""
    split = jax.tree.map(lambda x: x.reshape(4, 2, *x.shape[1:]), (points, cameras, weights))
    values, (d_points, d_shared, d_cameras) = jax.vmap(lambda p, c, w: gradient(p, shared, c, w))(*split)
    joined = jax.tree.map(lambda x: x.reshape(IMAGES, *x.shape[2:]), (d_points, d_cameras))
    return values.sum(), (joined[0], jax.tree.map(lambda x: x.sum(0), d_shared), joined[1])


def shard_mapped(function, out_specs, check):
    devices, _ = on_a_mesh(AxisType.Auto)
    return jax.shard_map(function, mesh=devices, in_specs=specs, out_specs=out_specs, check_vma=check)


def run(name):
    if name == "vmap":
        return mapped, given
    if name == "divided images":
        return gradient, on_a_mesh(AxisType.Auto)[1]
    if name == "divided images, explicit axes":
        devices, arguments = on_a_mesh(AxisType.Explicit)
        jax.set_mesh(devices)
        return bilinear, arguments
    if name == "grad of shard_map":
        return jax.value_and_grad(shard_mapped(summed, whole, True), (0, 1, 2)), given
    if name == "grad in shard_map":
        return shard_mapped(jax.value_and_grad(summed, (0, 1, 2)), (whole, (images, whole, images)), True), given
    return shard_mapped(by_hand, (whole, (images, whole, images)), False), given


def error(ours, expected) -> float:
    pairs = zip(jax.tree.leaves(ours), jax.tree.leaves(expected), strict=True)
    return max(float(np.abs(np.asarray(a) - b).max() / np.abs(b).max()) for a, b in pairs)


results = {}
for check in sys.argv[1:]:
    plain = bilinear if "explicit" in check else gradient
    alone = jax.tree.map(np.asarray, jax.jit(plain)(*given))
    function, arguments = run(check)
    program = jax.jit(function).lower(*arguments).compile()
    gathers = len(re.findall(r"all-gather(?:-start)?\(", program.as_text()))
    results[check] = {"error": error(program(*arguments), alone), "gathers": gathers}
print(json.dumps(results))
