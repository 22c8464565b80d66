"""Meshes of surfaces in grids of values."""

from ava_jax.ops.marching.extract import Triangles as Triangles
from ava_jax.ops.marching.extract import extract as extract
from ava_jax.ops.marching.extract import extract_padded as extract_padded
