"""What the raymarch op refuses: at trace, before anything is compiled or run, naming the argument, what was required and what came."""

import functools
import importlib
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from raymarch_scenes import STEP, primitives, rays

from ava_jax.core.types import Primitives, Rays
from ava_jax.ops import native, raymarch

F, N, H, W, K, D, G = 1, 2, 3, 4, 5, 2, 3
SHAPES = {
    "rays.origin": (F, N, H, W, 3), "rays.direction": (F, N, H, W, 3), "rays.bounds": (F, N, H, W, 2),
    "prims.position": (F, K, 3), "prims.rotation": (F, K, 3, 3), "prims.scale": (F, K, 3), "prims.rgba": (F, K, D, D, D, 4),
    "warp": (F, K, G, G, G, 3),
}  # fmt: skip
# The two that give the letters their values: a wrong axis of theirs is reported as another argument's.
LEADING = ("rays.origin", "prims.rgba")


def trace(replace, step_size=STEP, **options):
    """Traces the op on abstract arrays, of which some are replaced by (shape, dtype) or by an object."""
    given = {name: (shape, np.float32) for name, shape in SHAPES.items()} | replace
    given = {name: jax.ShapeDtypeStruct(*x) if isinstance(x, tuple) else x for name, x in given.items()}
    arrays = {name: x for name, x in given.items() if isinstance(x, jax.ShapeDtypeStruct)}

    def run(arrays):
        a = given | arrays
        r, p = (kind(*(a[f"{name}.{field}"] for field in kind._fields)) for name, kind in (("rays", Rays), ("prims", Primitives)))
        return raymarch(r, p, step_size=step_size, warp=a["warp"], **options)

    return jax.eval_shape(run, arrays)


def refusal(*args, **options) -> str:
    with pytest.raises(ValueError) as error:
        trace(*args, **options)
    message = str(error.value)
    assert message.startswith("raymarch: ") and "\n" not in message
    return message


def test_what_fits_passes():
    assert trace({}).shape == (F, N, H, W, 4)
    assert trace({"warp": None}).shape == (F, N, H, W, 4)


@pytest.mark.parametrize("name", SHAPES)
def test_wrong_shapes(name):
    shape = SHAPES[name]
    axes = range(len(shape)) if name not in LEADING else [len(shape) - 1]
    wrong = [shape[1:], (1, *shape), *((*shape[:i], shape[i] + 1, *shape[i + 1 :]) for i in axes)]
    for came in wrong:
        message = refusal({name: (came, np.float32)})
        assert f"{name} must be [F, " in message and message.endswith(f"; got {came}."), message


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("dtype", ["float16", "int32", "bool", "complex64"])
def test_wrong_dtypes(name, dtype):
    message = refusal({name: (SHAPES[name], dtype)})
    assert f"{name} must be float32" in message and message.endswith((f"got {dtype}.", f'got {dtype}. Use "jax".')), message


@pytest.mark.parametrize("name", SHAPES)
def test_no_arrays(name):
    for came in ([1.0], 3, "text"):
        assert f"{name} must be an array; got {type(came).__name__}." in refusal({name: came})


@pytest.mark.parametrize("axis, came", [(2, (F, K, 1, 1, 1, 4)), (2, (F, K, 513, 513, 513, 4)), (1, (F, 0, D, D, D, 4))])
def test_voxels_out_of_range(axis, came):
    assert "with K >= 1 and D from 2 to 512; got " in refusal({"prims.rgba": (came, np.float32)})
    if axis == 2:
        field = (F, K, *came[2:5], 3)
        assert f"K={K} as in prims.rgba, G from 2 to 512; got {field}" in refusal({"warp": (field, np.float32)})


@pytest.mark.parametrize("came", [0, -1.0, np.inf, np.nan, 1e-60, 1e60, "0.1", None, np.ones(())])
def test_step_sizes(came):
    assert f"step_size must be a positive Python number, of float32's range; got {came!r}." in refusal({}, step_size=came)


@pytest.mark.parametrize("name", [name for name in SHAPES if name != "prims.rgba"])
def test_voxels_alone_may_be_bfloat16(name):
    voxels = {"prims.rgba": (SHAPES["prims.rgba"], jnp.bfloat16)}
    for implementation in (None, "jax"):
        assert trace(voxels, implementation=implementation).dtype == np.float32
    assert f"{name} must be float32, as prims.rgba is; got bfloat16." in refusal({name: (SHAPES[name], jnp.bfloat16)})
    for dtype in ("bfloat16", "float16"):
        message = refusal(voxels | {name: (SHAPES[name], dtype)})
        assert f"{name} must be float32, whatever prims.rgba is; got {dtype}." in message


@pytest.mark.skipif(not native.serves_default_backend(), reason="the compiled raymarcher is not built for this platform")
@pytest.mark.parametrize("dtype", ["float16", "float64", "bfloat16"])
def test_the_compiled_calls_misread_no_voxels(dtype):
    """Called past `raymarch`, which would not let such types through."""
    module = importlib.import_module("ava_jax.ops.raymarch")  # of the same name as the function
    rng = np.random.default_rng(0)
    with jax.enable_x64(True):
        r, p = jax.tree.map(jnp.asarray, (rays(rng, 1, 2, 2), primitives(rng, 2, 2)))
        other = p._replace(rgba=p.rgba.astype(dtype))
        saturation = module._native_forward(STEP, r, p, None)[1][3:]
        image = jnp.zeros((1, 1, 2, 2, 4), jnp.float32)
        if not (dtype == "bfloat16" and native.reads_bfloat16()):
            with pytest.raises(Exception, match="raymarch: rgba must be float32"):
                jax.block_until_ready(module._native_forward(STEP, r, other, None)[0])
        # Gradients of one type for voxels of another.
        results = (*jax.eval_shape(lambda: other), *module._scratch_type(r, p, 1))
        call = jax.ffi.ffi_call("ava_raymarch_backward", results)
        with pytest.raises(Exception, match="raymarch: result d_rgba must have rgba's type"):
            jax.block_until_ready(call(image, *saturation, *r, *p, step_size=np.float32(STEP)))


def test_implementations():
    assert 'implementation must be "native", "jax" or None; got \'fast\'.' in refusal({}, implementation="fast")
    assert "got 'twin', which is \"jax\" now." in refusal({}, implementation="twin")
    doubles = {name: (shape, np.float64) for name, shape in SHAPES.items()}
    with jax.enable_x64(True):
        assert trace(doubles, implementation="jax").dtype == np.float64
        message = refusal(doubles, implementation="native")
        assert "computes in float32; got float64" in message or "needs the compiled module" in message


def test_tuples_are_not_rays():
    rng = np.random.default_rng(0)
    r, p = rays(rng, 1, 2, 2), primitives(rng, 2, 2)
    march = functools.partial(raymarch, step_size=STEP)
    with pytest.raises(ValueError, match=r"rays must be Rays\(origin, direction, bounds\); got tuple"):
        march(tuple(r), p)
    with pytest.raises(ValueError, match=r"prims must be Primitives\(position, rotation, scale, rgba\); got dict"):
        march(r, p._asdict())


@pytest.mark.parametrize(
    "architecture, runs, does_not",
    [
        ("80", (80, 86, 89, 90, 120), (70, 75)),  # code, and PTX for what comes later
        ("80-real", (80, 86, 89), (75, 90, 120)),
        ("80-virtual", (80, 86, 90, 120), (75,)),
        ("86-real", (86, 89), (80, 90)),
        ("100-real", (100, 103), (90, 110, 120)),
        ("90a", (90,), (89, 100)),
        ("100f", (100, 103), (90, 120)),
        ("100f-real", (100, 103), (90, 120)),
    ],
)
def test_which_gpus_an_architecture_serves(architecture, runs, does_not):
    assert [c for c in (*runs, *does_not) if native._serves(architecture, c)] == list(runs)


def test_a_module_of_older_sources_is_named(monkeypatch):
    module = types.SimpleNamespace(registrations=dict, __file__="site/ava_jax/_ffi_cuda.so")
    monkeypatch.setattr(native.importlib.util, "find_spec", lambda name: module)
    monkeypatch.setattr(native.importlib, "import_module", lambda name: module)
    with pytest.raises(ImportError, match="_ffi_cuda.so was built from older sources than these; install again: pip install -e ."):
        native._register_cuda()


def test_a_gpu_that_is_not_served_is_named(monkeypatch):
    """With what to do about it, older than what was built and newer ones alike; the reference implementation serves then."""
    devices = [(0, 70), (1, 90)]
    module = types.SimpleNamespace(registrations=dict, architectures=lambda: "75,80-real,90-real", devices=lambda: devices)
    monkeypatch.setattr(native.importlib.util, "find_spec", lambda name: module)
    monkeypatch.setattr(native.importlib, "import_module", lambda name: module)
    said = []
    monkeypatch.setattr(native.logging, "warning", lambda message, *arguments: said.append(message % arguments))
    assert not native._register_cuda()
    assert len(said) == 1 and "75;80-real;90-real" in said[0] and "device 0 (sm_70)" in said[0] and "device 1" not in said[0]
    assert '-C cmake.define.CMAKE_CUDA_ARCHITECTURES="70"' in said[0]
    module.architectures = lambda: "80-real,90-real"
    devices = [(0, 120), (1, 75), (2, 86), (3, 120)]
    assert not native._register_cuda()
    assert "device 0 (sm_120), device 1 (sm_75), device 3 (sm_120)" in said[1] and '"75;120"' in said[1]
    for devices in ([(0, 86), (1, 90)], []):
        assert native._register_cuda()
    module.architectures, devices = lambda: "", [(0, 70)]  # not known
    assert native._register_cuda() and len(said) == 2
