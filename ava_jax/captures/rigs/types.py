"""What a rig of any origin is read into: cameras, the images that each took, and what else its files name.

Every reader of `rigs` gives a `Rig`; `convert` writes a capture from one. Conventions are those of docs/reference/conventions.md: OpenCV
axes (x right, y down, z forward), integer pixel centres, world to camera.
"""

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Literal

import numpy as np


@dataclasses.dataclass(frozen=True)
class Distortion:
    """How a lens bends normalised image coordinates; `distort` applies it.

    Attributes:
      model: "none", "opencv" (k1 k2 p1 p2 k3 k4 k5 k6), "fisheye" (k1 k2 k3 k4, OpenCV's), or "metashape" (k1 k2 k3 k4 p1 p2, of which
        the tangential pair is swapped and k4 multiplies the eighth power).
      coefficients: f64 [N], in the model's order; those that a file lacks are 0.
    """

    model: Literal["none", "opencv", "fisheye", "metashape"] = "none"
    coefficients: tuple[float, ...] = ()


@dataclasses.dataclass(frozen=True)
class RigCamera:
    """A camera of a rig.

    Attributes:
      name: unique in the rig.
      size: height and width of its images, pixels; (0, 0) where neither the files nor pictures say.
      k: f64 [3, 3], pixels, integer pixel centres.
      world_to_camera: f64 [4, 4], rigid, OpenCV axes; translation in the rig's unit.
      distortion: of its images.
    """

    name: str
    size: tuple[int, int]
    k: np.ndarray
    world_to_camera: np.ndarray
    distortion: Distortion = Distortion()


@dataclasses.dataclass(frozen=True)
class Rig:
    """Cameras and the files that they belong to.

    Attributes:
      cameras: in the order of their names.
      images: (camera, frame) -> picture; frames are numbers, as the files' names or the rig's file give them.
      masks: (camera, frame) -> picture, white is foreground; {} = none.
      meshes: frame -> mesh (OBJ, PLY, npz), in world coordinates; {} = none named.
      flame: frame -> npz of FLAME parameters; {} = none.
      mm_per_unit: the unit of translations and meshes, where the format fixes it (1000 for metres); None = not known.
      notes: what a user should know of how it was read, a line each.
    """

    cameras: tuple[RigCamera, ...]
    images: Mapping[tuple[str, int], pathlib.Path] = dataclasses.field(default_factory=dict)
    masks: Mapping[tuple[str, int], pathlib.Path] = dataclasses.field(default_factory=dict)
    meshes: Mapping[int, pathlib.Path] = dataclasses.field(default_factory=dict)
    flame: Mapping[int, pathlib.Path] = dataclasses.field(default_factory=dict)
    mm_per_unit: float | None = None
    notes: tuple[str, ...] = ()
