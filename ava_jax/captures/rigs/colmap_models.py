"""COLMAP's camera models: their parameters as size, K and distortion.

The origin of COLMAP's pixels is the corner of the first, so that half a pixel is taken off the principal point.
"""

from collections.abc import Sequence

import numpy as np

from ava_jax.captures.rigs import values
from ava_jax.captures.rigs.types import Distortion

# Name and count of parameters by id; the rest are refused by name.
MODELS = {
    0: ("SIMPLE_PINHOLE", 3),
    1: ("PINHOLE", 4),
    2: ("SIMPLE_RADIAL", 4),
    3: ("RADIAL", 5),
    4: ("OPENCV", 8),
    5: ("OPENCV_FISHEYE", 8),
    6: ("FULL_OPENCV", 12),
}
REFUSED = {
    7: "FOV",
    8: "SIMPLE_RADIAL_FISHEYE",
    9: "RADIAL_FISHEYE",
    10: "THIN_PRISM_FISHEYE",
    11: "RAD_TAN_THIN_PRISM_FISHEYE",
}
_IDS = {name: number for number, (name, _) in MODELS.items()}

Intrinsics = tuple[tuple[int, int], np.ndarray, Distortion]


def intrinsics(model: int | str, width: object, height: object, parameters: Sequence[object]) -> Intrinsics:
    """Size, K and distortion of a camera's entry.

    Args:
      model: number or name.
      width, height: pixels.
      parameters: as many as the model has.

    Raises:
      ValueError: the model is unknown or not supported, or a number cannot be a camera's.
    """
    number = _IDS.get(model, -1) if isinstance(model, str) else model
    if number not in MODELS:
        name = REFUSED.get(model, f"number {model}") if isinstance(model, int) else model[:40]
        raise ValueError(
            f"camera model {name} is not supported, of COLMAP's {', '.join(n for n, _ in MODELS.values())} are: run "
            "`colmap image_undistorter`, whose model is PINHOLE, and read its output"
        )
    name, count = MODELS[number]
    if len(parameters) != count:
        raise ValueError(f"{name} must have {count} parameters; got {len(parameters)}")
    p = [values.number(value, f"parameter {i + 1} of {name}") for i, value in enumerate(parameters)]
    focal = [p[0], p[0], *p[1:3]] if number in (0, 2, 3) else p[:4]
    rest = p[3:] if number in (0, 2, 3) else p[4:]
    k = values.pinhole(focal[0], focal[1], focal[2] - 0.5, focal[3] - 0.5)
    return values.size(width, height), k, distortion_of(name, rest)


def distortion_of(model: str, rest: Sequence[float]) -> Distortion:
    """The distortion of a model of COLMAP, by name, with the parameters after those of K."""
    if model in ("SIMPLE_PINHOLE", "PINHOLE"):
        return Distortion()
    if model == "OPENCV_FISHEYE":
        return Distortion("fisheye", tuple(rest))
    return Distortion("opencv", tuple(rest) + (0.0,) * (8 - len(rest)))
