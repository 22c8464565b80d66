"""Configs as checkpoints keep them: flattened, compared, read back from JSON. Imports no jax: `--help` uses it too."""

import json
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import ml_collections

from ava_jax.core import lists
from ava_jax.core.names import nearest
from ava_jax.data.remote import location

# What may differ between a run and its resumption: how long, how often, where from; not what is learned.
RESUMABLE = (
    "train.steps",
    "train.epochs",
    "train.steps_per_call",
    "train.log_every",
    "train.picture_every",
    "train.checkpoint_every",
    "train.keep_checkpoints",
    "train.keep_best",
    "train.best_score",
    "train.validate_every",
    "train.validate_samples",
    "train.patience",
    "train.spike_factor",
    "train.spike_steps",
    "train.max_recoveries",
    "data.root",  # what it must hold is checked by `binding`
    "data.ids",
    "data.topology",
    "data.remote_cache_gib",
    "data.remote_retry_s",
    "data.cache",
    "data.undistorted",
    "data.read_threads",
    "data.read_processes",
    "data.on_device",
    "data.max_unreadable",
    "eval.",
)

# Keys of the loop that a config of an older version lacks, with what that version did.
_ADDED = {
    "train.epochs": 0,
    "train.steps_per_call": 1,
    "train.split": "train",
    "train.trainable": (),
    "train.init_from": "",
    "train.init_filter": (),
    "train.patience": 0,
    "train.spike_window": 100,
    "data.on_device": False,
}


LISTS: dict[str, type] = {
    "train.trainable": str,
    "train.init_filter": str,
    "train.spike_terms": str,
}  # of the loop, with the kind of their elements


def read_lists(config: ml_collections.ConfigDict, kinds: Mapping[str, type]) -> None:
    """Makes tuples of lists, in place, however they were written (`core.lists`).

    Args:
      config: the experiment's; it may lack some of them.
      kinds: of elements, by the lists' dotted names.

    Raises:
      ValueError: an element is of another kind.
    """
    flat = flatten(config)
    given = {name: lists.read(f"config.{name}", flat[name], kind) for name, kind in kinds.items() if name in flat}
    with config.ignore_type():
        override(config, given)


def make_absolute(config: ml_collections.ConfigDict, names: Sequence[str], folder: pathlib.Path) -> None:
    """Makes paths absolute, in place: what a run's config says is then found from any folder.

    Args:
      config: the experiment's; it may lack some of them.
      names: of the paths, dotted; one that is empty stays so.
      folder: that relative ones start from.

    Raises:
      ValueError: one begins with ~, and there is no home.
    """
    flat = flatten(config)
    given = {name: flat[name] for name in names if flat.get(name)}
    try:
        paths = {name: path for name, path in given.items() if not location.is_url(path)}
        override(config, {name: str(folder.absolute() / pathlib.Path(path).expanduser()) for name, path in paths.items()})
    except RuntimeError as e:
        raise ValueError(f"config: {', '.join(f'{name} = {path}' for name, path in given.items())}: {e} Write the whole path.") from e


def migrate(config: ml_collections.ConfigDict) -> None:
    """Gives a config of an older version the keys that the loop has had since, in place. What its task has had since: `Task.migrate`."""
    flat = flatten(config)
    override(config, {name: value for name, value in _ADDED.items() if name not in flat and name.partition(".")[0] in config})


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
    """The config that `to_json` was given. JSON has no tuples: configs hold tuples, so every list was one.

    Raises:
      ValueError: it is no config's.
    """
    try:
        return ml_collections.ConfigDict(_tuples(tree))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as e:
        raise ValueError(f"no config: {' '.join(str(e).split())[:200]}") from e


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
        # NaN is not itself, but is written as itself.
        if a.get(key, absent) != b.get(key, absent) and repr(a.get(key)) != repr(b.get(key)) and not key.startswith(RESUMABLE)
    ]


def override(config: ml_collections.ConfigDict, values: Mapping[str, Any]) -> None:
    """Changes values by dotted name. A config of an older version may lack the last part of a name: then it is added.

    Raises:
      ValueError: a name's first parts are no part of the config; the message names the nearest that is.
    """
    with config.unlocked():
        for name, value in values.items():
            *path, last = name.split(".")
            node = config
            for part in path:
                if not isinstance(node.get(part), ml_collections.ConfigDict):
                    raise ValueError(f"the config has no key {name!r}.{nearest(name, flatten(config))}")
                node = node[part]
            node[last] = value


@contextmanager
def naming_missing_keys(whose: str) -> Iterator[None]:
    """Turns the error over a key that a config lacks, looked up as an attribute, into a ValueError of one line.

    Args:
      whose: the config, as in "RUN/checkpoints/5: its config".

    Raises:
      ValueError: a key was missing; the message names it.
    """
    try:
        yield
    except AttributeError as e:
        if not isinstance(e.obj, ml_collections.ConfigDict):
            raise
        lacks = f"{whose} has no key {e.name!r}, which this version needs"
        raise ValueError(f"{lacks}: it is older, or mistyped. Give it, as in configs/.") from e
