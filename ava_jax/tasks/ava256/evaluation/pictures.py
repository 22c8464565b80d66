"""Pictures that show how far a model is: progress while it trains, and the contact sheet of a finished one."""

import io
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict
from PIL import Image, ImageDraw, ImageFont

from ava_jax.captures.capture_set import CaptureSet
from ava_jax.captures.front import front_camera
from ava_jax.core.sampling import thin
from ava_jax.core.types import Array, Assets, Batch
from ava_jax.tasks.ava256.apps import driving, selection
from ava_jax.tasks.ava256.data import source
from ava_jax.tasks.ava256.evaluation.scores import face_mask
from ava_jax.tasks.ava256.model.codec import AvatarCodec

ERROR_FULL_SCALE = 64.0  # grey levels of mean absolute error that the colour map ends at
_ERROR_CAPTION = f"error (0 to {ERROR_FULL_SCALE:.0f} of 255)"
# Black, indigo, red, orange, pale yellow: lightness rises all along, so it reads in grey too.
_ERROR_COLOURS = np.array([[0, 0, 0], [66, 10, 104], [187, 55, 84], [249, 142, 9], [252, 255, 164]], np.float32)

MOST_IDENTITIES = 4  # rows of a contact sheet
MOST_FRAMES = 8  # a person's held-out frames that the most expressive one is looked for in
PANEL_HEIGHT = 256  # pixels, of each picture on a sheet
SHEET_BYTES = 500_000  # a README's picture has to load at once
_MARGIN, _GAP, _LINE, _FONT_SIZE = 16, 4, 20, 13
_PAPER, _INK, _FAINT = (16, 17, 20), (235, 235, 235), (150, 152, 158)


class Strip(NamedTuple):
    """Pictures that belong together, side by side.

    Attributes:
      title: above them all.
      panels: (caption, u8 [H, W, 3]) each, of one size.
    """

    title: str
    panels: tuple[tuple[str, np.ndarray], ...]


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
    panels = {"render": own, "error": error_colours(own, batch["image"]), "driven": driven}
    return {name: _to_u8(panel) for name, panel in panels.items()} | {"partner": partner}


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


def progress_sheet(panels: Mapping[str, Array], batch: Batch, assets: Assets) -> Image.Image:
    """A row a sample: truth, render, error, and another person of the batch with this one's expression.

    Args:
      panels: from `progress`, [B, H, W, 3] each.
      batch: that it was given.
    """
    rows = source.describe(batch, assets)
    panels = {name: np.asarray(panel) for name, panel in panels.items()}
    strips = []
    for i, row in enumerate(rows):
        driven = f"{_subject(rows[panels['partner'][i]])}, driven by {_subject(row)}"
        columns = ("truth", np.asarray(batch["image"][i])), ("render", panels["render"][i]), (_ERROR_CAPTION, panels["error"][i])
        strips.append(Strip(_where(row), (*columns, (driven, panels["driven"][i]))))
    return compose(strips, columns=1)


def best_and_worst(compile_model: driving.Compile, best: Sequence[Any], worst: Sequence[Any]) -> Image.Image:
    """Samples beside what the model makes of them: the best to the left, the worst to the right; truth | render | error of each.

    Of a camera that was not seen in training, which has no background, the error is shown on the face alone, where it is scored.

    Args:
      best, worst: as many of either, with `label`, `row` and `sample` as in `run.evaluation.Example`.

    Raises:
      ValueError: there are none.
    """
    examples = [example for pair in zip(best, worst, strict=True) for example in pair]
    if not examples:
        raise ValueError("best_and_worst: there must be a sample of each; no sample of the split has a score.")

    def reconstruct(model: AvatarCodec, batch: Batch) -> tuple[jax.Array, jax.Array]:
        image = model.reconstruct(batch)
        scored = (batch["camera"] >= 0)[:, None, None] | face_mask(batch["segmentation"])
        return _to_u8(image), _to_u8(jnp.where(scored[..., None], error_colours(image, batch["image"]), 0.0))

    draw = compile_model(reconstruct)
    strips = []
    for label, row, sample in examples:
        shown, error = (np.asarray(x[0]) for x in draw({name: value[None] for name, value in sample.items()}))
        panels = ("truth", sample["image"]), ("render", shown), (_ERROR_CAPTION, error)
        strips.append(Strip(f"{_where(row)}: {label}", panels))
    return compose(strips, columns=2)


def _where(row: Mapping[str, Any]) -> str:
    """Who, what and from where, from a row of `source.describe`."""
    return f"{_subject(row)}   {row['segment']} {row['frame']}, camera {row['camera']}"


def _subject(row: Mapping[str, Any]) -> str:
    return row["identity"].rpartition("--")[2]


def error_colours(image: Array, truth: Array) -> jax.Array:
    """Mean absolute error over the channels as a colour: black for none, pale yellow from ERROR_FULL_SCALE on. [B, H, W, 3]."""
    error = jnp.mean(jnp.abs(jnp.clip(image, 0.0, 255.0) - jnp.asarray(truth, jnp.float32)), axis=-1)
    stops = np.linspace(0.0, ERROR_FULL_SCALE, len(_ERROR_COLOURS), dtype=np.float32)
    return jnp.stack([jnp.interp(error, stops, _ERROR_COLOURS[:, c]) for c in range(3)], axis=-1)


def _to_u8(image: Array) -> jax.Array:
    return jnp.clip(jnp.round(jnp.asarray(image, jnp.float32)), 0, 255).astype(jnp.uint8)


def contact_sheet(captures: CaptureSet, compile_model: driving.Compile, config: ConfigDict, assets: Assets, split: str) -> Image.Image:
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
    colours = compile_model(lambda model, image, truth: error_colours(image, truth))
    code = encode(batch)
    own = drive(code, batch["identity"], batch)
    cross = drive(jax.tree.map(lambda x: x[order], code), batch["identity"][order], batch)
    truth, errors = batch["image"], np.asarray(_to_u8(colours(own, batch["image"])))
    own, cross = np.asarray(_to_u8(own)), np.asarray(_to_u8(cross))
    rows = source.describe(batch, assets)
    names = [_subject(row) for row in rows]
    strips = []
    for i, row in enumerate(rows):
        strips.append(Strip(_where(row), (("truth", truth[i]), ("render", own[i]), (_ERROR_CAPTION, errors[i]))))
    for i in range(2 - len(samples) % 2 if len(samples) > 1 else 0):  # as many as fill the last row of two
        panels = (("driver, truth", truth[i]), ("driver, render", own[i]), (f"{names[order[i]]}, driven", cross[i]))
        strips.append(Strip(f"{names[i]} drives {names[order[i]]}", panels))
    return compose(strips, columns=2)


def write(
    captures: CaptureSet, compile_model: driving.Compile, config: ConfigDict, assets: Assets, folder: pathlib.Path
) -> list[pathlib.Path]:
    """Writes `contact_sheet.jpg` of the first split that is held out into a folder, and returns its path in a list.

    Raises:
      ValueError: as `contact_sheet`, or the config holds nothing out.
    """
    splits = source.eval_splits(captures, config)
    if not splits:
        raise ValueError("contact sheet: the config holds nothing out of training (config.data.held_out), so nothing is unseen.")
    path = folder / "contact_sheet.jpg"
    save_sheet(contact_sheet(captures, compile_model, config, assets, splits[0]), path)
    return [path]


def _sheet_samples(captures: CaptureSet, config: ConfigDict, assets: Assets, split: str) -> list[Batch]:
    """One sample per person."""
    samples = []
    for capture in captures.captures[:: max(1, len(captures) // MOST_IDENTITIES)][:MOST_IDENTITIES]:
        chosen = source.held_out(config).select(capture, split)
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


def compose(strips: Sequence[Strip], columns: int, height: int = PANEL_HEIGHT) -> Image.Image:
    """Strips on a dark sheet, row by row, titles and captions in small type; each picture brought to `height` pixels."""
    font = ImageFont.load_default(size=_FONT_SIZE)
    width = max(_width(picture, height) for strip in strips for _, picture in strip.panels)
    most = max(len(strip.panels) for strip in strips)
    cell = (most * (width + _GAP) - _GAP + _MARGIN, 2 * _LINE + height + _MARGIN)
    rows = -(-len(strips) // columns)
    used = min(columns, len(strips))
    sheet = Image.new("RGB", (used * cell[0] + _MARGIN, rows * cell[1] + _MARGIN), _PAPER)
    draw = ImageDraw.Draw(sheet)
    for i, strip in enumerate(strips):
        left, top = _MARGIN + (i % columns) * cell[0], _MARGIN + (i // columns) * cell[1]
        draw.text((left, top), _shortened(strip.title, cell[0] - _MARGIN, font), fill=_INK, font=font)
        for j, (caption, picture) in enumerate(strip.panels):
            x = left + j * (width + _GAP)
            draw.text((x, top + _LINE), _shortened(caption, width, font), fill=_FAINT, font=font)
            size = (_width(picture, height), height)
            sheet.paste(Image.fromarray(picture).resize(size, Image.Resampling.LANCZOS), (x, top + 2 * _LINE))
    return sheet


def _shortened(text: str, width: float, font: ImageFont.ImageFont) -> str:
    """`text`, its end left out where it would be wider than `width` pixels."""
    if font.getlength(text) <= width:
        return text
    kept = text
    while kept and font.getlength(kept + "…") > width:
        kept = kept[:-1]
    return kept + "…"


def _width(picture: np.ndarray, height: int) -> int:
    """Of a picture brought to `height` pixels."""
    return round(picture.shape[1] * height / picture.shape[0])


def save_sheet(sheet: Image.Image, path: pathlib.Path) -> None:
    """Writes a JPEG of SHEET_BYTES at most, at the best quality that fits.

    Raises:
      ValueError: it fits at no quality.
    """
    for quality in (95, 90, 85, 75, 60, 40):
        buffer = io.BytesIO()
        sheet.save(buffer, "JPEG", quality=quality, subsampling=0 if quality > 80 else 2)
        if buffer.tell() <= SHEET_BYTES:
            path.write_bytes(buffer.getvalue())
            return
    raise ValueError(f"{path}: a sheet of {sheet.width} x {sheet.height} does not fit into {SHEET_BYTES} bytes; show fewer pictures.")
