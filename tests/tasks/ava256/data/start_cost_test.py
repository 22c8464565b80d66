"""What a start from the kept index costs, in counted work: files opened, directories read, textures decoded, per capture."""

import collections
import os
import pathlib
import runpy

import many_captures_test
import pytest
from opened_once_test import opened  # noqa: F401

from ava_jax.captures import statistics
from ava_jax.data import zip_directory, zip_index
from ava_jax.tasks.ava256.task import Ava256

REPOSITORY = pathlib.Path(__file__).resolve().parents[4]
COUNTS = (18, 24, 30)  # captures: so many that no file stays open from one part of the start to the next (64 do)
CAMERAS = 3
ZIPS = 3 + 2 * CAMERAS  # of a capture: mesh, texture, pose; image and segmentation of each camera


def start(root: pathlib.Path, folder: pathlib.Path) -> Ava256:
    """All that a run reads before it draws its first batch."""
    config = runpy.run_path(str(REPOSITORY / "configs" / "ava256.py"))["get_config"]("tiny")
    config.model.expression_components = False  # made of 400 frames at most, whatever the number of captures
    config.data.update(root=str(root), downsample=128, read_threads=2)
    config.data.held_out.cameras = ("400022",)
    task = Ava256(config)
    assets = task.prepare()
    assert len(task.source("train", assets)) and all(len(task.source(split, assets)) for split in task.eval_splits(assets))
    folder.mkdir()
    task.write_references(assets, folder)
    return task


@pytest.fixture
def work(monkeypatch):
    """Names of what was done, as often as it was."""
    done: list[str] = []

    def noting(module, name: str) -> None:
        function = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *args: done.append(name) or function(*args))

    for module, name in ((zip_directory, "read"), (zip_index, "load_bits"), (statistics, "_read_texture")):
        noting(module, name)
    return done


def test_a_later_start_costs_so_much_per_capture_and_no_more(tiny_capture, tmp_path, monkeypatch, work, opened):  # noqa: F811
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    files = []
    for count in COUNTS:
        root = tmp_path / f"captures{count}"
        monkeypatch.setattr(many_captures_test, "CAPTURES", count)
        many_captures_test.linked(tiny_capture, root)
        work.clear()
        start(root, tmp_path / f"first{count}")
        first = collections.Counter(work)
        assert first == {"read": count * ZIPS, "load_bits": count * ZIPS, "_read_texture": count}
        work.clear()
        opened.clear()
        start(root, tmp_path / f"again{count}")
        assert collections.Counter(work) == {"load_bits": count * ZIPS}, "no directory is read, and no mean texture is decoded"
        kinds = collections.Counter(os.path.splitext(path)[1] or "index" for path in opened if path.startswith(str(tmp_path)))
        assert kinds[".json"] == kinds[".csv"] == count and not kinds[".png"] and not kinds[".npy"]
        files.append(sum(kinds.values()))
    a, b, c = files
    assert c - b == b - a, "linear in the number of captures"
    # Calibration, frame list and one index per zip; mesh and pose, and the neutral mesh and texture, each with its entry of the index.
    assert (b - a) / (COUNTS[1] - COUNTS[0]) <= 2 + ZIPS + 2 * 4
