"""What a config keeps out of training: its own lists and the file that it names; and what an evaluation scores instead of that."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from ava_jax.captures import split_files
from ava_jax.captures.ava256 import Capture
from ava_jax.captures.capture_set import CaptureSet
from ava_jax.captures.split_files import Split
from ava_jax.captures.splits import SCORED, SELECTED, HeldOut, Selection
from ava_jax.core import names as naming

# What `ava eval` may be told to score instead of what the run held out: flag and key of `config.eval` -> what one
# that is not given stands for, where another is.
RULE: Mapping[str, Any] = {"all": False, "people": (), "segments": (), "cameras": (), "every": 1}
HELD_OUT_BY = "held_out_by"  # the flag and key of a file of splits that names it


@dataclasses.dataclass(frozen=True)
class Rule:
    """Samples of the captures at hand, whether they were trained on or not. The one split that it has is SELECTED.

    Attributes:
      people: subjects' ids or names of captures; () = all.
      segments: all their frames; () = all.
      cameras: ids; () = all.
      every: of each capture's frames that fit, in the order of its list, every so many, from the first on.
    """

    people: tuple[str, ...] = ()
    segments: tuple[str, ...] = ()
    cameras: tuple[str, ...] = ()
    every: int = 1

    def has(self, capture: Capture, split: str) -> bool:
        """Whether samples of a person are scored."""
        return split == SELECTED and (not self.people or bool({capture.name, capture.subject} & {*self.people}))

    def select(self, capture: Capture, split: str) -> Selection:
        """What is scored of a capture."""
        if not self.has(capture, split):
            return Selection(np.zeros(0, np.int64), np.zeros(0, np.int64))
        cameras, frames = (
            np.flatnonzero(np.isin(values, list(listed))) if listed else np.arange(len(values))
            for values, listed in ((capture.cameras, self.cameras), (capture.segments, self.segments))
        )
        return Selection(cameras, frames[:: self.every])

    def require(self, captures: CaptureSet) -> None:
        """Whether the captures have what it lists.

        Raises:
          ValueError: one name is of nothing in any capture; the message names the nearest that is.
        """
        people = {*captures.people, *(capture.subject for capture in captures)}
        listed = (("people", people), ("segments", captures.segments), ("cameras", captures.cameras))
        for kind, known in listed:
            naming.require(f"--{kind}", getattr(self, kind), known, "capture")
        if not any(self.select(capture, SELECTED).count for capture in captures):
            raise ValueError(f"nothing of the {len(captures)} captures fits {self}.")

    def __str__(self) -> str:
        lists = (f"{kind} {', '.join(getattr(self, kind))}" for kind in ("people", "segments", "cameras") if getattr(self, kind))
        frames = ["all frames" if self.every == 1 else f"frames 0, {self.every}, {2 * self.every}, ... of each capture's that fit"]
        return "; ".join([*frames, *lists])


def scored(config: ConfigDict) -> HeldOut | Rule:
    """What is evaluated: what `config.eval` says, or else what was held out of training, as the configs of runs have it.

    Raises:
      ValueError: `every` is below 1, two of the keys contradict each other, or as `held_out`.
    """
    given = {name: config.eval.get(name, default) for name, default in RULE.items()}
    given = {name: tuple(value) if isinstance(value, list | tuple) else value for name, value in given.items()}
    has_rule, file = any(name in config.eval for name in RULE), config.eval.get(HELD_OUT_BY, "")
    if has_rule and file:
        raise ValueError(f"--{HELD_OUT_BY} names what is scored, and so do --{', --'.join(RULE)}: give it or some of these.")
    if given["every"] < 1:
        raise ValueError(f"--every must be at least 1; got {given['every']}.")
    if has_rule:
        return Rule(*(given[kind] for kind in ("people", "segments", "cameras")), every=given["every"])
    if not file:
        return held_out(config)
    split = split_files.load(file, f"--{HELD_OUT_BY}")
    listed = split.validation
    frames = tuple(config.eval.unseen_camera_frames)
    return HeldOut(listed.segments, cameras=listed.cameras, camera_frames=frames, people=listed.people, test=split.test)


def splits_of(rule: HeldOut | Rule) -> tuple[str, ...]:
    """Names of the splits that are scored by a rule."""
    return (SELECTED,) if isinstance(rule, Rule) else SCORED


def require_scored(captures: CaptureSet, config: ConfigDict) -> None:
    """Whether the captures have what `config.eval` lists by name.

    Raises:
      ValueError: as `scored`; or one name is of nothing in any capture, and the message names the nearest that is.
    """
    rule, file = scored(config), config.eval.get(HELD_OUT_BY, "")
    if isinstance(rule, Rule):
        rule.require(captures)
    elif file:
        people = {*captures.people, *(capture.subject for capture in captures)}
        split_files.load(file, f"--{HELD_OUT_BY}").require(people, captures.segments, captures.every_camera)


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
