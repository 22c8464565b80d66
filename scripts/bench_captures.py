"""How fast samples come from a full data set beside what decoding alone costs, how long it takes to start, and in how much memory.

  python scripts/bench_captures.py --capture=CAPTURES/<mcd>--<mct>--<sid> --folder=SCRATCH
  python scripts/bench_captures.py --capture=CAPTURES/<mcd>--<mct>--<sid> --folder=SCRATCH --frames=10000 --stages=start

What is simulated: a zip's directory lists every frame (0.1% of the images are missing), but its entries point at the same few members in
turn, the first ones of --capture, of which images are encoded again where files of another size are asked for. The first capture has such
zips; the others are hard links to them, each with a calibration, a frame list and, in the cache folder, indexes of its own. So everything
is read and decoded as it would be; only the disk holds less.

Measured, each in a process of its own:

  start   preparing (statistics, topology), the first start, which reads all zips' directories, a start after that, which reads the kept
          indexes, all that a run reads up to its first batch (names, statistics, the training split, the splits held out of it, neutral
          faces), the same once more, when statistics and all indexes are kept, and the camera in front of a face
  read    batches of the shuffled order of training, in CPU time, and decoding alone of the pictures that were read for them, image and
          texture, in turns: `ratio` is decoding alone over all. --sizes gives what files are of and what they are read at: 4:8 reads files
          of 1024 x 667 at 512 x 333. The best of --rounds counts, as other work on the machine only ever adds.
  flat    batches from one capture and from all of them in turns, in one process: the median over --rounds of what a sample of all costs
          over what one of a single capture costs, with the pictures and the bytes that were decoded per sample of either, which must be
          the same for the two to be compared
"""

import concurrent.futures
import functools
import io
import itertools
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
from PIL import Image

_CAPTURE = flags.DEFINE_string("capture", None, "A capture to take calibration, mean texture and mean mesh from.", required=True)
_FOLDER = flags.DEFINE_string("folder", None, "Where to write the simulated captures: 60 MB, and 160 KB of index per zip.", required=True)
_CAPTURES = flags.DEFINE_integer("captures", 256, "Captures.")
_FRAMES = flags.DEFINE_integer("frames", 5_000, "Frames each.")
_CAMERAS = flags.DEFINE_integer("cameras", 80, "Cameras each.")
_STAGES = flags.DEFINE_list("stages", ["start", "read"], "What to measure.")
_SIZES = flags.DEFINE_list("sizes", ["2:2", "4:4", "4:8", "8:8"], "FILES:READ, the sensor's side over these.")
_COUNTS = flags.DEFINE_list("counts", ["1", "16", "256"], "Captures to read from, one measurement each.")
_ROUNDS = flags.DEFINE_integer("rounds", 6, "Of each measurement of reading.")
_BATCHES = flags.DEFINE_integer("batches", 24, "Of a round.")
_THREADS = flags.DEFINE_integer("threads", 8, "That read zips' directories.")
_OUT = flags.DEFINE_string("out", "", "JSON to write.")

_MISSING = 0.001  # of the images
_MEMBERS = 6  # different ones in a zip
_BATCH = 4


def main(argv: list[str]) -> None:
    del argv
    folder = pathlib.Path(_FOLDER.value)
    shutil.rmtree(folder, ignore_errors=True)
    os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
    samples = _CAPTURES.value * _FRAMES.value * _CAMERAS.value
    report = {"captures": _CAPTURES.value, "frames": _FRAMES.value, "cameras": _CAMERAS.value, "samples": samples}
    for size in dict.fromkeys(files for files, _ in sizes()):
        write_captures(pathlib.Path(_CAPTURE.value), folder / f"captures_{size}", size)
    if "start" in _STAGES.value:
        stages = {"prepare": prepare, "first start": start, "next start": start, "first batch": first_batch}
        stages |= {"next first batch": first_batch, "front camera": front_camera}
        for name, stage in stages.items():
            report[name] = in_process(stage, _config(sizes()[0][0], sizes()[0][1]))
            print(f"{name:16}", "  ".join(f"{key} {value:,.6g}" for key, value in report[name].items()), flush=True)
        files = [path for path in (folder / "cache").rglob("*") if path.is_file()]
        report["index"] = {"files": len(files), "bytes_per_sample": sum(path.stat().st_size for path in files) / samples}
        print(f"{'index':16}", report["index"])
    if "read" in _STAGES.value:
        report["read"] = []
        for (files, read), count in itertools.product(sizes(), map(int, _COUNTS.value)):
            config = of_captures(_config(files, read), count)
            report["read"].append({"files": files, "read": read, "captures": count, **in_process(read_batches, config)})
            print("  ".join(f"{key} {value:,.4g}" for key, value in report["read"][-1].items()), flush=True)
    if "flat" in _STAGES.value:
        report["flat"] = []
        for files, read in sizes():
            config = _config(files, read)
            config.data.one = of_captures(_config(files, read), 1).data.ids
            report["flat"].append({"files": files, "read": read, **in_process(flat, config)})
            print("flat  ", "  ".join(f"{key} {value:,.4g}" for key, value in report["flat"][-1].items()), flush=True)
    if _OUT.value:
        pathlib.Path(_OUT.value).write_text(json.dumps(report, indent=1) + "\n")
    shutil.rmtree(folder)


def sizes() -> list[tuple[int, int]]:
    return [tuple(map(int, pair.split(":"))) for pair in _SIZES.value]


def captures_names() -> list[str]:
    return [f"20260101--{i:04}--SIM{i:03}" for i in range(_CAPTURES.value)]


def of_captures(config, count: int):
    """The config, for the first so many captures."""
    names = captures_names()[:count]
    path = pathlib.Path(config.data.root).with_name(f"{count}.csv")
    path.write_text("mcd,mct,sid\n" + "".join(",".join(name.split("--")) + "\n" for name in names))
    config.data.ids = str(path)
    return config


def write_captures(model: pathlib.Path, root: pathlib.Path, downsample: int) -> None:
    """One capture with zips, images of the sensor's side over `downsample`, and links to it."""
    frames = np.arange(1000, 1000 + 3 * _FRAMES.value, 3)
    cameras, rng = [str(400_000 + i) for i in range(_CAMERAS.value)], np.random.default_rng(0)
    entry = json.loads((model / "decoder" / "camera_calibration.json").read_text())["KRT"][0]
    calibration = json.dumps({"KRT": [{**entry, "cameraId": camera} for camera in cameras]})
    segments = ["EXP_neutral_peak"] * 10 + [f"EXP_{i // 100:03}" for i in range(_FRAMES.value - 10)]
    rows = "seg_id,frame_id\n" + "".join(f"{segment},{frame}\n" for segment, frame in zip(segments, frames, strict=True))
    names = captures_names()
    first = root / names[0] / "decoder"
    for name in ("head_pose/head_pose", "kinematic_tracking/registration_vertices", "uv_image/color"):
        write_zip(first / f"{name}.zip", model / "decoder" / f"{name}.zip", frames)
    for camera in cameras:
        for part in ("image", "segmentation_parts"):
            zip_of_one = model / "decoder" / part / f"cam{entry['cameraId']}.zip"
            write_zip(first / part / f"cam{camera}.zip", zip_of_one, frames[rng.random(len(frames)) >= _MISSING], downsample)
    for path in ("uv_image/color_mean.png", *(f"kinematic_tracking/registration_vertices_{x}" for x in ("mean.npy", "variance.txt"))):
        shutil.copyfile(model / "decoder" / path, first / path)
    shutil.copyfile(model.parent / "face_topology.obj", root / "face_topology.obj")
    for name in names:
        decoder = root / name / "decoder"
        decoder.mkdir(parents=True, exist_ok=True)
        (decoder / "camera_calibration.json").write_text(calibration)
        (decoder / "frame_list.csv").write_text(rows)
        if decoder != first:
            for file in (path for path in first.rglob("*") if path.is_file() and path.parent != first):
                (decoder / file.relative_to(first)).parent.mkdir(parents=True, exist_ok=True)
                os.link(file, decoder / file.relative_to(first))


def write_zip(path: pathlib.Path, model: pathlib.Path, frames: np.ndarray, downsample: int = 0) -> None:
    """A zip of a few members, the first of `model`, that its directory lists under all frames in turn; images at `downsample`."""
    with zipfile.ZipFile(model) as archive:
        members = [member for member in archive.infolist() if not member.is_dir()][:_MEMBERS]
        contents = [resized(archive.read(member), downsample) for member in members]
    name = pathlib.PurePosixPath(members[0].filename)
    names = [str(name.with_name(f"{frame:06}{name.suffix}")).encode() for frame in frames]
    local, headers = b"", []
    for content in contents:
        crc, length, at = zlib.crc32(content), len(content), len(local)
        local += struct.pack("<4s5H3I2H", b"PK\x03\x04", 20, 0, 0, 0, 33, crc, length, length, len(names[0]), 0) + names[0] + content
        headers.append(
            struct.pack("<4s6H3I5H2I", b"PK\x01\x02", 20, 20, 0, 0, 0, 33, crc, length, length, len(names[0]), 0, 0, 0, 0, 0, at)
        )
    entries = b"".join(header + name for header, name in zip(itertools.cycle(headers), names))
    end = struct.pack("<4s4HIIH", b"PK\x05\x06", 0, 0, len(names), len(names), len(entries), len(local), 0)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(local + entries + end)


@functools.cache
def resized(content: bytes, downsample: int) -> bytes:
    """An image file at another size, as the same kind of file; others, and those of that size, as they are."""
    if not downsample:
        return content
    picture = Image.open(io.BytesIO(content))
    size = 2668 // downsample, 4096 // downsample
    if picture.size == size:
        return content
    filtered = picture.resize(size, Image.Resampling.BICUBIC if picture.format == "AVIF" else Image.Resampling.NEAREST)
    buffer = io.BytesIO()
    filtered.save(buffer, picture.format, **({"speed": 8} if picture.format == "AVIF" else {}))
    return buffer.getvalue()


def in_process(stage: Callable, config) -> dict[str, float]:
    """Runs a stage in a fresh process: what it returns, its seconds of CPU and its largest memory."""
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_measured, stage, config).result()


def _measured(stage: Callable, config) -> dict[str, float]:
    result = stage(config)
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return result | {"cpu_s": usage.ru_utime + usage.ru_stime, "memory_mb": usage.ru_maxrss / 1024}


def _config(files: int, read: int):
    config = runpy.run_path(str(pathlib.Path(__file__).parents[1] / "configs" / "ava256.py"))["get_config"]()
    config.data.update(root=str(pathlib.Path(_FOLDER.value) / f"captures_{files}"), downsample=read, read_threads=_THREADS.value)
    config.data.batches, config.data.rounds = _BATCHES.value, _ROUNDS.value
    config.data.held_out.update(segments=(), last_frames=100)
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


def noted_pictures() -> list[bytes]:
    """The bytes of each picture that this process reads from now on."""
    from ava_jax.data.archive import Archives

    pictures: list[bytes] = []
    read = Archives.read

    def noting(self, path, number):
        content = read(self, path, number)
        if content is not None and content[4:12] == b"ftypavif":
            pictures.append(content)
        return content

    Archives.read = noting
    return pictures


def batches(config) -> Callable[[], None]:
    """What reads a batch in the order that training has; all that only first batches cost was read before."""
    from ava_jax.core.sampling import Sampling
    from ava_jax.data import pipeline, shared_rows

    source, _ = _source(config)
    shuffle, samples = config.data.shuffle, source.part(1)  # as a process that reads for training has it
    sampling = Sampling(_BATCH, per_visit=shuffle.cameras_per_visit, window=shuffle.window)
    drawn = pipeline.index_iterator(source, sampling, readable=_Every(source), seed=0)
    rows = {
        name: np.empty((_BATCH, *np.shape(value)), np.asarray(value).dtype) for name, value in samples.read(int(next(drawn)[0])).items()
    }

    def batch() -> None:
        for row, index in enumerate(next(drawn).tolist()):
            shared_rows.write(rows, row, samples.read(index))

    for i in range(len(source._captures)):  # neutral faces
        samples.read(next(index for index in itertools.count(source._starts[i]) if source.has(index)))
    for _ in range(shuffle.cameras_per_visit**2 * shuffle.window // _BATCH):  # the first visits have no second view yet
        batch()
    return batch


def flat(config) -> dict[str, float]:
    """A sample of all captures beside one of a single capture."""
    pictures, rounds, alone = noted_pictures(), [], config.copy_and_resolve_references()
    alone.data.ids = config.data.one
    kinds = {"one": batches(alone), "all": batches(config)}
    amounts = dict.fromkeys(kinds, (0, 0))
    for number in range(config.data.rounds):
        seconds = dict.fromkeys(kinds, 0.0)
        for turn in range(config.data.batches):
            for kind in sorted(kinds, reverse=(number + turn) % 2 == 1):  # each goes first as often as the other
                pictures.clear()
                begin = time.process_time()
                kinds[kind]()
                seconds[kind] += time.process_time() - begin
                amounts[kind] = (amounts[kind][0] + len(pictures), amounts[kind][1] + sum(map(len, pictures)))
        rounds.append((seconds["all"] / seconds["one"], *(1e3 * seconds[kind] / (config.data.batches * _BATCH) for kind in kinds)))
    ratios, one, every = np.array(rounds).T
    count = config.data.rounds * config.data.batches * _BATCH
    found = {f"{name}_{kind}": amounts[kind][i] / count for kind in kinds for i, name in enumerate(("pictures", "bytes"))}
    low, middle, high = np.percentile(ratios, (25, 50, 75))
    return {"all_over_one": middle, "quartile_1": low, "quartile_3": high, "ms_one": np.median(one), "ms_all": np.median(every), **found}


def read_batches(config) -> dict[str, float]:
    """Batches, and decoding alone of the same pictures, in turns."""
    pictures, batch = noted_pictures(), batches(config)
    both = []
    for _ in range(config.data.rounds):
        pictures.clear()
        begin = time.process_time()
        for _ in range(config.data.batches):
            batch()
        middle = time.process_time()
        for content in pictures:
            Image.open(io.BytesIO(content), formats=("AVIF",))._decoder.get_frame(0)
        both.append((middle - begin, time.process_time() - middle))
    count = config.data.batches * _BATCH
    whole, decoding = (1e3 * min(column) / count for column in zip(*both, strict=True))
    return {
        "samples_per_cpu_second": 1e3 / whole, "cpu_ms": whole, "decoding_ms": decoding, "ratio": decoding / whole,
        "pictures": len(pictures) / count, "open_files": len(os.listdir("/proc/self/fd")),
    }  # fmt: skip


class _Every:
    """Which of a source's samples are there, as an array of bools is asked, without one of 10^8."""

    def __init__(self, source) -> None:
        self._source = source

    def any(self) -> bool:
        return True

    def __getitem__(self, indices: np.ndarray) -> np.ndarray:
        return np.array([index >= 0 and self._source.has(int(index)) for index in indices], bool)


if __name__ == "__main__":
    app.run(main)
