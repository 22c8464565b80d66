"""What passes between the operations on meshes."""

from typing import NamedTuple

from ava_jax.core.types import Array


class Fragments(NamedTuple):
    """What the pixels of B images see of a mesh.

    Attributes:
      index: int32 [B, H, W], the triangle; -1 where there is none, and the others are 0.
      barycentrics: [B, H, W, 3], weights of its corners at the pixel's centre, perspective-correct; they sum to 1.
      depth: [B, H, W], along the camera's axis; z / w of vertices in clip space.
    """

    index: Array
    barycentrics: Array
    depth: Array
