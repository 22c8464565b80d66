"""Writes captures of procedural heads on disk as multiface's, `m--DATE--TIME--ID--GHS/`: the same heads that `ava256_layout` writes.

Photographs, meshes, poses, cameras and frames are those of the other layout, stored as multiface has them; the average texture is the
other layout's where a camera sees the texel, and 0 elsewhere. Faces and UVs are in one OBJ per segment.
"""

import json
import pathlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tqdm

from ava_jax.captures.ava256 import TOPOLOGY
from ava_jax.captures.multiface import layout
from ava_jax.core.mesh import Topology
from ava_jax.data import files, images, mesh_files
from ava_jax.data.workers import Workers
from ava_jax.synth import ava256_layout
from ava_jax.synth.ava256_request import Request
from ava_jax.synth.heads import geometry, layouts, render
from ava_jax.synth.heads.geometry import Expression

REQUEST = "synthesize.json"  # beside the captures: what they were made from
_PNG = {"compress_level": 1}  # a smaller file would take longer than the picture


class _Frame(NamedTuple):
    """A frame to draw, as it travels to a worker."""

    request: Request
    person: int
    expression: Expression
    pose: np.ndarray


class _Drawn(NamedTuple):
    """Files of a frame, encoded: `images`, `textures` by camera; and what statistics are made of.

    `total`, `squares` i64 [T, T, 3]: sums over the cameras that see a texel; `count` i64 [T, T]: how many do; `vertices` f32 [V, 3], mm.
    """

    images: dict[str, bytes]
    textures: dict[str, bytes]
    average: bytes
    vertices: np.ndarray
    total: np.ndarray
    squares: np.ndarray
    count: np.ndarray


def names(request: Request) -> list[str]:
    """The captures' folders."""
    return [f"m--{20260101 + person}--{900 + person:04d}--SYN{person + 1:03d}--GHS" for person in range(request.identities)]


def write(folder: pathlib.Path, request: Request, *, jobs: int, exist_ok: bool = False) -> bool:
    """Writes captures, and `face_topology.obj` beside them, into a new folder: whole, or not at all.

    Args:
      folder: must not exist, or be empty.
      request: what to make.
      jobs: processes that draw.
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


def _write_all(root: pathlib.Path, request: Request, jobs: int) -> None:
    topology = geometry.topology() if not request.topology else layouts.load(request.topology, request.template).topology
    cameras = sum(len(ava256_layout.cameras_of(request, person)) for person in range(request.identities))
    with tqdm.tqdm(total=cameras * request.frames, desc="multiface synthesize", unit="view", dynamic_ncols=True) as bar:
        for person, name in enumerate(names(request)):
            lines, poses = ava256_layout.script(request, person), ava256_layout.head_poses(request, person)
            tasks = [_Frame(request, person, expression, pose) for (_, expression), pose in zip(lines, poses, strict=True)]
            if jobs == 1:
                first = _write_capture(root / name, request, person, map(_draw, tasks), topology, bar)
            else:
                with Workers(jobs) as pool:
                    first = _write_capture(root / name, request, person, pool.map(_draw, tasks), topology, bar)
            if person == 0:
                mesh_files.write_topology(root / TOPOLOGY, topology, first)


def _draw(task: _Frame) -> _Drawn:
    request = task.request
    cameras = ava256_layout.cameras_of(request, task.person)
    identity = ava256_layout.identity(request, task.person)
    head = render.face(identity, task.expression, request.texture_size)
    pictures = {c.name: images.encode(render.picture(head, c, task.pose, request.height)[0], "png", **_PNG) for c in cameras}
    if request.topology:
        layout = layouts.load(request.topology, request.template)
        average = render.texture_in(layout, head, identity, task.expression, cameras, task.pose)
        paint = render.paint_in(layout, request.texture_size, identity, task.expression)
        views, seen = render.views_of_texels(head, cameras, task.pose, layout, paint)
        vertices = layout.vertices(head.vertices)
    else:
        average = render.texture(head, cameras, task.pose)
        views, seen = render.views_of_texels(head, cameras, task.pose)
        vertices = head.vertices
    views = np.where(seen[..., None], views, 0).astype(np.uint8)
    average = np.where(seen.any(0)[..., None], average, 0).astype(np.uint8)
    sums = views.astype(np.int64)
    return _Drawn(
        images=pictures,
        textures={c.name: images.encode(view, "png", **_PNG) for c, view in zip(cameras, views, strict=True)},
        average=images.encode(average, "png", **_PNG),
        vertices=vertices.astype(np.float32),
        total=sums.sum(0),
        squares=np.square(sums).sum(0),
        count=seen.sum(0, dtype=np.int64),
    )


def _write_capture(folder: pathlib.Path, request: Request, person: int, drawn, topology: Topology, bar: tqdm.tqdm) -> np.ndarray:
    """Writes one capture of what `drawn` gives, frame by frame; its first mesh, f32 [V, 3]."""
    folder.mkdir()
    cameras = ava256_layout.cameras_of(request, person)
    segments = [segment for segment, _ in ava256_layout.script(request, person)]
    numbers, poses = ava256_layout.frame_numbers(request, person), ava256_layout.head_poses(request, person)
    (folder / layout.KRT).write_text("".join(_krt(camera) for camera in cameras))
    (folder / layout.FRAME_LIST).write_text("".join(f"{s} {n:06d}\n" for s, n in zip(segments, numbers, strict=True)))
    gap = (cameras[-1].name, numbers[len(numbers) // 2]) if person == 0 else None  # real captures lack one image in a thousand
    meshes, sums = [], []
    for segment, number, pose, frame in zip(segments, numbers, poses, drawn, strict=True):
        name = f"{number:06d}"
        for camera in cameras:
            if (camera.name, number) != gap:
                _put(folder / layout.IMAGES / segment / camera.name / f"{name}.png", frame.images[camera.name])
            _put(folder / layout.TEXTURES / segment / camera.name / f"{name}.png", frame.textures[camera.name])
        _put(folder / layout.TEXTURES / segment / layout.AVERAGE / f"{name}.png", frame.average)
        mesh = folder / layout.MESHES / segment
        _put(mesh / f"{name}.bin", frame.vertices.astype("<f4").tobytes())
        _put(mesh / f"{name}_transform.txt", ("\n".join(" ".join(f"{x:.9e}" for x in row) for row in pose) + "\n").encode())
        if not any(mesh.glob("*.obj")):
            mesh_files.write_topology(mesh / f"{name}.obj", topology, frame.vertices)
        meshes.append(frame.vertices)
        sums = [a + b for a, b in zip(sums, frame[-3:], strict=True)] if sums else list(frame[-3:])
        bar.update(len(cameras))
    _statistics(folder, np.stack(meshes).astype(np.float64), *sums)
    return meshes[0]


def _statistics(folder: pathlib.Path, meshes: np.ndarray, total: np.ndarray, squares: np.ndarray, count: np.ndarray) -> None:
    """Of meshes [N, V, 3], and of textures over all views of the cameras that see a texel."""
    views = np.maximum(count, 1)[..., None]
    mean = total / views
    variance = (squares / views - mean**2)[count > 0].mean()
    (folder / layout.TEXTURE_MEAN).write_bytes(images.encode(np.rint(mean).astype(np.uint8), "png"))
    (folder / layout.TEXTURE_VARIANCE).write_text(f"{variance:.6f}\n")
    (folder / layout.VERTEX_MEAN).write_bytes(meshes.mean(0).astype("<f4").tobytes())
    (folder / layout.VERTEX_VARIANCE).write_text(f"{meshes.var(0).mean():.6f}\n")


def _krt(camera: render.Camera) -> str:
    """A camera's block; K of half the sensor, to which `layout.SENSOR` refers."""
    pinhole = ava256_layout.pinhole(camera)
    (fx, fy), (cx, cy) = (np.asarray(pinhole.focal) / 2).tolist(), (np.asarray(pinhole.principal) / 2).tolist()
    rows: Sequence[Sequence[float]] = [[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0], [0.0] * 5]
    rows = [*rows, *np.column_stack([pinhole.rotation, pinhole.translation]).tolist()]
    return "\n".join([camera.name, *(" ".join(map(repr, row)) for row in rows)]) + "\n\n"


def _put(path: pathlib.Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
