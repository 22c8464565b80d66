"""The CPU rasteriser under sanitizers: scenes of rasterize_fuzz.cc, which says what must hold of them."""

import pathlib
import shutil
import subprocess
import sys

import pytest

HERE = pathlib.Path(__file__).parent
KERNELS = [
    HERE.parents[1] / "ffi" / f"{name}.cc"
    for name in ("rasterize/cpu", "rasterize/kernel", "rasterize/outline_cpu", "texture/cpu", "texture/kernel")
]
OPTIONS = "-std=c++17 -O1 -ffp-contract=off -fno-math-errno -fno-trapping-math -w -pthread -DAVA_KERNELS=kPortableKernels".split()
SANITIZERS = "-fsanitize=address,undefined,float-cast-overflow -fno-sanitize-recover=all".split()
SCENES = 150

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not sys.platform.startswith("linux") or not shutil.which("g++"), reason="needs Linux and g++ with its sanitizers"),
]


@pytest.fixture(scope="module")
def program(tmp_path_factory) -> pathlib.Path:
    """Compiled with one instruction set, the scenes' own code without sanitizers: that takes less than half as long."""
    folder = tmp_path_factory.mktemp("fuzz")
    for command in (
        ["g++", *OPTIONS, "-c", HERE / "rasterize_fuzz.cc", "-o", folder / "scenes.o"],
        ["g++", *OPTIONS, *SANITIZERS, folder / "scenes.o", *KERNELS, "-o", folder / "rasterize_fuzz"],
    ):
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    return folder / "rasterize_fuzz"


def test_random_and_hostile_scenes(program):
    done = subprocess.run([program, "1", str(SCENES)], capture_output=True, text=True)
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    assert done.stdout.endswith(f"{SCENES} scenes, 0 faults\n")
