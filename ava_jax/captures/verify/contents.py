"""Members of zips, and files, decoded: sampled, all, or read for their checksums alone."""

import concurrent.futures
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ava_jax.captures.reading import Unreadable
from ava_jax.captures.verify.findings import FETCH, Book

_ONE = "bring all to one, or fetch those of one release: sizes of the data set must not be mixed in a capture"
_AT_ONCE = 32  # frames that a thread looks at before it takes the next


class Depth(NamedTuple):
    """How much of the contents is looked at.

    Attributes:
      images: "none", "sample" or "all": of pictures; "none" looks at no contents at all.
      samples: of each camera's pictures, evenly spaced, and 20 times as many meshes.
      crc: every other member of the zips is read too and held against its checksum.
    """

    images: str = "sample"
    samples: int = 3
    crc: bool = False

    def choose(self, frames: Sequence[Any], factor: int = 1) -> list[Any]:
        """Those to look at: all, or some evenly spaced, the first and the last among them."""
        most = self.most(len(frames), factor)
        if len(frames) <= most:
            return list(frames)
        return [frames[i] for i in np.unique(np.linspace(0, len(frames) - 1, most).round().astype(int))]

    def most(self, count: int, factor: int = 1) -> int:
        """How many of `count` frames `choose` takes."""
        return {"none": 0, "sample": min(count, self.samples * factor), "all": count}[self.images]


class Job(NamedTuple):
    """Frames of one file that are to be decoded.

    Attributes:
      book: of the capture.
      kind: as of a finding.
      file: zip or folder, relative to the capture's folder.
      frames: to look at.
      look: decodes one; returns what must be the same for all of the kind, as the size, or None. Raises ValueError or Unreadable.
      same: what it is that must be the same, as in "size"; "" = nothing.
      counted: how the decoded ones are counted.
    """

    book: Book
    kind: str
    file: str
    frames: Sequence[Any]
    look: Callable[[Any], Any]
    same: str = ""
    counted: str = ""


class _Outcome(NamedTuple):
    """Of a job: frames with what is wrong with each, and frames by what `look` returned."""

    faults: list[tuple[Any, str]]
    found: dict[Any, list[Any]]


def run(jobs: Sequence[Job], threads: int, step: Callable[[int], None]) -> None:
    """Looks at everything, and writes what is wrong to the jobs' books.

    Args:
      step: is called with the number of frames that have been looked at since it was called last.
    """
    lock = threading.Lock()
    pieces = [(i, job.frames[at : at + _AT_ONCE]) for i, job in enumerate(jobs) for at in range(0, len(job.frames), _AT_ONCE)]
    outcomes = [_Outcome([], {}) for _ in jobs]

    def look(piece: tuple[int, Sequence[Any]]) -> None:
        index, frames = piece
        faults, found = [], []
        for frame in frames:
            try:
                found.append((jobs[index].look(frame), frame))
            except Unreadable as e:  # its own text names file and frame, as the finding does
                faults.append((frame, str(e.__cause__ or e)))
            except (ValueError, OSError) as e:
                faults.append((frame, str(e)))
        with lock:
            outcomes[index].faults.extend(faults)
            for what, frame in found:
                outcomes[index].found.setdefault(what, []).append(frame)
            step(len(frames))

    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(look, pieces):
            pass
    _judge(jobs, outcomes)


def _judge(jobs: Sequence[Job], outcomes: Sequence[_Outcome]) -> None:
    common: dict[tuple[int, str], Counter] = {}
    for job, outcome in zip(jobs, outcomes, strict=True):
        if job.same:
            seen = common.setdefault((id(job.book), job.kind), Counter())
            seen.update({what: len(frames) for what, frames in outcome.found.items()})
    for job, outcome in zip(jobs, outcomes, strict=True):
        if job.counted:
            job.book.count(job.counted, sum(map(len, outcome.found.values())))
        if outcome.faults:
            faults = sorted(outcome.faults, key=lambda fault: str(fault[0]))
            detail, frames = job.book.plain(faults[0][1]).removeprefix(f"{job.file}: "), [frame for frame, _ in faults]
            job.book.add("fault", job.kind, "cannot be decoded", job.file, detail=detail, action=FETCH, frames=frames, refetch=True)
        most = next(iter(common.get((id(job.book), job.kind), Counter()).most_common(1)), (None, 0))[0]
        for what, frames in outcome.found.items():
            if job.same and what != most:
                text = f"another {job.same} than the capture's others, {most}"
                job.book.add("fault", job.kind, text, job.file, detail=f"{what}", action=_ONE, frames=sorted(frames), refetch=True)
