"""multiface as it is published: addresses, tars of each entity, the published config file of what to fetch.

`<base>v0.0/identities/<ENTITY>/index.html` links `CHECKSUM`, `metadata.tar`, `audio.tar` and, of each segment, `images--SEG.tar`,
`tracked_mesh--SEG.tar`, `unwrapped_uv_1024--SEG.tar`; large segments have a tar per camera, `images--SEG_cam400002.tar`, and one of the
average texture, `unwrapped_uv_1024--SEG_camaverage.tar`. `<base>PretrainedModel/<ID>_model.pth` are trained models.
"""

import dataclasses
import html.parser
import pathlib
import re
import urllib.parse
from collections.abc import Mapping, Sequence

from ava_jax.captures.multiface import layout
from ava_jax.core.names import pick
from ava_jax.data import text_files
from ava_jax.data.download import paths
from ava_jax.data.download.items import Item

BASE = "https://fb-baas-f32eacb9-8abb-11eb-b2b8-4857dd089e15.s3.amazonaws.com/MugsyDataRelease/"
ASSETS = {  # name in the published config -> beginning of its tars' names
    "image": f"{layout.IMAGES}--",
    "mesh": f"{layout.MESHES}--",
    "texture": f"{layout.TEXTURES}--",
    "metadata": "metadata.tar",
    "audio": "audio.tar",
}
DEFAULT_ASSETS = ("image", "mesh", "texture", "metadata")
MINI_ENTITY, MINI_SEGMENTS = "6795937", ("E057_Cheeks_Puffed", "E061_Lips_Puffed")
INDEX, CHECKSUM = "index.html", "CHECKSUM"
_SPLIT = re.compile(r"_cam([A-Za-z0-9]+)\.tar$")
_ENTITY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
_SUM = re.compile(r"([0-9a-fA-F]{32})\s+\*?(\S.*)")


@dataclasses.dataclass(frozen=True)
class Choice:
    """What to fetch.

    Attributes:
      entities: as the index calls them.
      assets: keys of ASSETS.
      expressions: parts of segments' names, of which one must be in a tar's name; (): all.
      cameras: whose images and textures alone, beside average textures; (): all.
      averages_only: of textures the average alone.
      base: the address that all begin with.
    """

    entities: tuple[str, ...]
    assets: tuple[str, ...] = DEFAULT_ASSETS
    expressions: tuple[str, ...] = ()
    cameras: tuple[str, ...] = ()
    averages_only: bool = False
    base: str = BASE

    def __post_init__(self) -> None:
        """Raises a ValueError where a value cannot be."""
        if not self.entities:
            raise ValueError(
                "which entities? --config_file=FILE is the published download_config.json; or name them: --entities=ID,ID; or --mini."
            )
        for name in self.entities:
            if not _ENTITY.fullmatch(name):
                raise ValueError(f"--entities: must be names as in 6795937 or m--DATE--TIME--ID--GHS; got {name[:80]!r}.")
        for name in self.assets:
            pick("--assets", name, ASSETS)
        if not self.assets:
            raise ValueError(f"--assets must name some of {', '.join(ASSETS)}.")
        if not self.base.startswith(("http://", "https://")):
            raise ValueError(f"--base_url must be an address, as in https://host/folder/; got {self.base!r}.")
        if not self.base.endswith("/"):
            object.__setattr__(self, "base", f"{self.base}/")

    def takes(self, name: str) -> bool:
        """Whether a tar of an entity is fetched."""
        asset = asset_of(name)
        if asset not in self.assets:
            return False
        if asset in ("metadata", "audio"):
            return True
        if self.expressions and not any(expression in name for expression in self.expressions):
            return False
        split, folders = _SPLIT.search(name), self._folders(asset)
        return split is None or not folders or split[1] in folders

    def only(self, name: str) -> tuple[str, ...]:
        """Folders of a tar's files that alone are taken, as named by cameras, sorted; (): all, as of one that has a single camera's."""
        return () if _SPLIT.search(name) else self._folders(asset_of(name))

    def _folders(self, asset: str) -> tuple[str, ...]:
        if asset == "texture" and (self.averages_only or self.cameras):
            return tuple(sorted({layout.AVERAGE, *(() if self.averages_only else self.cameras)}))
        return tuple(sorted(self.cameras)) if asset == "image" else ()


def asset_of(name: str) -> str:
    """The asset that a tar is of; "": none."""
    return next((asset for asset, begin in ASSETS.items() if name.startswith(begin) and name.endswith(".tar")), "")


def read_config(path: pathlib.Path) -> dict[str, tuple[str, ...]]:
    """What the published `download_config.json` asks for: `entities`, `assets`, `expressions`.

    Raises:
      ValueError: it cannot be read, or has another form.
    """
    tree = text_files.read_json(path)
    form = '{"entity": ["..."], "image": true, "mesh": true, "texture": true, "metadata": true, "audio": false, "expression": ["..."]}'
    if not isinstance(tree, Mapping) or not isinstance(tree.get("entity"), list):
        raise ValueError(f"{path}: must be {form}.")
    known = {"entity", "expression", *ASSETS}
    for key in tree:
        pick(f"{path}: key", key, known)
    if wrong := [asset for asset in ASSETS if not isinstance(tree.get(asset, False), bool)]:
        raise ValueError(f"{path}: {wrong[0]} must be true or false; got {tree[wrong[0]]!r}.")
    if not isinstance(expressions := tree.get("expression", []), list):
        raise ValueError(f"{path}: expression must be a list of names; got {expressions!r}.")
    return {
        "entities": tuple(str(name) for name in tree["entity"]),
        "assets": tuple(asset for asset in ASSETS if tree.get(asset, False)),
        "expressions": tuple(str(name) for name in expressions),
    }


def address(base: str, entity: str, name: str) -> str:
    """Where a file of an entity is."""
    return f"{base}v0.0/identities/{entity}/{name}"


def links(page: str) -> list[str]:
    """Names of the files that an index links, in its order: plain names, without folders."""

    class _Links(html.parser.HTMLParser):
        found: list[str]

        def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
            target = dict(attrs).get("href") if tag == "a" else None
            if target:
                self.found.append(urllib.parse.unquote(urllib.parse.urlsplit(target).path).rpartition("/")[2])

    parser = _Links()
    parser.found = []
    parser.feed(page)
    parser.close()
    return [name for name in dict.fromkeys(parser.found) if name and not paths.fault(name)]


def sums(text: str) -> dict[str, str]:
    """MD5 by file name, of lines `MD5 NAME`."""
    matches = (_SUM.fullmatch(line.strip()) for line in text.splitlines())
    return {match[2].strip().rpartition("/")[2]: match[1].lower() for match in matches if match}


def model(base: str, entity: str) -> Item:
    """The trained model of an entity."""
    name = identity_of(entity)
    return Item(f"{name}_model.pth", f"{base}PretrainedModel/{name}_model.pth", "pretrained")


def identity_of(entity: str) -> str:
    """The id of an entity that may be named by its folder, m--DATE--TIME--ID--GHS."""
    parts = entity.split("--")
    return parts[-2] if len(parts) > 2 else entity


def place(entity: str, only: Sequence[str], name: str) -> str | None:
    """Where a member of a tar lies below the target folder; None: it is not wanted.

    Tars may hold the capture's folder, m--..., or what is in it.
    """
    parts = name.split("/")
    if only and (len(parts) < 2 or parts[-2] not in only):
        return None
    return name if parts[0].startswith("m--") else f"{entity}/{name}"
