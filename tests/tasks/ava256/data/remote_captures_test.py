"""Captures on a server: the batches of those here, whatever the connection does, in a cache within its bound."""

import os
import pathlib
import runpy
import subprocess
import sys

import numpy as np
import pytest
import range_server
from range_server import RangeServer

from ava_jax.core.sampling import UnreadableData
from ava_jax.data import files, pipeline
from ava_jax.tasks.base import load_task

REPOSITORY = pathlib.Path(__file__).resolve().parents[4]


@pytest.fixture
def server(tiny_capture, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with RangeServer(tiny_capture) as served:
        yield served


@pytest.fixture
def ids(tiny_capture, tmp_path):
    rows = [dict(zip(("mcd", "mct", "sid"), path.name.split("--"))) for path in sorted(tiny_capture.glob("*--*--*"))]
    file = tmp_path / "ids.csv"
    file.write_text("mcd,sid,mct\n" + "".join(f"{row['mcd']},{row['sid']},{row['mct']}\n" for row in rows))
    return str(file)


def task_of(root, ids="", **data):
    config = runpy.run_path(str(REPOSITORY / "configs" / "ava256.py"))["get_config"]("tiny")
    config.data.update(root=str(root), ids=ids, downsample=64, read_threads=4, remote_retry_s=5.0, **data)
    config.data.held_out.segments = ()
    config.train.batch_size = 2
    return load_task(config)


def batches(task, count=20, **how):
    source = task.source("train", task.prepare())
    iterator = pipeline.iterator(source, task.sampling("train"), seed=1, **(how or {"threads": 2}))
    return [next(iterator) for _ in range(count)], iterator.get_state()


def assert_equal(one, other):
    assert len(one) == len(other)
    for a, b in zip(one, other):
        assert a.keys() == b.keys()
        for name in a:
            np.testing.assert_array_equal(a[name], b[name], err_msg=name)


def test_the_same_batches_as_from_files_here(server, ids, tiny_capture):
    here, state = batches(task_of(tiny_capture))
    for how in ({"threads": 2}, {"threads": 0, "readers": 2}):
        found, same = batches(task_of(server.url, ids), **how)
        assert_equal(found, here)
        assert same == state
    server.listing = True
    assert_equal(batches(task_of(server.url))[0], here)
    assert_equal(batches(task_of(f"file://{tiny_capture}"))[0], here)


def test_a_second_run_fetches_nothing(server, ids):
    batches(task_of(server.url, ids))
    fetched = server.sent
    batches(task_of(server.url, ids))
    assert fetched > 0 and server.sent == fetched


def test_the_cache_keeps_its_bound_in_a_run(server, ids, tiny_capture):
    bound = 1 << 20
    found, _ = batches(task_of(server.url, ids, remote_cache_gib=bound / (1 << 30)), count=40)
    kept = [path for path in (files.cache_folder() / "remote").glob("??/*")]
    assert 0 < sum(path.stat().st_blocks * 512 for path in kept) <= bound
    assert_equal(found, batches(task_of(tiny_capture), count=40)[0])


@pytest.mark.parametrize("how", [{"threads": 2}, {"threads": 0, "readers": 2}])
def test_a_connection_that_drops_costs_no_sample(server, ids, tiny_capture, how):
    here, _ = batches(task_of(tiny_capture))
    rng = np.random.default_rng(0)
    faults = (range_server.DROP, range_server.TRUNCATE, range_server.BUSY, range_server.CORRUPT)
    task = task_of(server.url, ids, remote_cache_gib=0.0)
    source = task.source("train", task.prepare())
    server.fault = lambda method, path: faults[rng.integers(4)] if method == "GET" and rng.random() < 0.1 else None
    iterator = pipeline.iterator(source, task.sampling("train"), seed=1, **how)
    assert_equal([next(iterator) for _ in range(20)], here)
    assert source.counts["unreadable"] == 0


def test_a_run_goes_on_from_the_server_where_it_was(server, ids):
    whole, _ = batches(task_of(server.url, ids), count=12)
    _, state = batches(task_of(server.url, ids), count=5)
    task = task_of(server.url, ids)
    iterator = pipeline.iterator(task.source("train", task.prepare()), task.sampling("train"), seed=1, threads=2)
    iterator.set_state(state)
    assert_equal([next(iterator) for _ in range(7)], whole[5:])


def test_a_server_that_is_gone_for_good_is_counted_and_then_ends_the_run(server, ids):
    task = task_of(server.url, ids, remote_cache_gib=0.0, max_unreadable=0.2)
    task.config.data.remote_retry_s = 0.1
    source = task.source("train", task.prepare())
    index = next(i for i in range(len(source)) if source.has(i))
    server.fault = lambda method, path: range_server.DROP
    assert source[index] is None and source.counts["unreadable"] == 1
    source._faults._ENOUGH = 3
    with pytest.raises(UnreadableData, match="no answer in"):
        for _ in range(5):
            source[index]


def test_what_is_missing_is_named(server, ids, tmp_path):
    with pytest.raises(ValueError, match=r"does not list the folder; config\.data\.ids=FILE"):
        task_of(server.url).prepare()
    server.listing = True
    with pytest.raises(ValueError, match="no capture is listed there"):
        task_of(f"{server.url}/{next(server.folder.glob('*--*--*')).name}").prepare()
    (tmp_path / "other.csv").write_text("mcd,sid,mct\n20250101,NOBODY,0900\n")
    with pytest.raises(ValueError, match="20250101--0900--NOBODY: no capture there"):
        task_of(server.url, str(tmp_path / "other.csv")).prepare()
    server.fault = lambda method, path: 401
    with pytest.raises(ValueError, match="no permission"):
        task_of(server.url, ids).prepare()


def test_a_run_keeps_the_url_as_it_was_given(server, ids, tmp_path):
    from ava_jax.train import config as configs

    task = task_of(server.url, "ids.csv")
    configs.make_absolute(task.config, task.paths, tmp_path)
    assert task.config.data.root == server.url and task.config.data.ids == str(tmp_path / "ids.csv")


@pytest.mark.slow
def test_the_command_trains_from_a_server(server, ids, tmp_path, compiling_quickly):
    command = [
        sys.executable,
        "-m",
        "ava_jax.bin.train",
        f"--config={REPOSITORY / 'configs' / 'ava256.py'}:tiny",
        f"--workdir={tmp_path / 'run'}",
    ]
    options = {
        "data.root": server.url,
        "data.ids": ids,
        "data.downsample": 64,
        "model.width": 1 / 16,
        "model.step_size": 1 / 32,
        "train.steps": 2,
    }
    options |= {"train.batch_size": 2, "train.picture_every": 10, "data.held_out.segments": "", "data.read_processes": 2}
    rng = np.random.default_rng(0)
    server.fault = lambda method, path: range_server.DROP if rng.random() < 0.05 else None
    command += [f"--config.{name}={value}" for name, value in options.items()]
    done = subprocess.run(command, env=os.environ | compiling_quickly, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout[-1500:] + done.stderr[-1500:]
    assert (tmp_path / "run" / "checkpoints").is_dir()
