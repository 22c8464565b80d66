"""The ava256 task: what the loop sees of the universal avatar codec. Each method is a line; the work is in its siblings."""

import pathlib
from collections.abc import Callable, Collection, Sequence
from typing import Any

import jax
import ml_collections
import numpy as np
from flax import nnx

from ava_jax.core.sampling import Sampling
from ava_jax.core.types import Array, Assets, Batch
from ava_jax.tasks.ava256.apps.avatar import Avatar
from ava_jax.tasks.ava256.data import neutrals, source
from ava_jax.tasks.ava256.evaluation import baseline, pictures, scores
from ava_jax.tasks.ava256.model.codec import LOSS_TERMS, AvatarCodec
from ava_jax.tasks.ava256.optimizer import optimizer
from ava_jax.tasks.base import LossTerm, Optimizer


class Ava256:
    """Implements `tasks.base.Task`. The batch is described in `source`, the assets in CONVENTIONS and `source.prepare`."""

    loss_terms = LOSS_TERMS

    def __init__(self, config: ml_collections.ConfigDict):
        self.config = config

    def prepare(self) -> Assets:
        return source.prepare(self.config)

    def source(self, split: str, assets: Assets) -> source.CaptureSource:
        return source.source(self.config, split, assets)

    def sampling(self, split: str) -> Sampling:
        if split == source.TRAIN:
            shuffle = self.config.data.shuffle
            return Sampling(self.config.train.batch_size, per_visit=shuffle.cameras_per_visit, window=shuffle.window)
        return Sampling(self.config.eval.batch_size, shuffle=False, epochs=1, drop_remainder=False)

    @property
    def eval_splits(self) -> Sequence[str]:
        return source.eval_splits(self.config)

    def model(self, assets: Assets, *, rngs: nnx.Rngs) -> AvatarCodec:
        return AvatarCodec(self.config.model, assets, rngs=rngs)

    def loss(self, model: AvatarCodec, batch: Batch, *, step: jax.Array, key: jax.Array, terms: Collection[str]) -> dict[str, LossTerm]:
        return model.training_loss_terms(batch, step=step, key=key, terms=terms)

    def optimizer(self, steps: int, steps_per_epoch: int) -> Optimizer:
        return optimizer(self.config.optimizer)

    def evaluate(self, model: AvatarCodec, batch: Batch) -> dict[str, Array]:
        return scores.scores(model, batch)

    def describe(self, batch: Batch, assets: Assets) -> list[dict[str, Any]]:
        return source.describe(batch, assets)

    def pictures(self, model: AvatarCodec, batch: Batch) -> dict[str, Array]:
        return pictures.progress(model, batch)

    def baseline(self, assets: Assets) -> Callable[[Batch], dict[str, np.ndarray]]:
        """Scores of the mean heads (`run.evaluation.HasBaseline`)."""
        return baseline.load(self.config, assets).scores

    def write_references(self, assets: Assets, folder: pathlib.Path) -> None:
        """The neutral faces (`train.record.HasReferences`)."""
        neutrals.write(self.config, assets, folder)

    def library(self, compile_model: Callable, assets: Assets, folder: pathlib.Path, step: int) -> Avatar:
        """The avatar for programs (`run.library.HasLibrary`)."""
        return Avatar(compile_model, self.config, assets, folder, step)

    def draw_pictures(self, pictures_: dict[str, Array], batch: Batch, assets: Assets) -> dict[str, np.ndarray]:
        """Progress pictures as a captioned sheet (`tasks.base.HasCaptions`)."""
        return {"progress": np.asarray(pictures.progress_sheet(pictures_, batch, assets))}

    def write_examples(self, compile_model: Callable, best: Sequence[Any], worst: Sequence[Any], path: pathlib.Path) -> None:
        """The best and the worst samples beside what the model makes of them (`run.evaluation.HasExamples`)."""
        pictures.save_sheet(pictures.best_and_worst(compile_model, best, worst), path)

    def write_artefacts(self, compile_model: Callable, assets: Assets, folder: pathlib.Path) -> list[pathlib.Path]:
        """The contact sheet (`run.evaluation.HasArtefacts`)."""
        return pictures.write(compile_model, self.config, assets, folder)
