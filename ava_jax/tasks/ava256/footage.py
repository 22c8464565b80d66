"""Sequences for videos: a segment beside the truth, and a turntable."""

from collections.abc import Iterator

import jax
import numpy as np

from ava_jax.core.types import Array, Assets, Batch, Cameras
from ava_jax.tasks.ava256 import pictures, render
from ava_jax.tasks.ava256.model import cameras_of
from ava_jax.tasks.ava256.request import Shot


def beside_truth(compile: render.Compile, shot: Shot) -> Iterator[np.ndarray]:
    """The driver as he was, as his avatar shows him and, where another identity is shown, that one's avatar with his expressions.

    Returns:
      An iterator: a picture u8 [H', W', 3] for each of the shot's samples.
    """
    encode, drive = compile(render.encode_identity), compile(render.drive)
    people = [shot.samples[0]] if shot.identity == shot.driver else [shot.samples[0], shot.person]
    codes = [(encode(person), person["identity"]) for person in map(_batch_of_one, people)]
    captions = ["truth", "self", f"{shot.identity.rpartition('--')[2]}, driven"]
    for sample in shot.samples:
        batch = _batch_of_one(sample)
        row = [sample["image"], *(_to_picture(drive(code, identity, batch)) for code, identity in codes)]
        strip = pictures.Strip(f"{shot.driver}, frame {sample['frame']}, camera {shot.camera}", tuple(zip(captions, row, strict=False)))
        yield np.asarray(pictures.compose([strip], columns=1, height=max(pictures.PANEL_HEIGHT, len(sample["image"]))))


def turntable(compile: render.Compile, shot: Shot, assets: Assets, *, count: int, degrees: float) -> Iterator[np.ndarray]:
    """The identity's avatar, running through the driver's expressions while the camera swings around it; loops without a jump.

    Args:
      count: pictures.
      degrees: how far the swing goes to either side of the shot's camera; 180 or more: once around instead.

    Returns:
      An iterator over `count` pictures u8 [H, W, 3], without background: no capture has this camera.
    """
    height, width = shot.samples[0]["image"].shape[:2]
    phase = 2 * np.pi * np.arange(count) / count
    angles = phase if degrees >= 180 else np.deg2rad(degrees) * np.sin(phase)
    mesh = assets.arrays["vertices_mean"]
    center = (mesh.min(0) + mesh.max(0)) / 2  # the mean would lie in the face, where most vertices are
    cameras = render.orbit(cameras_of(shot.samples[0]), center, angles, height, width)
    person = _batch_of_one(shot.person)
    code, encode = compile(render.encode_identity)(person), compile(render.encode_expression)
    codes = blend(np.concatenate([np.asarray(encode(_batch_of_one(sample))) for sample in shot.samples]), count)
    show = compile(lambda model, *args: render.show(model, *args, height, width))
    for i in range(count):
        camera = Cameras(*(value[i : i + 1] for value in cameras))
        yield _to_picture(show(code, person["identity"], codes[i : i + 1], camera, np.array([-1], np.int32)))


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
