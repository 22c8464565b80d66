"""Splits of small captures, read as training and evaluation do: what tests of reading share."""

from ml_collections import ConfigDict

from ava_jax.core.types import Assets
from ava_jax.tasks.ava256.data import source


def make_config(root, **changes) -> ConfigDict:
    """The part of a config that reading looks at."""
    config = ConfigDict()
    config.data = ConfigDict({"root": str(root), "ids": "", "topology": "", "cameras": (), "downsample": 64})
    config.data.update(read_threads=2, max_unreadable=0.05, shuffle=ConfigDict({"cameras_per_visit": 2, "window": 3}))
    config.data.held_out = ConfigDict({"segments": ("EXP_free_face",), "last_frames": 0, "cameras": ()})
    config.model = ConfigDict({"texture_size": 32})
    config.eval = ConfigDict({"max_samples": 0, "unseen_camera_frames": ()})
    config.update_from_flattened_dict(changes)
    return config


def prepare(config) -> Assets:
    return source.prepare(source.load_captures(config), config)


def read_split(config, split, assets) -> source.CaptureSource:
    """Of captures parsed anew: tests change files and configs between."""
    return source.source(source.load_captures(config), config, split, assets)


def eval_splits(config) -> tuple[str, ...]:
    return source.eval_splits(source.load_captures(config), config)


def decoders(root):
    return sorted(root.glob("*/decoder"))


def views(samples):
    """(identity, camera, frame) of all samples that can be read."""
    read = [samples[i] for i in range(len(samples))]
    return [(int(s["identity"]), int(s["camera_id"]), int(s["frame"])) for s in read if s is not None]
