"""An avatar's functions, as programs that run without this package.

Arguments and results are arrays, and dicts and tuples of them, which JAX takes apart without knowing any class of this package.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import export

from ava_jax.core import tracing
from ava_jax.core.types import Array, Cameras, Primitives
from ava_jax.ops import rays as ray_ops
from ava_jax.ops.raymarch import raymarch
from ava_jax.tasks.ava256.model.codec import AvatarCodec
from ava_jax.tasks.ava256.model.encoders import IdentityCode
from ava_jax.tasks.ava256.model.sizes import CODE_CHANNELS, CODE_SIDE
from ava_jax.tasks.command import Program, Programs

FUNCTIONS = ("encode_identity", "encode", "decode", "render")
CALLS = (  # compiled custom calls that programs may name
    "ava_raymarch_forward", "ava_convolution_gather", "ava_convolution_scatter", "ava_dense", "ava_sampling_read", "ava_voxels",
)  # fmt: skip
_PLATFORMS = {"portable": ("cpu", "cuda"), "cpu": ("cpu",), "gpu": ("cuda",)}


class Sizes(NamedTuple):
    """Of batches and pictures; None leaves it open.

    Attributes:
      batch: B.
      height, width: pixels.
    """

    batch: int | None = None
    height: int | None = None
    width: int | None = None


def export_function(programs: Programs, model: AvatarCodec, name: str, target: str, sizes: Sizes = Sizes()) -> Program:
    """Traces and lowers one of FUNCTIONS.

    Args:
      programs: the model's.
      model: trained.
      name: of the function.
      target: "portable": plain JAX, for CPUs and for NVIDIA GPUs. "cpu" and "gpu": for one of them, with the compiled custom calls.
      sizes: those that are fixed.

    Raises:
      ValueError: a name is not known.
    """
    if name not in FUNCTIONS:
        raise ValueError(f"export_function: name must be one of {', '.join(FUNCTIONS)}; got {name!r}.")
    with tracing.traced_for(target):
        return programs.export(_FUNCTIONS[name], _arguments(model, name, sizes), _PLATFORMS[target], CALLS)


# The functions, on what JAX takes apart.


def _encode_identity(model: AvatarCodec, texture: Array, vertices: Array) -> dict[str, Any]:
    return {name: value for name, value in model.encode_identity(texture, vertices)._asdict().items() if value is not None}


def _encode(model: AvatarCodec, texture: Array, vertices: Array, neutral_texture: Array, neutral_vertices: Array) -> jax.Array:
    return model.encode_expression(texture, vertices, neutral_texture, neutral_vertices)[0]


def _decode(model: AvatarCodec, identity: dict[str, Any], expression: Array, camera_position: Array) -> dict[str, jax.Array]:
    decoded = model.decode(IdentityCode(**identity), expression, camera_position)
    found = decoded.primitives._asdict() | {"vertices": decoded.vertices}
    return {name: value.astype(jnp.float32) for name, value in found.items()}


def _render(
    model: AvatarCodec, decoded: dict[str, Array], cameras: dict[str, Array], rows: Array, columns: Array, names: Array
) -> jax.Array:
    primitives = Primitives(*(decoded[field] for field in Primitives._fields))
    one_view = Cameras(*(cameras[field][:, None] for field in Cameras._fields))
    rays = ray_ops.grid_rays(one_view, rows, columns, radius=model.volume_radius)
    rgba = raymarch(rays, primitives, step_size=model.step_size)[:, 0]
    return model.calibration.of_render(rgba, names[:, 0], names[:, 1])


_FUNCTIONS = {"encode_identity": _encode_identity, "encode": _encode, "decode": _decode, "render": _render}


def _arguments(model: AvatarCodec, name: str, sizes: Sizes) -> tuple[Any, ...]:
    """Shapes and types of a function's arguments, after its weights."""
    open_ = dict(zip("bhw", export.symbolic_shape("b, h, w")))
    b, h, w = (open_[letter] if size is None else size for letter, size in zip("bhw", sizes))
    spec = jax.ShapeDtypeStruct
    side, vertices = model.sizes.texture, len(model.vertices_mean)
    face = spec((b, side, side, 3), jnp.uint8), spec((b, vertices, 3), jnp.float32)
    if name == "encode_identity":
        return face
    if name == "encode":
        return face + face
    if name == "decode":
        identity = jax.eval_shape(functools.partial(_encode_identity, model), *face)
        return identity, spec((b, CODE_SIDE, CODE_SIDE, CODE_CHANNELS), jnp.float32), spec((b, 3), jnp.float32)
    count, depth = model.sizes.primitives, model.sizes.depth
    shapes = {"position": (3,), "rotation": (3, 3), "scale": (3,), "rgba": (depth, depth, depth, 4)}
    decoded = {field: spec((b, count, *shape), jnp.float32) for field, shape in shapes.items()}
    decoded["vertices"] = face[1]  # not read: taken so that it is called with all that decode gave
    trailing = {"rotation": (3, 3), "position": (3,), "focal": (2,), "principal": (2,)}
    cameras = {field: spec((b, *shape), jnp.float32) for field, shape in trailing.items()}
    return decoded, cameras, spec((h,), jnp.float32), spec((w,), jnp.float32), spec((b, 2), jnp.int32)
