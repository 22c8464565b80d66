"""Fetches captures of ava-256, from a few frames of one person to all of it. Run again, it goes on, repairs, and fetches what has changed.

ava ava256 download --out=DATA --captures_file=256_ids.csv -n 4 --dry_run           # how much would it be?
ava ava256 download --out=DATA --captures_file=256_ids.csv --captures=AEY864 --size=8TB
ava ava256 download --out=DATA --captures=256_ids.csv --assets=kinematic_tracking --segments=EXP_neutral_peak,EXP_free_face
ava ava256 download --out=DATA --captures=20230324--0820--AEY864 --frontal --every=10
ava ava256 download --out=DATA --captures=20230324--0820--AEY864 --assets=image --members='cam401031/0317*.avif'
ava ava256 download --out=DATA --assets=checkpoint
"""

import time

from absl import flags

from ava_jax.captures import published, published_choice
from ava_jax.core import amounts, lists
from ava_jax.data.download import options, report
from ava_jax.data.download.engine import Download, Item, Plan, Problem

_FLAGS = options.define(published.BASE, jobs=8, what="Files")
_SIZE = flags.DEFINE_string("size", "4TB", f"Which copy: {', '.join(published.SIZES)}, for all 256 captures.", short_name="s")
_CAPTURES = flags.DEFINE_string("captures", "", "Subjects' ids, whole names, or a CSV; by default all of --captures_file.")
_FILE = flags.DEFINE_string("captures_file", "", "CSV with the columns mcd,sid,mct: the list that ids are looked up in.")
_COUNT = flags.DEFINE_integer("count", None, "The first so many of the captures.", short_name="n")
_OPTIONAL = ", ".join(name for name, asset in published.ASSETS.items() if asset.optional)
_USUAL = ", ".join(name for name, asset in published.ASSETS.items() if not asset.optional)
_ASSETS = flags.DEFINE_string("assets", "all", f"What to fetch: all, which is {_USUAL}; or names; beside these there are {_OPTIONAL}.")
_CAMERAS = flags.DEFINE_string("cameras", "", "Ids of the only cameras to fetch.")
_FRONTAL = flags.DEFINE_bool("frontal", False, "The frontal camera alone.")
_SEGMENTS = flags.DEFINE_string("segments", "", "Segments of the only frames to fetch: zips get smaller.")
_EVERY = flags.DEFINE_integer("every", 1, "Every Nth frame of each segment.")
_FRAMES = flags.DEFINE_string("frames", "", "Ids of the only frames to fetch.")
_MEMBERS = flags.DEFINE_string("members", "", "Names of the only members of zips to fetch, as in cam401031/031744.avif or '*/0317*'.")


def main() -> None:
    """Fetches captures, as the flags say."""
    out = _FLAGS.folder()
    choice = published_choice.Choice(
        assets=published.assets(lists.read("--assets", _ASSETS.value), _SIZE.value),
        size=_SIZE.value,
        base=_FLAGS.base_url.value,
        cameras=lists.read("--cameras", _CAMERAS.value),
        frontal=_FRONTAL.value,
        segments=lists.read("--segments", _SEGMENTS.value),
        every=_EVERY.value,
        frames=lists.read("--frames", _FRAMES.value, int),
        members=lists.read("--members", _MEMBERS.value),
    )
    captures = []
    if any(not published.ASSETS[name].of_data_set for name in choice.assets):
        captures = published.captures(lists.read("--captures", _CAPTURES.value), _FILE.value, _COUNT.value, out)
    _FLAGS.run(out, lambda download: _fetch(download, choice, captures))


def _fetch(download: Download, choice: published_choice.Choice, captures: list[str]) -> list[Problem]:
    begun = time.monotonic()
    items, problems = published_choice.items(download, choice, captures)
    plan = download.plan(items)
    problems += plan.problems
    if download.dry:
        print(report.table(plan))
    else:
        download.require_space(plan.tasks)
        problems += download.run(plan.tasks)
        problems += _empty(download, choice, items)
        _summarise(download, plan, len(items), problems, time.monotonic() - begun)
    return problems


def _empty(download: Download, choice: published_choice.Choice, items: list[Item]) -> list[Problem]:
    """Zips that have none of the chosen frames; with --members, captures none of whose zips has a member of these names."""
    found: dict[str, list[Item]] = {}
    for item in items:
        entry = download.manifest.files.get(item.path)
        if item.selection is not None and entry is not None:
            found.setdefault(item.path.partition("/")[0] if choice.members else item.path, []).append(item)
    none = [group[0] for group in found.values() if not any(download.manifest.files[item.path].size for item in group)]
    what = "no zip of this capture has a member of these names" if choice.members else "has none of the chosen frames"
    return [Problem(item.path, item.url, what, True) for item in none]


def _summarise(download: Download, plan: Plan, count: int, problems: list[Problem], seconds: float) -> None:
    failed = {problem.path for problem in problems}
    fetched = {task.item.path for task in plan.tasks if task.item.path not in failed} | download.early
    size = sum(download.manifest.files[path].size or 0 for path in fetched)
    speed = f", {amounts.size(size)} in {seconds:.0f} s" if fetched else ""
    there = sum(item.path not in download.early for item, _ in plan.kept)
    files = f"{count} file" + ("" if count == 1 else "s")
    print(f"{download.folder}: {files}; {len(fetched)} fetched{speed}, {there} were there, {len(problems)} missing")
