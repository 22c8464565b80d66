"""A new person for a trained model: the config of a run that starts from its weights and learns from a few pictures of one capture.

The run is one like any other: `data.base_run` keeps the statistics and names of the trained one, `train.trainable` says what learns,
validation on frames that are held out says when it ends (`train.patience`).
"""

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import NamedTuple

import ml_collections
import numpy as np

from ava_jax.captures import reading
from ava_jax.captures.ava256 import Capture
from ava_jax.captures.capture_set import CaptureSet
from ava_jax.captures.splits import UNSEEN_FRAMES, HeldOut
from ava_jax.core import names as naming
from ava_jax.core.sampling import thin
from ava_jax.tasks.ava256.data import rules
from ava_jax.tasks.base import RestoredRun
from ava_jax.tasks.command import Context

# What may learn, as starts of parameters' paths. The encoder of expressions stays in all, so that everybody's codes mean what they did.
_ROWS = ("calibration/",)  # of people and cameras that no picture shows there is no gradient: they stay
_BACKGROUND_ROWS = ("background/identity/first/weight", "background/camera/first/weight")
TUNED = {
    "calibration": (),
    "texels": ("geometry_decoder/bias$", "colour_decoder/bias$"),
    "codes": ("identity_encoder/",),
    "decoders": ("geometry_decoder/", "colour_decoder/"),
    "all": ("identity_encoder/", "geometry_decoder/", "colour_decoder/"),
}
TUNING = "tuning"  # the folder, in that of the enrolled run, of the run that learns
_RATE = 1 / 3  # of the trained run's learning rate
_LAST = 0.1  # of the frames are held out, the last ones, where the trained run's own rule holds none out
_VALIDATED = 16  # pictures
_SCORED_FRAMES = 32  # of the frames held out, on which cameras that are not used are scored
_ON_DEVICE = 256  # pictures, at most, that are read once and kept on the device


class Pictures(NamedTuple):
    """Which pictures of a capture are learned from.

    Attributes:
      person: the capture's name.
      cameras: ids of those that are used; the others are held out.
      frames: numbers of the frames that are learned from; all of them, whether given by a count or not.
      held_out: numbers of those that say when to end.
    """

    person: str
    cameras: tuple[str, ...]
    frames: tuple[int, ...]
    held_out: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How is learned.

    Attributes:
      tune: names of TUNED.
      steps: at most.
      learning_rate: the highest; texel maps have theirs times `optimizer.texel_lr_gain`. 0: a third of the trained run's.
      validate_every: steps.
      patience: validations in a row without a better one, after which it ends.
    """

    tune: tuple[str, ...] = ("all",)
    steps: int = 400
    learning_rate: float = 0.0
    validate_every: int = 25
    patience: int = 4


def enrol(
    context: Context, base: RestoredRun, run: pathlib.Path, captures: CaptureSet, pictures: Pictures, recipe: Recipe, out: pathlib.Path
) -> int | None:
    """Fine-tunes, in `out`/tuning, and writes what was best there as a run of its own into `out`. Where it was stopped before, it goes on.

    Args:
      context: of the command.
      base: the trained run.
      run: its folder.
      captures: at hand.
      pictures: what is learned from.
      recipe: how.
      out: a folder that is new, or of an enrolment that was stopped.

    Returns:
      The step that was best, 0 where fine-tuning made nothing better; None where Ctrl-C stopped it.

    Raises:
      ValueError: the config, the captures and the run do not fit together; or `out` holds a run.
      OSError: it cannot be written.
    """
    if (out / "checkpoints").exists():
        raise ValueError(f"{out} holds a run already; take another --out.")
    config = config_of(base.config, run.absolute(), base.step, captures, pictures, recipe)
    if not context.train(config, out / TUNING):
        return None
    best = context.restore(out / TUNING, "best" if pictures.held_out else None)
    context.write_run(best.config, best.assets, best.model, out)
    return best.step


def choose(
    captures: CaptureSet,
    capture: Capture,
    base: ml_collections.ConfigDict,
    *,
    frames: int = 0,
    cameras: Sequence[str] = (),
    held_out: Sequence[str] = (),
    without: Sequence[int] = (),
) -> Pictures:
    """Pictures to learn from.

    Args:
      captures: with the archives.
      capture: the person's.
      base: the trained run's config, whose own rule says which frames are held out by default.
      frames: how many, evenly spaced over those that are not held out, the first of them first; 0: all.
      cameras: ids; () = all.
      held_out: names of segments, or one number: of so many frames at the end. () = as in the trained run; where that holds none of these
        frames out, the last tenth.
      without: numbers of frames that are neither learned from nor held out: those of a test.

    Raises:
      ValueError: a camera or segment is not the capture's; there are fewer frames than asked for; or none is left to learn from.
    """
    for name in cameras:
        naming.pick("--cameras", name, capture.cameras)
    complete = reading.members(captures.archives, capture, [capture.vertices, capture.texture], threads=2).all(0)
    there = capture.frames[complete & ~np.isin(capture.frames, list(without))]
    held = _held_out(capture, there, base, held_out)
    left = np.array([frame for frame in dict.fromkeys(there.tolist()) if frame not in held], np.int64)
    if not len(left) or frames > len(left):
        raise ValueError(
            f"{capture.decoder}: {len(left)} of {len(capture.frames)} frames are there to learn from, {len(held)} are held out; "
            f"{frames or 'some'} were asked for (--frames, --held_out)."
        )
    chosen = left[thin(len(left), frames)]
    return Pictures(capture.name, tuple(dict.fromkeys(cameras)) or capture.cameras, tuple(chosen.tolist()), tuple(sorted(held)))


def _held_out(capture: Capture, there: np.ndarray, base: ml_collections.ConfigDict, asked: Sequence[str]) -> set[int]:
    """Numbers of the frames that are held out."""
    count = int(asked[0]) if len(asked) == 1 and asked[0].isdecimal() else None
    if count is not None:
        return set(there[len(there) - min(count, len(there)) :].tolist())
    if asked:
        known = sorted(set(capture.segments.tolist()))
        rule = HeldOut(segments=tuple(naming.pick("--held_out", name, known) for name in asked))
    else:
        own = rules.held_out(base)
        rule = HeldOut(segments=own.segments, last_frames=own.last_frames)
    found = set(capture.frames[rule.select(capture, UNSEEN_FRAMES).frames].tolist()) & set(there.tolist())
    if found and len(found) < len(set(there.tolist())) or asked:
        return found
    distinct = list(dict.fromkeys(there.tolist()))  # none is held out of a single frame
    return set(distinct[len(distinct) - max(1, round(_LAST * len(distinct))) :]) if len(distinct) > 1 else set()


def config_of(
    base: ml_collections.ConfigDict, run: pathlib.Path, step: int, captures: CaptureSet, pictures: Pictures, recipe: Recipe
) -> ml_collections.ConfigDict:
    """The config of the run that learns the person.

    Args:
      base: the trained run's.
      run: its folder.
      step: of the checkpoint whose weights it starts with.
      captures: at hand.
      pictures: what is learned from.
      recipe: how.

    Raises:
      ValueError: there is nothing of such a name to tune.
    """
    config = ml_collections.ConfigDict(base.to_dict())
    capture = captures.by_name[pictures.person]
    with config.unlocked():
        _set_data(config, run, captures, capture, pictures)
        config.model.guided_steps = 1  # the least: the decoded mesh carries the primitives well already
        optimizer, train = config.optimizer, config.train
        optimizer.learning_rate, optimizer.lr_boost = recipe.learning_rate or _RATE * optimizer.learning_rate, 1.0
        optimizer.lr_warmup_steps, optimizer.lr_decay_steps, optimizer.lr_final_fraction = min(20, recipe.steps), recipe.steps, 0.1
        train.init_from, train.init_filter, train.trainable = f"{run}:{step}", (), trainable(config, recipe.tune)
        count = len(pictures.cameras) * len(pictures.frames)
        config.data.on_device = count <= _ON_DEVICE
        train.steps, train.epochs, train.steps_per_call = recipe.steps, 0, 1
        train.batch_size = min(train.batch_size, count)
        train.split, train.best_score = "train", "face_psnr"
        train.validate_every = train.checkpoint_every = train.log_every = recipe.validate_every
        train.validate_samples, train.patience = _VALIDATED, recipe.patience if pictures.held_out else 0
        train.picture_every, train.keep_checkpoints, train.keep_best = 0, 1, 1  # compiling pictures would take longer than the steps
    return config


def _set_data(config: ml_collections.ConfigDict, run: pathlib.Path, captures: CaptureSet, capture: Capture, pictures: Pictures) -> None:
    data, rule = config.data, config.data.held_out
    data.root, data.ids, data.topology, data.split, data.cameras = str(captures.root), "", "", "", ()
    every = set(capture.frames.tolist()) <= {*pictures.frames, *pictures.held_out}
    data.base_run, data.people, data.frames = str(run), (pictures.person,), () if every else pictures.frames
    rule.segments, rule.last_frames, rule.frames = (), 0, pictures.held_out
    rule.cameras = tuple(name for name in capture.cameras if name not in pictures.cameras)
    positions = np.flatnonzero(np.isin(capture.frames, pictures.held_out))
    config.eval.unseen_camera_frames = tuple(positions[thin(len(positions), _SCORED_FRAMES)].tolist())


def trainable(config: ml_collections.ConfigDict, tune: Sequence[str]) -> tuple[str, ...]:
    """`train.trainable` of these names of TUNED; rows of the person and of new cameras learn in all.

    Raises:
      ValueError: a name is none of them, or none is given.
    """
    if not tune:
        raise ValueError(f"--tune must name what learns: {', '.join(TUNED)}, with commas between.")
    found = _ROWS + (_BACKGROUND_ROWS if config.model.background else ())
    return tuple(dict.fromkeys((*found, *(path for name in tune for path in TUNED[naming.pick("--tune", name, TUNED)]))))
