"""Pictures that show how far a model is: progress while it trains, and the contact sheet of a finished one."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict
from PIL import Image

from ava_jax.captures.capture_set import CaptureSet
from ava_jax.captures.front import front_camera
from ava_jax.core.sampling import thin
from ava_jax.core.types import Array, Assets, Batch
from ava_jax.tasks.ava256.apps import driving, selection
from ava_jax.tasks.ava256.data import rules, sample_rows, source
from ava_jax.tasks.ava256.evaluation.scores import face_mask
from ava_jax.tasks.ava256.model.codec import AvatarCodec
from ava_jax.tasks.base import Compile, Example
from ava_jax.viz import colours, sheet

MOST_IDENTITIES = 4  # rows of a contact sheet
MOST_FRAMES = 8  # a person's held-out frames that the most expressive one is looked for in


def progress(model: AvatarCodec, batch: Batch) -> dict[str, jax.Array]:
    """What `progress_sheet` shows of a training batch.

    Returns:
      render, error, driven: u8 [B, H, W, 3]; driven is the partner's person with the sample's own expression, camera and background.
      partner: int32 [B], the next sample of another person, or the next one where there is no other.
    """
    code = driving.encode_identity(model, batch)
    own = driving.drive(model, code, batch["identity"], batch)
    partner = next_of_another(batch["identity"])
    other, identity = jax.tree.map(lambda x: x[partner], (code, batch["identity"]))
    driven = driving.drive(model, other, identity, batch)
    panels = {"render": own, "error": colours.error_colours(own, batch["image"]), "driven": driven}
    return {name: colours.to_u8(panel) for name, panel in panels.items()} | {"partner": partner}


def next_of_another(identity: Array) -> jax.Array:
    """For each of B samples, the place of the next one, around the end, of another person; of the next one where all are the same's.

    Args:
      identity: int32 [B].

    Returns:
      int32 [B].
    """
    count = len(identity)
    following = (jnp.arange(count)[:, None] + 1 + jnp.arange(count)) % count  # [B, B], itself last
    other = jnp.asarray(identity)[following] != jnp.asarray(identity)[:, None]
    return jnp.take_along_axis(following, jnp.argmax(other, axis=1)[:, None], axis=1)[:, 0]


def progress_sheet(panels: Mapping[str, Array], batch: Batch, assets: Assets, captures: CaptureSet | None = None) -> Image.Image:
    """A row a sample: truth, render, error, and another person of the batch with this one's expression.

    Args:
      panels: from `progress`, [B, H, W, 3] each.
      batch: that it was given.
      assets, captures: as `sample_rows.describe` takes them.
    """
    rows = sample_rows.describe(batch, assets, captures)
    panels = {name: np.asarray(panel) for name, panel in panels.items()}
    strips = []
    for i, row in enumerate(rows):
        driven = f"{_subject(rows[panels['partner'][i]])}, driven by {_subject(row)}"
        columns = ("truth", np.asarray(batch["image"][i])), ("render", panels["render"][i]), (colours.ERROR_CAPTION, panels["error"][i])
        strips.append(sheet.Strip(_where(row), (*columns, (driven, panels["driven"][i]))))
    return sheet.compose(strips, columns=1)


def best_and_worst(compile_model: Compile, best: Sequence[Example], worst: Sequence[Example]) -> Image.Image:
    """Samples beside what the model makes of them: the best to the left, the worst to the right; truth | render | error of each.

    Of a camera or a person not seen in training, who have no background, the error is shown on the face alone, where it is scored.

    Args:
      best, worst: as many of either.

    Raises:
      ValueError: there are none.
    """
    examples = [example for pair in zip(best, worst, strict=True) for example in pair]
    if not examples:
        raise ValueError("best_and_worst: there must be a sample of each; no sample of the split has a score.")

    def reconstruct(model: AvatarCodec, batch: Batch) -> tuple[jax.Array, jax.Array]:
        image = model.reconstruct(batch)
        return colours.to_u8(image), _scored_error(image, batch)

    draw = compile_model(reconstruct)
    strips = []
    for label, row, sample in examples:
        shown, error = (np.asarray(x[0]) for x in draw({name: value[None] for name, value in sample.items()}))
        panels = ("truth", sample["image"]), ("render", shown), (colours.ERROR_CAPTION, error)
        strips.append(sheet.Strip(f"{_where(row)}: {label}", panels))
    return sheet.compose(strips, columns=2)


def of_sample(prediction: Mapping[str, Array], sample: Batch) -> dict[str, np.ndarray]:
    """A sample's photograph, render and error, u8 [H, W, 3] each, as `Task.draw_sample` gives them; {} without a photograph.

    Of a camera or a person not seen in training the error is shown on the face alone, as in `best_and_worst`.
    """
    if "image" not in sample or "segmentation" not in sample:
        return {}
    batch = {name: np.asarray(value)[None] for name, value in sample.items()}
    error = _scored_error(np.asarray(prediction["image"])[None], batch)
    truth, render = np.asarray(sample["image"]), np.asarray(colours.to_u8(prediction["image"]))
    return {"truth": truth, "render": render, colours.ERROR_CAPTION: np.asarray(error)[0]}


def _scored_error(image: Array, batch: Batch) -> jax.Array:
    """Errors of renders [B, H, W, 3] as colours, black where they are not scored: u8 [B, H, W, 3]."""
    scored = ((batch["camera"] >= 0) & (batch["identity"] >= 0))[:, None, None] | face_mask(batch["segmentation"])
    return colours.to_u8(jnp.where(scored[..., None], colours.error_colours(image, batch["image"]), 0.0))


def _where(row: Mapping[str, Any]) -> str:
    """Who, what and from where, from a row of `sample_rows.describe`."""
    return f"{_subject(row)}   {row['segment']} {row['frame']}, camera {row['camera']}"


def _subject(row: Mapping[str, Any]) -> str:
    return row["identity"].rpartition("--")[2]


def contact_sheet(captures: CaptureSet, compile_model: Compile, config: ConfigDict, assets: Assets, split: str) -> Image.Image:
    """Held-out frames of several people: truth | render | error of each, then each with the next one's expression.

    Everyone is seen by the camera most in front of the face, in the frame furthest from neutral.

    Args:
      split: that the frames are taken from.

    Raises:
      ValueError: the split has no frame that can be read.
    """
    samples = _sheet_samples(captures, config, assets, split)
    batch = {name: np.stack([sample[name] for sample in samples]) for name in samples[0]}
    order = np.roll(np.arange(len(samples)), -1)  # the person driven by sample i is that of the next row
    encode, drive = compile_model(driving.encode_identity), compile_model(driving.drive)
    code = encode(batch)
    own = drive(code, batch["identity"], batch)
    cross = drive(jax.tree.map(lambda x: x[order], code), batch["identity"][order], batch)
    truth, errors = batch["image"], np.asarray(colours.to_u8(colours.error_colours(own, batch["image"])))
    own, cross = np.asarray(colours.to_u8(own)), np.asarray(colours.to_u8(cross))
    rows = sample_rows.describe(batch, assets, captures)
    names = [_subject(row) for row in rows]
    strips = []
    for i, row in enumerate(rows):
        strips.append(sheet.Strip(_where(row), (("truth", truth[i]), ("render", own[i]), (colours.ERROR_CAPTION, errors[i]))))
    for i in range(2 - len(samples) % 2 if len(samples) > 1 else 0):  # as many as fill the last row of two
        panels = (("driver, truth", truth[i]), ("driver, render", own[i]), (f"{names[order[i]]}, driven", cross[i]))
        strips.append(sheet.Strip(f"{names[i]} drives {names[order[i]]}", panels))
    return sheet.compose(strips, columns=2)


def write(captures: CaptureSet, compile_model: Compile, config: ConfigDict, assets: Assets, folder: pathlib.Path) -> list[pathlib.Path]:
    """Writes `contact_sheet.jpg` of the first split that is held out into a folder, and returns its path in a list.

    Raises:
      ValueError: as `contact_sheet`, or the config holds nothing out.
    """
    splits = source.eval_splits(captures, config)
    if not splits:
        raise ValueError("contact sheet: the config holds nothing out of training (config.data.held_out), so nothing is unseen.")
    path = folder / "contact_sheet.jpg"
    sheet.save(contact_sheet(captures, compile_model, config, assets, splits[0]), path)
    return [path]


def _sheet_samples(captures: CaptureSet, config: ConfigDict, assets: Assets, split: str) -> list[Batch]:
    """One sample per person."""
    samples, rule = [], rules.scored(config)
    people = [capture for capture in captures if rule.has(capture, split)]
    for capture in people[:: max(1, len(people) // MOST_IDENTITIES)][:MOST_IDENTITIES]:
        chosen = rule.select(capture, split)
        if not chosen.count:
            continue
        camera = front_camera(captures.archives, capture, [capture.cameras[i] for i in chosen.cameras])
        frames = chosen.frames[thin(len(chosen.frames), MOST_FRAMES)]
        readable = selection.read(captures, config, assets, capture, [camera], frames)
        if readable:
            samples.append(max(readable, key=lambda s: np.square(s["vertices"] - s["neutral_vertices"]).mean()))
    if not samples:
        raise ValueError(f"contact sheet: no frame of the split {split!r} can be read; check --captures and the config's held_out rules.")
    return samples
