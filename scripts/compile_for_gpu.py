"""Compiles the step's networks for a GPU that is not there; counts kernels and bytes, and estimates their time.

  python scripts/compile_for_gpu.py --golden=DIR --config=ava256 --target=h200.txtpb [--hlo=FOLDER]

Needs jax's CUDA plugin (tried with jax 0.11.2, jax-cuda13-plugin, jax-cuda13-pjrt, nvidia-cuda-nvcc, on a machine without a GPU and
cuDNN) and the GPU as a `stream_executor.GpuTargetConfigProto` in text; XLA's repository has one for each kind of GPU. A kernel is taken as
1.2 us and its operands and results at 3.3 TB/s, at least 1.8 us, as traced on an H200. Products are libraries' here, as choosing among
Triton's needs the GPU. Networks are compiled forward + backward.
"""

import collections
import math
import pathlib
import re
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import bench_scene
import bench_step
import jax
import jax.numpy as jnp
import numpy as np
from absl import flags
from flax import nnx
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from ava_jax.bin import _main
from ava_jax.ops import native
from ava_jax.tasks.base import load_task
from ava_jax.train import state as states

_TARGET = flags.DEFINE_string("target", None, "The GPU: a GpuTargetConfigProto in text.", required=True)
_HLO = flags.DEFINE_string("hlo", None, "Folder for the compiled programs' text.")

_OPTIONS = {"xla_gpu_autotune_level": 0, "xla_gpu_enable_triton_gemm": False}
_LAUNCH, _LEAST, _BYTES_A_US = 1.2, 1.8, 3.3e6
_SIZES = {"f64": 8, "s64": 8, "u64": 8, "f32": 4, "s32": 4, "u32": 4, "bf16": 2, "f16": 2, "s16": 2, "pred": 1, "s8": 1, "u8": 1}
_NO_KERNEL = {"parameter", "tuple", "get-tuple-element", "constant", "bitcast", "while", "conditional", "call", "after-all"}


class Kernel(NamedTuple):
    kind: str
    bytes: int  # of operands and results

    @property
    def us(self) -> float:
        return max(_LEAST, _LAUNCH + self.bytes / _BYTES_A_US)


def device(target: str) -> Any:
    """The GPU of this description, to compile for."""
    # No public way asks a plugin for a topology before a device is there.
    try:
        import jax_plugins.xla_cuda13 as plugin
    except ModuleNotFoundError as error:
        sys.exit(f"compile_for_gpu.py: {error}: pip install jax-cuda13-plugin jax-cuda13-pjrt nvidia-cuda-nvcc, of jax's own version")
    from jax._src import xla_bridge
    from jax._src.lib import _jax, xla_client
    from jax._src.pallas.triton import gpu_info

    jax.devices("cpu")
    xla_bridge.backends()
    if not xla_client.pjrt_plugin_loaded("cuda"):
        xla_client.load_pjrt_plugin_dynamically("cuda", str(plugin._get_library_path()))
    if not xla_client.pjrt_plugin_initialized("cuda"):
        xla_client.initialize_pjrt_plugin("cuda")
    gpu_info.get_gpu_info = lambda: gpu_info.get_gpu_info_from_version(gpu_info.GpuVersion.H200)  # asked for by Pallas, of devices alone
    described = _jax.get_default_c_api_topology("cuda", "1x1x1", {"target_config": target, "topology": "1x1x1"})
    return described._make_compile_only_devices()[0]


def networks(model: nnx.Module, batch: int, texture: int) -> dict[str, tuple[Callable, tuple, tuple, tuple]]:
    """Name -> run, modules, what is differentiated beside them, what is not, as `bench_step.Part` has them; abstract."""

    def array(*shape):
        return jax.ShapeDtypeStruct(shape, jnp.float32)

    def shape_of(module, *args):
        graph, state = nnx.split(module)
        return jax.eval_shape(lambda state, *args: nnx.merge(graph, state, copy=True)(*args), state, *args)

    images = (array(batch, texture, texture, 3),) * 2
    identity = shape_of(model.identity_encoder, *images)
    decoders, code = (model.geometry_decoder, model.colour_decoder), jax.ShapeDtypeStruct(identity.z_geo.shape, jnp.float32)
    return {
        "identity encoder": (bench_step._encode_identity, (model.identity_encoder,), (), images),
        "expression encoder": (bench_step._encode_expression, (model.expression_encoder, model.bottleneck), (), images),
        "decoders": (bench_step._decode, decoders, (code, identity), (array(batch, 3),)),
    }


def compiled(run: Callable, modules: tuple, moving: tuple, fixed: tuple, place: NamedSharding) -> str:
    """Text of the network's program, forward + backward."""
    graph, params, rest = nnx.split(modules, nnx.Param, ...)

    def both(params, moving, rest, fixed):
        out, transpose = jax.vjp(lambda p, m: run(nnx.merge(graph, p, rest, copy=True), m, fixed), params, moving)
        return transpose(jax.tree.map(lambda x: jnp.full(x.shape, 1e-3, x.dtype), out))

    args = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place), (params, moving, rest, fixed))
    return jax.jit(both).lower(*args).compile(compiler_options=_OPTIONS).as_text()


def kernels(text: str) -> list[Kernel]:
    """Of the entry of a compiled program; loops and branches are not followed."""
    found, shapes = [], {}
    for line in text[text.index("\nENTRY ") :].splitlines():
        parsed = re.match(r"\s+(?:ROOT )?%([\w.\-]+) = (.+?) ([\w\-]+)\((.*)$", line)
        if parsed is None:
            continue
        name, shape, operation, rest = parsed.groups()
        shapes[name] = _bytes(shape)
        if operation not in _NO_KERNEL:
            operands = re.findall(r"%([\w.\-]+)", rest.split("), ")[0])
            custom = re.search(r'custom_call_target="([^"]+)"', rest)
            kind = custom.group(1) if custom else re.sub(r"[.\d]+$", "", name) if operation == "fusion" else operation
            found.append(Kernel(kind, shapes[name] + sum(shapes.get(x, 0) for x in operands)))
    return found


def _bytes(shape: str) -> int:
    sizes = re.findall(r"(\w+)\[([\d,]*)\]", shape)
    return sum(_SIZES.get(kind, 0) * math.prod(int(n) for n in sides.split(",") if n) for kind, sides in sizes)


def show(name: str, found: list[Kernel]) -> None:
    groups = collections.defaultdict(list)
    for kernel in found:
        groups[kernel.kind].append(kernel)
    print(f"\n{name}: {len(found)} kernels, {sum(k.bytes for k in found) / 1e9:.2f} GB, about {sum(k.us for k in found) / 1e3:.2f} ms")
    for kind, group in sorted(groups.items(), key=lambda item: -sum(k.us for k in item[1]))[:20]:
        print(f"  {kind:44}{len(group):6}{sum(k.bytes for k in group) / 1e6:10.0f} MB{sum(k.us for k in group):9.0f} us", flush=True)


def main() -> None:
    config = bench_step._CONFIG.value
    if config is None:
        raise ValueError("--config is missing: for example --config=ava256.")
    if bench_step._GOLDEN.value is None:
        raise ValueError("--golden is missing: the folder of golden vectors.")
    native.BUILT = False  # no custom calls of this CPU in what a GPU is to run
    target = pathlib.Path(_TARGET.value)
    if not target.is_file():
        raise FileNotFoundError(f"--target={target}: there is no such file; XLA's repository has one for each kind of GPU, as text.")
    place = NamedSharding(Mesh(np.array([device(target.read_text())]), ("batch",)), PartitionSpec())
    jax.config.update("jax_platforms", "cpu")
    batch = bench_step._BATCH.value
    assets, _ = bench_scene.build(config, pathlib.Path(bench_step._GOLDEN.value), batch, 64, 64)
    model = nnx.eval_shape(lambda: load_task(config).model(assets, rngs=states.model_rngs(0)))
    for name, network in networks(model, batch, config.model.texture_size).items():
        text = compiled(*network, place)
        if _HLO.value:
            folder = pathlib.Path(_HLO.value)
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{name.replace(' ', '_')}.hlo").write_text(text)
        show(name, kernels(text))


if __name__ == "__main__":
    _main.run(main, doc=__doc__)
