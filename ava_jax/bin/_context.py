"""What commands are given of the rest of the package: models restored and compiled, runs begun and trained. jax is imported on use."""

import pathlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import ml_collections
    from flax import nnx

    from ava_jax.core.types import Assets
    from ava_jax.tasks.base import Compile, RestoredRun
    from ava_jax.tasks.command import Programs


class Context:
    """Implements `tasks.command.Context`, which says what each method does."""

    def restore(
        self, workdir: str | pathlib.Path | None, step: int | str | None = None, *, overrides: Mapping[str, Any] | None = None
    ) -> "RestoredRun":
        """A trained model from a run's folder alone."""
        if not workdir:
            raise ValueError("--workdir is missing: the folder of a trained run, as in --workdir=runs/first.")
        step = parse_step(step)
        from ava_jax.train import checkpoint

        given = {name: value for name, value in (overrides or {}).items() if value is not None}
        return checkpoint.restore_model(pathlib.Path(workdir).expanduser(), step, overrides=given)

    def compile(self, model: "nnx.Module") -> "Compile":
        """Makes a compiled function of `args` from `fn(model, *args)`."""
        from ava_jax.run.inference import Inference

        return Inference(model).compile

    def programs(self, model: "nnx.Module") -> "Programs":
        """Exports functions of a model."""
        from ava_jax.run.programs import ModelPrograms

        return ModelPrograms(model)

    def write_run(
        self, config: "ml_collections.ConfigDict", assets: "Assets", model: "nnx.Module", workdir: str | pathlib.Path | None
    ) -> pathlib.Path:
        """Begins a run with a model that was not trained here."""
        if not workdir:
            raise ValueError("--workdir is missing: a new folder for the run, as in --workdir=runs/imported.")
        from ava_jax.run.new_run import write_run

        return write_run(config, assets, model, pathlib.Path(workdir).expanduser())

    def train(self, config: "ml_collections.ConfigDict", workdir: str | pathlib.Path) -> bool:
        """Trains what a config names, or goes on where it stopped."""
        from ava_jax.run.new_run import train_run

        return train_run(config, pathlib.Path(workdir).expanduser())


def parse_step(step: int | str | None) -> int | str | None:
    """What `--step` names, as `train.checkpoint` takes it.

    Raises:
      ValueError: it is neither a number nor "best".
    """
    if step is None or step == "best" or isinstance(step, int):
        return step
    if not step.isdecimal():
        raise ValueError(f"--step must be a checkpoint's number, as in --step=1000, or best; got {step!r}.")
    return int(step)
