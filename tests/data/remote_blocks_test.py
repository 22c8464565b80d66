"""The cache of remote blocks: within its bound, whatever processes do to it."""

import concurrent.futures
import multiprocessing
import os
import signal
import subprocess
import sys
import time

import numpy as np

from ava_jax.data.remote.blocks import BLOCK, PER_GROUP, BlockCache


def content(name: str, group: int, block: int) -> bytes:
    return np.random.default_rng([int(name, 16), group, block]).bytes(BLOCK)


def names(count):
    return [f"{i:032x}" for i in range(count)]


def test_blocks_come_back_and_others_do_not(tmp_path):
    cache = BlockCache(tmp_path, 1 << 24)
    name = names(1)[0]
    cache.put(name, 3, {0: content(name, 3, 0), 15: b"the end of a file"})
    assert cache.get(name, 3, range(PER_GROUP)) == {0: content(name, 3, 0), 15: b"the end of a file"}
    assert cache.get(name, 2, [0]) == {} and cache.get(names(2)[1], 3, [0]) == {}
    cache.put(name, 3, {4: content(name, 3, 4)})
    assert set(cache.get(name, 3, range(PER_GROUP))) == {0, 4, 15}
    assert cache.held() <= 3 * BLOCK + 3 * 4096  # holes take nothing
    cache.drop(name, 3)
    assert cache.get(name, 3, range(PER_GROUP)) == {} and cache.held() == 0


def test_what_was_used_last_stays_within_the_bound(tmp_path):
    limit = 40 * BLOCK
    cache = BlockCache(tmp_path, limit)
    kept = names(60)
    for i, name in enumerate(kept):
        cache.put(name, 0, {0: content(name, 0, 0)})
        for old, used in ((name, i), (kept[0], i + 0.5)):  # the first is used again each time
            file = cache._file(old, 0)
            os.utime(file, (used, used))
        assert cache.held() <= limit
    there = [bool(cache.get(name, 0, [0])) for name in kept]
    assert there[0] and not any(there[1:20]) and all(there[-20:])


def test_a_damaged_file_is_as_one_that_is_not_there(tmp_path):
    cache, name = BlockCache(tmp_path, 1 << 24), names(1)[0]
    whole = {i: content(name, 0, i) for i in range(3)}
    cache.put(name, 0, whole)
    file = cache._file(name, 0)
    data = file.read_bytes()
    for at, lost in ((4096 + 10, {0}), (4096 + BLOCK + 5, {1}), (8, {1}), (20, {2})):
        file.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        found = cache.get(name, 0, range(3))
        assert set(whole) - set(found) == lost and all(found[i] == whole[i] for i in found)
    for length in (0, 5, 4096, 4096 + BLOCK - 1):
        file.write_bytes(data[:length])
        assert cache.get(name, 0, range(3)) == {}
    cache.put(name, 0, whole)
    assert cache.get(name, 0, range(3)) == whole


def test_a_folder_that_takes_nothing_costs_time_alone(tmp_path, caplog):
    (tmp_path / "kept").write_text("a file where the folder should be")
    cache = BlockCache(tmp_path / "kept", 1 << 24)
    with caplog.at_level("WARNING"):
        for name in names(3):
            cache.put(name, 0, {0: b"x"})
            assert cache.get(name, 0, [0]) == {}
    assert sum("cannot be kept" in r.getMessage() for r in caplog.records) == 1


def _use(folder, limit, seed, rounds):
    cache, rng = BlockCache(folder, limit), np.random.default_rng(seed)
    most = 0
    for _ in range(rounds):
        name, group, block = names(8)[rng.integers(8)], int(rng.integers(4)), int(rng.integers(PER_GROUP))
        found = cache.get(name, group, [block])
        assert found in ({}, {block: content(name, group, block)})
        if not found:
            cache.put(name, group, {block: content(name, group, block)})
        most = max(most, cache.held())
    return most


def test_processes_share_it_within_one_bound(tmp_path):
    limit = 64 * BLOCK
    with concurrent.futures.ProcessPoolExecutor(4, multiprocessing.get_context("forkserver")) as pool:
        held = list(pool.map(_use, [tmp_path] * 4, [limit] * 4, range(4), [150] * 4))
    assert limit * 0.5 < max(held) <= limit


def test_processes_that_are_killed_leave_it_whole_and_bounded(tmp_path):
    limit = 64 * BLOCK
    program = (
        "import sys, pathlib; sys.path.insert(0, sys.argv[1]); from remote_blocks_test import _use; print('in', flush=True); "
        "_use(pathlib.Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), 10**6)"
    )
    env = os.environ | {"PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path)}
    rng = np.random.default_rng(0)
    for seed in range(6):
        command = [sys.executable, "-c", program, os.path.dirname(__file__), str(tmp_path), str(limit), str(seed)]
        with subprocess.Popen(command, env=env, stdout=subprocess.PIPE) as process:
            assert process.stdout.readline() == b"in\n"
            time.sleep(float(rng.uniform(0.05, 0.3)))
            process.send_signal(signal.SIGKILL)
        assert BlockCache(tmp_path, limit).held() <= limit
    assert 0 < _use(tmp_path, limit, 99, 200) <= limit
