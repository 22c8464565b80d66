"""Ray operations: public ops, each with its pure-JAX twin beside it."""

from ava_jax.ops.raymarch import raymarch as raymarch
from ava_jax.ops.rays import camera_rays as camera_rays
