"""Fetches captures of multiface and unpacks them, from the mini set to all of it. Run again, it goes on, repairs, and adds what is asked.

ava multiface download --out=DATA --config_file=download_config.json --dry_run        # how much would it be?
ava multiface download --out=DATA --mini                                              # two segments of one entity, 16 GB
ava multiface download --out=DATA --config_file=download_config.json --assets=mesh,metadata
ava multiface download --out=DATA --entities=ID --expressions=E001_Neutral,E057 --averages_only   # what the universal model needs
ava multiface download --out=MODELS --config_file=download_config.json --pretrained
"""

import pathlib
import time

import tqdm
from absl import flags

from ava_jax.captures.multiface import fetching, published
from ava_jax.core import amounts, lists
from ava_jax.data.download import options, report
from ava_jax.data.download.engine import Download, Problem

_FLAGS = options.define(published.BASE, jobs=4, what="Tars")
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


def main() -> None:
    """Fetches captures, as the flags say."""
    out, choice = _FLAGS.folder(), _choice()
    fetch = _models if _PRETRAINED.value else _captures
    _FLAGS.run(out, lambda download: fetch(download, choice))


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
    return published.Choice(**asked, cameras=cameras, averages_only=_AVERAGES.value, base=_FLAGS.base_url.value)


def _models(download: Download, choice: published.Choice) -> list[Problem]:
    """The trained models, files as they are; what was not to be had."""
    plan = download.plan([published.model(choice.base, entity) for entity in choice.entities])
    problems = list(plan.problems)
    if download.dry:
        print(report.table(plan))
        return problems
    download.require_space(plan.tasks)
    problems += download.run(plan.tasks)
    fetched = len(plan.tasks) + len(plan.problems) - len(problems)
    counts = f"{fetched} models fetched, {amounts.size(plan.bytes)} asked for, {len(plan.kept)} were there, {len(problems)} missing"
    print(f"{download.folder}: {counts}")
    return problems


def _captures(download: Download, choice: published.Choice) -> list[Problem]:
    """Tars, entity by entity, unpacked; what was not to be had."""
    begun = time.monotonic()
    listed = [fetching.list_entity(download, choice, entity, verify=_FLAGS.verify.value) for entity in dict.fromkeys(choice.entities)]
    plan = download.plan([item for one in listed for item in one.items])
    problems = [problem for one in listed for problem in one.problems] + plan.problems
    if unsummed := sum(one.unsummed for one in listed):
        print(f"{unsummed} tars have no sum in {published.CHECKSUM}; the server's own is taken where it gives one.")
    if download.dry:
        plan.kept += [found for one in listed for found in one.there]
        print(report.table(plan))
        if choice.averages_only or choice.cameras:
            print("Tars come whole; of them the chosen cameras' files alone are unpacked.")
        return problems
    fetching.require_space(download.folder, plan, download.jobs)
    lost = 0
    with tqdm.tqdm(total=len(plan.tasks), desc="unpacked", unit="tar", delay=1.0, leave=False) as bar:
        for one in listed:
            try:
                found = fetching.fetch(download, choice, one, plan, bar)
            finally:
                download.manifest.save()
            lost, problems = lost + len(found), problems + found
    count, there, seconds = len(plan.tasks) + len(plan.kept) - lost, sum(len(one.there) for one in listed), time.monotonic() - begun
    counts = f"{count} tars unpacked, {amounts.size(plan.bytes)} fetched in {seconds:.0f} s, {there} were there, {len(problems)} missing"
    print(f"{download.folder}: {counts}")
    return problems
