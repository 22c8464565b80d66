"""The CUDA raymarcher's forward kernels without a GPU: compiled for the CPU, a fiber a lane (fibers/), against the CPU kernel."""

import ctypes
import pathlib
import re
import shutil
import subprocess

import numpy as np
import pytest
from raymarch_cuda_test import STEP, make_prims, make_rays
from raymarch_fibers_test import COMPILER, KERNELS, translate

from ava_jax.ops import native, raymarch

HERE = pathlib.Path(__file__).parent
SLOTS = re.compile(r"kManySlots = \d+;")

pytestmark = pytest.mark.skipif(not (KERNELS.is_dir() and native.BUILT), reason="needs the sources and the CPU kernel")


@pytest.fixture(scope="module")
def kernels(tmp_path_factory):
    """The forward pass as it is, and with fewer slots where it has many."""
    if COMPILER is None:
        pytest.skip("needs g++")
    folder = tmp_path_factory.mktemp("fibers_forward")
    shutil.copytree(KERNELS, folder / "raymarch")
    cuda = folder / "raymarch" / "cuda"
    for path in cuda.glob("*.cu*"):
        if path.name in ("prepare.cu", "list.cu", "forward.cu") or path.suffix == ".cuh":
            path.write_text(translate(path.read_text()))
    forward = (cuda / "forward.cu").read_text()
    assert SLOTS.search(forward)
    (cuda / "fewer.cu").write_text(SLOTS.sub("kManySlots = 40;", forward))
    compiler = [COMPILER, "-std=c++17", "-O1", "-w", "-fPIC", f"-I{HERE / 'fibers'}", f"-I{folder}"]
    for name in ("prepare.cu", "list.cu", "forward.cu", "fewer.cu"):
        subprocess.run([*compiler, "-x", "c++", "-c", cuda / name, "-o", folder / f"{name}.o"], check=True)
    libraries = []
    for name in ("forward.cu", "fewer.cu"):
        objects = [folder / f"{n}.o" for n in ("prepare.cu", "list.cu", name)]
        sources = [HERE / "fibers" / "fibers.cc", HERE / "raymarch_fibers_forward.cc"]
        subprocess.run([*compiler, "-shared", *sources, *objects, "-o", folder / f"{name}.so"], check=True)
        libraries.append(ctypes.CDLL(str(folder / f"{name}.so")))
        libraries[-1].ScratchFloats.restype = ctypes.c_int64
    return libraries


def _aligned(shape, dtype, fill):
    """As device memory is: the kernels read 16 bytes at once."""
    count = int(np.prod(shape))
    memory = np.empty(count + 16, dtype)
    begin = -memory.ctypes.data % 64 // memory.itemsize
    out = memory[begin : begin + count].reshape(shape)
    out[...] = fill
    return out


def _march(kernel, order, rays, prims):
    """RGBA, saturation and where it was; what is not written stays NaN or -9."""
    (f, n, h, w), (k, d) = rays.origin.shape[:4], prims.rgba.shape[1:3]
    sizes = (ctypes.c_int64 * 6)(f, n, h, w, k, d)
    arrays = [_aligned(x.shape, np.float32, np.asarray(x)) for x in (*rays, *prims)]
    results = [_aligned((f, n, h, w, 4), np.float32, np.nan) for _ in range(2)] + [_aligned((f, n, h, w, 2), np.int32, -9)]
    scratch = _aligned((kernel.ScratchFloats(sizes),), np.float32, np.nan)
    pointers = (ctypes.c_void_p * 7)(*(x.ctypes.data for x in arrays))
    outputs = [ctypes.c_void_p(x.ctypes.data) for x in (*results, scratch)]
    assert kernel.Forward(order, sizes, ctypes.c_float(STEP), pointers, *outputs) == 0
    return results


@pytest.mark.parametrize(
    "shape, options",
    [
        ((1, 1, 1, 1), {"primitives": 1, "side": 2}),
        ((3, 1, 33, 7), {"frames": 3, "primitives": 9}),
        ((1, 3, 21, 39), {"primitives": 30, "density": 30.0}),
        ((1, 2, 20, 20), {"primitives": 12, "side": 5}),
        # More than a ray has slots for, than a tile has, than a tile's list has room for.
        ((1, 1, 5, 6), {"primitives": 33, "spread": 0.02, "half": 0.4, "density": 0.1}),
        ((1, 1, 5, 6), {"primitives": 110, "spread": 0.02, "density": 2.0}),
        ((1, 1, 5, 6), {"primitives": 300, "side": 2, "spread": 0.02, "density": 0.02}),
        ((1, 1, 60, 75), {"primitives": 60, "spread": 0.02, "density": 0.1}),  # where primitives are few
    ],
)
def test_equals_the_cpu_kernel(kernels, shape, options):
    """Whichever lanes run ahead (0, 1, 2: fibers::Order), and with fewer slots."""
    rays, prims = make_rays(*shape), make_prims(**options)
    wanted = np.asarray(raymarch(rays, prims, step_size=STEP, implementation="native"))
    rgba, saturation, at = ours = _march(kernels[0], 0, rays, prims)
    assert np.isfinite(rgba).all() and np.isfinite(saturation).all() and (at >= 0).all()
    assert np.abs(rgba - wanted).max() <= 1e-5 * max(wanted.max(), 1e-6)
    for other in (_march(kernels[0], 1, rays, prims), _march(kernels[1], 2, rays, prims)):
        for a, b in zip(ours, other, strict=True):
            np.testing.assert_array_equal(a.view(np.int32), b.view(np.int32))
