#!/usr/bin/env python3
"""Takes the barriers out of the CUDA kernels one at a time, and tells which the tests without a GPU miss.

    python scripts/mutate_barriers.py [--seeds=16]

For each `__syncwarp`, `__syncthreads` and `AwaitCopies` prints the line, and the first seed of raymarch_fibers_small that fails, or `-`.
"""

import argparse
import pathlib
import re
import shutil
import subprocess
import tempfile

REPOSITORY = pathlib.Path(__file__).parents[1]
PROGRAM = "raymarch_fibers_small"
BARRIER = re.compile(r"^ +(__syncwarp\(\)|__syncthreads\(\)|AwaitCopies\(\));", re.MULTILINE)


def build(folder: pathlib.Path) -> pathlib.Path:
    subprocess.run(["cmake", "--build", folder / "build", "--target", PROGRAM], check=True, capture_output=True)
    return folder / "build" / PROGRAM


def first_failure(program: pathlib.Path, seeds: int) -> str:
    for seed in range(1, seeds + 1):
        try:
            if subprocess.run([program, str(seed), "1"], capture_output=True, timeout=60).returncode:
                return str(seed)
        except subprocess.TimeoutExpired:
            return f"{seed} (does not end)"
    return "-"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=16, help="scenes to try")
    seeds = parser.parse_args().seeds
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        for part in ("ffi", "tests/ops"):
            shutil.copytree(REPOSITORY / part, folder / part)
        shutil.copy(REPOSITORY / "CMakeLists.txt", folder)
        options = ["-DAVA_FUZZ=ON", "-DCMAKE_BUILD_TYPE=RelWithDebInfo"]
        subprocess.run(["cmake", "-S", folder, "-B", folder / "build", *options], check=True, capture_output=True)
        assert first_failure(build(folder), seeds) == "-", "fails with all barriers"
        for path in sorted((folder / "ffi" / "raymarch" / "cuda").glob("*.cu*")):
            source = path.read_text()
            for barrier in BARRIER.finditer(source):
                path.write_text(source[: barrier.start(1)] + source[barrier.end() :])
                line = source.count("\n", 0, barrier.start(1)) + 1
                print(f"{path.name}:{line} {barrier[1]}: {first_failure(build(folder), seeds)}", flush=True)
            path.write_text(source)


if __name__ == "__main__":
    main()
