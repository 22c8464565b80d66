"""What is to be rendered, worked out from what a user asked for: who, whose expressions, from where, how long."""

import dataclasses
import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from ml_collections import ConfigDict

from ava_jax.captures import reading
from ava_jax.captures.ava256 import Capture
from ava_jax.captures.capture_set import CaptureSet
from ava_jax.core.sampling import thin
from ava_jax.core.types import Assets
from ava_jax.data import images
from ava_jax.tasks.ava256.apps import encoding, expressions, performance, selection, sequences, views
from ava_jax.tasks.ava256.apps.avatar import Avatar
from ava_jax.tasks.ava256.apps.choices import BETWEEN, KEEP, LEARNED, STILL, Smoothing
from ava_jax.tasks.ava256.apps.people import People
from ava_jax.tasks.ava256.data import codes_file
from ava_jax.tasks.ava256.data.codes_file import Codes

_LENGTH = 72  # pictures of a video that loops
_MOST_NAMED = 3  # people or segments in a file's name
_MOST = 64  # frames of a capture that are shown, unless more are asked for


@dataclasses.dataclass(frozen=True)
class Ask:
    """What a user asked for; empty or None where it was left open.

    Attributes:
      people, segments, cameras: names.
      driver: a capture's or subject's name, or a file of codes.
      path: one of `choices.PATHS`, or a file of keyframes; "" leaves the camera where it is.
      frames: pictures of the video, 0: every expression once; None: as many as the path wants.
      most: expressions at most; 0: all.
      degrees: how far a path goes to either side.
      head_pose: KEEP or STILL.
      between: one of BETWEEN, or "".
      smooth: of expressions and head poses.
      exaggerate: factor.
      truth: whether the photograph is beside it.
      background: as of `Look`, or "" for the usual one.
      fps: pictures per second.
    """

    people: Sequence[str] = ()
    driver: str = ""
    segments: Sequence[str] = ()
    cameras: Sequence[str] = ()
    path: str = ""
    frames: int | None = None
    most: int | None = None
    degrees: float = 60.0
    head_pose: str | None = None
    between: str = ""
    smooth: Smoothing | None = None
    exaggerate: float = 1.0
    truth: bool | None = None
    background: str | np.ndarray | Callable[[int, int], np.ndarray] | None = ""
    fps: float | None = None

    @property
    def loops(self) -> bool:
        """Whether the video runs through the expressions there and back, in a length of its own."""
        if self.frames is not None:
            return self.frames > 0 or self.between == BETWEEN[1] or len(self.segments) > 1
        return bool(self.path or self.between or len(self.segments) > 1)

    @property
    def against_truth(self) -> list[str]:
        """What keeps the photograph from being beside it, in words; [] where nothing does."""
        reasons = {
            "a file of codes (--driver)": self.from_file,
            "a camera that moves (--path)": bool(self.path),
            "--between, several segments or --frames": self.loops or bool(self.between),
            "--head_pose=still": self.head_pose == STILL,
            "a background that is not learned": not (isinstance(self.background, str) and self.background in ("", LEARNED)),
        }
        return [reason for reason, holds in reasons.items() if holds]

    @property
    def from_file(self) -> bool:
        """Whether the expressions come from a file of codes."""
        return performance.is_file(self.driver)


class Shot(NamedTuple):
    """A video to be written.

    Attributes:
      pictures: made as they are asked for.
      count: of them.
      name: of the file.
      fps: pictures per second.
      about: lines for the user.
    """

    pictures: Iterator[np.ndarray]
    count: int
    name: str
    fps: float
    about: tuple[str, ...]


def plan(ask: Ask, avatar: Avatar, captures: CaptureSet | None, config: ConfigDict, assets: Assets) -> Shot:
    """Finds and encodes what is asked for; pictures are drawn when they are taken.

    Args:
      captures: those at hand; None where there are none, which a file of codes does without.

    Raises:
      ValueError: a name is not there, with those nearest to it; something cannot be read; or what is asked for does not go together.
      OSError: a file cannot be read.
    """
    return _Plan(ask, avatar, captures, config, assets).shot()


class _Plan:
    def __init__(self, ask: Ask, avatar: Avatar, captures: CaptureSet | None, config: ConfigDict, assets: Assets) -> None:
        self.ask, self.avatar, self.captures, self.config, self.assets = ask, avatar, captures, config, assets
        self.people = People(avatar, captures, config, assets)
        self.names = self.people.named(ask.people) or list(self.people.names[:1])
        self.file = codes_file.read(ask.driver) if ask.from_file else None
        self.capture = self._capture()
        self.driver = pathlib.Path(ask.driver).stem if ask.from_file else self.capture.name
        self.view = views.View(avatar, captures, config, assets, self.capture, ask.cameras, ask.path)
        self.truth, self.look = self._truth(), self._look()
        self.fps = ask.fps or (24.0 if ask.loops else 30.0 if ask.from_file else 8.0)
        self._check()

    def _check(self) -> None:
        """What can be told before anything is encoded."""
        ask = self.ask
        if ask.between == BETWEEN[0] and len(self.names) < 2:
            raise ValueError("--between=people needs two people or more, as in --people=A,B.")
        if ask.between == BETWEEN[1] and len(ask.segments) < 2 and (ask.segments or self.file is None):
            raise ValueError("--between=expressions needs two segments or more, as in --segment=EXP_a,EXP_b, or a file of codes.")
        if not np.isfinite(ask.exaggerate):
            raise ValueError(f"--exaggerate={ask.exaggerate}: must be a number.")

    def shot(self) -> Shot:
        ask, view = self.ask, self.view
        found = self._tracks()
        count = (ask.frames or view.length(self.fps) or _LENGTH) if ask.loops else len(found[0].codes)
        keep, tracks = self._keeps(found), self._in_time(found, count)
        columns = [(track.codes, view.cameras(track, count, ask.degrees, self.fps, loops=ask.loops, keep=keep)) for track in tracks]
        cells = [[sequences.Cell(subject, *column) for column in columns] for subject in self._subjects(count)]
        if self.truth:
            pictures = self._beside_truth(cells, tracks[0])
        else:
            rows = sequences.near_square(sum(cells, [])) if len(columns) == 1 else cells
            pictures = sequences.grid(self.avatar, rows, count, self.look)
        return Shot(pictures, count, self._name(), self.fps, tuple(self._about(count, keep)))

    def _capture(self) -> Capture | None:
        """Whose frames, poses and cameras are taken; None: nobody's who is at hand."""
        if self.file is not None:
            (name, *others) = dict.fromkeys(self.file.capture.tolist())
            return None if others or self.captures is None else self.captures.by_name.get(name)
        if self.captures is None:
            raise ValueError(
                "render: no captures are at hand: name them (--data=FOLDER), or drive by a file of codes (--driver=CODES.npz)."
            )
        if self.ask.driver:
            return self.captures.find("--driver", self.ask.driver)
        if self.names[0] not in self.captures.by_name:
            raise ValueError(f"--people={self.names[0]}: this person's capture is not at hand: name another's expressions with --driver.")
        return self.captures.by_name[self.names[0]]

    def _truth(self) -> bool:
        """Whether the photograph is beside the avatars."""
        against = [*self.ask.against_truth, *(["a camera that is none of the capture's"] if self.view.camera is None else [])]
        if self.ask.truth and against:
            raise ValueError(f"--truth: the photograph has no place beside {against[0]}: leave one of them out.")
        return not against if self.ask.truth is None else self.ask.truth

    def _tracks(self) -> list[Codes]:
        """A sequence of codes for each column, smoothed and scaled."""
        ask, neutral = self.ask, np.asarray(self.avatar.neutral_expression())
        tracks = [self._track(segment) for segment in ask.segments or [""]]
        if ask.smooth is not None:
            tracks = [expressions.smoothed(track, ask.smooth, self.fps) for track in tracks]
        if ask.between == BETWEEN[1] and len(tracks) > 1:
            tracks = [encoding.joined([one.at([expressions.strongest(one, neutral)]) for one in tracks])]
        return [expressions.exaggerated(track, neutral, ask.exaggerate) for track in tracks]

    def _track(self, segment: str) -> Codes:
        if self.file is not None:
            return performance.of_file(self.file, self.ask.driver, segment, self.ask.most or 0)
        frames = selection.frames(self.config, self.capture, segment)
        if self.truth:
            frames = selection.photographed(self.captures, self.capture, self.view.camera, frames)
        frames = frames[thin(len(frames), _MOST if self.ask.most is None else self.ask.most)]
        return encoding.encode(self.avatar, self.captures, self.config, self.assets, self.capture, frames)

    def _in_time(self, tracks: Sequence[Codes], count: int) -> list[Codes]:
        """Sequences of `count` codes."""
        if not self.ask.loops:
            return list(tracks)
        way = expressions.in_turn if self.ask.between == BETWEEN[1] else expressions.there_and_back
        return [expressions.mixed(track, way(len(track.codes), count)) for track in tracks]

    def _keeps(self, tracks: Sequence[Codes]) -> bool:
        """Whether heads move as they did."""
        without = any(track.head_pose is None for track in tracks)
        if self.ask.head_pose == KEEP and without:
            raise ValueError(f"--head_pose=keep: {self.ask.driver} has no head poses.")
        return not without and (self.ask.head_pose == KEEP or (self.ask.head_pose is None and not self.ask.loops))

    def _subjects(self, count: int) -> list[sequences.Mixed]:
        people = [self.people(name) for name in self._shown()]
        if self.ask.between != BETWEEN[0]:
            return [sequences.alone(person, count) for person in people]
        return [sequences.Mixed(people, expressions.in_turn(len(people), count))]

    def _shown(self) -> list[str]:
        """Whom to show; beside the truth the driver comes first."""
        return list(dict.fromkeys([self.driver, *self.names])) if self.truth else self.names

    def _look(self) -> sequences.Look:
        height, width = self.view.size
        background, asked = self.ask.background, self.ask.background
        stands = self.view.camera is not None and not self.ask.path
        if isinstance(asked, str):
            if asked == LEARNED and not (stands and self.avatar.has_background):
                why = (
                    "is learned for the capture's cameras where they stand" if self.avatar.has_background else "was not learned by this run"
                )
                raise ValueError(f"--background=learned: a background {why}: give a colour, a picture or none.")
            background = LEARNED if stands else np.zeros(3, np.float32)
        elif callable(asked):
            background = asked(height, width)
        return sequences.Look(height, width, self.view.row if stands else None, background)

    def _beside_truth(self, cells: Sequence[Sequence[sequences.Cell]], track: Codes) -> Iterator[np.ndarray]:
        subjects = [name.rpartition("--")[2] for name in self._shown()]
        captions = ["self", *(f"{subject}, driven" for subject in subjects[1:])]
        row = [(caption, cell) for caption, (cell,) in zip(captions, cells, strict=True)]
        titles = [f"{self.driver}, frame {frame}, camera {self.view.camera}" for frame in track.frame]
        return sequences.beside_truth(self.avatar, row, lambda moment: self._photograph(int(track.frame[moment])), titles, self.look)

    def _photograph(self, frame: int) -> tuple[str, np.ndarray]:
        """(caption, picture) of a frame."""
        size, capture = self.view.size, self.capture
        path = capture.image(self.view.camera)
        try:
            decode = lambda data: images.decode(data, size, whole=capture.sensor)  # noqa: E731
            return "truth", reading.decoded(self.captures.archives, path, frame, decode)
        except reading.Unreadable:
            return "truth: cannot be read", np.zeros((*size, 3), np.uint8)

    def _name(self) -> str:
        """Of the file: who, by whom, from where, what."""
        ask, at_hand = self.ask, self.people.names
        shown = [selection.file_name(name, self.assets.names["identities"], at_hand) for name in self.names]
        driver = selection.file_name(self.driver, self.assets.names["identities"], at_hand)
        who = "_and_".join(shown) if len(shown) <= _MOST_NAMED else f"{len(shown)}_people"
        who = who if shown == [driver] else f"{who}_by_{driver}"
        first = selection.file_name(self.assets.names["identities"][0], self.assets.names["identities"], at_hand)
        parts = [who, self.view.name]
        if ask.path:
            parts = [self.view.name, who if who != first else ""]
        between = f"between_{ask.between}" if ask.between else ""
        return "_".join(filter(None, [*parts, between, *ask.segments[:_MOST_NAMED]])).replace("/", "_")

    def _about(self, count: int, kept: bool) -> Iterator[str]:
        """Lines on what is shown, and on who and what of it was not seen in training."""
        whose = self.ask.driver if self.file is not None else self.driver
        yield f"{', '.join(self.names)} with the expressions of {whose}, {count} frames, {self.view.about}"
        if self.file is not None and not self.ask.loops and not kept and self.ask.head_pose is None:
            yield f"{self.ask.driver}: has no head poses: the heads are still"
        if self.file is not None and self.file.model is not None and not encoding.same_model(self.file.model, encoding.probe(self.avatar)):
            yield f"{self.ask.driver}: codes of another model or step: expressions may be others than they were"
        new = [name for name in self._shown() if name not in self.avatar.identities]
        new += [f"camera {self.view.camera}"] if self.view.camera is not None and not self.ask.path and self.view.row is None else []
        if new:
            yield f"not seen in training: {', '.join(new)}; in the mean colour calibration and without a background"
