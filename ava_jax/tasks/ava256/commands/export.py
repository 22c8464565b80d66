"""Writes an avatar for other programs: weights, programs of JAX, primitives, meshes with textures.

  ava export --workdir=RUN --out=aeparams.pt                          # torch.load reads it; model.safetensors for safetensors
  ava export --workdir=RUN --format=jax --out=AVATAR                  # a folder that draws the avatar without this package
  ava export --workdir=RUN --format=obj --out=MESHES --identity=SUBJECT --driver=OTHER --segment=EXP_jaw_open
  ava export --workdir=RUN --format=ply --out=MESHES --driver=codes.npz
  ava export --workdir=RUN --format=primitives --out=PRIMITIVES       # the neutral face

Weights are a state dict under the published names; beside it lies what the published file lacks, as in aeparams.assets.npz: statistics,
topology, and which row is which person's and camera's. `ava ava256 import` takes both back, exactly. Models with parts that the published
one lacks (the config's variant tiny) are refused.

Frames (ply, obj, primitives) are of --driver, a capture or a file of expression codes, and --segment; without either of the neutral face.
An export that was stopped goes on when it is run again.
"""

import importlib.util
import pathlib
from typing import TYPE_CHECKING

from absl import flags

from ava_jax.tasks.command import Context, define_data, define_step, define_workdir

if TYPE_CHECKING:  # these import jax
    from ava_jax.tasks.ava256.apps.avatar import Avatar
    from ava_jax.tasks.ava256.apps.exported.frames import Shown
    from ava_jax.tasks.base import RestoredRun

_WEIGHTS, _FRAMES = ("torch", "safetensors"), ("primitives", "ply", "obj")
_WORKDIR = define_workdir()
_STEP = define_step()
_DATA = define_data()
_OUT = flags.DEFINE_string("out", None, "The file or the folder to write; an existing file is replaced, a folder must be new.")
_FORMAT = flags.DEFINE_enum(
    "format", None, [*_WEIGHTS, "jax", *_FRAMES], "What to write; by default weights, as the name of --out ends: .safetensors or another."
)
_IDENTITY = flags.DEFINE_string(
    "identity", "", "Who: a capture's folder or a subject's id; by default the first. With jax several, or all."
)
_DRIVER = flags.DEFINE_string(
    "driver", "", "Of frames: whose expressions, a capture's or of a file of codes (npz, CSV); by default the identity's own."
)
_SEGMENT = flags.DEFINE_string("segment", "", "Of frames: which of the driver's; by default those held out of training.")
_MAX_FRAMES = flags.DEFINE_integer("max_frames", 64, "At most so many frames, evenly spaced; 0: all.", lower_bound=0)
_TEXTURE = flags.DEFINE_integer("texture", None, "Side of the meshes' textures, texels; by default that of the primitives' slab.", 16, 8192)
_HEIGHT = flags.DEFINE_integer("height", 1024, "With jax: of the example's picture, and of those that the CUDA program draws.", 1)
_WIDTH = flags.DEFINE_integer("width", 667, "With jax: likewise.", 1)
_COMPILED = flags.DEFINE_bool("compiled", True, "With jax: also programs with the compiled raymarcher, which is copied along, where built.")
_ONLY = {  # formats that each flag is of
    "driver": _FRAMES, "segment": _FRAMES, "max_frames": _FRAMES, "data": _FRAMES, "texture": ("ply", "obj"),
    "identity": ("jax", *_FRAMES), "height": ("jax",), "width": ("jax",), "compiled": ("jax",),
}  # fmt: skip


def main(context: Context) -> None:
    """Writes what the flags say."""
    if not _OUT.value:
        raise ValueError("--out must name the file or folder to write, as in --out=aeparams.pt.")
    path = pathlib.Path(_OUT.value).expanduser()
    kind = _FORMAT.value or ("safetensors" if path.suffix == ".safetensors" else "torch")
    _check_flags(kind)
    run = context.restore(_WORKDIR.value, _STEP.value, overrides={"data.root": _DATA.value})
    if kind in _WEIGHTS:
        _write_weights(run, path, kind)
        return
    from ava_jax.tasks.ava256.apps.avatar import Avatar  # after the run is found: these import jax

    avatar = Avatar(context.compile(run.model), run.config, run.assets, pathlib.Path(_WORKDIR.value).expanduser(), run.step)
    if kind == "jax":
        _write_programs(context, run, avatar, path)
    else:
        _write_frames(context, run, avatar, path, kind)


def _check_flags(kind: str) -> None:
    for name, kinds in _ONLY.items():
        if flags.FLAGS[name].present and kind not in kinds:
            raise ValueError(f"--{name} is of --format={' or '.join(kinds)}; this is {kind}.")


def _write_weights(run: "RestoredRun", path: pathlib.Path, kind: str) -> None:
    from ava_jax.tasks.ava256.data import assets_file, weight_files
    from ava_jax.tasks.ava256.model import weights

    held = weights.state_dict(run.model)
    path.parent.mkdir(parents=True, exist_ok=True)
    weight_files.write(path, held, kind)
    beside = path.with_suffix(".assets.npz")
    assets_file.write(beside, run.assets)
    count = sum(array.size for array in held.values())
    print(f"{path}: {len(held)} arrays, {count:,} values, of step {run.step}\n{beside}: their statistics, topology and names")


def _write_programs(context: Context, run: "RestoredRun", avatar: "Avatar", path: pathlib.Path) -> None:
    if importlib.util.find_spec("flatbuffers") is None:  # which jax.export writes with
        raise ValueError("--format=jax needs the package flatbuffers: pip install 'ava-jax[export]'.")
    import tqdm

    from ava_jax.tasks.ava256.apps.exported import bundle

    names = [name for name in _IDENTITY.value.split(",") if name] or [avatar.identities[0]]
    people = avatar.identities if names == ["all"] else [avatar.full_name(name) for name in names]
    progress = lambda parts: tqdm.tqdm(parts, desc="programs", unit="program")  # noqa: E731
    size = _HEIGHT.value, _WIDTH.value
    notes = bundle.write(path, context.programs(run.model), run.model, avatar, people, *size, compiled=_COMPILED.value, progress=progress)
    held = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    print(
        "\n".join([f"{path}: {len(people)} people, {held / 1e6:.1f} MB; python {path / 'avatar.py'} PICTURE.png draws the first", *notes])
    )


def _write_frames(context: Context, run: "RestoredRun", avatar: "Avatar", path: pathlib.Path, kind: str) -> None:
    from ava_jax.tasks.ava256.apps.exported import baking, frames

    shown = _shown(run, avatar)
    size = _TEXTURE.value or run.model.sizes.slab
    exporter = frames.Exporter(
        avatar, lambda: baking.Baker(context.compile(run.model), avatar.topology, size), run.config.model.volume_radius
    )
    print("\n".join(exporter.write(path, shown, kind)))


def _shown(run: "RestoredRun", avatar: "Avatar") -> "Shown":
    """The expressions that the flags name, or the neutral one."""
    import numpy as np

    from ava_jax.tasks.ava256.apps import performance
    from ava_jax.tasks.ava256.apps.exported.frames import Shown
    from ava_jax.tasks.ava256.data import codes_file

    if not (_DRIVER.value or _SEGMENT.value):
        identity = avatar.full_name(_IDENTITY.value) if _IDENTITY.value else avatar.identities[0]
        neutral = avatar.neutral(identity)
        code = codes_file.of(np.asarray(avatar.encode(*neutral, *neutral)), [identity], ["neutral"])
        return Shown(identity, neutral, "the neutral face", code)
    captures = None if performance.is_file(_DRIVER.value) and _DATA.value is None else run.task.captures
    asked = {"identity": _IDENTITY.value, "driver": _DRIVER.value, "segment": _SEGMENT.value, "most": _MAX_FRAMES.value}
    found = performance.find(avatar, captures, run.config, run.assets, **asked)
    return Shown(found.person, found.neutral, found.driver, found.codes)
