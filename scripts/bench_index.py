"""How long a run over a full data set takes to start, and in how much memory.

  python scripts/bench_index.py --capture=CAPTURES/<mcd>--<mct>--<sid> --folder=SCRATCH --captures=256 --frames=10000 --cameras=80

What is simulated: a zip's directory lists every frame (0.1% of the images are missing), but all its entries point at one and the same
member, --capture's first of that kind. The first capture has such zips; the others are links to them, each with a calibration, a frame
list and, in the cache folder, indexes of its own. So everything is read and decoded as it would be; only the disk holds less.

Measured, each in a process of its own: preparing (statistics, topology), the first start, which reads all zips' directories, a start
after that, which reads the kept indexes, all that a run reads up to its first batch (names, statistics, the training split, the splits
held out of it, neutral faces), the camera in front of a face, and samples drawn from the shuffled order of all.
"""

import concurrent.futures
import json
import multiprocessing
import os
import pathlib
import resource
import runpy
import shutil
import struct
import tempfile
import time
import zipfile
import zlib
from collections.abc import Callable

import numpy as np
from absl import app, flags

_CAPTURE = flags.DEFINE_string("capture", None, "A capture to take calibration, mean texture and mean mesh from.", required=True)
_FOLDER = flags.DEFINE_string("folder", None, "Where to write the simulated captures: 60 MB, and 160 KB of index per zip.", required=True)
_CAPTURES = flags.DEFINE_integer("captures", 256, "Captures.")
_FRAMES = flags.DEFINE_integer("frames", 10_000, "Frames each.")
_CAMERAS = flags.DEFINE_integer("cameras", 80, "Cameras each.")
_DRAWN = flags.DEFINE_integer("drawn", 2_000, "Samples drawn.")
_THREADS = flags.DEFINE_integer("threads", 8, "Read threads.")
_OUT = flags.DEFINE_string("out", "", "JSON to write.")

_MISSING = 0.001  # of the images


def main(argv: list[str]) -> None:
    del argv
    folder = pathlib.Path(_FOLDER.value)
    shutil.rmtree(folder, ignore_errors=True)
    write_captures(pathlib.Path(_CAPTURE.value), folder / "captures")
    os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
    samples = _CAPTURES.value * _FRAMES.value * _CAMERAS.value
    report = {"captures": _CAPTURES.value, "frames": _FRAMES.value, "cameras": _CAMERAS.value, "samples": samples}
    stages = {"prepare": prepare, "first start": start, "next start": start, "first batch": first_batch}
    for name, stage in (stages | {"front camera": front_camera, "draw": draw}).items():
        report[name] = in_process(stage)
        print(f"{name:12}", "  ".join(f"{key} {value:,.6g}" for key, value in report[name].items()), flush=True)
    files = [path for path in (folder / "cache").rglob("*") if path.is_file()]
    report["index"] = {"files": len(files), "bytes_per_sample": sum(path.stat().st_size for path in files) / samples}
    print(f"{'index':12}", report["index"])
    if _OUT.value:
        pathlib.Path(_OUT.value).write_text(json.dumps(report, indent=1) + "\n")
    shutil.rmtree(folder)


def write_captures(model: pathlib.Path, root: pathlib.Path) -> None:
    """One capture with zips, and links to it."""
    frames = np.arange(1000, 1000 + 3 * _FRAMES.value, 3)
    cameras, rng = [str(400_000 + i) for i in range(_CAMERAS.value)], np.random.default_rng(0)
    entry = json.loads((model / "decoder" / "camera_calibration.json").read_text())["KRT"][0]
    calibration = json.dumps({"KRT": [{**entry, "cameraId": camera} for camera in cameras]})
    segments = ["EXP_neutral_peak"] * 10 + [f"EXP_{i // 100:03}" for i in range(_FRAMES.value - 10)]
    rows = "seg_id,frame_id\n" + "".join(f"{segment},{frame}\n" for segment, frame in zip(segments, frames, strict=True))
    names = [f"20260101--{i:04}--SIM{i:03}" for i in range(_CAPTURES.value)]
    first = root / names[0] / "decoder"
    for name in ("head_pose/head_pose", "kinematic_tracking/registration_vertices", "uv_image/color"):
        write_zip(first / f"{name}.zip", model / "decoder" / f"{name}.zip", frames)
    for camera in cameras:
        for part in ("image", "segmentation_parts"):
            zip_of_one = model / "decoder" / part / f"cam{entry['cameraId']}.zip"
            write_zip(first / part / f"cam{camera}.zip", zip_of_one, frames[rng.random(len(frames)) >= _MISSING])
    for path in ("uv_image/color_mean.png", *(f"kinematic_tracking/registration_vertices_{x}" for x in ("mean.npy", "variance.txt"))):
        shutil.copyfile(model / "decoder" / path, first / path)
    shutil.copyfile(model.parent / "face_topology.obj", root / "face_topology.obj")
    for name in names:
        decoder = root / name / "decoder"
        decoder.mkdir(parents=True, exist_ok=True)
        (decoder / "camera_calibration.json").write_text(calibration)
        (decoder / "frame_list.csv").write_text(rows)
        if decoder != first:
            for part in ("image", "segmentation_parts", "head_pose", "kinematic_tracking", "uv_image"):
                (decoder / part).symlink_to((first / part).absolute())


def write_zip(path: pathlib.Path, model: pathlib.Path, frames: np.ndarray) -> None:
    """A zip of one member, the first of `model`, that its directory lists under every frame."""
    with zipfile.ZipFile(model) as archive:
        member = archive.infolist()[0]
        content = archive.read(member)
    name, length, crc = pathlib.PurePosixPath(member.filename), len(content), zlib.crc32(content)
    names = [str(name.with_name(f"{frame:06}{name.suffix}")).encode() for frame in frames]
    local = struct.pack("<4s5H3I2H", b"PK\x03\x04", 20, 0, 0, 0, 33, crc, length, length, len(names[0]), 0) + names[0] + content
    entry = struct.pack("<4s6H3I5H2I", b"PK\x01\x02", 20, 20, 0, 0, 0, 33, crc, length, length, len(names[0]), 0, 0, 0, 0, 0, 0)
    entries = b"".join(entry + name for name in names)
    end = struct.pack("<4s4HIIH", b"PK\x05\x06", 0, 0, len(names), len(names), len(entries), len(local), 0)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(local + entries + end)


def in_process(stage: Callable) -> dict[str, float]:
    """Runs a stage in a fresh process: what it returns, its seconds of CPU and its largest memory."""
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_measured, stage, _config()).result()


def _measured(stage: Callable, config) -> dict[str, float]:
    result = stage(config)
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return result | {"cpu_s": usage.ru_utime + usage.ru_stime, "memory_mb": usage.ru_maxrss / 1024}


def _config():
    config = runpy.run_path(str(pathlib.Path(__file__).parents[1] / "configs" / "ava256.py"))["get_config"]()
    config.data.update(root=str(pathlib.Path(_FOLDER.value) / "captures"), read_threads=_THREADS.value)
    config.data.drawn = _DRAWN.value
    config.data.held_out.last_frames = 100
    return config


def prepare(config) -> dict[str, float]:
    from ava_jax.tasks.ava256.data import source

    begin = time.perf_counter()
    source.prepare(source.load_captures(config), config)
    return {"seconds": time.perf_counter() - begin}


def _source(config):
    """The training split, without the statistics, which a resumed run has from its checkpoint."""
    from ava_jax.core.types import Assets
    from ava_jax.tasks.ava256.data import source

    mean = next(pathlib.Path(config.data.root).glob("*/decoder/kinematic_tracking/registration_vertices_mean.npy"))
    arrays = {"vertices_mean": np.load(mean)}
    begin = time.perf_counter()
    captures = source.load_captures(config)
    first = captures.captures[0]
    names = {"cameras": list(first.cameras), "segments": sorted(set(first.segments)), "identities": list(captures.by_name)}
    return source.source(captures, config, source.TRAIN, Assets(arrays, names)), time.perf_counter() - begin


def start(config) -> dict[str, float]:
    samples, seconds = _source(config)
    return {"seconds": seconds, **{name: float(count) for name, count in samples.counts.items()}}


def first_batch(config) -> dict[str, float]:
    """Everything that training reads before its first step, through the task."""
    from ava_jax.data import pipeline
    from ava_jax.tasks.ava256.task import Ava256

    config.train.batch_size = 4
    begin = time.perf_counter()
    task = Ava256(config)
    assets = task.prepare()
    samples = task.source("train", assets)
    held_out = [task.source(split, assets) for split in task.eval_splits(assets)]
    with tempfile.TemporaryDirectory() as folder:
        task.write_references(assets, pathlib.Path(folder))
    next(pipeline.iterator(samples, task.sampling("train"), seed=0, threads=config.data.read_threads))
    return {"seconds": time.perf_counter() - begin, "held_out": float(sum(map(len, held_out)))}


def front_camera(config) -> dict[str, float]:
    """The camera most in front of one person's face."""
    from ava_jax.captures import front
    from ava_jax.tasks.ava256.task import Ava256

    captures = Ava256(config).captures
    begin = time.perf_counter()
    front.front_camera(captures.archives, captures.captures[0], captures.captures[0].cameras)
    return {"seconds": time.perf_counter() - begin}


def draw(config) -> dict[str, float]:
    """Reads the first batches of the order that training has."""
    from ava_jax.core.sampling import Sampling
    from ava_jax.data import pipeline

    samples, _ = _source(config)
    shuffle, threads = config.data.shuffle, config.data.read_threads
    sampling = Sampling(4, per_visit=shuffle.cameras_per_visit, window=shuffle.window)
    batches = pipeline.iterator(samples, sampling, seed=0, threads=threads)
    begin, frames = time.perf_counter(), set()
    for _ in range(config.data.drawn // 4):
        batch = next(batches)
        frames |= set(zip(batch["identity"].tolist(), batch["frame"].tolist(), strict=True))
    seconds = time.perf_counter() - begin
    return {
        "seconds": seconds, "samples_per_second": config.data.drawn / seconds, "frames": len(frames),
        "unreadable": samples.counts["unreadable"], "open_files": len(os.listdir("/proc/self/fd")),
    }  # fmt: skip


if __name__ == "__main__":
    app.run(main)
