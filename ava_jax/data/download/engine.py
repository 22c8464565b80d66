"""Decides which files are to be fetched, fetches them in threads, and says what could not be."""

import contextlib
import dataclasses
import errno
import pathlib
import shutil
import threading
import time
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from ava_jax.core import amounts
from ava_jax.data import text_files
from ava_jax.data.download import parallel, paths
from ava_jax.data.download.client import Client, Damaged, Facts, Missing, Stopped, Unreachable, Untrusted
from ava_jax.data.download.items import Item, Selection, both, covers
from ava_jax.data.download.local import Local
from ava_jax.data.download.manifest import Entry, Manifest
from ava_jax.data.download.one import fetch, remote_members, state_of
from ava_jax.data.download.progress import Progress

DAY = 86_400.0
_FATAL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ENODEV)  # of the disk: other files would fare no better
_MOST_ASKING = 32  # threads that ask for sizes: four for each job, as little comes of it
_MOST_EXACT = 200  # zips whose directories a dry run reads
_SPARE = 1 << 26  # bytes that stay free


class Problem(NamedTuple):
    """A file that is not there, or not whole. `missing`: the server has none."""

    path: str
    url: str
    text: str
    missing: bool


class Task(NamedTuple):
    """A file to be fetched. `bytes`: that are to come, as far as is known."""

    item: Item
    facts: Facts
    bytes: int


@dataclasses.dataclass
class Plan:
    """What a run will do.

    Attributes:
      tasks: to be fetched.
      kept: files that are there, and their bytes.
      problems: files that cannot be fetched.
      exact: whether the bytes of all tasks are known, not estimated.
    """

    tasks: list[Task] = dataclasses.field(default_factory=list)
    kept: list[tuple[Item, int]] = dataclasses.field(default_factory=list)
    problems: list[Problem] = dataclasses.field(default_factory=list)
    exact: bool = True

    @property
    def bytes(self) -> int:
        """That are to come."""
        return sum(task.bytes for task in self.tasks)


class Download:
    """Files below one folder, and its manifest."""

    def __init__(
        self,
        folder: pathlib.Path,
        client: Client | None = None,
        *,
        jobs: int = 8,
        verify: bool = False,
        fresh: float = DAY,
        dry: bool = False,
        shown: bool = True,
    ) -> None:
        """Reads the manifest.

        Args:
          folder: the target.
          client: asks servers.
          jobs: files at a time.
          verify: whether files that are there are read and held against their sums.
          fresh: seconds for which what the server said of a file is taken to be still so; 0 asks anew.
          dry: writes nothing.
          shown: whether to show progress.

        Raises:
          ValueError: the manifest cannot be read.
        """
        self.folder, self.client, self.jobs = folder, client or Client(), jobs
        self.dry, self.shown = dry, shown
        self.manifest = Manifest(folder)
        self._local = Local(folder, self.manifest, verify=verify, dry=dry)
        self._fresh = fresh
        self.early: set[str] = set()  # paths that `content` fetched
        self._cut_off, self._lock = 0, threading.Lock()

    def plan(self, items: Sequence[Item]) -> Plan:
        """Finds out what is there and, from the server, how large the rest is.

        Raises:
          ValueError: a path leads out of the folder.
          OSError: the server cannot be reached.
        """
        for item in items:
            paths.inside(self.folder, item.path)
        plan = Plan(exact=not self.dry or sum(item.selection is not None for item in items) <= _MOST_EXACT)
        with Progress(0, len(items), shown=self.shown, what="files looked at") as progress:

            def judge(item: Item) -> Task | Problem | tuple[Item, int]:
                found = self._guarded(item, lambda: self._judge(item, exact=plan.exact))
                progress.file_done()
                return found

            jobs = 1 if self.jobs == 1 else min(4 * self.jobs, _MOST_ASKING)
            with contextlib.closing(self._each(judge, items, jobs)) as results:
                for found in results:
                    if isinstance(found, Task):
                        plan.tasks.append(found)
                    elif isinstance(found, Problem):
                        plan.problems.append(found)
                    else:
                        plan.kept.append(found)
        order = {item.path: index for index, item in enumerate(items)}
        plan.tasks.sort(key=lambda task: order[task.item.path])
        plan.problems.sort(key=lambda problem: order[problem.path])
        return plan

    def require_space(self, tasks: Sequence[Task]) -> None:
        """Raises a ValueError where the disk has too little room."""
        exists = next(one for one in (self.folder.absolute(), *self.folder.absolute().parents) if one.exists())
        free, needed = shutil.disk_usage(exists).free, sum(task.bytes for task in tasks)
        if needed and needed + _SPARE > free:
            largest = max(tasks, key=lambda task: task.bytes)
            raise ValueError(
                f"{self.folder}: {amounts.size(needed)} are to come, and {amounts.size(free)} are free (the largest file is "
                f"{largest.item.path}, {amounts.size(largest.bytes)}); ask for less, or take another folder."
            )

    def run(self, tasks: Sequence[Task]) -> list[Problem]:
        """Fetches files; those that could not be.

        Raises:
          OSError: the disk is full or fails, or the server cannot be reached any more.
          KeyboardInterrupt: by Ctrl-C; what is there is noted, and parts are gone on with by the next run.
        """
        problems = []
        try:
            with Progress(sum(task.bytes for task in tasks), len(tasks), shown=self.shown) as progress:
                work = self._each(lambda task: self._guarded(task.item, lambda: self._fetch(task, progress)), tasks, self.jobs)
                with contextlib.closing(work) as results:
                    problems += [found for found in results if isinstance(found, Problem)]
        finally:
            self.manifest.save()
        order = {task.item.path: index for index, task in enumerate(tasks)}
        return sorted(problems, key=lambda problem: order[problem.path])

    def again(self, relative: Iterable[str]) -> list[Problem]:
        """Fetches files of the manifest anew, whatever is there; those that could not be. Raises as `run`."""

        def task(path: str) -> Task | Problem:
            entry = self.manifest.files.get(path)
            if entry is None:
                return Problem(path, "", "not in the manifest", True)
            item = Item(path, entry.url, md5=entry.md5, selection=entry.selection)
            return self._guarded(item, lambda: self._task(item, self.client.facts(item.url), exact=False))

        found = list(self._each(task, dict.fromkeys(relative), self.jobs))
        tasks = [one for one in found if isinstance(one, Task)]
        self.require_space(tasks)
        return [one for one in found if isinstance(one, Problem)] + self.run(tasks)

    def content(self, item: Item) -> bytes | Problem:
        """A small file's content: from the folder, where it is fetched to if need be; a dry run keeps it in memory. Raises as `run`."""
        found = self._guarded(item, lambda: self._judge(item, exact=True))
        if isinstance(found, Task):
            if (found.facts.size or 0) > text_files.MOST_BYTES:
                return Problem(item.path, item.url, f"must be a text of {text_files.MOST_BYTES >> 20} MiB at most; it is larger", False)
            if self.dry:
                return self._guarded(item, lambda: self.client.read(item.url, 0, found.facts.size or 0, found.facts))
            found = self._guarded(item, lambda: self._fetch(found, None))
            if not isinstance(found, Problem):
                self.early.add(item.path)
        return found if isinstance(found, Problem) else (self.folder / item.path).read_bytes()

    def _each(self, work, items, jobs: int):
        return parallel.each(work, items, jobs, self.client.stop)

    def _guarded(self, item: Item, work):
        """What `work` gives, or the problem that it met; errors that all files would meet are raised."""
        try:
            found = work()
        except Stopped:
            raise
        except Untrusted as e:
            raise ConnectionError(str(e)) from e
        except Unreachable as e:
            with self._lock:
                self._cut_off += 1
                if not self.client.reached or self._cut_off > self.jobs:
                    raise ConnectionError(f"{e}. Run the same again later: it goes on where it stopped.") from e
            return Problem(item.path, item.url, str(e), False)
        except OSError as e:
            if e.errno in _FATAL:
                raise
            return Problem(item.path, item.url, str(e), isinstance(e, Missing))
        except ValueError as e:
            return Problem(item.path, item.url, str(e), False)
        self._cut_off = 0
        return found

    def _judge(self, item: Item, *, exact: bool) -> Task | tuple[Item, int]:
        """Whether a file is there as the server has it."""
        entry = self.manifest.files.get(item.path)
        here = entry is not None and covers(entry.selection, item.selection) and self._local.is_intact(item.path, entry)
        if here and entry.url == item.url and 0 <= time.time() - entry.checked < self._fresh:
            return item, entry.size or 0
        facts = self.client.facts(item.url)
        if here and entry.facts.fits(facts) and facts.size is not None:
            self._note(item.path, dataclasses.replace(entry, url=item.url, checked=time.time()))
            return item, entry.size or 0
        if entry is None and (found := self._local.adopt(item, facts)) is not None:
            self._note(item.path, found)
            return item, found.size or 0
        if entry is not None:
            item = dataclasses.replace(item, selection=both(entry.selection, item.selection))
        return self._task(item, facts, exact=exact)

    def _task(self, item: Item, facts: Facts, *, exact: bool) -> Task:
        """With the bytes that are to come."""
        size = facts.size or 0
        if item.selection is not None:
            size = int(size * item.fraction)
            if self.dry and exact:
                size = remote_members(self.client, item, facts)[1]
        part = paths.part(self.folder / item.path, state_of(item, facts))
        done = part.stat().st_size if part.exists() else 0
        return Task(item, facts, max(size - done, 0))

    def _fetch(self, task: Task, progress: Progress | None) -> None:
        entry = fetch(self.client, self.folder, task.item, task.facts, task.bytes, progress)
        self._note(task.item.path, entry)
        if progress is not None:
            progress.file_done()

    def _note(self, path: str, entry: Entry) -> None:
        if not self.dry:
            self.manifest.put(path, entry)


__all__ = ["DAY", "Damaged", "Download", "Item", "Plan", "Problem", "Selection", "Task"]
