"""Fetches captures of multiface and unpacks them, from the mini set to all of it. Run again, it goes on, repairs, and adds what is asked.

ava multiface download --out=DATA --config_file=download_config.json --dry_run        # how much would it be?
ava multiface download --out=DATA --mini                                              # two segments of one entity, 16 GB
ava multiface download --out=DATA --config_file=download_config.json --assets=mesh,metadata
ava multiface download --out=DATA --entities=ID --expressions=E001_Neutral,E057 --averages_only   # what the universal model needs
ava multiface download --out=MODELS --config_file=download_config.json --pretrained
"""

import pathlib
import time

from absl import flags

from ava_jax.captures.multiface import published
from ava_jax.core import lists

_OUT = flags.DEFINE_string("out", None, "Folder to fetch into; what is there is kept where it is sound.", short_name="o")
_CONFIG = flags.DEFINE_string("config_file", "", "The published download_config.json: entities, assets, expressions; flags go before it.")
_MINI = flags.DEFINE_bool("mini", False, f"The published mini set: {', '.join(published.MINI_SEGMENTS)} of entity {published.MINI_ENTITY}.")
_ENTITIES = flags.DEFINE_string("entities", "", "Entities, as the published config file calls them.")
_ASSETS = flags.DEFINE_string(
    "assets", "", f"Some of {', '.join(published.ASSETS)}; by default {', '.join(published.DEFAULT_ASSETS)}, or the config file's."
)
_EXPRESSIONS = flags.DEFINE_string("expressions", "", "Parts of segments' names, as in E001_Neutral,E057; by default all segments.")
_CAMERAS = flags.DEFINE_string("cameras", "", "Ids of the only cameras whose images and textures are taken, beside average textures.")
_AVERAGES = flags.DEFINE_bool("averages_only", False, "Of textures the average alone, which is all that the universal model needs.")
_PRETRAINED = flags.DEFINE_bool("pretrained", False, "The entities' trained models, ID_model.pth, instead of their captures.")
_JOBS = flags.DEFINE_integer("jobs", 4, "Tars at a time.", lower_bound=1, upper_bound=64, short_name="j")
_DRY_RUN = flags.DEFINE_bool("dry_run", False, "Say how many files and bytes it would be, and write nothing.")
_ALLOW_MISSING = flags.DEFINE_bool("allow_missing", False, "Exit 0 though the server lacks files; they are listed all the same.")
_VERIFY = flags.DEFINE_bool("verify", False, "Read every file that is there, and hold it against its checksum.")
_RECHECK = flags.DEFINE_float(
    "recheck_hours", 24.0, "Ask the server anew for its lists after so many hours; 0 asks at once.", lower_bound=0
)
_BASE = flags.DEFINE_string("base_url", published.BASE, "Address of the data set, or of a mirror with the same folders.")


def main() -> None:
    """Fetches captures, as the flags say."""
    if not _OUT.value:
        raise ValueError("--out=FOLDER must say where to write.")
    from ava_jax.data.download import manifest

    out = pathlib.Path(_OUT.value).expanduser()
    if out.exists() and not out.is_dir():
        raise ValueError(f"--out={_OUT.value}: is a file; it must be a folder, new or one that was downloaded into before.")
    choice = _choice()
    run = _models if _PRETRAINED.value else _captures
    if _DRY_RUN.value:
        run(out, choice)
        return
    with manifest.locked(out):
        run(out, choice)


def _choice() -> published.Choice:
    """What the flags ask for, and, where they are silent, the config file, or the mini set."""
    if _MINI.value and _CONFIG.value:
        raise ValueError("--mini and --config_file both say what to fetch; give one.")
    asked = {"entities": (), "assets": published.DEFAULT_ASSETS, "expressions": ()}
    if _CONFIG.value:
        asked = published.read_config(pathlib.Path(_CONFIG.value).expanduser())
    elif _MINI.value:
        asked |= {"entities": (published.MINI_ENTITY,), "expressions": published.MINI_SEGMENTS}
    given = {
        "entities": lists.read("--entities", _ENTITIES.value),
        "assets": lists.read("--assets", _ASSETS.value),
        "expressions": lists.read("--expressions", _EXPRESSIONS.value),
    }
    asked |= {name: value for name, value in given.items() if value}
    cameras = lists.read("--cameras", _CAMERAS.value)
    return published.Choice(**asked, cameras=cameras, averages_only=_AVERAGES.value, base=_BASE.value)


def _download(out: pathlib.Path):
    from ava_jax.data.download.client import Client
    from ava_jax.data.download.engine import Download

    return Download(out, Client(), jobs=_JOBS.value, verify=_VERIFY.value, fresh=_RECHECK.value * 3600, dry=_DRY_RUN.value)


def _models(out: pathlib.Path, choice: published.Choice) -> None:
    """The trained models, files as they are."""
    from ava_jax.core import amounts
    from ava_jax.data.download import report

    download = _download(out)
    plan = download.plan([published.model(choice.base, entity) for entity in choice.entities])
    problems = list(plan.problems)
    if _DRY_RUN.value:
        print(report.table(plan))
    else:
        download.require_space(plan.tasks)
        problems += download.run(plan.tasks)
        fetched = len(plan.tasks) + len(plan.problems) - len(problems)
        print(
            f"{out}: {fetched} models fetched, {amounts.size(plan.bytes)} asked for, {len(plan.kept)} were there, {len(problems)} missing"
        )
    report.require_none(problems, allow_missing=_ALLOW_MISSING.value)


def _captures(out: pathlib.Path, choice: published.Choice) -> None:
    """Tars, entity by entity, unpacked."""
    import tqdm

    from ava_jax.captures.multiface import fetching
    from ava_jax.core import amounts
    from ava_jax.data.download import report

    download, begun = _download(out), time.monotonic()
    listed = [fetching.list_entity(download, choice, entity, verify=_VERIFY.value) for entity in dict.fromkeys(choice.entities)]
    plan = download.plan([item for one in listed for item in one.items])
    problems = [problem for one in listed for problem in one.problems] + plan.problems
    if unsummed := sum(one.unsummed for one in listed):
        print(f"{unsummed} tars have no sum in {published.CHECKSUM}; the server's own is taken where it gives one.")
    if _DRY_RUN.value:
        plan.kept += [found for one in listed for found in one.there]
        print(report.table(plan))
        if choice.averages_only or choice.cameras:
            print("Tars come whole; of them the chosen cameras' files alone are unpacked.")
        report.require_none(problems, allow_missing=_ALLOW_MISSING.value)
        return
    fetching.require_space(out, plan, download.jobs)
    lost = 0
    with tqdm.tqdm(total=len(plan.tasks), desc="unpacked", unit="tar", delay=1.0, leave=False) as bar:
        for one in listed:
            try:
                found = fetching.fetch(download, choice, one, plan, bar)
            finally:
                download.manifest.save()
            lost, problems = lost + len(found), problems + found
    count, there, seconds = len(plan.tasks) + len(plan.kept) - lost, sum(len(one.there) for one in listed), time.monotonic() - begun
    print(
        f"{out}: {count} tars unpacked, {amounts.size(plan.bytes)} fetched in {seconds:.0f} s, {there} were there, {len(problems)} missing"
    )
    report.require_none(problems, allow_missing=_ALLOW_MISSING.value)
