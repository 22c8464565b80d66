"""load_waits.py on the forward pass: it reads the 8 voxels of a sample at once, and only the compiled code shows whether it does."""

import pathlib
import shutil
import struct
import subprocess
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "ffi" / "raymarch" / "cuda" / "tools"))
import load_waits


def test_instruction_is_read_by_its_bits():
    low, high = 0x7981, 5 << 46 | 0b100001 << 52
    assert load_waits.instructions(struct.pack("<QQ", low, high)) == [load_waits.Instruction(0x981, 5, 0b100001)]


def test_no_voxel_waits_for_the_ones_before():
    if not shutil.which("nvcc"):
        pytest.skip("needs nvcc")
    if "release 13.0" not in subprocess.run(["nvcc", "--version"], check=True, capture_output=True, text=True).stdout:
        pytest.skip("known of CUDA 13.0 alone; load_waits.py tells of another")
    cubin = load_waits.compile_kernels(load_waits.SOURCES / "forward" / "forward.cu", "90")
    loads = [
        i
        for name, code in load_waits.sections(cubin)
        if "March" in name
        for i in load_waits.instructions(code)
        if i.opcode == load_waits.LOAD
    ]
    assert len(loads) > 8 * 8  # of 8 kernels: otherwise nothing was looked at
    assert load_waits.find_waits(cubin) == []
