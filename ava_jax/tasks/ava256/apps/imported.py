"""A model from published weights: the state dict, and what it lacks."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from flax import nnx
from ml_collections import ConfigDict

from ava_jax.captures import ava256 as layout
from ava_jax.captures import camera_table
from ava_jax.core.mesh import Topology, uv_barycentric
from ava_jax.core.types import Assets
from ava_jax.tasks.ava256.data import assets_file, source, weight_files
from ava_jax.tasks.ava256.model import weights
from ava_jax.tasks.ava256.model.codec import AvatarCodec

_FAR = 10.0  # mm, some texels at any size of map
_MOST_FAR = 0.2  # of the texels: those of seams, and none of most charts


class Imported(NamedTuple):
    """A model of imported weights.

    Attributes:
      model: with the weights.
      assets: as of a run.
      taken: keys of the state dict that were taken.
      notes: what a user should know, a line each.
    """

    model: AvatarCodec
    assets: Assets
    taken: int
    notes: list[str]


def read(
    path: pathlib.Path,
    config: ConfigDict,
    *,
    assets_path: pathlib.Path | None = None,
    ids: pathlib.Path | None = None,
    only: Sequence[str] = (),
) -> Imported:
    """Reads a state dict under the published names.

    Args:
      path: the file, of PyTorch or safetensors.
      config: whole; `config.model` has the sizes. `config.data.camera_table` is set, in place.
      assets_path: statistics, topology and names; None: of the captures that the config names, and of `ids`.
      ids: CSV of the people, in the order of the training.
      only: starts of the keys that are taken; () is all.

    Raises:
      FileNotFoundError: a file is not there.
      ValueError: the file is none, or damaged, or does not fit; or what it lacks is not given. One line.
    """
    held = weight_files.read(path)
    try:
        rows = weights.count_rows(held)
    except ValueError as e:
        raise ValueError(f"{path}: {e}.") from e
    if assets_path is not None:
        assets, notes = assets_file.read(assets_path), []
    else:
        assets, notes = _of_captures(path, config, ids, rows)
    config.data.camera_table = "position" if camera_table.is_by_position(assets.names["cameras"]) else "id"
    for kind, count in rows.items():
        given = len(assets.names[kind])
        if given < count:
            raise ValueError(f"{assets_path or ids}: must name the {count} {kind} that {path} has rows for; it names {given}.")
        if given > count:
            notes.append(f"{given - count} of {given} {kind} are not in the file, and start afresh")
    lookups = weights.lookups(held)
    _check_topology(path, assets, lookups)
    assets = Assets(assets.arrays | lookups, assets.names)
    model = AvatarCodec(config.model, assets, rngs=nnx.Rngs(config.seed))
    try:
        taken = weights.load_state_dict(model, held, only=only, more_rows=True)
    except ValueError as e:
        raise ValueError(f"{path}: {e}") from e
    return Imported(model, assets, taken, notes)


def _check_topology(path: pathlib.Path, assets: Assets, lookups: Mapping[str, np.ndarray]) -> None:
    """Holds the file's UV map against the topology's: they differ along edges, by a texel, where the topology is the one it learned with.

    Raises:
      ValueError: it is another.
    """
    if "uv_index" not in lookups:
        return
    arrays = {name: np.asarray(array) for name, array in assets.arrays.items()}
    mean, index = arrays["vertices_mean"], lookups["uv_index"]
    if index.max(initial=0) >= len(mean):
        raise ValueError(f"{path}: its UV map names vertex {index.max()}; the topology that was given has {len(mean)}: it is another.")
    ours = uv_barycentric(Topology(arrays["faces"], arrays["face_uvs"], arrays["uvs"]), len(index))
    theirs = (index, lookups["uv_weights"])
    a, b = ((mean[i].astype(np.float64) * w[..., None]).sum(-2) for i, w in (ours, theirs))
    far = float((np.linalg.norm(a - b, axis=-1) > _FAR).mean())
    if far > _MOST_FAR:
        raise ValueError(
            f"{path}: {far:.0%} of its UV map show points of the head over {_FAR:g} mm from where the topology that was given has them: it "
            "was trained with another topology."
        )


def _of_captures(path: pathlib.Path, config: ConfigDict, ids: pathlib.Path | None, rows: dict[str, int]) -> tuple[Assets, list[str]]:
    if not config.data.root:
        raise ValueError(
            f"{path}: holds no statistics and no topology: give --config.data.root=CAPTURES, whose small files have them, or --assets."
        )
    if ids is None:
        raise ValueError(
            f"{path}: does not say whose its {rows['identities']} identities are: give --ids, the CSV (mcd,sid,mct) of its training."
        )
    config.data.camera_table = "position"
    captures = source.load_captures(config)
    assets = source.prepare(captures, config)
    names = {"identities": layout.names_listed(ids), "cameras": camera_table.positions(rows["cameras"])}
    strangers = [name for name in captures.people if name not in names["identities"]]
    notes = [f"statistics of the {len(captures)} captures in {captures.root}; those of the training are not in the file: outputs may shift"]
    if strangers:
        notes.append(
            f"not in {ids}: {', '.join(strangers[:3])}{', ...' if len(strangers) > 3 else ''}: rendered as people not seen in training"
        )
    return Assets(assets.arrays, assets.names | names), notes
