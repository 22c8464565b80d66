"""The CUDA kernels of implicit functions and marching cubes where there is no GPU: compiled for the CPU, one fiber per thread (fibers/).

That finds wrong indices, layouts of tensor cores' operands, values and meetings of threads; neither what is slow nor what the hardware
alone does, such as how tensor cores round.
"""

import ctypes
import pathlib
import shutil
import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import pytest

from ava_jax.ops import implicit
from ava_jax.ops.implicit import packed
from ava_jax.ops.marching import table
from ava_jax.ops.marching.extract import _padded
from tests.ops.implicit_native_test import points_of, scene

HERE = pathlib.Path(__file__).parent
ORDERS = (1, 2)  # of threads: in reverse, shuffled
OPTIONS = "-std=c++17 -O1 -fPIC -shared -D__CUDA_ARCH__=900 -fno-math-errno -ffp-contract=off -U_FORTIFY_SOURCE -w -Ifibers".split()

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not sys.platform.startswith("linux") or not shutil.which("g++"), reason="needs Linux and g++, which knows halves"),
]


@pytest.fixture(scope="module")
def kernels(tmp_path_factory):
    library = tmp_path_factory.mktemp("fibers") / "kernels.so"
    command = ["g++", *OPTIONS, "implicit_fibers.cc", "fibers/fibers.cc", "-o", library]
    done = subprocess.run(command, cwd=HERE, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    loaded = ctypes.CDLL(str(library))
    loaded.marching_scratch.restype = ctypes.c_int64
    return loaded


def at(array):
    return ctypes.c_void_p(array.ctypes.data)


def packed_arrays(elements, options):
    made = packed.pack(elements, 7, options["decoder"], options["rotated"], 1e-4 if options["cut"] else None)
    made = made._replace(dense=packed.fragments(made.dense))
    arrays = [np.ascontiguousarray(part) for part in made]
    return arrays, [ctypes.c_int64(len(made.head)), *(at(array) if array.size else None for array in arrays)]


@pytest.mark.parametrize("kind", ["sif", "axes", "ldif", "ldif cut"])
def test_values_are_the_reference(kernels, kind):
    elements, options = scene(kind, 9 if kind == "ldif cut" else 32)
    keep, field = packed_arrays(elements, options)
    points = points_of(150)
    points[5, 2] = np.nan
    sizes = np.array([9, 9, 5])
    z, y, x = (np.linspace(-0.4, 0.5, n, dtype=np.float32) for n in sizes)
    every = np.stack(np.meshgrid(z, y, x, indexing="ij")[::-1], -1).reshape(-1, 3)
    wanted = np.asarray(implicit.values_at(elements, np.concatenate([points, every]), symmetric=7, implementation="jax", **options))
    results = []
    for order in ORDERS:
        kernels.set_order(order)
        values, grid = np.full(len(points), np.inf, np.float32), np.full(sizes, np.inf, np.float32)
        assert kernels.values(*field, at(points), ctypes.c_int64(len(points)), at(values)) == 0
        assert kernels.grid(*field, at(z), at(y), at(x), at(sizes), at(grid)) == 0
        results.append(np.concatenate([values, grid.reshape(-1)]))
    np.testing.assert_array_equal(*results)
    if kind == "ldif cut":  # a rounding error may put an element on the other side of the cut
        assert np.isnan(results[0][5]) and np.nanquantile(np.abs(results[0] - wanted), 0.995) < 2e-5
    else:
        np.testing.assert_allclose(results[0], wanted, atol=2e-5 if options["decoder"] else 4e-6)
    assert len(keep) == 4


@pytest.mark.parametrize("shape", [(13, 17, 23), (2, 2, 2), (1, 4, 5), (3, 1, 2)])
def test_meshes_are_the_reference_bit_for_bit(kernels, shape):
    values = np.random.default_rng(2).standard_normal(shape).astype(np.float32)
    values.flat[:2] = 0.25, np.nan
    triangles = table.triangles()
    for capacity in (16384, 7):
        wanted = _padded("cpu", values, 0.25, capacity, capacity, implementation="jax")
        for order in ORDERS:
            kernels.set_order(order)
            vertices, faces = np.full((capacity, 3), np.nan, np.float32), np.full((capacity, 3), -1, np.int32)
            counts = np.full(3, -1, np.int32)
            scratch = np.full(kernels.marching_scratch(ctypes.c_int64(values.size)), 2**30, np.int32)
            done = kernels.marching(
                at(values), at(np.array(shape)), ctypes.c_float(0.25), at(triangles), at(vertices), ctypes.c_int64(capacity), at(faces),
                ctypes.c_int64(capacity), at(counts), at(scratch),
            )  # fmt: skip
            assert done == 0
            for found, one in zip((vertices, faces, counts), wanted):
                np.testing.assert_array_equal(found, one)


def test_hidden_numbers_stay_in_the_range_of_halves():
    """Where an element counts; weights too. Else the kernels' parts would be infinite."""
    elements, options = scene("ldif")
    elements.features[:] *= 30
    made = packed.pack(elements, 0, options["decoder"], True, None)
    radius = jnp.sqrt(made.head[:, 13])[:, None]
    largest = jnp.linalg.norm(made.first[..., :3], axis=-1) * radius + jnp.abs(made.first[..., 3])
    assert 2**13 < float(largest.max()) <= 2**15 and 2**12 < float(jnp.abs(made.dense).max()) <= 2**14
