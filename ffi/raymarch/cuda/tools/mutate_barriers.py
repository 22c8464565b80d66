#!/usr/bin/env python3
"""Takes the barriers out of the CUDA kernels one at a time, and tells which the tests without a GPU miss.

    python ffi/raymarch/cuda/tools/mutate_barriers.py [--seeds=16] [--races] [FILE...]

For each `__syncwarp`, `__syncthreads` and `AwaitCopies` prints the line, and the first seed of raymarch_fibers_small that fails, or `-`.
With --races it runs under ThreadSanitizer. FILEs are kernels' sources, such as culling/list.cu; all where none is named.
"""

import argparse
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

REPOSITORY = pathlib.Path(__file__).resolve().parents[4]
KERNELS = "ffi/raymarch/cuda"
PROGRAM = "raymarch_fibers_small"
BARRIER = re.compile(r"^ +(__syncwarp\(\)|__syncthreads\(\)|AwaitCopies\(\));", re.MULTILINE)


def build(folder: pathlib.Path) -> pathlib.Path:
    """Builds the test program of the sources in a folder."""
    subprocess.run(["cmake", "--build", folder / "build", "--target", PROGRAM], check=True, capture_output=True)
    return folder / "build" / PROGRAM


def first_failure(program: pathlib.Path, seeds: int) -> str:
    """The first seed at which the program fails, or "-"."""
    environment = {**os.environ, "TSAN_OPTIONS": "halt_on_error=1"}
    for seed in range(1, seeds + 1):
        try:
            if subprocess.run([program, str(seed), "1"], capture_output=True, timeout=60, env=environment).returncode:
                return str(seed)
        except subprocess.TimeoutExpired:
            return f"{seed} (does not end)"
    return "-"


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=16, help="scenes to try")
    parser.add_argument("--races", action="store_true", help="under ThreadSanitizer")
    parser.add_argument("files", nargs="*", metavar="FILE", help=f"of {KERNELS}")
    arguments = parser.parse_args()
    seeds = arguments.seeds
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        for part in ("ffi", "tests/ops"):
            shutil.copytree(REPOSITORY / part, folder / part)
        shutil.copy(REPOSITORY / "CMakeLists.txt", folder)
        options = ["-DAVA_FUZZ=ON", "-DCMAKE_BUILD_TYPE=RelWithDebInfo"]
        options += ["-DCMAKE_CXX_FLAGS=-fsanitize=thread"] if arguments.races else []
        subprocess.run(["cmake", "-S", folder, "-B", folder / "build", *options], check=True, capture_output=True)
        if (seed := first_failure(build(folder), seeds)) != "-":
            sys.exit(f"mutate_barriers.py: {PROGRAM} fails with all barriers at seed {seed}; mend the kernels first")
        for path in sorted((folder / KERNELS).rglob("*.cu*")):
            name = path.relative_to(folder / KERNELS).as_posix()
            if arguments.files and name not in arguments.files:
                continue
            source = path.read_text()
            for barrier in BARRIER.finditer(source):
                path.write_text(source[: barrier.start(1)] + source[barrier.end() :])
                line = source.count("\n", 0, barrier.start(1)) + 1
                print(f"{name}:{line} {barrier[1]}: {first_failure(build(folder), seeds)}", flush=True)
            path.write_text(source)


if __name__ == "__main__":
    main()
