"""Checkpoints: one holds all that resuming and evaluation need, written whole or not at all (Orbax).

A checkpoint of step n is the folder <workdir>/checkpoints/<n> with the items
  model      parameters and running variables
  training   step, optimiser state, random key
  data       position of the data iterator, JSON
  assets     the task's arrays: statistics, topology
  about      config, names of the assets, versions, JSON
Constants of the model are rebuilt from the assets. Evaluation reads model, assets and about; no captures are needed.
"""

import importlib.metadata
import pathlib
import platform
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import ml_collections
import orbax.checkpoint as ocp
from flax import nnx

from ava_jax.core.types import Assets
from ava_jax.tasks.base import Task, load_task
from ava_jax.train import config as configs
from ava_jax.train import state as states
from ava_jax.train.state import TrainState

_PACKAGES = ("ava-jax", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "numpy")


class About(NamedTuple):
    """What a checkpoint says of itself: the experiment's config and the versions of the libraries that wrote it."""

    config: ml_collections.ConfigDict
    versions: dict[str, str]


class Restored(NamedTuple):
    """A trained model, ready for evaluation. `step` is the checkpoint's."""

    config: ml_collections.ConfigDict
    assets: Assets
    task: Task
    model: nnx.Module
    step: int


class Checkpoints:
    """The checkpoints of a run's folder. Use as a context manager: leaving waits for what is being written."""

    def __init__(self, workdir: str | pathlib.Path, *, write: bool = False, keep: int | None = None):
        """Opens them, to read; or to write too.

        Args:
          workdir: the run's folder.
          write: makes the folder where it is missing, and clears away what a killed run left half written.
          keep: how many to keep, the latest; None keeps all.
        """
        self.folder = pathlib.Path(workdir).resolve() / "checkpoints"
        self._manager = None
        if write or self.folder.is_dir():
            options = ocp.CheckpointManagerOptions(max_to_keep=keep, create=write, cleanup_tmp_directories=write)
            self._manager = ocp.CheckpointManager(self.folder, options=options)

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *exc) -> None:
        if self._manager is not None:
            self._manager.close()

    def latest(self) -> int | None:
        """The last step that was saved whole."""
        return self._manager.latest_step() if self._manager is not None else None

    def find(self, step: int | None = None) -> int:
        """`step`, or the latest.

        Raises:
          FileNotFoundError: it is not there; the message names those that are.
        """
        known = sorted(self._manager.all_steps()) if self._manager is not None else []
        if not known:
            raise FileNotFoundError(f"{self.folder}: no checkpoint there. Train first: ava-train --config=... --workdir=...")
        if step is not None and step not in known:
            raise FileNotFoundError(f"{self.folder}: no checkpoint of step {step}; there are {', '.join(map(str, known))}.")
        return known[-1] if step is None else step

    def save(self, state: TrainState, data: Any, assets: Assets, config: ml_collections.ConfigDict) -> None:
        """Saves the state and what belongs to it, in the background; the state may be donated at once.

        Args:
          state: after its last step.
          data: the data iterator's position after that step's batch, JSON.
          assets: the task's.
          config: the experiment's.
        """
        # On the CPU the writer would read the very buffers that the next step is given to overwrite.
        state = jax.tree.map(jnp.copy, state)
        about = {"config": configs.to_json(config), "names": assets.names, "versions": versions()}
        self._manager.save(
            int(state.step),
            args=ocp.args.Composite(
                model=ocp.args.StandardSave({"params": state.params, "running": state.running}),
                training=ocp.args.StandardSave({"step": state.step, "opt_state": state.opt_state, "key": state.key}),
                data=ocp.args.JsonSave({"iterator": data}),
                assets=ocp.args.StandardSave(dict(assets.arrays)),
                about=ocp.args.JsonSave(about),
            ),
        )

    def wait(self) -> None:
        """Returns when everything is on disk."""
        self._manager.wait_until_finished()

    def about(self, step: int) -> About:
        """What the checkpoint of a step says of itself."""
        saved = self._manager.restore(step, args=ocp.args.Composite(about=ocp.args.JsonRestore())).about
        return About(configs.from_json(saved["config"]), saved["versions"])

    def assets(self, step: int) -> Assets:
        """The task's arrays and names, as saved with a step."""
        args = ocp.args.Composite(assets=ocp.args.StandardRestore(), about=ocp.args.JsonRestore())
        saved = self._manager.restore(step, args=args)
        return Assets(dict(saved.assets), saved.about["names"])

    def restore_training(self, step: int, like: TrainState) -> tuple[TrainState, Any]:
        """The state and the data iterator's position at a step.

        Args:
          step: a step that was saved.
          like: a fresh state: gives shapes, types and placement on devices.
        """
        want = jax.tree.map(ocp.utils.to_shape_dtype_struct, like)
        model = {"params": want.params, "running": want.running}
        training = {"step": want.step, "opt_state": want.opt_state, "key": want.key}
        args = ocp.args.Composite(
            model=ocp.args.StandardRestore(model), training=ocp.args.StandardRestore(training), data=ocp.args.JsonRestore()
        )
        saved = self._manager.restore(step, args=args)
        return TrainState(**saved.model, **saved.training), saved.data["iterator"]

    def restore_model(self, step: int, model: nnx.Module) -> nnx.Module:
        """`model` with the parameters and running variables of a step."""
        parts = states.split(model)
        want = jax.tree.map(ocp.utils.to_shape_dtype_struct, {"params": parts.params, "running": parts.running})
        saved = self._manager.restore(step, args=ocp.args.Composite(model=ocp.args.StandardRestore(want))).model
        return states.merge(parts._replace(**saved))


def restore_model(workdir: str | pathlib.Path, step: int | None = None, *, overrides: Mapping[str, Any] | None = None) -> Restored:
    """A trained model from a run's folder alone.

    Args:
      workdir: the run's folder.
      step: which checkpoint; None takes the latest.
      overrides: config values to change before the task is built, by dotted name, as in {"data.root": "elsewhere"}.

    Raises:
      FileNotFoundError: no checkpoint there, or none of that step.
    """
    with Checkpoints(workdir) as checkpoints:
        step = checkpoints.find(step)
        config, assets = checkpoints.about(step).config, checkpoints.assets(step)
        config.update_from_flattened_dict(dict(overrides or {}))
        task = load_task(config)
        model = checkpoints.restore_model(step, task.model(assets, rngs=states.model_rngs(config.seed)))
    return Restored(config, assets, task, model, step)


def versions() -> dict[str, str]:
    """Of Python and of the packages that a run's numbers depend on, as installed: name -> version."""
    installed = {d.metadata["Name"].replace("_", "-").lower(): d.version for d in importlib.metadata.distributions()}
    return {"python": platform.python_version()} | {name: installed[name] for name in _PACKAGES if name in installed}
