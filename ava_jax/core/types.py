"""The axis glossary and the types that cross module boundaries.

Axis letters, the same in every signature, Python and C++:

  B   samples of a batch (a sample = one frame seen by one camera)
  F   frames                     N   views of a frame
  H W pixels, rows and columns   K   volumetric primitives
  D   voxels along a primitive's side (its box is D x D x D)
  G   the same of a warp field
  V   mesh vertices              T   texture side, texels
  S   slab side, texels: S = primitives per side x D
  P   points                     E   experts

Channels come last. Images are 0-255. Two lengths are used: millimetres (meshes, cameras, data on disk) and *volume radii*
(the raymarcher; 1.0 = 256 mm by default). A name or docstring says which.
"""

from typing import Any, NamedTuple

import jax
import numpy as np

Array = jax.Array | np.ndarray


class Cameras(NamedTuple):
    """Pinhole cameras in head space (head pose already applied).

    Attributes:
      rotation: [..., 3, 3], head to camera (rows are the camera's axes in head space).
      position: [..., 3], the camera's centre, mm.
      focal: [..., 2], (x, y) focal length, pixels of the image rendered.
      principal: [..., 2], (x, y) principal point, pixels; (0, 0) is the *centre* of the first pixel.
    """

    rotation: Array
    position: Array
    focal: Array
    principal: Array


class Rays(NamedTuple):
    """Rays of N views of each of F frames, in volume radii.

    Attributes:
      origin: [F, N, H, W, 3].
      direction: [F, N, H, W, 3], unit length.
      bounds: [F, N, H, W, 2], where the march begins and ends along the ray; empty where near >= far.
    """

    origin: Array
    direction: Array
    bounds: Array


class Primitives(NamedTuple):
    """K oriented boxes of RGBA voxels for each of F frames, in volume radii.

    Attributes:
      position: [F, K, 3], centres.
      rotation: [F, K, 3, 3], box to head: columns are the box's axes in head space.
      scale: [F, K, 3], *reciprocal* half-extents along the box's axes.
      rgba: [F, K, D, D, D, 4], voxels indexed z, y, x: colour 0-255 and density >= 0 per volume radius. May be stored as bfloat16.
    """

    position: Array
    rotation: Array
    scale: Array
    rgba: Array


class Assets(NamedTuple):
    """All that a task learns from its data before training; saved with every checkpoint.

    Attributes:
      arrays: name -> array: statistics, topology.
      names: name -> list of strings: the order in which cameras, identities, ... are indexed.
    """

    arrays: dict[str, np.ndarray]
    names: dict[str, list[str]]


Batch = dict[str, Any]  # name -> array [B, ...]; each task documents its own
