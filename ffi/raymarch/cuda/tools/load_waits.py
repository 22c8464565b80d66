#!/usr/bin/env python3
"""Names loads from global memory, in the CUDA kernels, that wait for loads issued just before them.

    python ffi/raymarch/cuda/tools/load_waits.py [--arch=90] [FILE...]

Loads that belong together should be on their way together. nvcc's assembler gives a load one of six counters, which it raises until the
load is back, and may make an instruction wait until a counter is zero: for what it needs, but also for an older load that no path leads to.
Where that falls between loads of one group on the same counter, the first are waited for before the others start. In the raymarcher's loop
over samples it cost a fifth of the time (docs/design/raymarch_gpu.md). Prints a line for each such load, and exits 1 if there is one.
FILEs are kernels' sources, such as culling/list.cu; all where none is named. Needs nvcc, no GPU.

The counters are bits 105 to 125 of an instruction of 128 (sm_70 and later; not documented by NVIDIA): which one it raises when its result
is on its way, and a mask of those for which it waits.
"""

import argparse
import pathlib
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from typing import NamedTuple

SOURCES = pathlib.Path(__file__).resolve().parents[1]
OPTIONS = ["-O3", "-std=c++17", "-prec-div=false", "-prec-sqrt=false"]  # those of CMakeLists.txt
LOAD = 0x981  # from global memory
NEAR = 8  # instructions


class Instruction(NamedTuple):
    """What of an instruction matters here."""

    opcode: int
    raises: int  # a counter, or 7
    waits: int  # a mask


class Wait(NamedTuple):
    """A load that waits for one just before it."""

    kernel: str
    index: int
    before: int  # instructions between the load and the one for which it waits


def sections(cubin: bytes) -> Iterator[tuple[str, bytes]]:
    """Name and bytes of each section of an ELF file."""
    table, count, names = struct.unpack_from("<Q", cubin, 0x28)[0], *struct.unpack_from("<HH", cubin, 0x3C)
    headers = [struct.unpack_from("<IIQQQQ", cubin, table + 64 * i) for i in range(count)]
    for name, *_, offset, size in headers:
        begin = headers[names][4] + name
        yield cubin[begin : cubin.index(b"\0", begin)].decode(), cubin[offset : offset + size]


def instructions(code: bytes) -> list[Instruction]:
    """Those of a section of code, in order."""
    words = struct.iter_unpack("<QQ", code[: len(code) // 16 * 16])
    return [Instruction(low & 0xFFF, high >> 46 & 7, high >> 52 & 63) for low, high in words]


def find_waits(cubin: bytes) -> list[Wait]:
    """Of all kernels of a compiled file."""
    found = []
    for name, code in sections(cubin):
        if not name.startswith(".text."):
            continue
        kernel = instructions(code)
        for i, load in enumerate(kernel):
            if load.opcode != LOAD:
                continue
            for j in range(i - 1, max(i - NEAR, 0) - 1, -1):
                if kernel[j].opcode == LOAD and kernel[j].raises < 6 and load.waits >> kernel[j].raises & 1:
                    found.append(Wait(name.removeprefix(".text."), i, i - j))
                    break
    return found


def compile_kernels(source: pathlib.Path, arch: str) -> bytes:
    """What nvcc makes of a source for sm_`arch`: a cubin's bytes."""
    with tempfile.TemporaryDirectory() as folder:
        cubin = pathlib.Path(folder) / "kernels.cubin"
        subprocess.run(["nvcc", "-cubin", *OPTIONS, f"-arch=sm_{arch}", "-o", cubin, source], check=True, capture_output=True, text=True)
        return cubin.read_bytes()


def main() -> int:
    """The command; its exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arch", default="90", help="of the GPU, as in sm_90")
    known = sorted(path.relative_to(SOURCES).as_posix() for path in SOURCES.rglob("*.cu"))
    parser.add_argument("files", nargs="*", metavar="FILE", default=known)
    arguments = parser.parse_args()
    some = False
    for file in arguments.files:
        if not (SOURCES / file).is_file():
            parser.error(f"there is no {file} in {SOURCES}; there are {', '.join(known)}")
        try:
            waits = find_waits(compile_kernels(SOURCES / file, arguments.arch))
        except FileNotFoundError:
            parser.error("nvcc is not on the PATH: it comes with the CUDA toolkit, in its folder bin")
        except subprocess.CalledProcessError as error:
            parser.error(f"nvcc does not compile {file}:\n{error.stderr or error.stdout}")
        for wait in waits:
            print(f"{file}: the load at instruction {wait.index} waits for the one {wait.before} before it, in {wait.kernel}")
        some = some or bool(waits)
    return 1 if some else 0


if __name__ == "__main__":
    sys.exit(main())
