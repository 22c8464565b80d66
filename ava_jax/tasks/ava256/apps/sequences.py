"""Sequences for videos: a segment beside the truth, and a turntable."""

from collections.abc import Iterator

import jax
import numpy as np

from ava_jax.core.pixels import to_uint8
from ava_jax.core.types import Batch, Cameras
from ava_jax.tasks.ava256.apps import driving
from ava_jax.tasks.ava256.apps.avatar import Avatar
from ava_jax.tasks.ava256.apps.selection import RenderSelection
from ava_jax.tasks.ava256.model.codec import cameras_of
from ava_jax.tasks.base import Compile
from ava_jax.viz import sheet

PATHS = ("swing", "circle", "still")


def beside_truth(compile_model: Compile, shot: RenderSelection) -> Iterator[np.ndarray]:
    """The driver as he was, as his avatar shows him and, where another identity is shown, that one's avatar with his expressions.

    Returns:
      An iterator: a picture u8 [H', W', 3] for each of the shot's samples.
    """
    encode, drive, background = compile_model(driving.encode_identity), compile_model(driving.drive), compile_model(driving.background)
    people = [shot.samples[0]] if shot.identity == shot.driver else [shot.samples[0], shot.person]
    first = _batch_of_one(shot.samples[0])  # all are of one camera
    known = [(encode(person), person["identity"], background(person["identity"], first)) for person in map(_batch_of_one, people)]
    captions = ["truth", "self", f"{shot.identity.rpartition('--')[2]}, driven"]
    for sample in shot.samples:
        batch = _batch_of_one(sample)
        row = [sample["image"], *(_to_picture(drive(code, identity, batch, behind)) for code, identity, behind in known)]
        strip = sheet.Strip(f"{shot.driver}, frame {sample['frame']}, camera {shot.camera}", tuple(zip(captions, row, strict=False)))
        yield np.asarray(sheet.compose([strip], columns=1, height=max(sheet.PANEL_HEIGHT, len(sample["image"]))))


def camera_path(name: str, count: int, degrees: float) -> np.ndarray:
    """Angles of a camera on its way around the head; each path loops without a jump.

    Args:
      name: one of PATHS: "swing" goes to either side and back, "circle" once around, "still" stays.
      count: of pictures.
      degrees: how far a swing goes to either side.

    Returns:
      f64 [count], radians, as `driving.orbit` takes them.
    """
    phase = 2 * np.pi * np.arange(count) / count
    return {"swing": np.deg2rad(degrees) * np.sin(phase), "circle": phase, "still": 0 * phase}[name]


def turntable(
    avatar: Avatar, shot: RenderSelection, angles: np.ndarray, *, background: tuple[int, int, int] | None
) -> Iterator[np.ndarray]:
    """The identity's avatar, running through the driver's expressions while the camera moves around it; loops without a jump.

    Args:
      angles: [A], from `camera_path`; 0 is where the shot's camera stands.
      background: 0-255; None leaves it transparent. What training learned behind is of the capture's cameras alone.

    Returns:
      An iterator over A pictures u8, [H, W, 3], or [H, W, 4] where it is transparent.
    """
    height, width = shot.samples[0]["image"].shape[:2]
    cameras = driving.orbit(cameras_of(shot.samples[0]), avatar.middle, angles, height, width)
    person = _batch_of_one(shot.person)
    code = avatar.encode_identity(person["neutral_texture"], person["neutral_vertices"])
    parts = ("texture", "vertices", "neutral_texture", "neutral_vertices")
    codes = np.concatenate([np.asarray(avatar.encode(*(sample[part][None] for part in parts))) for sample in shot.samples])
    codes = blend(codes, len(angles))
    behind = None if background is None else np.array(background, np.float32)
    known = shot.identity if shot.identity in avatar.identities else None
    for i in range(len(angles)):
        camera = Cameras(*(value[i : i + 1] for value in cameras))
        decoded = avatar.decode(code, codes[i : i + 1], camera.position)
        picture = to_uint8(avatar.render(decoded, camera, height, width, identity=known, background=behind))[0]
        yield picture if background is None else picture[..., :3]


def blend(codes: np.ndarray, count: int) -> np.ndarray:
    """`count` codes on the closed path through E codes there and back, linear between neighbours: [E, ...] -> [count, ...]."""
    place = (len(codes) - 1) * (1 - np.abs(1 - 2 * np.arange(count) / count))
    first = np.minimum(place.astype(int), max(len(codes) - 2, 0))
    weight = (place - first).reshape(-1, *[1] * (codes.ndim - 1))
    second = np.minimum(first + 1, len(codes) - 1)
    return ((1 - weight) * codes[first] + weight * codes[second]).astype(codes.dtype)


def _batch_of_one(sample: Batch) -> Batch:
    return {name: np.asarray(value)[None] for name, value in sample.items()}


def _to_picture(rendered: jax.Array) -> np.ndarray:
    """The only picture of [1, H, W, 3], rounded to u8."""
    return np.clip(np.rint(np.asarray(rendered[0])), 0, 255).astype(np.uint8)
