"""The CUDA kernels where there is no GPU: compiled for the CPU, one fiber per thread (fibers/), against the CPU kernel.

That finds wrong indices, values and meetings of threads; neither what is slow nor what the hardware alone does.
"""

import pathlib
import shutil
import subprocess
import sys

import pytest

REPOSITORY = pathlib.Path(__file__).parents[2]
PROGRAMS = ("raymarch_fibers_small", "raymarch_fibers")  # the second with the limits of use
SEEDS = 16
ROUNDS, SECONDS = 200, 120  # of the queue: they take one or two

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not sys.platform.startswith("linux") or not shutil.which("cmake") or not (shutil.which("c++") or shutil.which("g++")),
        reason="needs Linux, cmake and a C++ compiler",
    ),
]


@pytest.fixture(scope="module")
def folder() -> pathlib.Path:
    """Where the programs are; built anew where their sources have changed."""
    build = REPOSITORY / "build" / "fibers"
    for command in (
        ["cmake", "-S", REPOSITORY, "-B", build, "-DAVA_FUZZ=ON", "-DCMAKE_BUILD_TYPE=RelWithDebInfo"],
        ["cmake", "--build", build, "--target", *PROGRAMS, "raymarch_queue"],
    ):
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    return build


def test_equals_cpu_whichever_threads_run_ahead(folder):
    """And images keep every bit with other limits."""
    images = []
    for program in PROGRAMS:
        done = subprocess.run([folder / program, "1", str(SEEDS)], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        assert f"{SEEDS} scenes, 0 faults, images " in done.stdout
        images.append(done.stdout.split()[-1])
    assert images[0] == images[1]


def test_queue_gives_each_tile_once_and_ends(folder):
    """Whichever of its threads is delayed where."""
    done = subprocess.run([folder / "raymarch_queue", str(ROUNDS)], capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout == f"{ROUNDS} rounds, 0 tiles not drawn once\n"
