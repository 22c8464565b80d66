"""What packing costs, and what reading packed captures saves: many small captures, and few large ones.

  python scripts/bench_pack.py --capture=CAPTURES/NAME --folder=SCRATCH
  python scripts/bench_pack.py --capture=CAPTURES/NAME --folder=SCRATCH --small=32x20 --large=1x1000 --out=bench_pack.json

Sets are made of one capture: COUNTxFRAMES are COUNT captures of so many frames, its own again and again under new numbers. Each is packed
as it is, then the same samples are drawn from zips (whose index is kept) and from shards, in the order of training; once undecoded, which
is the door alone, and once as training decodes them. Times are CPU time of this process, so that other work on the machine hardly counts.
A first start reads every zip's directory and writes the index; a later one reads the index.
"""

import json
import os
import pathlib
import platform
import resource
import shutil
import zipfile

import numpy as np
from absl import app, flags
from ml_collections import ConfigDict

from ava_jax.captures import ava256, capture_set, reading
from ava_jax.captures.packed import index, pack
from ava_jax.captures.packed.plan import Settings
from ava_jax.captures.splits import TRAIN
from ava_jax.core.sampling import Sampling
from ava_jax.core.types import Assets
from ava_jax.data import archive, pipeline
from ava_jax.tasks.ava256.data import source

_CAPTURE = flags.DEFINE_string(
    "capture", None, "Folder of the capture that sets are made of; face_topology.obj is beside it.", required=True
)
_FOLDER = flags.DEFINE_string("folder", None, "Where sets are written; some GB. What an earlier call left is written anew.", required=True)
_SMALL = flags.DEFINE_string("small", "16x20", "The set of many small captures: COUNTxFRAMES.")
_LARGE = flags.DEFINE_string("large", "1x320", "The set of few large ones.")
_SAMPLES = flags.DEFINE_integer("samples", 400, "Drawn from each set.")
_DOWNSAMPLE = flags.DEFINE_integer("downsample", 8, "Of the images.")
_TEXTURE = flags.DEFINE_integer("texture_size", 1024, "Side of the textures.")
_OUT = flags.DEFINE_string("out", "", "JSON to write.")


def main(argv: list[str]) -> None:
    del argv
    folder, rows = pathlib.Path(_FOLDER.value), []
    for name, size in (("many small", _SMALL.value), ("few large", _LARGE.value)):
        count, frames = map(int, size.split("x"))
        root, packed, kept = (folder / f"{name.replace(' ', '_')}_{kind}" for kind in ("zips", "packed", "index"))
        for path in (root, packed, kept):
            shutil.rmtree(path, ignore_errors=True)
        make(root, count, frames)
        row = {"set": name, "captures": count, "frames": frames, **write(root, packed)}
        assets = source.prepare(capture_set.load(str(root)), config())  # statistics and topology: the same work for both
        for kind, data in (("zips", root), ("packed", packed)):
            for start in ("first start", "later start"):
                cpu, samples = timed(lambda data=data, kept=kept, assets=assets: opened(data, kept, assets))
                row[f"{kind}, {start}, CPU s"] = round(cpu, 3)
            row |= {f"{kind}, {key}": value for key, value in read(samples, data, kept).items()}
        rows.append(row)
        print("\n".join(f"{key:40} {value}" for key, value in row.items()), end="\n\n")
    report = {"cores": len(os.sched_getaffinity(0)), "python": platform.python_version(), "load": os.getloadavg()[0], "rows": rows}
    if _OUT.value:
        pathlib.Path(_OUT.value).write_text(json.dumps(report, indent=1) + "\n")


def make(root: pathlib.Path, count: int, frames: int) -> None:
    """A set of `count` captures, the first repeated to `frames` frames, the others linked to its files."""
    given = pathlib.Path(_CAPTURE.value)
    first = root / "20260101--0900--BEN000"
    for path in sorted(given.rglob("*")):
        target = first / path.relative_to(given)
        if path.suffix == ".zip":
            with zipfile.ZipFile(path) as file:
                members = [(pathlib.PurePosixPath(m), file.read(m)) for m in sorted(file.namelist())]
            names = (members[i % len(members)] for i in range(frames))
            archive.write(target, [(str(member.with_stem(f"{i:06d}")), data) for i, (member, data) in enumerate(names)])
        elif path.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
    capture = ava256.load(given)
    rows = [f"{segment},{i}" for i, segment in zip(range(frames), np.resize(capture.segments, frames))]
    (first / "decoder" / "frame_list.csv").write_text("\n".join(["seg_id,frame_id", *rows]) + "\n")
    for number in range(1, count):
        shutil.copytree(first, root / f"20260101--0900--BEN{number:03d}", copy_function=os.link)
    shutil.copyfile(given.parent / ava256.TOPOLOGY, root / ava256.TOPOLOGY)


def write(root: pathlib.Path, packed: pathlib.Path) -> dict[str, float]:
    """Packs a set in this process; rates and files."""
    cpu, found = timed(lambda: pack.pack(str(root), packed, Settings()))
    zips = list(root.rglob("*.zip"))
    size = sum(path.stat().st_size for path in zips)
    return {
        "GB": round(size / 1e9, 3),
        "zips": len(zips),
        "shards": len(list(packed.rglob("*.arrayrecord"))),
        "packed size / zips": round(found.bytes / size, 4),
        "packing, CPU s per GB": round(cpu / (size / 1e9), 2),
        "packing, records per CPU s": round(found.records / cpu),
    }


def opened(root: pathlib.Path, kept: pathlib.Path, assets: Assets) -> source.CaptureSource:
    """The samples to train on, as the start of a run opens them: calibrations and frame lists read, what is there looked up."""
    index._load.cache_clear()
    return source.source(capture_set.load(str(root), index_folder=kept), config(), TRAIN, assets)


def config() -> ConfigDict:
    """Of everything in the set, nothing held out."""
    return ConfigDict(
        {
            "data": {
                "held_out": {"segments": (), "last_frames": 0, "cameras": ()},
                "cameras": (), "read_threads": 1, "downsample": _DOWNSAMPLE.value, "max_unreadable": 1.0,
                "shuffle": {"cameras_per_visit": 4, "window": 16},
            },
            "eval": {"max_samples": 0, "unseen_camera_frames": ()},
            "model": {"texture_size": _TEXTURE.value},
        }
    )  # fmt: skip


def read(samples: source.CaptureSource, root: pathlib.Path, kept: pathlib.Path) -> dict[str, float]:
    """Draws samples in the order of training: files alone, then decoded; rates, and files open at the end."""
    found = capture_set.load(str(root), index_folder=kept)
    before = len(os.listdir("/proc/self/fd"))
    for capture in found:
        reading.availability(found.archives, capture, range(len(capture.cameras)), segmentation=False, threads=1)
    order = pipeline._order(samples, Sampling(4, per_visit=4, window=16), 0, 0, 1, None)[1]
    drawn = [samples._locate(i) for i in (order[p] for p in range(_SAMPLES.value)) if i is not None and samples.has(i)]
    files = [(found.captures[w], int(found.captures[w].frames[f]), found.captures[w].cameras[c]) for w, f, c in drawn]

    def read_files() -> None:
        for capture, frame, camera in files:
            for path in (capture.image(camera), capture.texture, capture.vertices, capture.head_pose):
                found.archives.read(path, frame)

    door, _ = timed(read_files)
    batches = pipeline.iterator(samples, Sampling(4, per_visit=4, window=16), seed=0, threads=1)
    decoded, _ = timed(lambda: [next(batches) for _ in range(_SAMPLES.value // 4)])
    return {
        "samples' files per CPU s": round(len(files) / door),
        "samples decoded per CPU s": round(_SAMPLES.value // 4 * 4 / decoded, 1),
        "open files": len(os.listdir("/proc/self/fd")) - before,
    }


def timed(work) -> tuple[float, object]:
    """(CPU seconds of this process, all threads; what `work` returned)."""
    start = resource.getrusage(resource.RUSAGE_SELF)
    result = work()
    end = resource.getrusage(resource.RUSAGE_SELF)
    return end.ru_utime + end.ru_stime - start.ru_utime - start.ru_stime, result


if __name__ == "__main__":
    app.run(main)
