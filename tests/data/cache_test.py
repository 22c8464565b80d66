"""The cache of values, and the open files."""

import concurrent.futures
import os
import threading

import numpy as np
import pytest

from ava_jax.data.cache import Cache
from ava_jax.data.files import OpenFiles


def test_keeps_what_was_used_last_within_its_bound():
    made = []
    cache = Cache(250, lambda array: array.nbytes)

    def get(key, size=100):
        return cache.get(key, lambda: made.append(key) or np.zeros(size, np.uint8))

    for key in "abacb":  # c pushes b out: a was used since
        get(key)
    assert made == list("abcb") and cache.held == 200
    assert get("large", 251).nbytes == 251 and cache.held == 0  # larger than all: handed on, nothing can be kept beside it
    get("a")
    assert made[-1] == "a" and cache.held == 100


def test_a_value_is_made_once_however_many_threads_ask():
    cache, made, together = Cache(10, lambda value: 1), [], threading.Barrier(8)

    def work(i):
        together.wait()
        return [cache.get(key, lambda key=key: made.append(key) or key) for key in range(5)]

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert list(pool.map(work, range(8))) == [list(range(5))] * 8
    assert sorted(made) == list(range(5))


def test_what_making_raises_reaches_all_who_wait_and_is_not_kept():
    cache, inside, release = Cache(10, lambda value: 1), threading.Event(), threading.Event()

    def fail():
        inside.set()
        release.wait()
        raise ValueError("no such thing")

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        first = pool.submit(cache.get, 0, fail)
        inside.wait()
        second = pool.submit(cache.get, 0, lambda: "made in between")
        while not second.running():
            pass
        release.set()
        with pytest.raises(ValueError, match="no such thing"):
            first.result()
        assert second.exception() is not None or second.result() == "made in between"  # it waited, or came after the failure
    assert cache.get(0, lambda: 7) == 7


def test_holds_its_bound_under_threads():
    cache = Cache(1000, lambda array: array.nbytes)

    def work(seed):
        for key in np.random.default_rng(seed).integers(0, 30, 300).tolist():
            assert cache.get(key, lambda key=key: np.full(100, key, np.uint8))[0] == key

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    assert cache.held == 1000


def test_files_are_read_with_few_of_them_open(tmp_path):
    contents = {tmp_path / str(i): np.random.default_rng(i).bytes(1000 + i) for i in range(40)}
    for path, content in contents.items():
        path.write_bytes(content)
    before, opened = len(os.listdir("/proc/self/fd")), [OpenFiles(4)]
    most = []

    def work(seed):
        for i in np.random.default_rng(seed).integers(0, 40, 200).tolist():
            path = tmp_path / str(i)
            assert opened[0].read(path, 7, 100) == contents[path][7:107]
            most.append(len(opened[0]))

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert max(most) <= 4 + 8
    assert opened[0].read(tmp_path / "3", 990, 500) == contents[tmp_path / "3"][990:]
    with pytest.raises(FileNotFoundError):
        opened[0].read(tmp_path / "none", 0, 1)
    opened.clear()
    assert len(os.listdir("/proc/self/fd")) == before
