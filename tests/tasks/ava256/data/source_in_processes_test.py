"""Captures read by processes: the same batches as threads read, what cannot be decoded counted here."""

import pickle
import runpy
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest

from ava_jax.core.sampling import Separable
from ava_jax.data import pipeline
from ava_jax.data.process_iterator import ProcessIterator
from ava_jax.tasks.base import load_task

_CONFIGS = Path(__file__).resolve().parents[4] / "configs" / "ava256.py"


@pytest.fixture
def task(tiny_capture, tmp_path):
    config = runpy.run_path(str(_CONFIGS))["get_config"]("tiny")
    config.data.root = str(shutil.copytree(tiny_capture, tmp_path / "captures"))
    config.data.downsample = 64
    config.data.max_unreadable = 1.0
    config.data.held_out.segments = ()
    return load_task(config)


def _damage_an_image(root):
    """One member of a zip, its checksum right, is no picture; returns the camera."""
    path = sorted(Path(root).glob("*/decoder/image/*.zip"))[0]
    with zipfile.ZipFile(path) as file:
        members = {name: file.read(name) for name in file.namelist()}
    members[sorted(members)[0]] = b"no picture"
    with zipfile.ZipFile(path, "w") as file:
        for name, content in members.items():
            file.writestr(name, content)


def test_the_same_batches_as_threads_and_the_same_counts(task):
    _damage_an_image(task.config.data.root)
    assets = task.prepare()
    found = []
    for how in ({"threads": 1}, {"threads": 0, "readers": 2}):
        source = task.source("train", assets)
        iterator = pipeline.iterator(source, task.sampling("train"), seed=1, **how)
        found.append(([next(iterator) for _ in range(20)], iterator.get_state(), source.counts))
        assert isinstance(source, Separable)
    assert isinstance(iterator, ProcessIterator)
    (threads, *rest), (processes, *same) = found
    assert rest == same and rest[1]["unreadable"] == 1
    for one, other in zip(threads, processes):
        assert one.keys() == other.keys()
        for name in one:
            np.testing.assert_array_equal(one[name], other[name], err_msg=name)
            assert one[name].dtype == other[name].dtype


def test_a_part_is_small_and_reads_what_the_whole_reads(task):
    assets = task.prepare()
    source = task.source("train", assets)
    content = pickle.dumps(source.part(4))
    assert len(content) < 100_000
    part = pickle.loads(content)
    index = next(i for i in range(len(source)) if source.has(i))
    for name, value in source[index].items():
        np.testing.assert_array_equal(part.read(index)[name], value)
