"""Ray operations: public ops, the raymarcher with its reference implementation in JAX beside it."""

from ava_jax.ops.raymarch import raymarch as raymarch
from ava_jax.ops.rays import camera_rays as camera_rays
