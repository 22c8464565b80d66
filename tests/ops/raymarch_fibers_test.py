"""The CUDA kernels of the backward pass without a GPU: compiled for the CPU, a fiber a lane (fibers/), against the CPU kernel.

That finds wrong indices, values and meetings of lanes; neither what is slow nor what the hardware alone does.
"""

import pathlib
import re
import shutil
import subprocess

import pytest

REPOSITORY = pathlib.Path(__file__).parents[2]
KERNELS = REPOSITORY / "ffi" / "raymarch"
COMPILER = shutil.which("g++")

# What is no C++, and what stands for it. `x` and the results are the names of device.cuh.
TRANSLATIONS = (
    (r"(\w+(?:<[^<>;]*>)?)<<<([^;]*?)>>>\(([^;]*?)\);", r"fibers::Launch([=] { \1(\3); }, \2);"),
    (r"extern __shared__ float4 (\w+)\[\];", r"float4* const \1 = reinterpret_cast<float4*>(fibers::shared_memory);"),
    (r" *unsigned own = static_cast<unsigned>\(__cvta_generic[^;]*;\s*asm\([^;]*;\n", ""),
    (r"static_cast<(\S*)\*>\(__cvta_shared_to_generic\(own\)\)", r"reinterpret_cast<\1*>(memory) + threadIdx.x / kWarp"),
    (r'asm\("rcp\.approx[^;]*;[^;]*;', "inverse = fibers::Reciprocal(x);"),
    (r'asm\("sqrt\.approx[^;]*;[^;]*;', "root = std::sqrt(x);"),
    (r'asm\("ex2\.approx[^;]*;[^;]*;', "power = std::exp2(x * 1.44269504f);"),
    (r"constexpr int64_t kFewPrimitives = \d+;", "#define kFewPrimitives fibers::few_primitives"),
)


def translate(source: str) -> str:
    for pattern, replacement in TRANSLATIONS:
        source = re.sub(pattern, replacement, source)
    assert "<<<" not in source and "asm(" not in source
    return source


@pytest.fixture(scope="module")
def program(tmp_path_factory) -> pathlib.Path:
    """Translated and compiled."""
    if COMPILER is None:
        pytest.skip("needs g++")
    folder = tmp_path_factory.mktemp("fibers")
    shutil.copytree(REPOSITORY / "tests" / "ops" / "fibers", folder / "tests" / "ops" / "fibers")
    for name in ("raymarch_fibers.cc", "raymarch_random.h"):
        shutil.copy(REPOSITORY / "tests" / "ops" / name, folder / "tests" / "ops" / name)
    shutil.copytree(REPOSITORY / "ffi", folder / "ffi", ignore=shutil.ignore_patterns("forward.cu", "list.cu", "handler.*"))
    for path in (folder / "ffi" / "raymarch" / "cuda").iterdir():
        path.write_text(translate(path.read_text()))
    cuda = [folder / "ffi" / "raymarch" / "cuda" / f"{name}.cu" for name in ("prepare", "backward", "cells")]
    cpu = [folder / "ffi" / "raymarch" / f"{name}.cc" for name in ("cpu", "kernel", "pack")]
    ours = [folder / "tests" / "ops" / name for name in ("raymarch_fibers.cc", "fibers/fibers.cc")]
    options = ["-std=c++17", "-O1", "-w", "-pthread", "-DAVA_KERNELS=kPortableKernels", '-DAVA_KERNELS_NAME="portable"']
    includes = [f"-I{folder / 'tests' / 'ops' / 'fibers'}"]
    out = folder / "raymarch_fibers"
    command = [COMPILER, *options, *includes, *cpu, *ours, "-x", "c++", *cuda, "-o", out]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return out


@pytest.mark.parametrize("seed", [1, 2, 5, 7])  # 7 has a tile whose first and last rays are opposite
def test_equals_cpu_whichever_lane_runs_ahead(program, seed):
    done = subprocess.run([program, str(seed), "1"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
