"""Writes captures of procedural heads, on disk as ava-256's (`capture` reads them): for trying everything without a download.

The same request gives the same bytes, whatever the number of processes.
"""

import itertools
import json
import pathlib
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import tqdm
from scipy.spatial.transform import Rotation

from ava_jax.captures import writing
from ava_jax.captures.ava256 import NEUTRAL, TOPOLOGY
from ava_jax.data import files, images, mesh_files
from ava_jax.data.workers import Workers
from ava_jax.synth.ava256_request import Request
from ava_jax.synth.heads import geometry, layouts, render, skin
from ava_jax.synth.heads.geometry import Expression, Identity

REQUEST = "synth.json"  # beside the captures: what they were made from
_NEUTRAL = Expression(smile=0.2)

# Segment -> its expression at full strength. The last segment, of free expressions, is what single-subject work holds out.
_SEGMENTS = {
    "EXP_jaw_open": Expression(jaw=1.0, brow=0.4),
    "EXP_smile_wide": Expression(smile=1.0, jaw=0.16),
    "EXP_brows": Expression(brow=1.0, gaze_y=0.7),
    "EXP_eyes_shut": Expression(blink=1.0, brow=-0.7),
    "EXP_lips_pucker": Expression(pucker=1.0, gaze_x=0.8),
    "EXP_cheeks_puffed": Expression(puff=1.0, gaze_x=-0.8),
}
_FREE = "EXP_free_face"


class _Frame(NamedTuple):
    """A frame to render, as it travels to a worker."""

    request: Request
    person: int
    frame: int
    expression: Expression
    pose: np.ndarray


class _Rendered(NamedTuple):
    """Files of a frame, encoded; `views` by camera: image and segmentation; `head`: the procedural head's vertices, whatever the mesh."""

    views: dict[str, tuple[bytes, bytes]]
    texture: np.ndarray
    texture_file: bytes
    vertices: np.ndarray
    head: np.ndarray


def write(folder: pathlib.Path, request: Request, *, jobs: int, exist_ok: bool = False) -> bool:
    """Writes captures, `face_topology.obj` and `ids.csv` into a new folder: whole, or not at all.

    Args:
      jobs: processes that render.
      exist_ok: whether captures of the same request may be there already; they are left as they are.

    Returns:
      Whether anything was written.

    Raises:
      ValueError: the folder holds something else.
    """
    with files.new_folder(folder, REQUEST, json.dumps(request.record, indent=1), exist_ok=exist_ok) as partial:
        if partial is not None:
            _write_all(partial, request, jobs)
    return partial is not None


def cameras_of(request: Request, person: int) -> list[render.Camera]:
    """The rig's cameras that a person's capture has: one is missing, another one from person to person, but never the frontal one."""
    rig = render.rig(request.cameras, request.seed)
    missing = {1 + (2 * person + 1) % (len(rig) - 1)} if len(rig) > 3 else set()
    return [camera for i, camera in enumerate(rig) if i not in missing]


def identity(request: Request, person: int) -> Identity:
    """Shape and look of a person, drawn anew from the request's seed and the person's number."""
    rng = np.random.default_rng([request.seed, 2, person])
    shape = {name: float(np.clip(rng.standard_normal(), -1.8, 1.8)) * size for name, size in geometry.SHAPE.items()}
    return Identity(seed=16 * (4096 * request.seed + person), shape=shape, look=skin.look(person, rng))


def script(request: Request, person: int) -> list[tuple[str, Expression]]:
    """Segment and expression of each frame: neutral, then segments of one expression each, then free ones."""
    rng = np.random.default_rng([request.seed, 3, person])
    neutral, free = max(1, request.frames // 12), max(1, request.frames // 5)
    middle = request.frames - neutral - free
    lines = [(NEUTRAL, _NEUTRAL)] * neutral
    for (name, full), group in zip(_SEGMENTS.items(), np.array_split(np.arange(middle), len(_SEGMENTS)), strict=True):
        for strength in np.linspace(1.0, 0.35, len(group)):
            lines.append((name, _blend([(full, strength)], rng)))
    for _ in range(free):
        chosen = rng.choice(len(_SEGMENTS), 2, replace=False)
        parts = [(list(_SEGMENTS.values())[i], rng.uniform(0.4, 0.9)) for i in chosen]
        lines.append((_FREE, _blend(parts, rng)))
    return lines


def _blend(parts: list[tuple[Expression, float]], rng: np.random.Generator) -> Expression:
    """A sum of expressions, with the small restlessness of a living face."""
    total = np.array(_NEUTRAL) + sum(strength * np.array(e) for e, strength in parts)
    total += rng.normal(0, 1, len(total)) * np.array([0.03, 0.08, 0.12, 0.0, 0.03, 0.03, 0.25, 0.2])
    low = np.array([0, -0.3, -1, 0, 0, 0, -1, -1.0])
    return Expression(*np.clip(total, low, [1, 1.1, 1.1, 1, 1, 1, 1, 1]).tolist())


def head_poses(request: Request, person: int) -> np.ndarray:
    """Head to world [frames, 3, 4]: slow turns of a few degrees and centimetres; the first frame looks ahead."""
    rng = np.random.default_rng([request.seed, 4, person])
    time = np.arange(request.frames)[:, None] / request.frames
    waves = sum(rng.normal(0, 1, 6) / k * np.sin(2 * np.pi * k * time + rng.uniform(0, 2 * np.pi, 6)) for k in (1, 2, 4))
    waves -= waves[:1]
    turns = Rotation.from_euler("yxz", waves[:, :3] * np.array([5.0, 3.0, 2.0]), degrees=True).as_matrix()
    return np.concatenate([turns, (waves[:, 3:] * np.array([5.0, 4.0, 5.0]))[..., None]], axis=-1)


def _write_all(root: pathlib.Path, request: Request, jobs: int) -> None:
    plain = Identity(seed=0, shape=dict.fromkeys(geometry.SHAPE, 0.0), look={})
    vertices = geometry.shape(plain, _NEUTRAL, np.zeros(len(geometry.topology().uvs)))
    topology = geometry.topology()
    if request.topology:
        layout = layouts.load(request.topology, request.template)
        topology, vertices = layout.topology, layout.vertices(vertices)
    mesh_files.write_topology(root / TOPOLOGY, topology, vertices)
    names = [(f"{20260101 + person}", f"{900 + person:04d}", f"SYN{person + 1:03d}") for person in range(request.identities)]
    (root / "ids.csv").write_text("".join(f"{row}\n" for row in ["mcd,sid,mct", *(f"{mcd},{sid},{mct}" for mcd, mct, sid in names)]))
    frames = [
        _Frame(request, person, number, expression, pose)
        for person in range(request.identities)
        for number, (_, expression), pose in zip(
            frame_numbers(request, person), script(request, person), head_poses(request, person), strict=True
        )
    ]
    with _progress(request) as progress:
        rendered = _render_all(frames, jobs)
        for person, (mcd, mct, sid) in enumerate(names):
            mine = []
            for frame in itertools.islice(rendered, request.frames):
                mine.append(frame)
                progress.update(len(frame.views))
            poses = [frame.pose for frame in frames if frame.person == person]
            _write_capture(root / f"{mcd}--{mct}--{sid}" / "decoder", request, person, mine, poses)


def frame_numbers(request: Request, person: int) -> list[int]:
    """Frame ids: every third of a recording, as when a quarter of the frames is published."""
    return [1000 * (person + 1) + 3 * i for i in range(request.frames)]


def _progress(request: Request) -> tqdm.tqdm:
    total = sum(len(cameras_of(request, person)) for person in range(request.identities)) * request.frames
    return tqdm.tqdm(total=total, desc="ava-synth", unit="image", dynamic_ncols=True)


def _render_all(frames: list[_Frame], jobs: int) -> Iterator[_Rendered]:
    """Frames in order, however many processes work at them."""
    if jobs == 1:
        yield from map(_render, frames)
        return
    with Workers(jobs) as pool:
        yield from pool.map(_render, frames)


def _render(task: _Frame) -> _Rendered:
    request = task.request
    cameras = cameras_of(request, task.person)
    head = render.face(identity(request, task.person), task.expression, request.texture_size)
    views = {}
    for camera in cameras:
        image, labels = render.picture(head, camera, task.pose, request.height)
        views[camera.name] = images.encode(image, "avif", **writing.AVIF), images.encode(labels, "png")
    if request.topology:
        layout = layouts.load(request.topology, request.template)
        texture = render.texture_in(layout, head, identity(request, task.person), task.expression, cameras, task.pose)
        vertices = layout.vertices(head.vertices)
    else:
        texture, vertices = render.texture(head, cameras, task.pose), head.vertices
    file = images.encode(texture, "avif", **writing.AVIF)
    return _Rendered(views, texture, file, vertices.astype(np.float32), head.vertices.astype(np.float32))


def _write_capture(decoder: pathlib.Path, request: Request, person: int, frames: list[_Rendered], poses: list[np.ndarray]) -> None:
    cameras = cameras_of(request, person)
    numbers = frame_numbers(request, person)
    for at, camera in enumerate(cameras):
        pictures = [(n, f.views[camera.name][0]) for n, f in zip(numbers, frames, strict=True)]
        if person == 0 and at == len(cameras) - 1:
            del pictures[len(pictures) // 2]  # real captures lack one image in a thousand of those that they list
        writing.pictures(decoder, camera.name, pictures)
        writing.segmentations(decoder, camera.name, [(n, f.views[camera.name][1]) for n, f in zip(numbers, frames, strict=True)])
    writing.calibration(decoder, [pinhole(camera) for camera in cameras])
    writing.frame_list(decoder, ((segment, n) for (segment, _), n in zip(script(request, person), numbers, strict=True)))
    writing.poses(decoder, zip(numbers, poses, strict=True))
    writing.vertices(decoder, ((n, f.vertices) for n, f in zip(numbers, frames, strict=True)))
    writing.textures(decoder, ((n, f.texture_file, f.texture) for n, f in zip(numbers, frames, strict=True)))
    writing.keypoints(decoder, ((n, _keypoints(f.head, pose)) for n, f, pose in zip(numbers, frames, poses, strict=True)))


def pinhole(camera: render.Camera) -> writing.Pinhole:
    """A camera of the rig as a capture has it."""
    return writing.Pinhole(camera.name, camera.focal, camera.principal, camera.rotation, -camera.rotation @ camera.position)


def _keypoints(vertices: np.ndarray, pose: np.ndarray) -> np.ndarray:
    """f32 [100, 6]: index, x, y, z (world, mm), sum of confidences, inliers, of vertices spread over the face."""
    grid = np.linspace(0, geometry.CELLS, 12).round().astype(int)[1:-1]
    chosen = vertices.reshape(geometry.CELLS + 1, geometry.CELLS + 1, 3)[np.ix_(grid, grid)].reshape(-1, 3)
    world = chosen @ pose[:, :3].T + pose[:, 3]
    count = np.full((len(world), 1), 10.0)
    return np.concatenate([np.arange(len(world))[:, None], world, 0.9 * count, count], axis=1).astype(np.float32)
