"""Configs that runs of older versions hold, brought up to date."""

import copy
import runpy
from pathlib import Path

import pytest

from ava_jax.tasks.ava256 import migration
from ava_jax.tasks.ava256.task import Ava256
from ava_jax.train import config as configs

get_config = runpy.run_path(str(Path(__file__).resolve().parents[3] / "configs" / "ava256.py"))["get_config"]

# As `configs.to_json` wrote configs/ava256.py of commit cef79c0 into runs, without `train`, whose keys are the loop's.
OLD = {
    "task": "ava_jax.tasks.ava256.task:Ava256",
    "seed": 0,
    "data": {
        "root": "", "ids": "", "topology": "", "cameras": [], "downsample": 8, "read_threads": 8, "max_unreadable": 0.01,
        "shuffle": {"cameras_per_visit": 4, "window": 16},
        "held_out": {"segments": ["EXP_free_face"], "last_frames": 0, "cameras": []},
    },
    "model": {
        "primitives_per_side": 128, "primitive_side": 8, "texture_size": 1024, "width": 1.0, "initial_code_gain": 1.0,
        "initial_code_std": 1.0, "initial_density": 1.0, "initial_texture": False, "view_noise": 0.0, "background": True,
        "background_share": 1.0, "precision": "fast", "template_dtype": "float32", "volume_radius": 256.0, "step_size": 0.00390625,
        "warmup_steps": 100,
    },
    "loss_weights": {"image": 1.0, "vertices": 0.1, "kl": 0.001, "volume": 0.01},
    "optimizer": {
        "learning_rate": 0.0002, "texel_gain": 1.0, "ramp_steps": 0, "final_fraction": 1.0, "fall_steps": 0, "boost": 1.4,
        "boost_step": 10000, "clip_norm": 1.0,
    },
    "eval": {"batch_size": 4, "max_samples": 0, "unseen_camera_frames": []},
}  # fmt: skip

# What ava256:quick and ava256:tiny had otherwise in these groups.
VARIANTS = {
    "full": {},
    "quick": {
        "model": {
            "background_share": 0.25, "initial_density": 30.0, "initial_texture": True, "initial_code_gain": 100.0,
            "initial_code_std": 0.05,
        },
        "optimizer": {"learning_rate": 6e-4, "ramp_steps": 100, "final_fraction": 0.05, "fall_steps": 1000, "boost": 1.0},
    },
    "tiny": {
        "data": {"downsample": 32, "read_threads": 2},
        "model": {
            "primitives_per_side": 32, "texture_size": 256, "width": 0.25, "precision": "float32", "initial_code_gain": 100.0,
            "initial_code_std": 0.05, "step_size": 1.0 / 128,
        },
        "loss_weights": {"vertices": 3.0},
        "optimizer": {
            "learning_rate": 3e-3, "texel_gain": 30.0, "ramp_steps": 30, "final_fraction": 0.05, "fall_steps": 1000, "boost": 1.0,
        },
    },
}  # fmt: skip

# What ava256:tiny has otherwise since. Runs keep the values that they began with.
SINCE = {
    "tiny": {
        "model.width": 0.25, "model.initial_density": 1.0, "model.initial_density_outside": 1.0, "model.from_neutral": False,
        "model.expression_basis": 0, "model.expression_components": False, "model.view_degree": 0, "model.initial_code_gain": 100.0,
        "model.primitive_placement": "texel", "model.moved_weight": 0.0, "loss_weights.image_squared": 0.0, "loss_weights.texture": 0.0,
        "optimizer.learning_rate": 3e-3, "optimizer.lr_warmup_steps": 30, "optimizer.lr_decay_steps": 1000,
        "optimizer.basis_lr_gain": 1.0,
    },
}  # fmt: skip


def old_config(variant):
    tree = copy.deepcopy(OLD)
    for group, values in VARIANTS[variant].items():
        assert values.keys() <= tree[group].keys()
        tree[group].update(values)
    return configs.from_json(tree)


@pytest.mark.parametrize("variant", VARIANTS)
def test_an_old_config_is_the_new_one(variant):
    config = old_config(variant).lock()
    Ava256.migrate(config)
    ours, expected = configs.flatten(config), configs.flatten(get_config(variant))
    changed = SINCE.get(variant, {})
    assert not changed.items() & expected.items()
    expected |= changed
    assert ours == {name: expected.get(name, "absent") for name in ours}
    for group in ("model.", "loss_weights.", "optimizer."):  # nothing is lacking, either
        assert {name for name in expected if name.startswith(group)} == {name for name in ours if name.startswith(group)}


def test_a_config_of_now_stays():
    config, now = get_config(), configs.flatten(get_config())
    Ava256.migrate(config)
    assert configs.flatten(config) == now
    assert set(migration.RENAMED.values()) <= now.keys() and not set(migration.RENAMED) & now.keys()


def test_parts_may_be_missing():
    config = configs.from_json({"model": {"precision": "fast"}})
    Ava256.migrate(config)
    assert configs.flatten(config) == {"model.precision": "bfloat16"}


def test_a_key_under_both_its_names_is_refused():
    config = configs.from_json({"optimizer": {"ramp_steps": 3, "lr_warmup_steps": 4}})
    with pytest.raises(ValueError, match="ramp_steps is called config.optimizer.lr_warmup_steps now, and the config has both"):
        Ava256.migrate(config)
