"""The ava256 task: what the rest of the package sees of the universal avatar codec. Each method is a line; the work is in its siblings."""

import functools
import pathlib
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import jax
import ml_collections
import numpy as np
from flax import nnx

from ava_jax.captures import appearance, camera_table, chart, projection
from ava_jax.captures.capture_set import CaptureSet
from ava_jax.core.mesh import Topology
from ava_jax.core.sampling import Sampling
from ava_jax.core.types import Array, Assets, Batch
from ava_jax.tasks.ava256 import examples, migration
from ava_jax.tasks.ava256.apps.avatar import Avatar
from ava_jax.tasks.ava256.data import base_run, components, neutrals, rules, sample_rows, source, strangers
from ava_jax.tasks.ava256.evaluation import baseline, check, files, networks, pictures, protocol, scores
from ava_jax.tasks.ava256.model.codec import LOSS_TERMS, AvatarCodec
from ava_jax.tasks.ava256.optimizer import optimizer
from ava_jax.tasks.base import AtHand, Compile, Example, LossTerm, Optimizer, Protocol, Row, Score, Task
from ava_jax.viz import sheet


class Ava256(Task):
    """The batch is described in `data.source`, the assets in CONVENTIONS and `source.prepare`, a prediction in `evaluation.scores`."""

    loss_terms = LOSS_TERMS
    group_by = ("identity", "camera", "segment")
    cluster_by = ("identity", "segment", "frame")  # images of one frame show one expression
    sample_name = "image"
    eval_options = (*rules.RULE, rules.HELD_OUT_BY, *networks.OPTIONS)
    lists = source.LISTS
    paths = ("data.root", "data.ids", "data.topology", "data.base_run")
    per_name = {
        "identities": ("calibration/identity_", "background/identity/first/weight"),
        "cameras": ("calibration/camera_", "background/camera/first/weight"),
    }
    bound_arrays = ("faces", "face_uvs", "uvs")
    _calibrations_held = False  # against the meshes: once per task

    @functools.cached_property
    def lpips(self) -> networks.Lpips:
        """LPIPS, with the networks whose files the config names."""
        return networks.Lpips.of(self.config)

    @property
    def scores(self) -> tuple[Score, ...]:
        """What `score` gives."""
        return (*scores.DECLARED, *self.lpips.scores)

    @functools.cached_property
    def captures(self) -> CaptureSet:
        """The captures that the config names: parsed when first asked for, and once for everything that reads them."""
        return source.load_captures(self.config)

    @classmethod
    def migrate(cls, config: ml_collections.ConfigDict) -> None:
        """Brings a config that an older version saved up to date, in place."""
        migration.migrate(config)

    def prepare(self) -> Assets:
        """Statistics, topology and names of the captures; or of a run, to which people and cameras of the captures are added."""
        if base := self.config.data.get("base_run", ""):
            return base_run.prepare(self.restore(base).assets, self.captures, self.config)
        found, model = source.prepare(self.captures, self.config), self.config.model
        if not (model.expression_components and model.expression_basis):  # without a basis the model says what is wrong
            return found
        return Assets(found.arrays | components.of_captures(self.captures, self.config, found).arrays, found.names)

    def source(self, split: str, assets: Assets) -> source.CaptureSource:
        """Frames of captures, each seen by one camera; their calibrations are held against their meshes first, unless all is predicted."""
        found = source.source(self.captures, self.config, split, assets)
        if split != source.PREDICT and not self._calibrations_held:
            self._hold_calibrations(assets)
        return found

    def _hold_calibrations(self, assets: Assets) -> None:
        """Says what is doubtful of them; raises ValueError for what is wrong."""
        data, captures = self.config.data, self.captures
        undistorted = data.get("undistorted", True)  # configs of older versions do not have it
        threads = max(data.read_threads, 1)
        topology = Topology(**{name: np.asarray(assets.arrays[name]) for name in ("faces", "face_uvs", "uvs")})
        doubts = projection.require(captures.archives, captures.captures, undistorted=undistorted, threads=threads)
        seen = {name for capture in captures for name in camera_table.known(capture, assets.names["cameras"])}
        doubts += appearance.doubts(captures.archives, captures.captures, topology, seen, threads=threads)
        doubts += [f"topology: {doubt}" for doubt in self._chart(topology, np.asarray(assets.arrays["vertices_mean"])).doubts()]
        for doubt in doubts:
            print(f"warning: {doubt}", file=sys.stderr, flush=True)
        self._calibrations_held = True

    def _chart(self, topology: Topology, vertices: np.ndarray) -> chart.Chart:
        """What the UV chart does with the primitives on a mesh [V, 3]."""
        model = self.config.model
        return chart.measure(topology, vertices, per_side=model.primitives_per_side, volume_radius=model.volume_radius)

    def draw_check(self, folder: pathlib.Path) -> list[pathlib.Path]:
        """Neutral meshes over images of some cameras, and primitives over the UV chart, of which a line is printed."""
        return check.write(self.config, folder)

    def sampling(self, split: str) -> Sampling:
        """Training draws several views of a frame near each other."""
        if split == source.TRAIN:
            shuffle = self.config.data.shuffle
            return Sampling(self.config.train.batch_size, per_visit=shuffle.cameras_per_visit, window=shuffle.window)
        return Sampling(self.config.eval.batch_size, shuffle=False, epochs=1, drop_remainder=False)

    def eval_splits(self, assets: Assets) -> Sequence[str]:
        """Unseen frames and unseen cameras, of which there are any."""
        return source.eval_splits(self.captures, self.config)

    def model(self, assets: Assets, *, rngs: nnx.Rngs) -> AvatarCodec:
        """The codec."""
        return AvatarCodec(self.config.model, assets, rngs=rngs)

    def loss(self, model: AvatarCodec, batch: Batch, *, step: jax.Array, key: jax.Array, terms: Collection[str]) -> dict[str, LossTerm]:
        """As `AvatarCodec.training_loss_terms`, values [B, ...]."""
        return model.training_loss_terms(batch, step=step, key=key, terms=terms)

    def optimizer(self, steps: int, steps_per_epoch: int) -> Optimizer:
        """The published recipe."""
        return optimizer(self.config.optimizer, bases=self.config.model.expression_basis > 0)

    def predict(self, model: AvatarCodec, batch: Batch) -> dict[str, Any]:
        """As `scores.predict`."""
        if "image" in batch:
            return scores.predict(model, batch, batch["image"].shape[1:3])
        return scores.predict(model, batch, self.captures.image_size(self.config.data.downsample))

    def protocol(self, rows: Mapping[str, Sequence[Row]], assets: Assets) -> Protocol:
        """Sizes, cameras and frames, and what of them was trained on."""
        return protocol.describe(self.captures, self.config, assets, self.scores, rows, self.lpips.line())

    def predictor(self, compile_model: Compile) -> Callable[[Batch], dict[str, Any]]:
        """`predict`, with LPIPS where its networks' weights are given: one compiled call per batch."""
        if not self.lpips.files:
            return compile_model(self.predict)
        networks.require_size(self.lpips.files, self.captures.image_size(self.config.data.downsample))
        weights = self.lpips.load()
        compiled = compile_model(self._predict_with_lpips)
        return lambda batch: compiled(batch, weights)

    def _predict_with_lpips(self, model: AvatarCodec, batch: Batch, weights: Any) -> dict[str, Any]:
        found = self.predict(model, batch)
        return found | {"scores": found["scores"] | networks.scores(weights, found["image"], batch)}

    def check_data(self, assets: Assets) -> AtHand:
        """People and cameras that are strangers; topology and statistics."""
        return strangers.check(self.captures, self.config, assets)

    def describe(self, batch: Batch, assets: Assets) -> list[Row]:
        """Identity, camera, segment and frame."""
        return sample_rows.describe(batch, assets, self.captures)

    def score(self, prediction: dict[str, Any], batch: Batch, assets: Assets) -> dict[str, np.ndarray]:
        """What `predict` computed, [B] each."""
        return scores.on_host(prediction, assets)

    def baselines(self, assets: Assets) -> Mapping[str, Callable[[Batch], dict[str, np.ndarray]]]:
        """The mean heads; their scores are [B] each."""
        return {"baseline": baseline.load(self.captures, self.config, assets).scores}

    def export(self, prediction: dict[str, Any], sample: Batch, assets: Assets, folder: pathlib.Path) -> list[pathlib.Path]:
        """The picture as a PNG."""
        return files.write(prediction, sample, assets, folder, self.captures)

    def draw_sample(self, prediction: dict[str, Any], sample: Batch, assets: Assets) -> dict[str, np.ndarray]:
        """Photograph, render and error."""
        return pictures.of_sample(prediction, sample)

    def pictures(self, model: AvatarCodec, batch: Batch) -> dict[str, Array]:
        """As `pictures.progress`, [B, H, W, 3]."""
        return pictures.progress(model, batch)

    def draw_pictures(self, panels: dict[str, Array], batch: Batch, assets: Assets) -> dict[str, np.ndarray]:
        """Progress pictures [B, H, W, 3] as a captioned sheet, u8 [H', W', 3]."""
        return {"progress": np.asarray(pictures.progress_sheet(panels, batch, assets, self.captures))}

    def write_examples(self, compile_model: Compile, best: Sequence[Example], worst: Sequence[Example], path: pathlib.Path) -> bool:
        """The best and the worst samples beside what the model makes of them."""
        sheet.save(pictures.best_and_worst(compile_model, best, worst), path)
        return True

    def write_artefacts(self, compile_model: Compile, assets: Assets, folder: pathlib.Path) -> list[pathlib.Path]:
        """The contact sheet."""
        return pictures.write(self.captures, compile_model, self.config, assets, folder)

    def write_references(self, assets: Assets, folder: pathlib.Path) -> None:
        """The neutral faces; a run of imported weights may name no captures, and have none."""
        if self.config.data.root:
            kept, fill = self.config.data.get("base_run", ""), self.config.data.get("fill_unseen", True)
            neutrals.write(self.captures, assets, folder, kept=kept, fill_unseen=fill)

    def library(self, compile_model: Compile, assets: Assets, folder: pathlib.Path, step: int) -> Avatar:
        """The avatar."""
        return Avatar(compile_model, self.config, assets, folder, step)

    @classmethod
    def synthesize(cls, folder: pathlib.Path, *, small: bool = False) -> dict[str, Any]:
        """Captures of procedural heads."""
        return examples.synthesize(folder, small=small)

    @classmethod
    def test_config(cls, config: ml_collections.ConfigDict) -> None:
        """As little work as the avatar can do."""
        examples.shrink(config)
