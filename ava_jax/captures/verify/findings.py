"""What was found in one capture: faults, doubts and notes, each with a file and what to do."""

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Literal

from ava_jax.captures.packed import index
from ava_jax.captures.verify.chosen import Chosen

Level = Literal["fault", "doubt", "note"]
LEVELS: tuple[Level, ...] = ("fault", "doubt", "note")
STATES = {"fault": "broken", "doubt": "doubtful", "note": "sound"}
FETCH = "fetch the file again (--repair does, for what ava ava256 download fetched)"
PACK = "remove this capture from the packed folder and run the same ava pack again"
_FIRST = 5  # frames that a finding names


@dataclasses.dataclass(frozen=True)
class Finding:
    """One thing in one file.

    Attributes:
      level: "fault": it must be repaired; "doubt": it may be meant so, and should be looked at; "note": good to know, published captures
        have it too.
      kind: of file, as in "image" or "head pose".
      what: is wrong, the same words for all files that have it.
      file: path in the capture's folder; "" is the capture itself.
      detail: more on this file, as in what the decoder said.
      action: what to do.
      frames: the first ones that it is about; () where it is about the file.
      count: of frames that it is about; 1 where it is about the file.
      refetch: whether the file fetched anew may be sound.
    """

    level: Level
    kind: str
    what: str
    file: str
    detail: str = ""
    action: str = ""
    frames: tuple[str, ...] = ()
    count: int = 1
    refetch: bool = False


@dataclasses.dataclass
class Book:
    """The findings of one capture, as they are made.

    Attributes:
      folder: the capture's.
      layout: "ava-256" or "multiface".
      findings: in the order in which they were made.
      counts: what there is: cameras, frames, files, and how many were decoded.
      packed: whether files are records of packed captures, which are packed again, not fetched.
      chosen: what a download fetched of it; None: nothing says so.
    """

    folder: pathlib.Path
    layout: str = "ava-256"
    findings: list[Finding] = dataclasses.field(default_factory=list)
    counts: dict[str, int] = dataclasses.field(default_factory=dict)
    packed: bool = False
    chosen: Chosen | None = None

    def add(
        self,
        level: Level,
        kind: str,
        what: str,
        file: pathlib.Path | str = "",
        *,
        detail: str = "",
        action: str = "",
        frames: Sequence[str | int] = (),
        refetch: bool = False,
    ) -> None:
        """Adds a finding; `file` is a path below the capture's folder, or one in it, and `frames` are all that it is about."""
        if self.packed and refetch:
            action, refetch = PACK, False
        names = tuple(str(frame) for frame in frames[:_FIRST])
        found = Finding(
            level, kind, what, self.relative(file) if file else "", self.plain(detail), action, names, max(len(frames), 1), refetch
        )
        self.findings.append(found)

    def relative(self, file: pathlib.Path | str) -> str:
        """A path in the capture's folder, with "/" between its parts; of a packed one's zip, the stream in its stead."""
        path = pathlib.Path(file)
        if self.packed and path.suffix == ".zip" and path.is_relative_to(self.folder / "decoder"):
            return index.stream_of(path)
        return path.relative_to(self.folder).as_posix() if path.is_relative_to(self.folder) else str(file)

    def plain(self, text: str) -> str:
        """A message without the capture's folder, which the report names once, and without a full stop at its end."""
        return " ".join(text.replace(f"{self.folder}/", "").split()).removesuffix(".")

    def count(self, what: str, number: int) -> None:
        """Adds to one of the counts."""
        self.counts[what] = self.counts.get(what, 0) + number

    @property
    def state(self) -> str:
        """One of the words of STATES: of its worst finding, "sound" where it has none but notes."""
        levels = {finding.level for finding in self.findings}
        return next((STATES[level] for level in LEVELS if level in levels), "sound")

    @property
    def to_refetch(self) -> list[str]:
        """Files with faults that may be sound when they are fetched anew, paths in the capture's folder, sorted."""
        return sorted({found.file for found in self.findings if found.level == "fault" and found.refetch and found.file})


def grouped(findings: Sequence[Finding]) -> list[list[Finding]]:
    """Findings of one level, kind, wording and action together; faults first, then doubts, then notes."""
    groups: dict[tuple, list[Finding]] = {}
    for found in sorted(findings, key=lambda found: LEVELS.index(found.level)):
        groups.setdefault((found.level, found.kind, found.what, found.action), []).append(found)
    return list(groups.values())
