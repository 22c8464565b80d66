"""Meshes drawn in pixels: public ops, each with its reference implementation in JAX."""

from ava_jax.ops.mesh.derivatives import barycentric_derivatives as barycentric_derivatives
from ava_jax.ops.mesh.derivatives import uv_derivatives as uv_derivatives
from ava_jax.ops.mesh.interpolate import interpolate as interpolate
from ava_jax.ops.mesh.outline import find_outlines as find_outlines
from ava_jax.ops.mesh.outline import hold_outlines as hold_outlines
from ava_jax.ops.mesh.outline import mesh_edges as mesh_edges
from ava_jax.ops.mesh.outline import with_outlines as with_outlines
from ava_jax.ops.mesh.project import from_clip as from_clip
from ava_jax.ops.mesh.project import from_pixels as from_pixels
from ava_jax.ops.mesh.project import project as project
from ava_jax.ops.mesh.rasterize import peel as peel
from ava_jax.ops.mesh.rasterize import rasterize as rasterize
from ava_jax.ops.mesh.render import Rendering as Rendering
from ava_jax.ops.mesh.render import render_mesh as render_mesh
from ava_jax.ops.mesh.render import vertex_normals as vertex_normals
from ava_jax.ops.mesh.texture import mipmaps as mipmaps
from ava_jax.ops.mesh.texture import sample_texture as sample_texture
from ava_jax.ops.mesh.texture import texture_level as texture_level
from ava_jax.ops.mesh.types import Fragments as Fragments
