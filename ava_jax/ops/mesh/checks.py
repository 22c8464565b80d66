"""What the operations on meshes ask of their arguments."""

import jax
import jax.numpy as jnp

from ava_jax.core.types import Array
from ava_jax.ops import native

_REMEDY = {"gpu": "reinstall with nvcc and set AVA_RASTERIZE_CUDA=1, without which all but `rasterize` is off on GPUs"}


def choose_native(who: str, implementation: str | None, dtype, *, serves: bool | None = None) -> bool:
    """Whether the compiled call is to be used: "native", "jax", or the best there is for None.

    Args:
      who: is asked for, in errors.
      implementation: as `rasterize` takes it.
      dtype: of what is computed.
      serves: whether there is a compiled call for the backend; by default those of all operations on meshes.

    Raises:
      ValueError: there is no such implementation, or none for this dtype or backend.
    """
    if implementation not in (None, "native", "jax"):
        raise ValueError(f'{who}: implementation must be "native", "jax" or None; got {implementation!r}.')
    serves = native.serves_meshes() if serves is None else serves
    if implementation is None:
        return serves and dtype == jnp.float32
    if implementation == "jax":
        return False
    if not serves:
        raise ValueError(
            f'{who}: implementation="native" needs the compiled module of the backend {jax.default_backend()}, built from these sources; '
            f'{_REMEDY.get(jax.default_backend(), "reinstall with a C++ compiler")}, or use "jax".'
        )
    if dtype != jnp.float32:
        raise ValueError(f'{who}: implementation="native" computes in float32; got {dtype}. Use "jax".')
    return True


def require_axes(who: str, name: str, array: Array, axes: str, count: int) -> None:
    """Raises ValueError where `array` [...] has not `count` axes or no floating-point numbers."""
    if jnp.ndim(array) != count:
        raise ValueError(f"{who}: {name} must be [{axes}]; got {jnp.shape(array)}.")
    if not jnp.issubdtype(jnp.result_type(array), jnp.floating):
        raise ValueError(f"{who}: {name} must hold floating-point numbers; got {jnp.result_type(array)}.")


def require_faces(who: str, faces: Array, name: str = "faces") -> jax.Array:
    """`faces` as int32 [T, 3].

    Raises:
      ValueError: they are not integers, or not [T, 3].
    """
    faces = jnp.asarray(faces)
    if faces.ndim != 2 or faces.shape[1] != 3:
        raise ValueError(f"{who}: {name} must be [T, 3]; got {faces.shape}.")
    if not jnp.issubdtype(faces.dtype, jnp.integer):
        raise ValueError(f"{who}: {name} must hold integers; got {faces.dtype}.")
    return faces.astype(jnp.int32)
