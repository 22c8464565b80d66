"""Fetches tars of multiface, entity by entity, and unpacks each as it comes: the disk holds what is wanted and a few tars at most."""

import dataclasses
import functools
import pathlib
import shutil

import tqdm

from ava_jax.captures.multiface import published
from ava_jax.captures.multiface.published import Choice
from ava_jax.core import amounts
from ava_jax.data import text_files
from ava_jax.data.download import tars
from ava_jax.data.download.engine import Download, Item, Plan, Problem

_SPARE = 1 << 26  # bytes that stay free


@dataclasses.dataclass
class Listed:
    """The tars of an entity.

    Attributes:
      entity: its name.
      items: to be fetched and unpacked; there: (item, bytes) of those that are there, unpacked.
      problems: what is known to be lacking.
      unsummed: tars for which CHECKSUM has no sum.
    """

    entity: str
    items: list[Item] = dataclasses.field(default_factory=list)
    there: list[tuple[Item, int]] = dataclasses.field(default_factory=list)
    problems: list[Problem] = dataclasses.field(default_factory=list)
    unsummed: int = 0


def list_entity(download: Download, choice: Choice, entity: str, *, verify: bool = False) -> Listed:
    """Finds out which tars of an entity are wanted, by its index, and which of them are there, unpacked.

    Args:
      download: asks the server; a dry one writes nothing.
      choice: what is wanted.
      entity: one of `choice.entities`.
      verify: reads every file that is there, and holds it against its sum.

    Raises:
      OSError: the server cannot be reached.
    """
    found = Listed(entity)
    texts = {}
    for name in (published.INDEX, published.CHECKSUM):
        item = Item(f"{entity}/{name}", published.address(choice.base, entity, name), "lists")
        content = download.content(item)
        if isinstance(content, Problem):
            what = "no tar of the entity is known without it" if name == published.INDEX else "nothing says whether its tars are whole"
            if name == published.INDEX and content.missing and entity.isdigit():
                what += "; the published config file may name the entity whole, m--DATE--TIME--ID--GHS"
            found.problems.append(content._replace(text=f"{content.text}; {what}"))
            return found
        try:
            texts[name] = text_files.decode(content)
        except ValueError as e:
            found.problems.append(Problem(item.path, item.url, str(e), False))
            return found
    sums = published.sums(texts[published.CHECKSUM])
    for name in published.links(texts[published.INDEX]):
        if not choice.takes(name):
            continue
        path = f"{entity}/{name}"
        item = Item(path, published.address(choice.base, entity, name), published.asset_of(name), md5=sums.get(name, ""))
        found.unsummed += not item.md5
        record = tars.load(download.folder, path)
        here = record is not None and record.covers(choice.only(name)) and (not item.md5 or record.state == item.md5)
        if here and record.is_there(download.folder, verify=verify):
            found.there.append((item, sum(size for size, _, _ in record.files)))
        else:
            found.items.append(item)
    if not found.items and not found.there:
        wanted = ", ".join(choice.assets) + (f" of {', '.join(choice.expressions)}" if choice.expressions else "")
        path = f"{entity}/{published.INDEX}"
        found.problems.append(Problem(path, "", f"lists nothing that is asked for ({wanted})", True))
    return found


def require_space(folder: pathlib.Path, plan: Plan, jobs: int) -> None:
    """Raises a ValueError where the disk has too little room for what the tars hold and the tars that lie there at a time."""
    exists = next(one for one in (folder.absolute(), *folder.absolute().parents) if one.exists())
    sizes = sorted((task.facts.size or 0 for task in plan.tasks), reverse=True)
    free, left, meanwhile = shutil.disk_usage(exists).free, sum(sizes), sum(sizes[:jobs])
    if sizes and left + meanwhile + _SPARE > free:
        raise ValueError(
            f"{folder}: {amounts.size(left)} are to stay, {amounts.size(meanwhile)} more are needed while tars are unpacked, and "
            f"{amounts.size(free)} are free; ask for less (--expressions, --cameras, --averages_only, --assets), or take another folder."
        )


def fetch(download: Download, choice: Choice, listed: Listed, plan: Plan, progress: tqdm.tqdm | None = None) -> list[Problem]:
    """Fetches tars of an entity, as many at a time as the download has jobs, and unpacks these before the next; those that could not be.

    Args:
      download: of the plan.
      choice: what is wanted.
      listed: the entity's tars.
      plan: of these, or of several entities; what it keeps are whole tars of a run that was stopped before it unpacked them.
      progress: is told of each tar.

    Raises:
      OSError: the disk is full or fails, or the server cannot be reached any more.
      KeyboardInterrupt: by Ctrl-C; the next run goes on.
    """
    mine = {item.path for item in listed.items}
    tasks = [task for task in plan.tasks if task.item.path in mine]
    kept = [item for item, _ in plan.kept if item.path in mine]
    problems = [problem for item in kept if (problem := _unpack(download, choice, listed.entity, item))]
    for start in range(0, len(tasks), download.jobs):
        group = tasks[start : start + download.jobs]
        failed = download.run(group)
        problems += failed
        lost = {problem.path for problem in failed}
        for task in group:
            if task.item.path not in lost and (problem := _unpack(download, choice, listed.entity, task.item)):
                problems.append(problem)
            if progress is not None:
                progress.update()
    return problems


def _unpack(download: Download, choice: Choice, entity: str, item: Item) -> Problem | None:
    """Unpacks a tar, notes what came of it, and removes it."""
    out = download.folder
    tar = out / item.path
    before = tars.load(out, item.path)
    only = choice.only(tar.name)
    state = item.md5 or download.manifest.files[item.path].facts.validator
    if only and before is not None and before.state == state:
        only = () if not before.only else tuple(sorted({*only, *before.only}))  # what was there is kept up
    try:
        found = tars.unpack(tar, out, functools.partial(published.place, entity, only))
    except ValueError as e:
        tar.unlink(missing_ok=True)  # fetched again, it may be another one
        download.manifest.drop(item.path)
        return Problem(item.path, item.url, f"{e}; it was not unpacked", False)
    tars.save(out, item.path, tars.Record(state, only, tuple(found)))
    tar.unlink()
    download.manifest.drop(item.path)
    return None
