"""One file, from the server to its path: collected in a part, checked, renamed."""

import os
import pathlib
import time

from ava_jax.data.download import paths, subset, verify, whole, zip_listing
from ava_jax.data.download.client import Changed, Client, Damaged, Facts
from ava_jax.data.download.items import Item
from ava_jax.data.download.manifest import Entry
from ava_jax.data.download.progress import Progress
from ava_jax.data.download.zip_listing import Member

_ROUNDS = 3  # times that a file may turn out damaged, or change under way


def fetch(client: Client, folder: pathlib.Path, item: Item, facts: Facts, expected: int, progress: Progress | None) -> Entry:
    """Fetches a file into a folder, over one that may be there.

    Args:
      client: asks.
      folder: the target.
      item: what to fetch.
      facts: what the server said of it.
      expected: bytes that `progress` was told of.
      progress: is told what comes.

    Returns:
      What the manifest notes.

    Raises:
      Damaged: it came damaged three times.
      ValueError: it is no zip, though members of it are to be taken.
      Changed, Missing, OSError: it could not be fetched.
    """
    path = paths.inside(folder, item.path)
    path.parent.mkdir(parents=True, exist_ok=True)
    for last in (False,) * (_ROUNDS - 1) + (True,):
        part = paths.part(path, state_of(item, facts))
        for old in paths.parts(path):
            if old != part:
                old.unlink(missing_ok=True)
        try:
            return _fetch(client, path, part, item, facts, expected, progress)
        except (Damaged, ValueError):  # a directory may be damaged on its way too
            if progress is not None and part.exists():
                progress.count(-part.stat().st_size)
            part.unlink(missing_ok=True)
            if last:
                raise
        except Changed:
            if last:
                raise
            now = client.facts(item.url)
            if progress is not None:
                progress.expect((now.size or 0) - (facts.size or 0) if item.selection is None else 0)
            facts = now
    raise AssertionError("the last round returns or raises")


def state_of(item: Item, facts: Facts) -> str:
    """What a part is of: a state of the server's file, and a selection."""
    return f"{facts.validator}\n{facts.size}\n{item.selection.key if item.selection else ''}"


def remote_members(client: Client, item: Item, facts: Facts) -> tuple[list[Member], int]:
    """Members of a remote zip that an item selects, and the bytes of a zip of them; 0 where there are none.

    Raises:
      ValueError: it is no zip, or one of those cannot be taken over.
      OSError: it cannot be read.
    """
    chosen = [member for member in subset.members(client, item.url, facts) if item.selection.takes(member)]
    zip_listing.require_plain(chosen)
    return chosen, subset.size(chosen) if chosen else 0


def _fetch(client, path: pathlib.Path, part: pathlib.Path, item: Item, facts: Facts, expected: int, progress: Progress | None) -> Entry:
    report = progress.count if progress is not None else _silent
    count = None
    if item.selection is not None:
        chosen, size = remote_members(client, item, facts)
        if progress is not None:
            done = part.stat().st_size if part.exists() else 0
            progress.expect(max(size - done, 0) - expected)
        count = len(chosen)
        if not chosen:
            part.unlink(missing_ok=True)
            return _entry(item, facts, None, 0, 0, 0)
        subset.fetch(client, item.url, part, facts, chosen, report, local=path)
        sums = whole.sums(part)
    else:
        md5 = (item.md5 or facts.md5).lower()
        sums = whole.fetch(client, item.url, part, facts, report, md5=bool(md5))
        if md5 and sums.md5 != md5:
            raise Damaged(f"its MD5 is {sums.md5}, and must be {md5}")
    if verify.is_zip(part, path.name) and (fault := verify.zip_fault(part)):
        raise Damaged(fault)
    os.replace(part, path)
    return _entry(item, facts, sums.size, sums.crc, path.stat().st_mtime_ns, count)


def _entry(item: Item, facts: Facts, size: int | None, crc: int, mtime: int, members: int | None) -> Entry:
    source = facts.size if facts.size is not None or item.selection else size
    return Entry(item.url, size, crc, mtime, time.time(), facts.etag, facts.modified, source, item.md5, members, item.selection)


def _silent(count: int) -> None:
    """Where no progress is shown."""
