"""Scores driving: everybody driven by everybody, by the expressions of a segment, with what goes in held against what comes out.

  ava ava256 driving_scores --workdir=RUN
  ava ava256 driving_scores --workdir=RUN --people=SYN001,SYN002 --segment=EXP_jaw_open --max_frames=0
  ava ava256 driving_scores --workdir=RUN --keypoints=my_networks:landmarks --identity_features=my_networks:arcface

Per pair: how far the code is off that the decoded face is encoded to again, how far a neutral face moves (mm), correlation and slope of
the mouth's opening; with networks of your own, which take pictures u8 [B, H, W, 3], the error of keypoints [B, K, 2] (AKD) and the
similarity of features [B, D] (CSIM). Results: RUN/driving/<step>: driving_scores.json and .csv, mouth_openings.csv and .png.
"""

import pathlib
from typing import TYPE_CHECKING, Any

from absl import flags

from ava_jax.tasks.command import Context, define_data, define_step, define_workdir

if TYPE_CHECKING:  # these import jax
    from ava_jax.tasks.ava256.evaluation.driving_networks import Networks
    from ava_jax.tasks.base import RestoredRun

_ALL = "all"  # segments

_WORKDIR = define_workdir()
_DATA = define_data()
flags.DEFINE_alias("captures", "data")
_PEOPLE = flags.DEFINE_list("people", [], "Captures' folders or subjects' ids, with commas between; by default the first --max_people.")
_MAX_PEOPLE = flags.DEFINE_integer("max_people", 4, "How many where --people names none; 0: all.", lower_bound=0)
_SEGMENT = flags.DEFINE_string("segment", "", "Which frames drive, a segment or all; by default those held out of training.")
_CAMERA = flags.DEFINE_string("camera", "", "Which camera's view; by default the one most in front of each driver's face.")
_MAX_FRAMES = flags.DEFINE_integer("max_frames", 32, "At most so many frames of each driver, evenly spaced; 0: all.", lower_bound=0)
_TEXTURE = flags.DEFINE_enum(
    "texture",
    "auto",
    ["auto", "mean", "seen"],
    "How a decoded face's texture is read: the mean over depth of its voxels, or as seen from outside; auto: the mean where training had "
    "the loss term texture, which makes it the tracked one.",
)
_LIPS = flags.DEFINE_string("lips", "", "Vertices of both lips, UPPER,UPPER:LOWER,LOWER, numbered from 0; by default they are found.")
_KEYPOINTS = flags.DEFINE_string("keypoints", "", "module:function of your own, u8 [B, H, W, 3] to keypoints [B, K, 2] in pixels.")
_FEATURES = flags.DEFINE_string("identity_features", "", "module:function of your own, u8 [B, H, W, 3] to features [B, D].")
_STEP = define_step()
_OUT = flags.DEFINE_string("out", None, "Where results go; by default RUN/driving/<step>.")


def main(context: Context) -> None:
    """Measures, prints and writes, as the flags say."""
    from ava_jax.core import functions

    given = {"keypoints": _KEYPOINTS, "features": _FEATURES}
    loaded = {name: functions.load(f"--{flag.name}", flag.value) for name, flag in given.items() if flag.value}
    run = context.restore(_WORKDIR.value, _STEP.value, overrides={"data.root": _DATA.value})
    from ava_jax.tasks.ava256.data import strangers  # jax is imported here, so that --help stays quick
    from ava_jax.tasks.ava256.evaluation import driving_report, driving_scores
    from ava_jax.tasks.ava256.evaluation.driving_networks import DEFINITIONS, Networks

    networks = Networks(**loaded)
    print("".join(f"{note}\n" for note in strangers.check(run.task.captures, run.config, run.assets).notes), end="", flush=True)
    texture = _TEXTURE.value
    if texture == "auto":
        texture = driving_scores.MEAN if run.config.loss_weights.texture else driving_scores.SEEN
    pairs, truth, about = _measure(context, run, networks, texture)
    scores = (*driving_scores.SCORES, *networks.scores)
    frames = ", ".join(f"{driving_report.short(name)} {len(of)}" for name, of in truth.items())
    print(f"\nstep {run.step}; frames: {frames}; textures: {texture}\n\n{driving_report.text(pairs, scores)}")
    print("\n".join(["", *networks.left_out]))
    folder = pathlib.Path(_OUT.value or pathlib.Path(_WORKDIR.value) / "driving" / str(run.step)).expanduser()
    folder.mkdir(parents=True, exist_ok=True)
    about = {"step": run.step, **about, "texture": texture, "definitions": driving_scores.DEFINITIONS + "\n" + DEFINITIONS}
    written = driving_report.write(pairs, truth, scores, about, folder)
    print("\n".join(f"wrote {path}" for path in written))


def _measure(context: Context, run: "RestoredRun", networks: "Networks", texture: str) -> tuple[list[Any], dict[str, Any], dict[str, Any]]:
    """All pairs, the tracked mouths' openings by driver, and what they are of."""
    import numpy as np

    from ava_jax.core.sampling import thin
    from ava_jax.tasks.ava256.apps import selection
    from ava_jax.tasks.ava256.evaluation import driving_scores, mouth

    task, config, assets = run.task, run.config, run.assets
    captures, size = task.captures, config.eval.batch_size
    chosen = [captures.find("--people", name) for name in _PEOPLE.value] or captures.captures[: _MAX_PEOPLE.value or None]
    compile_model, samples, cameras = context.compile(run.model), {}, {}
    for capture in chosen:
        every = np.arange(len(capture.frames))
        frames = every if _SEGMENT.value == _ALL else selection.frames(config, capture, _SEGMENT.value)
        frames = frames[thin(len(frames), _MAX_FRAMES.value)]
        cameras[capture.name] = camera = selection.camera(captures, assets, capture, _CAMERA.value)
        samples[capture.name] = selection.read(captures, config, assets, capture, [camera], frames)
        if not samples[capture.name]:
            raise ValueError(f"{capture.decoder}: none of the {len(frames)} frames asked for can be read for camera {camera}.")
    people = driving_scores.encode(compile_model, samples, size)
    meshes = np.concatenate([person.frames["vertices"] for person in people])
    rest = np.mean([person.frames["neutral_vertices"][0] for person in people], axis=0)
    lips = _named_lips(len(rest)) or mouth.find(np.asarray(assets.arrays["faces"]), rest, meshes)
    work = driving_scores.Driving(compile_model, assets, lips, batch_size=size, texture=texture)
    pairs = driving_scores.all_pairs(work, people, networks.scorer(compile_model, size))
    truth = {person.name: lips.opening(person.frames["vertices"]) for person in people}
    frames = {person.name: [int(frame) for frame in person.frames["frame"]] for person in people}
    return pairs, truth, {"segment": _SEGMENT.value or "held out, or all", "cameras": cameras, "frames": frames}


def _named_lips(count: int) -> Any:
    """The lips that --lips names, on meshes of so many vertices; None where it names none."""
    from ava_jax.tasks.ava256.evaluation import mouth

    if not _LIPS.value:
        return None
    upper, colon, lower = _LIPS.value.partition(":")
    try:
        return mouth.of_vertices(*([int(number) for number in side.split(",")] for side in (upper, lower)), count)
    except ValueError as e:
        if "--lips" in str(e):
            raise
        raise ValueError(f"--lips must be vertices of either lip, as in --lips=120,121:340,341; got {_LIPS.value!r}.") from e
