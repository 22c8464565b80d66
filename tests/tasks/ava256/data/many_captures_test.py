"""Many captures, hard links to one: what is held does not grow with what is read."""

import os
import pathlib
import runpy

from ava_jax.captures import reading
from ava_jax.data import pipeline
from ava_jax.tasks.base import load_task

REPOSITORY = pathlib.Path(__file__).resolve().parents[4]
CAPTURES, OPEN, THREADS = 32, 64, 2  # OPEN: the bound that docs/design/loader.md states


def linked(model: pathlib.Path, root: pathlib.Path) -> None:
    """Captures that are links to the first of `model`, and the topology."""
    first = sorted(model.glob("*--*--*"))[0]
    for i in range(CAPTURES):
        for file in (path for path in first.rglob("*") if path.is_file()):
            link = root / f"20260101--{i:04}--MANY{i:02}" / file.relative_to(first)
            link.parent.mkdir(parents=True, exist_ok=True)
            os.link(file, link)
    os.link(model / "face_topology.obj", root / "face_topology.obj")


def test_open_files_and_memory_stay_within_their_bounds(tiny_capture, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    linked(tiny_capture, tmp_path / "captures")
    config = runpy.run_path(str(REPOSITORY / "configs" / "ava256.py"))["get_config"]("tiny")
    config.data.update(root=str(tmp_path / "captures"), downsample=128, read_threads=THREADS)
    config.data.held_out.segments = ()
    config.train.batch_size = 4
    task = load_task(config)
    source = task.source("train", task.prepare())
    face = source[next(i for i in range(len(source)) if source.has(i))]
    monkeypatch.setattr(reading, "_NEUTRAL_BYTES", 5 * (face["neutral_texture"].nbytes + face["neutral_vertices"].nbytes))
    source._reader._keep(1)
    before = len(os.listdir("/proc/self/fd")) - len(task.captures.archives._files)
    iterator = pipeline.iterator(source, task.sampling("train"), seed=0, threads=THREADS)
    drawn, most_open, most_frames, most_faces = set(), 0, 0, 0
    for _ in range(100):
        drawn |= set(next(iterator)["identity"].tolist())
        most_open = max(most_open, len(os.listdir("/proc/self/fd")) - before)
        most_frames, most_faces = max(most_frames, source._reader._frames.held), max(most_faces, source._reader._neutrals.held)
    shuffle = config.data.shuffle
    assert len(drawn) == CAPTURES and OPEN / 2 < most_open <= OPEN + THREADS
    assert most_frames <= shuffle.cameras_per_visit * (shuffle.window + 1) + THREADS + 1
    assert 0 < most_faces <= reading._NEUTRAL_BYTES
    bits = sum(of.bits.nbytes for of in task.captures.archives._indexed.values()) + sum(bits.nbytes for bits in source._availability_bits)
    assert bits <= len(task.captures.archives._indexed) * 8 + len(source)  # a bit a sample, and whole bytes
