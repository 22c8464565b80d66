"""A new run that starts from another run's weights (`train.init_from`, `train.init_filter`)."""

import pathlib
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp

from ava_jax.core import binding
from ava_jax.core.types import Assets
from ava_jax.train.checkpoint import BEST, Checkpoints
from ava_jax.train.optimization import by_path, matching, shown
from ava_jax.train.state import Split, count

_ITEMS = ("model", "about")  # of a checkpoint; what is read of it


def source_of(init_from: str) -> tuple[pathlib.Path, int | str | None]:
    """Folder and step, as `Checkpoints.find` takes it, of "RUN", "RUN:STEP" or "RUN:best"."""
    run, colon, step = init_from.rpartition(":")
    if colon and (step.isdigit() or step == BEST):
        return pathlib.Path(run).expanduser(), int(step) if step.isdigit() else step
    return pathlib.Path(init_from).expanduser(), None


def start_from(
    parts: Split,
    init_from: str,
    init_filter: tuple[str, ...],
    *,
    names: Mapping[str, Sequence[str]] | None = None,
    per_name: Mapping[str, Sequence[str]] | None = None,
) -> tuple[Split, str]:
    """A fresh model with parameters and running variables of another run.

    Args:
      parts: the fresh model.
      init_from: the other run, "RUN", "RUN:STEP" or "RUN:best".
      init_filter: regular expressions, held against the start of a path, of the variables that are taken; () is all. The rest stays fresh.
      names: the new run's, by kind (`Assets.names`).
      per_name: as of `Task`: variables with a row for each name. Of these the rows of names that both runs have are taken, and names that
        the other run lacks start with the mean of its rows, which is what a stranger is shown with.

    Returns:
      The model; and what was taken, in a line.

    Raises:
      FileNotFoundError: there is no such checkpoint.
      ValueError: it is damaged; it lacks a variable that is to be taken, or has it of another shape; or an expression matches none.
    """
    folder, step = source_of(init_from)
    kinds = {"params": parts.params, "running": parts.running}
    ours = {name: leaf for variables in kinds.values() for name, leaf in by_path(variables).items()}
    asked = matching("config.train.init_filter", init_filter, ours)
    with Checkpoints(folder) as checkpoints:
        step = checkpoints.find(step, items=_ITEMS)
        item = checkpoints.folder / str(step) / "model"
        before = checkpoints.names(step)
    theirs = _metadata(item)
    names = {kind: list(mine) for kind, mine in (names or {}).items()}
    others = {kind: mine for kind, mine in names.items() if kind in before and mine != list(before[kind])}
    rows = {name: kind for kind in others for path in (per_name or {}).get(kind, ()) for name in asked if re.match(path, name)}
    _check(folder, step, {name: ours[name].shape for name in ours if name in asked}, theirs, rows)
    found = _read(item, {name: theirs[name] for name in asked})
    for name, kind in rows.items():
        found[name] = _by_name(np.asarray(ours[name]), others[kind], found[name], list(before[kind]))

    def taken(variables: Any) -> Any:
        leaves = [jnp.asarray(found.get(name, leaf), leaf.dtype) for name, leaf in by_path(variables).items()]
        return jax.tree.unflatten(jax.tree.structure(variables), leaves)

    parts = parts._replace(**{kind: taken(variables) for kind, variables in kinds.items()})
    known = [f"{len(set(others[kind]) & set(before[kind]))} of {len(others[kind])} {kind}" for kind in dict.fromkeys(rows.values())]
    return parts, "; by name ".join([_told(parts, asked, folder, step), *([", ".join(known)] if known else [])])


def _by_name(fresh: np.ndarray, ours: list[str], saved: np.ndarray, theirs: list[str]) -> np.ndarray:
    """[len(ours), ...]: the saved rows of the names that both have; of the others their mean, or fresh ones where none is saved."""
    both = [name for name in ours if name in set(theirs)]
    rows = np.broadcast_to(saved.mean(axis=0), fresh.shape).astype(fresh.dtype) if len(saved) else fresh.copy()
    rows[[ours.index(name) for name in both]] = saved[[theirs.index(name) for name in both]]
    return rows


def warn_of_other_arrays(init_from: str, assets: Assets, bound: Sequence[str]) -> None:
    """A line on stderr where the other run was trained with other arrays than `assets` has under the names `bound`.

    Args:
      init_from: the other run, as of `start_from`.
      assets: the new run's.
      bound: as of `Task.bound_arrays`.
    """
    if not bound:
        return
    folder, step = source_of(init_from)
    with Checkpoints(folder) as checkpoints:
        step = checkpoints.find(step, items=(*_ITEMS, "assets"))
        theirs = checkpoints.assets(step).arrays
    known = Assets({name: theirs[name] for name in bound if name in theirs}, {})
    if other := binding.arrays_that_differ(known, assets):
        print(
            f"warning: config.train.init_from: {folder}, step {step}, was trained with other data of this kind ({', '.join(other)}), to "
            "which its weights are bound: of a mesh's topology, what they have learned for a place on the UV chart means nothing on "
            "another chart. Train from nothing, or bring the data into that run's form (docs/reference/topology.md).",
            file=sys.stderr,
            flush=True,
        )


def _told(parts: Split, asked: set[str], folder: pathlib.Path, step: int) -> str:
    total, fresh = count(parts.params), [name for name in by_path(parts.params) if name not in asked]
    taken = total - sum(leaf.size for name, leaf in by_path(parts.params).items() if name not in asked)
    rest = f"; fresh: {shown(fresh)}" if fresh else ""
    return f"{taken:,} of {total:,} parameters taken from {folder}, step {step}{rest}"


def _check(
    folder: pathlib.Path, step: int, asked: Mapping[str, tuple[int, ...]], theirs: Mapping[str, tuple], rows: Mapping[str, str]
) -> None:
    """`rows`: variables of which rows are taken by name, so that their number may differ."""
    faults = [f"{name} (absent)" for name in asked if name not in theirs]
    for name, shape in asked.items():
        saved = tuple(theirs[name][1].shape) if name in theirs else shape
        first = 1 if name in rows else 0
        if len(saved) != len(shape) or saved[first:] != shape[first:]:
            faults.append(f"{name} ({saved}, not {shape})")
    if faults:
        raise ValueError(
            f"config.train.init_from: {folder}, step {step}, must have what this model takes; it differs in {shown(faults)}. "
            'Leave these out with config.train.init_filter, as in ("decoder/",).'
        )


def _metadata(item: pathlib.Path) -> dict[str, tuple[tuple[str, ...], Any]]:
    """Of each variable that is stored: path -> its keys in the stored tree, and what Orbax knows of it."""
    tree = ocp.PyTreeCheckpointHandler().metadata(item).tree
    stored = {tuple(key.key for key in keys): leaf for keys, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]}
    return {"/".join(keys[1:-1]): (keys, leaf) for keys, leaf in stored.items()}  # without "params" or "running", and "value"


def _read(item: pathlib.Path, variables: Mapping[str, tuple[tuple[str, ...], Any]]) -> dict[str, np.ndarray]:
    """The arrays of these variables alone, on the host."""
    tree: dict[str, Any] = {}
    for keys, leaf in variables.values():
        node = tree
        for key in keys[:-1]:
            node = node.setdefault(key, {})
        node[keys[-1]] = leaf
    args = jax.tree.map(lambda leaf: ocp.RestoreArgs(restore_type=np.ndarray), tree)
    with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as checkpointer:
        found = checkpointer.restore(item, args=ocp.args.PyTreeRestore(item=tree, restore_args=args, partial_restore=True))
    arrays = {tuple(key.key for key in keys): leaf for keys, leaf in jax.tree_util.tree_flatten_with_path(found)[0]}
    return {name: arrays[keys] for name, (keys, _) in variables.items()}
