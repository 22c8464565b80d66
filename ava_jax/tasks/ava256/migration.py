"""Brings configs up to date that older versions saved with their runs. Where a key of `configs/ava256.py` changes, it is told here."""

import pathlib
from typing import Any

import ml_collections

from ava_jax.captures import split_files

RENAMED = {  # dotted name before -> now, within one group
    "model.background_share": "model.background_fraction",
    "model.warmup_steps": "model.guided_steps",
    "optimizer.boost": "optimizer.lr_boost",
    "optimizer.boost_step": "optimizer.lr_boost_step",
    "optimizer.fall_steps": "optimizer.lr_decay_steps",
    "optimizer.final_fraction": "optimizer.lr_final_fraction",
    "optimizer.ramp_steps": "optimizer.lr_warmup_steps",
    "optimizer.texel_gain": "optimizer.texel_lr_gain",
}
ALWAYS = {
    "data": "root",
    "data.held_out": "last_frames",
    "model": "width",
    "optimizer": "learning_rate",
    "loss_weights": "image",
}  # a key that every whole group has; of a part of a config nothing is added to
ADDED = {  # dotted name -> value with which all stays as it was
    "data.split": "",
    "data.people": (),
    "data.frames": (),
    "data.base_run": "",
    "data.held_out.frames": (),
    "model.initial_density_outside": 1.0,
    "model.from_neutral": False,
    "model.expression_basis": 0,
    "model.expression_components": False,
    "model.view_degree": 0,
    "optimizer.basis_lr_gain": 1.0,
    "model.primitive_placement": "texel",
    "model.moved_weight": 0.0,
    "data.camera_table": "id",
    "loss_weights.image_squared": 0.0,
    "loss_weights.texture": 0.0,
}
VALUES: dict[str, dict[Any, Any]] = {"model.precision": {"fast": "bfloat16"}}  # dotted name of now -> value before -> now


def migrate(config: ml_collections.ConfigDict) -> None:
    """Renames keys and values of a config, in place; one that is up to date stays as it is. Any part of it may be missing.

    Raises:
      ValueError: the config has a key under both its names.
    """
    with config.unlocked():
        for old, new in RENAMED.items():
            group, old_key = _find(config, old)
            if old_key not in group:
                continue
            new_key = new.rpartition(".")[2]
            if new_key in group:
                raise ValueError(f"config.{old} is called config.{new} now, and the config has both; remove the first.")
            group[new_key] = group[old_key]
            del group[old_key]
        for name, value in ADDED.items():
            group, key = _find(config, name)
            if ALWAYS[name.rpartition(".")[0]] in group and key not in group:
                group[key] = value
        _make_split_absolute(config)
        for name, values in VALUES.items():
            group, key = _find(config, name)
            if group.get(key) in values:
                group[key] = values[group[key]]


def _make_split_absolute(config: ml_collections.ConfigDict) -> None:
    """A split that is a file is found from any folder afterwards; one that is an installed name stays one."""
    data, key = _find(config, "data.split")
    if isinstance(value := data.get(key), str) and split_files.is_file(value) and not value.startswith("~"):
        data[key] = str(pathlib.Path(value).absolute())


def _find(config: ml_collections.ConfigDict, name: str) -> tuple[Any, str]:
    """The group that a dotted name is of, empty where there is none, and its last part."""
    *path, key = name.split(".")
    group: Any = config
    for part in path:
        group = group.get(part) or {}
    return group, key
