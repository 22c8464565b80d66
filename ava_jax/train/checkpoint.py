"""Checkpoints: one holds all that resuming and evaluation need, written whole or not at all (Orbax), and told from a damaged one.

A checkpoint of step n is the folder <workdir>/checkpoints/<n> with the items
  model          parameters and running variables
  training       step, optimiser state by group, random key
  guard          the last losses (`state.Guard`)
  data           position of the data iterator and the recoveries so far, JSON
  assets         the task's arrays: statistics, topology
  about          config, names of the assets, versions and, where it has one, its score, JSON
  manifest.json  size and SHA-256 of every file (`manifest`)
Constants of the model are rebuilt from the assets. Evaluation reads model, assets and about; no captures are needed. Arrays are plain
trees, by the parameters' paths (`stored`). Configs of older versions are brought up to date where they are read.

It is written under another name, flushed to the disk with its manifest, and then renamed; older ones are deleted after that. What
is read is held against the manifest first. Checkpoints written before there were manifests are taken as they are, and named.
"""

import math
import os
import pathlib
import re
import shutil
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import ml_collections
import orbax.checkpoint as ocp
from flax import nnx
from orbax.checkpoint import checkpoint_managers as policies

from ava_jax.core.types import Assets
from ava_jax.tasks.base import RestoredRun, load_task, task_class
from ava_jax.train import config as configs
from ava_jax.train import manifest, processes, starts, stored
from ava_jax.train import state as states
from ava_jax.train.state import TrainState
from ava_jax.train.versions import SHOWN, versions

_FOR_EVALUATION = ("model", "assets", "about")
_CLEARINGS, _BETWEEN_CLEARINGS = 20, 0.25  # tries, seconds
BEST = "best"  # in place of a step's number: that of the highest score


class About(NamedTuple):
    """What a checkpoint says of itself: the experiment's config, as of this version, and the versions of the libraries that wrote it."""

    config: ml_collections.ConfigDict
    versions: dict[str, str]


class _Best:
    """Orbax's preservation policy that keeps the `count` steps of the highest scores."""

    def __init__(self, scores: Mapping[int, float], count: int):
        self._scores, self._count = scores, count

    def should_preserve(self, checkpoints: Sequence[Any], *, context: Any) -> list[bool]:
        steps = sorted((c.step for c in checkpoints if c.step in self._scores), key=self._scores.get)
        best = set(steps[len(steps) - min(self._count, len(steps)) :])
        return [c.step in best for c in checkpoints]


class Checkpoints:
    """The checkpoints of a run's folder. Use as a context manager: leaving waits for what is being written."""

    def __init__(self, workdir: str | pathlib.Path, *, write: bool = False, keep: int | None = None, keep_best: int = 0):
        """Opens them, to read; or to write too.

        Args:
          workdir: the run's folder.
          write: makes the folder where it is missing, and clears away what a killed run left half written.
          keep: how many to keep, the latest; None keeps all.
          keep_best: how many to keep beside those, of the highest score.
        """
        self.folder = pathlib.Path(workdir).resolve() / "checkpoints"
        self._manager = None
        self._writing: int | None = None  # the last step given to the writer
        self._failed = False  # an error of the writer has been raised
        self._scores: dict[int, float] = {}
        if write or self.folder.is_dir():
            self._manager = ocp.CheckpointManager(self.folder, options=self._options(write, keep, keep_best))
            self._scores.update({step: score for step in self.steps() if (score := self._read_score(step)) is not None})

    def _options(self, write: bool, keep: int | None, keep_best: int) -> ocp.CheckpointManagerOptions:
        # Orbax's own metrics are not used: it reads all of them when it opens a folder, and a damaged one would be the end.
        return ocp.CheckpointManagerOptions(
            preservation_policy=policies.AnyPreservationPolicy([policies.LatestN(keep), _Best(self._scores, keep_best)]),
            create=write,
            cleanup_tmp_directories=write,
            async_options=ocp.options.AsyncOptions(post_finalization_callback=self._seal),
        )

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *exc) -> None:
        if self._manager is None:
            return
        if not self._failed:
            with self._raising_plainly():
                self._manager.close()
            return
        with suppress(Exception):  # waits for the writer that failed, and raises once more what has been raised
            self._manager.close()
        self._clear_half_written()

    def _clear_half_written(self) -> None:
        """Removes what a failed save left. Other threads of the writer may be at it for a moment yet, so it is looked for again."""
        for _ in range(_CLEARINGS):
            for half in self.folder.glob("*.orbax-checkpoint-tmp*"):
                shutil.rmtree(half, ignore_errors=True)  # what is still held after the last try is cleared away by the next run
            time.sleep(_BETWEEN_CLEARINGS)
            if not any(self.folder.glob("*.orbax-checkpoint-tmp*")):
                return

    def steps(self) -> list[int]:
        """Every step that is there, whole or damaged."""
        return sorted(self._manager.all_steps()) if self._manager is not None else []

    def latest(self) -> int | None:
        """The last step that is there, whole or damaged."""
        return max(self.steps(), default=None)

    def scores(self) -> dict[int, float]:
        """Step -> score, of those that have one."""
        return {step: self._scores[step] for step in self.steps() if step in self._scores}

    def find(self, step: int | str | None = None, *, items: Sequence[str] | None = None) -> int:
        """`step`, or the latest that is whole; damaged ones that are passed over are named on stderr.

        Args:
          step: which one is wanted, and no other; "best": of those that are whole, that of the highest score.
          items: parts that will be read and are verified; None: all.

        Raises:
          FileNotFoundError: it is not there; the message names those that are.
          ValueError: it is damaged; or all are; or the best is wanted and none has a score.
        """
        known = self.steps()
        if not known:
            raise FileNotFoundError(f"{self.folder}: no checkpoint there. Train first: ava-train --config=... --workdir=...")
        if step == BEST:
            known, step = self._by_score(), None
        if step is not None:
            if step not in known:
                raise FileNotFoundError(f"{self.folder}: no checkpoint of step {step}; there are {', '.join(map(str, known))}.")
            known = [step]
        damages = []
        for candidate in reversed(known):
            try:
                self.verify(candidate, items)
                break
            except manifest.Damaged as e:
                damages.append(str(e))
        else:
            raise ValueError("; ".join(damages) + (". Take another step." if step is not None else ". No whole checkpoint is left."))
        for damage in damages:
            print(f"{damage}: passed over, step {candidate} is used", file=sys.stderr)
        return candidate

    def _by_score(self) -> list[int]:
        """Those steps that have a score, the best last."""
        scores = self.scores()
        if not scores:
            raise ValueError(f"{self.folder}: no checkpoint there has a score to tell the best by; name a step, or none for the latest.")
        return sorted(scores, key=scores.get)

    def _read_score(self, step: int) -> float | None:
        try:
            return self._read_json(step, "about").get("score")
        except Exception:  # a damaged one has none; `find` names it where it matters
            return None

    def verify(self, step: int, items: Sequence[str] | None = None) -> None:
        """Holds a checkpoint that is there against its manifest; of one that is older than manifests it says so on stderr.

        Raises:
          manifest.Damaged: a file is missing, truncated or altered; the message names checkpoint and file.
        """
        folder = self.folder / str(step)
        try:
            if manifest.exists(folder):
                manifest.verify(folder, items)
            elif self._promises_manifest(step):
                raise manifest.Damaged(f"{manifest.NAME} is missing")
            else:
                print(f"{folder} has no manifest, as it is of an older version: taken as it is, unverified", file=sys.stderr)
        except manifest.Damaged as e:
            raise manifest.Damaged(f"{folder} is damaged: {e}") from e

    def _promises_manifest(self, step: int) -> bool:
        try:
            return bool(self._read_json(step, "about").get("manifest"))
        except Exception as e:  # Orbax's, of whatever kind: a deletion that was cut short leaves anything
            raise manifest.Damaged(f"neither {manifest.NAME} nor 'about' can be read") from e

    def set_aside(self, after: int) -> None:
        """Moves damaged checkpoints of later steps than `after` to <workdir>/damaged, out of the way of new ones of their steps."""
        later = [step for step in self.steps() if step > after]
        processes.barrier("checkpoints listed")
        for step in later if processes.is_first() else []:
            aside = self.folder.parent / "damaged" / str(step)
            shutil.rmtree(aside, ignore_errors=True)
            aside.parent.mkdir(exist_ok=True)
            (self.folder / str(step)).rename(aside)
        processes.barrier("checkpoints set aside")
        if self._manager is not None:
            self._manager.reload()

    def save(
        self,
        state: TrainState,
        data: Any,
        assets: Assets,
        config: ml_collections.ConfigDict,
        *,
        score: float | None = None,
        recoveries: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        """Saves the state and what belongs to it, in the background; the state may be donated at once.

        Args:
          state: after its last step.
          data: the data iterator's position after that step's batch, JSON; of several processes, a list of theirs.
          assets: the task's.
          config: the experiment's.
          score: what `keep_best` goes by, the higher the better; None or NaN: it does not compete.
          recoveries: what the run has gone back from so far, JSON (`recovery`).

        Raises:
          OSError: this one could not be begun, or the one before could not be written; the message says what is left.
        """
        # On the CPU the writer would read the very buffers that the next step is given to overwrite.
        state = jax.tree.map(jnp.copy, state)
        about = {
            "config": configs.to_json(config),
            "names": assets.names,
            "versions": versions(),
            "manifest": True,
            "format": stored.FORMAT,
        }
        score = None if score is None or math.isnan(score) else float(score)
        about |= {} if score is None else {"score": score}
        step = int(state.step)
        with self._raising_plainly():
            self.wait()
            self._writing = step
            self._scores.pop(step, None)
            if score is not None:
                self._scores[step] = score
            self._manager.save(
                step,
                args=ocp.args.Composite(
                    **{name: ocp.args.StandardSave(tree) for name, tree in stored.items(state).items()},
                    data=ocp.args.JsonSave({"iterator": data, "recoveries": list(recoveries)}),
                    assets=ocp.args.StandardSave(dict(assets.arrays)),
                    about=ocp.args.JsonSave(about),
                ),
            )

    def _seal(self) -> None:
        """Called by Orbax in its thread when all files are written, before the folder gets its name."""
        folders = list(self.folder.glob(f"{self._writing}.orbax-checkpoint-tmp*"))
        if len(folders) != 1:
            raise RuntimeError(f"{self.folder}: the folder in which step {self._writing} is being written was not found; found {folders}.")
        manifest.write(folders[0])

    def wait(self) -> None:
        """Returns when everything is on disk.

        Raises:
          OSError: it could not be written; the message says what is left.
        """
        with self._raising_plainly():
            self._manager.wait_until_finished()

    @contextmanager
    def _raising_plainly(self) -> Iterator[None]:
        """Errors of the writer, of whatever library, as one OSError that says what is left."""
        try:
            yield
        except Exception as e:
            if self._failed:
                raise
            self._failed = True
            left = [int(p.name) for p in self.folder.glob("*") if p.name.isdigit()]
            kept = f"the checkpoint of step {max(left)} is still there; the same command goes on from it" if left else "none is there yet"
            raise OSError(f"{self.folder}: the checkpoint of step {self._writing} could not be written ({_reason(e)}); {kept}.") from e

    def _read_json(self, step: int, item: str) -> dict[str, Any]:
        return self._manager.restore(step, args=ocp.args.Composite(**{item: ocp.args.JsonRestore()}))[item]

    def about(self, step: int) -> About:
        """What the checkpoint of a step says of itself."""
        saved = self._read_json(step, "about")
        config = configs.from_json(saved["config"])
        with configs.naming_missing_keys(f"{self.folder / str(step)}: its config"):
            configs.migrate(config)
            task = task_class(config)
            task.migrate(config)
            configs.read_lists(config, configs.LISTS | task.lists)
            configs.make_absolute(config, task.paths, starts.folder(self.folder.parent))  # older versions kept paths as they were given
        return About(config, saved["versions"])

    def recoveries(self, step: int) -> list[dict[str, Any]]:
        """What the run had gone back from when it saved a step."""
        return self._read_json(step, "data").get("recoveries", [])

    def names(self, step: int) -> dict[str, list[str]]:
        """The names of a step's assets, by kind."""
        return self._read_json(step, "about")["names"]

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

        Raises:
          ValueError: the checkpoint is of another model or optimiser, or of a version whose training this one cannot go on with.
        """
        if self._read_json(step, "about").get("format", 1) < stored.FORMAT:
            raise ValueError(
                f"{self.folder / str(step)} is of an older version, whose optimiser's state this one cannot go on with. Begin a new run "
                f"from its weights: --config.train.init_from={self.folder.parent} --workdir=NEW"
            )
        want = jax.tree.map(ocp.utils.to_shape_dtype_struct, stored.items(like))
        return stored.state_of(self._restore_arrays(step, want), like), self._read_json(step, "data")["iterator"]

    def restore_model(self, step: int, model: nnx.Module) -> nnx.Module:
        """`model` with the parameters and running variables of a step.

        Raises:
          ValueError: the checkpoint is of another model.
        """
        parts = states.split(model)
        want = jax.tree.map(ocp.utils.to_shape_dtype_struct, {"params": parts.params, "running": parts.running})
        return states.merge(parts._replace(**self._restore_arrays(step, {"model": want})["model"]))

    def _restore_arrays(self, step: int, items: Mapping[str, Any]) -> Any:
        args = ocp.args.Composite(**{name: ocp.args.StandardRestore(want) for name, want in items.items()})
        try:
            return self._manager.restore(step, args=args)
        except (ValueError, KeyError, TypeError) as e:
            by = ", ".join(f"{name} {version}" for name, version in self.about(step).versions.items() if name in SHOWN)
            raise ValueError(
                f"{self.folder / str(step)} (written by {by}) does not fit the model that its config makes here: {_reason(e)}"
            ) from e


def restore_model(workdir: str | pathlib.Path, step: int | str | None = None, *, overrides: Mapping[str, Any] | None = None) -> RestoredRun:
    """A trained model from a run's folder alone.

    Args:
      workdir: the run's folder.
      step: which checkpoint; None takes the latest, "best" that of the highest score in validation.
      overrides: config values to change before the task is built, by dotted name, as in {"data.root": "elsewhere"}.

    Raises:
      FileNotFoundError: no checkpoint there, or none of that step.
      ValueError: it is damaged; or is older than a key of the config that the task needs, and no override gives it.
    """
    with Checkpoints(workdir) as checkpoints:
        step = checkpoints.find(step, items=_FOR_EVALUATION)
        config, assets = checkpoints.about(step).config, checkpoints.assets(step)
        configs.override(config, overrides or {})
        with configs.naming_missing_keys(f"{checkpoints.folder / str(step)}: its config"):
            task = load_task(config, restore=restore_model)
            model = task.model(assets, rngs=states.model_rngs(config.seed))
        model = checkpoints.restore_model(step, model)
    return RestoredRun(config, assets, task, model, step)


def _reason(error: BaseException) -> str:
    """What an error has to say, in a line: the system's own words where it was the system's error."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    text = str(error).strip() or type(error).__name__
    number = re.search(r"os_error_code='(\d+)'", text)  # TensorStore's, after a long account of what it was at
    return os.strerror(int(number.group(1))) if number else text.splitlines()[0][:300]
