"""A folder that holds a whole avatar: programs, weights, faces, and an example that draws it without this package."""

import importlib.metadata
import importlib.util
import json
import pathlib
import shutil
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from ava_jax.data import files, mesh_files
from ava_jax.ops import native
from ava_jax.tasks.ava256.apps.avatar import Avatar
from ava_jax.tasks.ava256.apps.exported import programs
from ava_jax.tasks.ava256.apps.exported.programs import FUNCTIONS, Sizes
from ava_jax.tasks.ava256.model.codec import AvatarCodec
from ava_jax.tasks.command import Programs

_SYMBOLS = {  # of compiled custom calls, in the CPU's module; the GPU's has Cuda at the end
    "ava_raymarch_forward": "AvaRaymarchForward",
    "ava_convolution_gather": "AvaConvolutionGather",
    "ava_convolution_scatter": "AvaConvolutionScatter",
    "ava_dense": "AvaDense",
    "ava_sampling_read": "AvaSamplingRead",
    "ava_voxels": "AvaVoxels",
}
_CONVENTIONS = {
    "programs": "Each is called with a dict of its `weights`, then its arguments. B, the first axis of every array, is any number, the "
    "same in all arguments of one call. `portable` is plain JAX for CPUs and NVIDIA GPUs; `cpu` and `cuda` need the compiled calls in "
    "`library`.",
    "encode_identity": "texture u8 [B, T, T, 3] and vertices f32 [B, V, 3] of a neutral face, to a dict of arrays",
    "encode": "texture and vertices of a face, then of the same person's neutral face, to the expression f32 [B, 4, 4, 16]",
    "decode": "identity, expression and camera position f32 [B, 3], to a dict: position [B, K, 3], rotation [B, K, 3, 3], scale [B, K, 3] "
    "and rgba [B, K, D, D, D, 4], the volumetric primitives, and vertices [B, V, 3], mm",
    "render": "what decode gave; cameras: a dict of rotation [B, 3, 3], position [B, 3], focal [B, 2], principal [B, 2]; rows f32 [H] and "
    "columns f32 [W], the pixels to draw, which may lie between pixels; names s32 [B, 2]: places of the camera and of the identity in the "
    "lists below, whose colour calibration is taken, or -1, the mean of all. Gives f32 [B, H, W, 4]: colour 0-255 weighted by alpha, not "
    "clipped, and alpha 0..1. `render-cuda` draws as many rows and columns as `picture` has, no other number.",
    "head space": "millimetres; x to the subject's left, y up, z out of the face. Primitives are in volume radii, of `volume_radius` mm.",
    "cameras": "rows of rotation are the camera's right, down and forward in head space; (0, 0) is the centre of the first pixel",
    "primitives": "rotation's columns are a box's axes; scale is 1 over its half-extents; voxels are z, y, x; colour 0-255, density per "
    "volume radius, which fades by exp(-8 (x^8 + y^8 + z^8)) in the box's own -1..1. No Gaussians: a viewer of Gaussian splats cannot show "
    "them.",
    "topology": "topology.obj has the faces and UVs of all vertices; row 0 of a texture is v = 1",
}


def write(
    folder: pathlib.Path,
    exporter: Programs,
    model: AvatarCodec,
    avatar: Avatar,
    people: Sequence[str],
    height: int,
    width: int,
    *,
    compiled: bool = True,
    progress: Callable[[Sequence[Any]], Any] = iter,
) -> list[str]:
    """Writes the folder, whole or not at all.

    Args:
      folder: new, or empty.
      exporter, model, avatar: of one run.
      people: whose neutral faces go along; of `avatar.identities`.
      height, width: of the example's picture, and of those that the CUDA program draws, pixels.
      compiled: whether programs with compiled custom calls go along, with the modules that hold them, where these were built.
      progress: wraps the list of what is exported.

    Returns:
      Lines on what was left out.

    Raises:
      ValueError: the folder is not empty, or a person is not known.
      OSError: it cannot be written.
    """
    record = json.dumps({"format": "jax", "step": avatar.step, "people": list(people)}) + "\n"
    modules, notes = _modules(compiled)
    faces = {name: avatar.neutral(name) for name in people}  # first, as names may be wrong
    with files.new_folder(folder, "export.json", record) as new:
        (new / "programs").mkdir()
        about, needed = _write_programs(new, exporter, model, modules, Sizes(None, height, width), progress)
        np.savez(new / "weights.npz", **{name: exporter.weights[name] for name in sorted(needed)})
        (new / "people").mkdir()
        for name, face in faces.items():
            np.savez_compressed(new / "people" / f"{name}.npz", **face._asdict())
        mesh_files.write_topology(new / "topology.obj", avatar.topology, avatar.mean_vertices)
        shutil.copy(pathlib.Path(__file__).with_name("example.py"), new / "avatar.py")
        text = json.dumps(_about(model, avatar, people, height, width) | {"programs": about}, indent=1)
        (new / "avatar.json").write_text(text + "\n")
    return notes


def _write_programs(
    folder: pathlib.Path,
    exporter: Programs,
    model: AvatarCodec,
    modules: Mapping[str, pathlib.Path],
    picture: Sizes,
    progress: Callable[[Sequence[Any]], Any],
) -> tuple[dict[str, Any], set[str]]:
    """Exports all, copies what holds their custom calls; what `avatar.json` says of each, and the weights that any of them takes."""
    about: dict[str, Any] = {}
    needed: set[str] = set()
    compiled = [(name, kind) for kind in modules for name in (FUNCTIONS if kind == "cpu" else ("render",))]
    for name, kind in progress([*((name, "portable") for name in FUNCTIONS), *compiled]):
        target, sizes = ("gpu", picture) if kind == "cuda" else (kind, Sizes())  # the GPU's call must know the picture's size
        program, file = programs.export_function(exporter, model, name, target, sizes), f"programs/{name}-{kind}.jax"
        (folder / file).write_bytes(program.content)
        about[f"{name}-{kind}"] = one = {"file": file, "weights": program.weights, "calls": {}}
        if program.calls:
            one["library"] = f"programs/{modules[kind].name}"
            one["calls"] = {call: _SYMBOLS[call] + ("Cuda" if kind == "cuda" else "") for call in program.calls}
        needed |= set(program.weights)
    for module in modules.values():
        shutil.copy(module, folder / "programs")
    if modules:
        (folder / "programs" / "LICENSE").write_text(_licence())
    if "cuda" in modules:  # the other functions are the portable ones there
        about |= {f"{name}-cuda": about[f"{name}-portable"] for name in FUNCTIONS if name != "render"}
    return about, needed


def _licence() -> str:
    """The package's own licence, which goes along with its compiled modules."""
    for file in importlib.metadata.files("ava-jax") or ():
        if file.name == "LICENSE":
            return file.read_text()
    return (pathlib.Path(__file__).resolve().parents[5] / "LICENSE").read_text()  # a checkout that is not installed whole


def _modules(compiled: bool) -> tuple[dict[str, pathlib.Path], list[str]]:
    """Modules of compiled custom calls by kind of program, and lines on those that are not built."""
    modules: dict[str, pathlib.Path] = {}
    notes = []
    for kind, name, built in (("cpu", "ava_jax._ffi", native.COMPLETE), ("cuda", "ava_jax._ffi_cuda", native.CUDA_BUILT)):
        if compiled and built:
            modules[kind] = pathlib.Path(importlib.util.find_spec(name).origin)
        elif compiled:
            notes.append(f"left out: programs for {kind} with compiled custom calls, as {name} is not built here; the portable ones serve")
    return modules, notes


def _about(model: AvatarCodec, avatar: Avatar, people: Sequence[str], height: int, width: int) -> dict[str, Any]:
    """What `avatar.json` says besides the programs."""
    sizes = model.sizes
    return {
        "about": "An avatar that runs without the package that trained it; avatar.py draws it.",
        "licence": "avatar.py and the compiled modules are parts of ava-jax, under the Apache License 2.0, whose text lies "
        "beside the modules (https://www.apache.org/licenses/LICENSE-2.0); weights and faces have that of the data they come from.",
        "step": avatar.step,
        "needs": f"jax (written by {jax.__version__}), numpy, flatbuffers; avatar.py also pillow",
        "people": [{"name": name, "file": f"people/{name}.npz"} for name in people],
        "sizes": {
            "T": sizes.texture, "V": len(avatar.mean_vertices), "K": sizes.primitives, "D": sizes.depth,
            "volume_radius": model.volume_radius,
        },
        "precision": sizes.precision,
        "step_size": model.step_size,
        "picture": {"height": height, "width": width},
        "camera": {field: np.asarray(value).tolist() for field, value in avatar.portrait(height, width)._asdict().items()},
        "conventions": _CONVENTIONS,
        "cameras": list(avatar.cameras),
        "identities": list(avatar.identities),
    }  # fmt: skip
