"""Freed memory stays with the process: seen by its page faults."""

import glob
import os
import platform
import subprocess
import sys

import pytest

from ava_jax.core import memory

SCRIPT = """
import resource, sys, threading
from ava_jax.core import memory
import numpy as np

keeps = memory.keep_freed_memory() if sys.argv[1] == "keep" else False

def touch():
    for _ in range(4):
        np.ones(1 << 26, np.uint8)  # 16,384 pages

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    thread = threading.Thread(target=touch)
    thread.start()
    thread.join()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

faults()
print(int(keeps), faults())
"""


def run(how: str) -> tuple[int, int]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    result = subprocess.run(
        [sys.executable, "-c", SCRIPT, how], env=environment | {"NUMPY_MADVISE_HUGEPAGE": "0"}, capture_output=True, text=True, check=True
    )
    keeps, faults = result.stdout.split()
    return int(keeps), int(faults)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc" or bool(glob.glob("/dev/nvidia[0-9]*")), reason="for glibc, without GPUs")
def test_memory_is_not_cleared_anew_for_each_allocation():
    keeps, faults = run("keep")
    assert keeps == 1
    assert faults < 1000
    assert run("leave")[1] > 30_000


def test_what_the_environment_says_stays(monkeypatch):
    monkeypatch.setenv("MALLOC_ARENA_MAX", "2")
    assert not memory.keep_freed_memory()
