"""Configs as checkpoints keep them: flattened, compared, read back from JSON. Imports no jax: `--help` uses it too."""

import json
from typing import Any

import ml_collections

# What may differ between a run and its resumption: how long, how often, where from; not what is learned.
RESUMABLE = (
    "train.steps",
    "train.log_every",
    "train.picture_every",
    "train.checkpoint_every",
    "train.keep_checkpoints",
    "data.root",
    "data.topology",
    "data.read_threads",
    "data.max_unreadable",
    "eval.",
)


def flatten(config: ml_collections.ConfigDict, prefix: str = "") -> dict[str, Any]:
    """A config's leaves by dotted name."""
    leaves: dict[str, Any] = {}
    for key in config.keys():
        name, value = f"{prefix}{key}", config[key]
        leaves |= flatten(value, f"{name}.") if isinstance(value, ml_collections.ConfigDict) else {name: value}
    return leaves


def to_json(config: ml_collections.ConfigDict) -> dict[str, Any]:
    """The config as nested dicts, lists and plain values."""
    return json.loads(config.to_json())


def from_json(tree: dict[str, Any]) -> ml_collections.ConfigDict:
    """The config that `to_json` was given. JSON has no tuples: configs hold tuples, so every list was one."""
    return ml_collections.ConfigDict(_tuples(tree))


def _tuples(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _tuples(v) for k, v in value.items()}
    return tuple(_tuples(v) for v in value) if isinstance(value, list) else value


def differences(saved: ml_collections.ConfigDict, given: ml_collections.ConfigDict) -> list[str]:
    """Keys that keep `given` from resuming a run of `saved`, each with both values."""
    a, b = flatten(from_json(to_json(saved))), flatten(from_json(to_json(given)))
    absent = "absent"
    return [
        f"{key} (saved {a.get(key, absent)!r}, now {b.get(key, absent)!r})"
        for key in [*a, *(k for k in b if k not in a)]
        if a.get(key, absent) != b.get(key, absent) and not key.startswith(RESUMABLE)
    ]
