"""Universal volumetric avatars in JAX.

`load` gives a trained avatar; `raymarch` composites volumetric primitives. Importing the package costs nothing: each name is imported
when it is first used.
"""

import importlib
import importlib.metadata
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ava_jax.core.pixels import to_uint8
    from ava_jax.core.types import Cameras, Primitives, Rays
    from ava_jax.ops.raymarch import raymarch
    from ava_jax.ops.rays import camera_rays
    from ava_jax.run.library import load

__all__ = ["Cameras", "Primitives", "Rays", "__version__", "camera_rays", "load", "raymarch", "to_uint8"]

_HOMES = {
    "Cameras": "ava_jax.core.types",
    "Primitives": "ava_jax.core.types",
    "Rays": "ava_jax.core.types",
    "camera_rays": "ava_jax.ops.rays",
    "load": "ava_jax.run.library",
    "raymarch": "ava_jax.ops.raymarch",
    "to_uint8": "ava_jax.core.pixels",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return importlib.metadata.version("ava-jax")
    if name not in _HOMES:
        raise AttributeError(f"module 'ava_jax' has no attribute {name!r}; it has {', '.join(__all__)}.")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value  # found at once from now on
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
