"""Writes motions of a body made from nothing, as folders of OBJ files: what `sequences` reads, without a download.

`MOTION_sbs/obj/00001.obj` is the skin by linear blending, `MOTION_target/obj/00001.obj` what a scan would show, with noise,
`MOTION_joints/obj/00001.obj` the skeleton's 83 joints. The same request gives the same bytes, whatever the number of processes.
"""

import concurrent.futures
import dataclasses
import json
import multiprocessing
import os
import pathlib
import shutil
from typing import Any

import numpy as np
import tqdm

from ava_jax.core import amounts
from ava_jax.data import files, obj_files
from ava_jax.data.workers import Workers
from ava_jax.tasks.mesh_fit.synth import skin, tissue
from ava_jax.tasks.mesh_fit.synth.motions import MOTIONS
from ava_jax.tasks.mesh_fit.synth.skin import Body

REQUEST = "synthesize.json"  # beside the folders: what they were made from
UNSEEN = "dance"  # the motion that examples hold out: some of all others
_BYTES_PER_VERTEX = 136  # of both meshes of a frame


@dataclasses.dataclass(frozen=True)
class Request:
    """What to make.

    Attributes:
      motions: names out of `synth.motions.MOTIONS`.
      frames: of each, 30 per second.
      vertices: of the body, about.
      noise: of each coordinate of the targets, standard deviation, metres.
      seed: of motions, flesh and noise.
    """

    motions: tuple[str, ...] = tuple(MOTIONS)
    frames: int = 60
    vertices: int = 32_731
    noise: float = 0.0005
    seed: int = 0

    def __post_init__(self) -> None:
        least = {"frames": 1, "vertices": skin.LEAST_VERTICES, "noise": 0, "seed": 0}
        for name, value in least.items():
            if getattr(self, name) < value:
                raise ValueError(f"mesh_fit synthesize: --{name} must be {value} or more; got {getattr(self, name)}.")
        unknown = [name for name in self.motions if name not in MOTIONS]
        if unknown or not self.motions or len(set(self.motions)) < len(self.motions):
            raise ValueError(
                f"mesh_fit synthesize: --motions must be some of {', '.join(MOTIONS)}; got {', '.join(self.motions) or 'none'}."
            )

    @property
    def size(self) -> int:
        """Bytes that the files take, about."""
        return len(self.motions) * self.frames * self.vertices * _BYTES_PER_VERTEX


def write(folder: pathlib.Path, request: Request, *, jobs: int, exist_ok: bool = False) -> bool:
    """Writes the motions into a new folder: whole, or not at all.

    Args:
      folder: must not exist, or be empty.
      request: what to make.
      jobs: processes, each at a motion.
      exist_ok: whether motions of the same request may be there already; they are left as they are.

    Returns:
      Whether anything was written.

    Raises:
      ValueError: the folder holds something else.
      OSError: the disk is full, or the folder cannot be written.
    """
    record = json.dumps(dataclasses.asdict(request), indent=1)
    with files.new_folder(folder, REQUEST, record, exist_ok=exist_ok) as partial:
        if partial is not None:
            _require_space(partial, folder, request)
            _write_all(partial, request, jobs)
    return partial is not None


def _require_space(partial: pathlib.Path, folder: pathlib.Path, request: Request) -> None:
    free = shutil.disk_usage(partial).free
    if request.size > free:
        raise ValueError(
            f"{folder}: {amounts.size(request.size)} are needed, and {amounts.size(free)} are free; ask for fewer frames or vertices."
        )


def write_default(folder: pathlib.Path, *, small: bool = False) -> dict[str, Any]:
    """Writes motions for examples or, small, for tests, and returns the config's values that read them, by dotted name."""
    request = Request(motions=("walk", UNSEEN), frames=5, vertices=skin.LEAST_VERTICES) if small else Request()
    write(folder, request, jobs=1 if small else os.cpu_count() or 1, exist_ok=True)
    return {"data.root": str(folder), "data.held_out.sequences": (UNSEEN,)}


def _write_all(root: pathlib.Path, request: Request, jobs: int) -> None:
    body = skin.build(request.vertices)
    written = multiprocessing.get_context("spawn").Value("q", 0)
    with tqdm.tqdm(total=len(request.motions) * request.frames, desc="mesh_fit synthesize", unit="frame", dynamic_ncols=True) as bar:
        if min(jobs, len(request.motions)) == 1:
            for name in request.motions:
                _write_motion(root, request, name, body, bar.update)
            return
        with Workers(jobs, _receive, (written, body)) as pool:
            running = {pool.submit(_work, root, request, name) for name in request.motions}
            while running:
                done, running = concurrent.futures.wait(running, timeout=0.5, return_when=concurrent.futures.FIRST_EXCEPTION)
                for future in done:
                    future.result()
                bar.update(written.value - bar.n)


_worker: dict[str, Any] = {}  # of a process of the pool: what `_receive` was given


def _receive(written: Any, body: Body) -> None:
    _worker.update(written=written, body=body)


def _work(root: pathlib.Path, request: Request, name: str) -> None:
    def count(frames: int) -> None:
        with _worker["written"].get_lock():
            _worker["written"].value += frames

    _write_motion(root, request, name, _worker["body"], count)


def _write_motion(root: pathlib.Path, request: Request, name: str, body: Body, count: Any) -> None:
    """One motion's three folders; `count` is told of each frame."""
    folders = [root / f"{name}_{kind}" / "obj" for kind in ("sbs", "target", "joints")]
    for folder in folders:
        folder.mkdir(parents=True)
    number = list(MOTIONS).index(name)
    for frame, (blended, scan, joints) in enumerate(tissue.scans(body, name, request.frames, request.seed), 1):
        noise = np.random.default_rng([request.seed, 3, number, frame]).normal(size=scan.shape)
        for folder, vertices, faces in zip(
            folders, (blended, scan + request.noise * noise, joints), (body.faces, body.faces, None), strict=True
        ):
            obj_files.write(folder / f"{frame:05d}.obj", vertices, faces)
        count(1)
