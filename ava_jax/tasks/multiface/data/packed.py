"""A packed copy of a capture: its pictures decoded once, so that a step that takes milliseconds waits for no decoder.

  <out>/packed.json            what it was made of, and how; written last
  <out>/KRT, frame_list.txt, tex_mean.png, ..., tracked_mesh/<segment>/<frame>.obj     the small files, as they are
  <out>/packed/numbers.npy     int32 [N], frames, rising; cameras.json: names, C of them
  <out>/packed/average.npy     u8 [N, S, S, 3], rows turned; vertices.npy f32 [N, V, 3], mm; pose.npy f64 [N, 3, 4], mm
  <out>/packed/texture.npy     u8 [N, C, S, S, 3], rows turned; image.npy u8 [N, C, H, W, 3], where asked for
  <out>/packed/there.npy       u8 [N, 1 + 2 C]: 1 where there is what views share, each camera's texture, its image; done.npy u8 [N]

Arrays are mapped, not read: what is not there takes no room on most file systems. A run is given the folder as any capture's.
"""

import concurrent.futures
import json
import pathlib
import shutil
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import tqdm

from ava_jax.captures.multiface import layout, packed_copy, recording
from ava_jax.captures.multiface.packed_copy import FILE, FOLDER
from ava_jax.captures.multiface.packed_copy import is_one as is_one
from ava_jax.core import amounts
from ava_jax.data import files as writing
from ava_jax.tasks.multiface.data.files import Files, Shared, Unreadable, sizes

_SPARE = 1 << 26  # bytes that stay free


class Report(NamedTuple):
    """What was packed: frames, views with a texture, bytes of arrays, and lines on files that could not be read, which are not in it."""

    frames: int
    views: int
    bytes: int
    unreadable: list[str]


def pack(data: pathlib.Path, out: pathlib.Path, *, image: bool = False, downsample: int = 1, jobs: int = 1) -> Report:
    """Packs a capture; called again, goes on where it was stopped.

    Args:
      data: the capture's folder.
      out: folder to write: new, empty, or one that the same call was at before.
      image: whether photographs are packed too, for the screen loss.
      downsample: of these.
      jobs: threads that decode.

    Raises:
      ValueError: the capture's files are not as they must be, `out` holds something else, or the disk has too little room.
      OSError: the disk fails.
    """
    if is_one(data):
        raise ValueError(f"{data}: is a packed copy; pack the capture as it was released.")
    found = recording.load(data)
    texels, vertices = sizes(data)
    cameras = [camera.name for camera in found.cameras if camera.name in (found.cameras_in(layout.TEXTURES) or {camera.name})]
    if downsample < 1:
        raise ValueError(f"--downsample must be 1 or more; got {downsample}.")
    height, width = (side // downsample for side in layout.SENSOR)
    n, c = len(found.frames), len(cameras)
    shapes: dict[str, tuple[str, tuple[int, ...]]] = {
        "numbers": ("<i4", (n,)),
        "done": ("|u1", (n,)),
        "there": ("|u1", (n, 1 + 2 * c)),
        "average": ("|u1", (n, texels, texels, 3)),
        "vertices": ("<f4", (n, vertices, 3)),
        "pose": ("<f8", (n, 3, 4)),
        "texture": ("|u1", (n, c, texels, texels, 3)),
    }
    if image:
        shapes["image"] = ("|u1", (n, c, height, width, 3))
    plan = {"format": packed_copy.FORMAT, "source": str(data.absolute()), "downsample": downsample if image else 0}
    plan |= {"cameras": cameras, "frames": n}
    _begin(out, plan, shapes)
    arrays = packed_copy.mapped(out, "r+")
    arrays["numbers"][:] = found.table.numbers
    reader = Files(found, texels, vertices, (height, width))
    left = np.flatnonzero(arrays["done"] == 0).tolist()
    unreadable = _lost_before(found, reader, arrays, cameras, image=image)
    with (
        concurrent.futures.ThreadPoolExecutor(jobs) as pool,
        tqdm.tqdm(total=n, initial=n - len(left), desc="multiface pack", unit="frame", dynamic_ncols=True) as bar,
    ):
        try:
            for faults in pool.map(lambda at: _frame(reader, arrays, at, cameras, image=image), left):
                unreadable += faults
                bar.update()
        finally:
            pool.shutdown(cancel_futures=True)
    for array in arrays.values():
        array.flush()
    _copy_small(data, out, found)
    writing.replace(out / FILE, json.dumps(plan, indent=1) + "\n")
    (out / _BEGUN).unlink(missing_ok=True)
    there = arrays["there"]
    total = sum(np.dtype(kind).itemsize * int(np.prod(shape)) for kind, shape in shapes.values())
    return Report(int(there[:, 0].sum()), int(there[:, 1 : 1 + c].sum()), total, unreadable)


_BEGUN = "packing.json"


def _begin(out: pathlib.Path, plan: dict[str, Any], shapes: dict[str, tuple[str, tuple[int, ...]]]) -> None:
    """Makes the folder and empty arrays, unless the same was begun there.

    Raises:
      ValueError: something else is there, or the disk has too little room.
    """
    begun = out / _BEGUN if (out / _BEGUN).is_file() else out / FILE
    if begun.is_file():
        if json.loads(begun.read_text()) != plan:
            raise ValueError(f"{out}: another capture was packed there, or otherwise; take another --out, or remove it first.")
        return
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f"{out}: is there already, and nothing that ava multiface pack wrote; --out must be a new folder.")
    needed = sum(np.dtype(kind).itemsize * int(np.prod(shape)) for kind, shape in shapes.values())
    exists = next(one for one in (out.absolute(), *out.absolute().parents) if one.exists())
    free = shutil.disk_usage(exists).free
    if needed + _SPARE > free:
        raise ValueError(
            f"{out}: {amounts.size(needed)} are needed, and {amounts.size(free)} are free; leave frames or cameras out of a copy of the "
            "capture's lists, or photographs (--noimages)."
        )
    (out / FOLDER).mkdir(parents=True, exist_ok=True)
    for name, (kind, shape) in shapes.items():
        np.lib.format.open_memmap(out / FOLDER / f"{name}.npy", mode="w+", dtype=kind, shape=shape).flush()
    writing.replace(out / _BEGUN, json.dumps(plan, indent=1) + "\n")


def _frame(reader: Files, arrays: dict[str, np.ndarray], at: int, cameras: Sequence[str], *, image: bool) -> list[str]:
    """Packs the frame of a row; lines on what cannot be read."""
    number, faults, there = int(arrays["numbers"][at]), [], np.zeros(arrays["there"].shape[1], np.uint8)

    def take(column: int, read: Any, *targets: np.ndarray) -> None:
        try:
            values = read()
        except Unreadable as e:
            faults.append(str(e))
            return
        for target, value in zip(targets, values if isinstance(values, tuple) else (values,), strict=True):
            target[...] = value
        there[column] = 1

    if reader.there([number])[0]:
        take(0, lambda: tuple(reader.shared(number)), arrays["average"][at], arrays["vertices"][at], arrays["pose"][at])
    for i, camera in enumerate(cameras):
        if reader.there([number], camera, texture=True)[0]:
            take(1 + i, lambda camera=camera: reader.texture(number, camera), arrays["texture"][at, i])
        if image and reader.there([number], camera, image=True)[0]:
            take(1 + len(cameras) + i, lambda camera=camera: reader.image(number, camera), arrays["image"][at, i])
    arrays["there"][at] = there
    arrays["done"][at] = 1
    return faults


def _lost_before(
    found: recording.Recording, reader: Files, arrays: dict[str, np.ndarray], cameras: Sequence[str], *, image: bool
) -> list[str]:
    """Lines on files that an earlier call, which was stopped, found unreadable: they are there, and not in the arrays."""
    rows = np.flatnonzero(arrays["done"])
    numbers = arrays["numbers"][rows].tolist()
    columns = [(0, "", found.texture())]
    columns += [(1 + i, camera, found.texture(camera)) for i, camera in enumerate(cameras)]
    columns += [(1 + len(cameras) + i, camera, found.image(camera)) for i, camera in enumerate(cameras)] if image and numbers else []
    lines = []
    for column, camera, of in columns if numbers else ():
        is_image = column > len(cameras)
        there = reader.there(numbers, camera, texture=bool(camera) and not is_image, image=is_image)
        lost = np.array(numbers)[there & (arrays["there"][rows, column] == 0)]
        lines += [f"{of.path(number)}: could not be read when it was packed" for number in lost.tolist()]
    return lines


def _copy_small(data: pathlib.Path, out: pathlib.Path, found: recording.Recording) -> None:
    """The lists, the statistics, and the OBJ that gives the topology."""
    for name in (layout.KRT, layout.FRAME_LIST, *layout.STATISTICS):
        if (data / name).is_file():
            writing.replace(out / name, (data / name).read_bytes())
    if (obj := found.topology()) is not None:
        (out / obj.relative_to(data)).parent.mkdir(parents=True, exist_ok=True)
        writing.replace(out / obj.relative_to(data), obj.read_bytes())


class Packed:
    """Reads a packed copy, as `files.Reader`. Nothing of the arrays is pickled: another process maps them anew."""

    def __init__(self, folder: pathlib.Path, downsample: int, *, image: bool) -> None:
        """Maps the arrays.

        Args:
          folder: the packed copy.
          downsample: of photographs, as the run asks for them.
          image: whether it does.

        Raises:
          ValueError: a file is missing or damaged, or there are no photographs of that size.
        """
        self._folder = folder
        cameras, packed = packed_copy.read_plan(folder)
        self._cameras = {name: i for i, name in enumerate(cameras)}
        if image and packed != downsample:
            has = f"photographs of --downsample={packed}" if packed else "no photographs"
            raise ValueError(f"{folder}: was packed with {has}; the run needs them of config.data.downsample={downsample}. Pack it anew.")
        self._map()

    def _map(self) -> None:
        self._arrays = packed_copy.mapped(self._folder)
        self._row = {number: i for i, number in enumerate(self._arrays["numbers"].tolist())}

    def __getstate__(self) -> dict[str, Any]:
        return {"_folder": self._folder, "_cameras": self._cameras}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._map()

    def there(self, numbers: Sequence[int], camera: str = "", *, texture: bool = False, image: bool = False) -> np.ndarray:
        """As of `Reader`: bool [len(numbers)]."""
        columns = [0] if not camera else []
        if camera and camera not in self._cameras:
            return np.full(len(numbers), not (texture or image))
        if camera:
            at = self._cameras[camera]
            columns += [1 + at] * texture + [1 + len(self._cameras) + at] * image
        rows = np.array([self._row.get(int(number), -1) for number in numbers], int)
        found = np.asarray(self._arrays["there"])[rows][:, columns].all(1) if len(rows) else np.zeros(0, bool)
        return found & (rows >= 0)

    def shared(self, number: int) -> Shared:
        """Average texture, vertices and head pose."""
        row, arrays = self._row[number], self._arrays
        return Shared(*(np.array(arrays[name][row]) for name in ("average", "vertices", "pose")))

    def texture(self, number: int, camera: str) -> np.ndarray:
        """A camera's texture, u8 [S, S, 3], rows turned."""
        return np.array(self._arrays["texture"][self._row[number], self._cameras[camera]])

    def image(self, number: int, camera: str) -> np.ndarray:
        """A camera's photograph, u8 [H, W, 3]."""
        return np.array(self._arrays["image"][self._row[number], self._cameras[camera]])
