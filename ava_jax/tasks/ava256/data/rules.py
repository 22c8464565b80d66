"""What a config keeps out of training: its own lists and the file that it names."""

import dataclasses

from ml_collections import ConfigDict

from ava_jax.captures import split_files
from ava_jax.captures.capture_set import CaptureSet
from ava_jax.captures.split_files import Split
from ava_jax.captures.splits import HeldOut


def held_out(config: ConfigDict) -> HeldOut:
    """What a config keeps out of training: `data.held_out`, and what the file lists that `data.split` names; of what is left, all but
    `data.people` and `data.frames`. Configs of older versions lack some of these.

    Raises:
      ValueError: there is no such file, or it is malformed.
    """
    rule, split = config.data.held_out, split_of(config)
    validation = split.validation
    return HeldOut(
        segments=tuple(dict.fromkeys((*rule.segments, *validation.segments))),
        last_frames=rule.last_frames,
        cameras=tuple(dict.fromkeys((*rule.cameras, *validation.cameras))),
        camera_frames=tuple(config.eval.unseen_camera_frames),
        people=validation.people,
        test=split.test,
        only=tuple(dict.fromkeys((*split.train.people, *config.data.get("people", ())))),
        frames=tuple(rule.get("frames", ())),
        only_frames=tuple(config.data.get("frames", ())),
    )


def split_of(config: ConfigDict) -> Split:
    """What `data.split` names; configs of older versions do not have it."""
    return split_files.load(config.data.get("split", ""))


def trained(captures: CaptureSet, config: ConfigDict) -> CaptureSet:
    """Those of the captures whose people are trained on."""
    rule = held_out(config)
    return dataclasses.replace(captures, captures=tuple(c for c in captures if rule.trains(c)))
