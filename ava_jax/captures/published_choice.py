"""Which of ava-256's files are to be fetched: assets, cameras, frames, as each capture's own calibration and frame list have them."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import NamedTuple

from ava_jax.captures import published
from ava_jax.captures.published import ASSETS, CALIBRATION, FRONTAL
from ava_jax.core import names
from ava_jax.data import text_files
from ava_jax.data.download.engine import Download, Problem
from ava_jax.data.download.items import Item, Selection
from ava_jax.data.download.parallel import each


@dataclasses.dataclass(frozen=True)
class Choice:
    """What to fetch of each capture.

    Attributes:
      assets: names, as `published.assets` gives them.
      size: one of `published.SIZES`.
      base: the address that all begin with.
      cameras: ids; () = all that a capture has.
      frontal: the frontal camera alone.
      segments: whose frames alone; () = all.
      every: N takes each segment's first frame and every Nth after it.
      frames: ids of the only ones to take of those; () = all.
      members: names of members of zips, as patterns of shells; () = all. Excludes a choice of frames.
    """

    assets: tuple[str, ...]
    size: str = "4TB"
    base: str = published.BASE
    cameras: tuple[str, ...] = ()
    frontal: bool = False
    segments: tuple[str, ...] = ()
    every: int = 1
    frames: tuple[int, ...] = ()
    members: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Raises a ValueError where it contradicts itself."""
        if self.size not in published.SIZES:
            raise ValueError(f"--size must be one of {', '.join(published.SIZES)}; got {self.size!r}.")
        if not self.assets:
            raise ValueError(f"--assets must name some of {', '.join(ASSETS)}, or be all.")
        if self.every < 1:
            raise ValueError(f"--every must be 1 or more; got {self.every}.")
        if self.frontal and self.cameras:
            raise ValueError("--frontal chooses a camera, and --cameras does; give one of them.")
        if self.members and self.of_frames:
            raise ValueError("--members names members of zips; --segments, --every and --frames choose them: give one or the other.")
        if not self.base.startswith(("http://", "https://")):
            raise ValueError(f"--base_url must be an address, as in https://host/folder/; got {self.base!r}.")
        if not self.base.endswith("/"):
            object.__setattr__(self, "base", f"{self.base}/")

    @property
    def of_frames(self) -> bool:
        """Whether some frames are chosen."""
        return bool(self.segments or self.frames or self.every > 1)


class Listed(NamedTuple):
    """The files of a capture: what to fetch, what is known to be lacking, and the cameras and segments that it has."""

    items: list[Item]
    problems: list[Problem]
    cameras: list[str]
    segments: list[str]


def items(download: Download, choice: Choice, captures: Sequence[str]) -> tuple[list[Item], list[Problem]]:
    """All files of all captures, and what is known to be lacking.

    Small files that say what else there is, calibrations and frame lists, are fetched on the way.

    Raises:
      ValueError: no capture has a camera or a segment of that name.
      OSError: as `Download.run`.
    """
    one_each = [name for name in choice.assets if not ASSETS[name].of_data_set]
    found: dict[str, Listed] = {}

    def listed(capture: str) -> tuple[str, Listed]:
        return capture, _Lister(download, choice, capture).all(one_each)

    try:
        found = dict(each(listed, captures if one_each else (), download.jobs, download.client.stop))
    finally:
        download.manifest.save()
    if cameras := {camera for one in found.values() for camera in one.cameras}:
        names.require("--cameras", choice.cameras, cameras, "capture")
    if segments := {segment for one in found.values() for segment in one.segments}:
        names.require("--segments", choice.segments, segments, "capture")
    data_set = [published.checkpoint(choice.base)] if "checkpoint" in choice.assets else []
    in_order = [found[capture] for capture in captures if capture in found]
    return data_set + [item for one in in_order for item in one.items], [problem for one in in_order for problem in one.problems]


class _Lister:
    """Lists one capture's files."""

    def __init__(self, download: Download, choice: Choice, capture: str) -> None:
        self._download, self._choice, self._capture = download, choice, capture
        self._problems: list[Problem] = []
        self._segments: list[str] = []
        self._selections: dict[str, tuple[Selection, float] | None] = {}
        self._read: list[Item] = []

    def all(self, assets: Sequence[str]) -> Listed:
        """Files of these assets."""
        every: list[str] = []
        cameras: list[str] = []
        if any(ASSETS[name].cameras for name in assets):
            every = self._parsed(CALIBRATION, "camera_calibration", published.camera_ids) or []
            cameras = self._chosen(every) if every else []
        found = [item for name in assets for item in self._asset(name, cameras)]
        lacking = {problem.path for problem in self._problems}
        # What was read to make this list is fetched, or lacking, already; it is counted all the same.
        unique = {item.path: item for item in [*self._read, *found] if item.path not in lacking}
        return Listed(list(unique.values()), self._problems, every, self._segments)

    def _asset(self, name: str, cameras: Sequence[str]) -> list[Item]:
        asset, choice = ASSETS[name], self._choice
        files = [self._item(path, name) for path in asset.files]
        zips = [self._item(path, name) for path in asset.zips]
        zips += [self._item(f"{asset.cameras}/cam{camera}.zip", name) for camera in cameras if asset.cameras]
        if choice.members:
            zips = [dataclasses.replace(item, selection=Selection(patterns=tuple(sorted(choice.members)))) for item in zips]
        elif choice.of_frames and zips:
            selected = self._selection(asset.frames)
            zips = [dataclasses.replace(item, selection=selected[0], fraction=selected[1]) for item in zips] if selected else []
        return files + zips

    def _item(self, path: str, group: str) -> Item:
        return published.item(self._choice.base, self._choice.size, self._capture, path, group)

    def _parsed(self, path: str, group: str, parse: Callable):
        """What a small file says; None where it is lacking or damaged, which is a problem then."""
        item = self._item(path, group)
        content = self._download.content(item)
        if isinstance(content, Problem):
            self._problems.append(content._replace(text=f"{content.text}; what it lists is left out"))
            return None
        self._read.append(item)
        try:
            return parse(text_files.decode(content), item.path)
        except ValueError as e:
            self._lack(path, str(e).removeprefix(f"{item.path}: "), missing=False)
            return None

    def _chosen(self, every: Sequence[str]) -> list[str]:
        """Cameras, of those that the capture has."""
        choice = self._choice
        if choice.frontal:
            found = [camera for camera in FRONTAL if camera in every][:1]
        else:
            found = [camera for camera in every if camera in choice.cameras or not choice.cameras]
        if not found:
            self._lack(CALIBRATION, f"the capture has none of the cameras {', '.join(FRONTAL if choice.frontal else choice.cameras)}")
        return found

    def _selection(self, frames: str) -> tuple[Selection, float] | None:
        """The chosen frames of a frame list, and their fraction of all; None where there are none."""
        if frames not in self._selections:
            group = "encoder" if frames == published.HEADSET_FRAMES else "frame_list"
            rows = self._parsed(frames, group, published.frame_rows)
            self._selections[frames] = self._select(frames, rows) if rows else None
        return self._selections[frames]

    def _select(self, frames: str, rows: Sequence[tuple[str, int]]) -> tuple[Selection, float] | None:
        choice, seen = self._choice, {}
        self._segments += dict.fromkeys(segment for segment, _ in rows)
        numbers = set()
        for segment, number in rows:
            if choice.segments and segment not in choice.segments:
                continue
            at = seen[segment] = seen.get(segment, -1) + 1
            if at % choice.every == 0 and (number in choice.frames or not choice.frames):
                numbers.add(number)
        if not numbers:
            self._lack(frames, "the capture has none of the chosen frames")
            return None
        if lacking := [one for one in choice.segments if one not in seen]:
            self._lack(frames, f"the capture has no frame of {', '.join(lacking)}")
        return Selection(tuple(sorted(numbers))), len(numbers) / len({number for _, number in rows})

    def _lack(self, path: str, text: str, *, missing: bool = True) -> None:
        item = self._item(path, "")
        self._problems.append(Problem(item.path, item.url, text, missing))
