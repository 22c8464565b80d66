"""The multiface task: what the rest of the package sees of a person's deep appearance model."""

import pathlib
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
from flax import nnx

from ava_jax.core.sampling import Sampling, Source
from ava_jax.core.types import Array, Assets, Batch
from ava_jax.tasks import base
from ava_jax.tasks.multiface import optimizer
from ava_jax.tasks.multiface.data import source, synthesize
from ava_jax.tasks.multiface.evaluation import pictures, published, scores
from ava_jax.tasks.multiface.model import avatar
from ava_jax.tasks.multiface.model.avatar import Avatar

VERT, TEX, KL, SCREEN = "vert", "tex", "kl", "screen"


class Multiface(base.Task):
    """The batch and the assets are described in `data.source`.

    A prediction: `vertices` f32 [B, V, 3], mm; `texture` f32 [B, T, T, 3], raw, 0-255, row 0 at v = 0, as the sample's camera sees it;
    `scores`, [B] each, where the batch has targets.
    """

    loss_terms = (VERT, TEX, KL, SCREEN)
    group_by = ("segment", "camera")
    cluster_by = ("segment", "frame")  # views of one frame show one expression
    sample_name = "view"
    lists = source.LISTS
    paths = source.PATHS
    per_name: Mapping[str, tuple[str, ...]] = {}

    @property
    def scores(self) -> tuple[base.Score, ...]:
        """What `score` gives."""
        return scores.declared(self.config)

    def prepare(self) -> Assets:
        """Statistics, topology and names of the capture."""
        return source.prepare(self.config)

    def source(self, split: str, assets: Assets) -> Source:
        """Views of frames, with photographs where the loss looks at them."""
        return source.source(self.config, split, assets, image=scores.needs_photographs(self.config))

    def sampling(self, split: str) -> Sampling:
        """What is learned from is shuffled, several views of a frame near each other."""
        if split == base.TRAIN:
            shuffle = self.config.data.shuffle
            return Sampling(self.config.train.batch_size, per_visit=shuffle.cameras_per_visit, window=shuffle.window)
        return Sampling(self.config.eval.batch_size, shuffle=False, epochs=1, drop_remainder=False)

    def eval_splits(self, assets: Assets) -> Sequence[str]:
        """Segments and cameras held out of training, of which there are any."""
        return source.eval_splits(self.config, assets)

    def describe(self, batch: Batch, assets: Assets) -> list[base.Row]:
        """Segment, camera and frame."""
        return source.describe(batch, assets)

    def model(self, assets: Assets, *, rngs: nnx.Rngs) -> Avatar:
        """The networks, with the capture's statistics and mesh."""
        return Avatar(self.config.model, assets, rngs=rngs)

    def loss(self, model: Avatar, batch: Batch, *, step: jax.Array, key: jax.Array, terms: Collection[str]) -> dict[str, base.LossTerm]:
        """The published terms, [B] each: means over vertices, texels, numbers of the code, pixels; errors normalised."""
        del step
        answer, statistics = model.answer(batch, key), model.statistics
        found: dict[str, base.LossTerm] = {}
        if VERT in terms:
            found[VERT] = avatar.vertex_error(answer, statistics.vertices(batch["vertices"])), None
        if TEX in terms:
            found[TEX] = avatar.texture_error(answer, *statistics.texture(batch["texture"])), None
        if KL in terms:
            found[KL] = avatar.divergence(answer), None
        if SCREEN in terms:
            error = model.screen.error(statistics.raw_vertices(answer.vertices), statistics.raw_texture(answer.texture), batch)
            found[SCREEN] = error / jnp.square(statistics.texture_std[...]), None
        return found

    def optimizer(self, steps: int, steps_per_epoch: int) -> base.Optimizer:
        """Adam for the model and Adam for colour correction, as published."""
        del steps
        return optimizer.optimizer(self.config.optimizer, steps_per_epoch)

    def predict(self, model: Avatar, batch: Batch) -> dict[str, Any]:
        """Mesh and texture of the mean of each code; and scores, which need no copy of the textures to the host."""
        answer = model.answer(batch)
        found: dict[str, Any] = {
            "vertices": model.statistics.raw_vertices(answer.vertices),
            "texture": model.statistics.raw_texture(answer.texture),
        }
        if "texture" in batch:
            found["scores"] = scores.of_answer(model, answer, batch)
        return found

    def score(self, prediction: dict[str, Any], batch: Batch, assets: Assets) -> dict[str, np.ndarray]:
        """What `predict` computed, [B] each."""
        return scores.on_host(prediction["scores"], self.config)

    def baselines(self, assets: Assets) -> Mapping[str, Callable[[Batch], dict[str, np.ndarray]]]:
        """The capture's mean mesh and mean texture, whatever is seen; scores [B] each."""
        return {scores.CONSTANT: lambda batch: scores.of_means(assets, self.config.model.texture_size, batch)}

    def protocol(self, rows: Mapping[str, Sequence[base.Row]], assets: Assets) -> base.Protocol:
        """Honest or adapted, and what is published of the same person."""
        lines = [f"{split}: {len(found)} views" for split, found in rows.items()]
        lines += [published.how(self.config), *published.lines(self.config, assets.names["identity"][0])]
        what = {score.name: score.what for score in self.scores}
        return base.Protocol(tuple(lines), {"lines": lines, "adapted": published.is_adapted(self.config), "scores": what})

    def export(self, prediction: dict[str, Any], sample: Batch, assets: Assets, folder: pathlib.Path) -> list[pathlib.Path]:
        """A textured OBJ of one sample."""
        return pictures.export(prediction, sample, assets, folder)

    def write_examples(
        self, compile_model: base.Compile, best: Sequence[base.Example], worst: Sequence[base.Example], path: pathlib.Path
    ) -> bool:
        """The best and the worst textures."""
        return pictures.write_examples(self.predictor(compile_model), best, worst, path)

    def draw_sample(self, prediction: dict[str, Any], sample: Batch, assets: Assets) -> dict[str, np.ndarray]:
        """Texture, prediction, and their difference: u8 [T, T, 3]."""
        return pictures.panels(prediction["texture"], sample["texture"]) if "texture" in sample else {}

    def pictures(self, model: Avatar, batch: Batch) -> dict[str, Array]:
        """Predicted textures f32 [B, T, T, 3]."""
        return {"texture": model.statistics.raw_texture(model.answer(batch).texture)}

    def draw_pictures(self, pictures_: dict[str, Array], batch: Batch, assets: Assets) -> dict[str, np.ndarray]:
        """Textures beside predictions: u8 [H, W, 3]."""
        return pictures.progress(pictures_["texture"], batch, assets)

    @classmethod
    def synthesize(cls, folder: pathlib.Path, *, small: bool = False) -> dict[str, Any]:
        """A procedural head, captured."""
        return synthesize.write_default(folder, small=small)

    @classmethod
    def test_config(cls, config: ml_collections.ConfigDict) -> None:
        """A network of a few thousand parameters, on textures of 8 x 8."""
        config.model.update({"code": 4, "hidden": 8, "texture_size": 8})
        config.model.encoder_channels, config.model.decoder_channels, config.model.warp_channels = (4, 5), (5,), (4, 5)
        config.data.update({"max_unreadable": 0.5, "downsample": 32})
        config.loss_weights.screen = 1.0
        config.train.update({"steps": 2, "epochs": 0, "batch_size": 2, "steps_per_call": 1, "log_every": 1, "picture_every": 1})
        config.train.update({"checkpoint_every": 1, "validate_every": 1, "validate_samples": 1})
        config.eval.batch_size = 2
