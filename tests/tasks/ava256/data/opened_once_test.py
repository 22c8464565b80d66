"""From a task's start to its first batch each of a capture's small files is opened once, and each zip is looked up once."""

import collections
import pathlib
import runpy
import sys

import pytest

from ava_jax.data import pipeline, zip_directory, zip_index
from ava_jax.tasks.ava256.apps import encoding, selection
from ava_jax.tasks.ava256.evaluation import pictures
from ava_jax.tasks.ava256.task import Ava256

REPOSITORY = pathlib.Path(__file__).resolve().parents[4]
SMALL = ("frame_list.csv", "camera_calibration.json")

_opened: list[str] | None = None


def _note(event: str, args: tuple) -> None:
    if event == "open" and _opened is not None and isinstance(args[0], str | pathlib.Path):
        _opened.append(str(args[0]))


sys.addaudithook(_note)  # sees every way to open a file; hooks stay, this one is idle outside the fixture


@pytest.fixture
def opened():
    """Paths of all files that this process opens, in order."""
    global _opened
    _opened = []
    yield _opened
    _opened = None


@pytest.fixture
def config(tiny_capture):
    config = runpy.run_path(str(REPOSITORY / "configs" / "ava256.py"))["get_config"]("tiny")
    config.data.update(root=str(tiny_capture), downsample=128, read_threads=2)
    config.data.held_out.cameras = ("400022",)
    config.train.batch_size = 2
    return config


def run_until_the_first_batch(task, folder) -> None:
    """All that training and evaluation read of captures."""
    assets = task.prepare()
    samples = task.source("train", assets)
    splits = task.eval_splits(assets)
    assert tuple(splits) == ("unseen_frames", "unseen_cameras")
    held_out = [task.source(split, assets) for split in splits]
    task.write_references(assets, folder)
    batch = next(pipeline.iterator(samples, task.sampling("train"), seed=0, threads=2))
    assert batch["image"].shape[0] == 2 and all(source[0] is not None for source in held_out)
    assert pictures._sheet_samples(task.captures, task.config, assets, splits[0])
    driver = task.captures.find("--driver", "SYN002")
    camera = selection.camera(task.captures, assets, driver)
    assert selection.read(task.captures, task.config, assets, driver, [camera], selection.frames(task.config, driver)[:1])
    assert len(encoding.neutral_face(task.captures, task.config, assets, task.captures.captures[0])[0]) == 1


def test_each_frame_list_and_calibration_is_opened_once(config, opened, tmp_path):
    run_until_the_first_batch(Ava256(config), tmp_path)
    counts = collections.Counter(path for path in opened if pathlib.Path(path).name in SMALL)
    assert len(counts) == 2 * len(SMALL) and set(counts.values()) == {1}, counts
    (tmp_path / "again").mkdir()
    run_until_the_first_batch(Ava256(config), tmp_path / "again")
    assert sum(pathlib.Path(path).name in SMALL for path in opened) == 2 * 2 * len(SMALL), (
        "once more for another task, which the count sees"
    )


def test_each_zip_is_looked_up_once(config, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    kept, directories = [], []
    load, read = zip_index.load_bits, zip_directory.read
    monkeypatch.setattr(zip_index, "load_bits", lambda file, *rest: kept.append(file) or load(file, *rest))
    monkeypatch.setattr(zip_directory, "read", lambda path: directories.append(path) or read(path))
    run_until_the_first_batch(Ava256(config), tmp_path)
    assert len(kept) == len(set(kept)) == len(directories) == len(set(directories)) == 2 * (3 + 2 * 3)
