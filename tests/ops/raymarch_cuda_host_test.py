"""The CUDA raymarcher's forward kernels without a GPU: run on the host, lane by lane, against the CPU kernel.

`cuda_on_host/` holds as much of CUDA as they use; `_adapt` takes out what a C++ compiler does not read.
"""

import ctypes
import pathlib
import re
import shutil
import subprocess

import numpy as np
import pytest
from raymarch_cuda_test import STEP, make_prims, make_rays

from ava_jax.ops import native, raymarch

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parents[1]
SOURCES = ("prepare.cu", "list.cu", "forward.cu")
SLOTS = re.compile(r"kManySlots = \d+;")

pytestmark = [
    pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++"),
    pytest.mark.skipif(not (ROOT / "ffi").is_dir(), reason="needs the sources in ffi/"),
    pytest.mark.skipif(not native.BUILT, reason="the CPU kernel is not built"),
]


def _adapt(source: str) -> str:
    """CUDA as C++: launches are calls, approximate instructions exact functions, dynamic shared memory an array."""
    source = re.sub(r"(\w+(?:<\w+>)?)<<<(.*?), ([^,]*(?:\* kWarp)?), \w+, stream>>>\(([^;]*)\);", r"host::Launch(\2, \3, [&] { \1(\4); });", source)
    source = re.sub(r'asm\("rcp.*;', "inverse = std::fpclassify(x) == FP_SUBNORMAL ? std::copysign(INFINITY, x) : 1.0f / x;", source)
    source = re.sub(r'asm\("sqrt.*;', "root = std::fpclassify(x) == FP_SUBNORMAL ? 0.0f : std::sqrt(x);", source)
    source = re.sub(r'asm\("ex2.*;', "power = std::exp2(x * 1.44269504f);", source)
    source = source.replace("extern __shared__ float4 memory[];", "static float4 memory[1 << 13];")
    source = re.sub(r" *unsigned own = static_cast<unsigned>\(__cvta_generic.*\n *asm.*\n", "", source)
    source = re.sub(r"static_cast<(\S*)\*>\(__cvta_shared_to_generic\(own\)\)", r"reinterpret_cast<\1*>(memory) + threadIdx.x / kWarp", source)
    return re.sub(r"cudaFuncSetAttribute\(.*?, kBytes\)", "kBytes > sizeof(float4) << 13", source)


@pytest.fixture(scope="module")
def kernels(tmp_path_factory):
    """The forward pass as it is, and with few slots where it has many."""
    folder = tmp_path_factory.mktemp("host")
    shutil.copytree(ROOT / "ffi", folder / "ffi")
    cuda = folder / "ffi/raymarch/cuda"
    for path in cuda.iterdir():
        path.write_text(_adapt(path.read_text()))
    forward = (cuda / "forward.cu").read_text()
    assert SLOTS.search(forward)
    (cuda / "few.cu").write_text(SLOTS.sub("kManySlots = 40;", forward))
    compiler = ["g++", "-std=c++17", "-O1", "-fPIC", f"-I{HERE / 'cuda_on_host'}", f"-I{folder}"]
    for name in (*SOURCES, "few.cu"):
        subprocess.run([*compiler, "-x", "c++", "-c", cuda / name, "-o", folder / f"{name}.o"], check=True)
    libraries = []
    for name in ("forward.cu", "few.cu"):
        objects = [folder / f"{n}.o" for n in ("prepare.cu", "list.cu", name)]
        subprocess.run([*compiler, "-shared", HERE / "cuda_on_host/host.cc", *objects, "-o", folder / f"{name}.so"], check=True)
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


def _march(kernel, rays, prims):
    """RGBA, saturation and where it was; what is not written stays NaN or -9."""
    (f, n, h, w), (k, d) = rays.origin.shape[:4], prims.rgba.shape[1:3]
    sizes = (ctypes.c_int64 * 6)(f, n, h, w, k, d)
    arrays = [_aligned(x.shape, np.float32, np.asarray(x)) for x in (*rays, *prims)]
    results = [_aligned((f, n, h, w, 4), np.float32, np.nan) for _ in range(2)] + [_aligned((f, n, h, w, 2), np.int32, -9)]
    scratch = _aligned((kernel.ScratchFloats(sizes),), np.float32, np.nan)
    pointers = (ctypes.c_void_p * 7)(*(x.ctypes.data for x in arrays))
    outputs = [ctypes.c_void_p(x.ctypes.data) for x in (*results, scratch)]
    assert kernel.Forward(sizes, ctypes.c_float(STEP), pointers, *outputs) == 0
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
    rays, prims = make_rays(*shape), make_prims(**options)
    wanted = np.asarray(raymarch(rays, prims, step_size=STEP, implementation="native"))
    rgba, saturation, at = ours = _march(kernels[0], rays, prims)
    assert np.isfinite(rgba).all() and np.isfinite(saturation).all() and (at >= 0).all()
    assert np.abs(rgba - wanted).max() <= 1e-5 * max(wanted.max(), 1e-6)
    for a, b in zip(ours, _march(kernels[1], rays, prims), strict=True):
        np.testing.assert_array_equal(a.view(np.int32), b.view(np.int32))
