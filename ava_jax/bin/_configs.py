"""Experiments that `--config` can name: those installed with the package, and files of the user's own."""

import ast
import pathlib
import re
import runpy
from collections.abc import Sequence

import ml_collections

from ava_jax.core import lists
from ava_jax.core.names import nearest
from ava_jax.train.config import flatten


def folders() -> list[pathlib.Path]:
    """Where named configs are looked for: inside the installed package, or beside it in a checkout."""
    package = pathlib.Path(__file__).resolve().parents[1]
    return [package / "configs", package.parent / "configs"]


def installed() -> dict[str, pathlib.Path]:
    """Files of the installed configs by name, in the order of names."""
    found = {path.stem: path for folder in reversed(folders()) for path in folder.glob("*.py") if not path.stem.startswith("_")}
    return dict(sorted(found.items()))


def summaries() -> dict[str, str]:
    """First line of each installed config's docstring, by the config's name."""
    docs = {name: ast.get_docstring(ast.parse(path.read_text())) or "" for name, path in installed().items()}
    return {name: doc.partition("\n")[0].removeprefix(f"{name}: ") for name, doc in docs.items()}


def path_of(name: str) -> str:
    """Path of a config named by an installed name or a file, either with `:variant`, which is kept.

    Raises:
      FileNotFoundError: there is none; the message lists what there is.
    """
    stem, colon, variant = name.partition(":")
    if pathlib.Path(stem).is_file():
        return name
    known = installed()
    if stem in known:
        return f"{known[stem]}{colon}{variant}"
    there = ", ".join(known)
    raise FileNotFoundError(f"--config={name}: no such file and no installed config of that name ({there}).{nearest(stem, known)}")


def load(path: str) -> ml_collections.ConfigDict:
    """The config of `FILE.py[:variant]`, as `get_config` makes it."""
    file, _, variant = path.partition(":")
    return runpy.run_path(file)["get_config"](*filter(None, [variant]))


def named_in(argv: Sequence[str]) -> str | None:
    """The value of `--config` on a command line; None where it has none."""
    for i, arg in enumerate(argv):
        if re.match(r"--?config=", arg):
            return arg.partition("=")[2]
        if arg in ("--config", "-config") and i + 1 < len(argv):
            return argv[i + 1]
    return None


def with_path(argv: Sequence[str], path: str) -> list[str]:
    """The command line with another value of `--config`."""
    changed = list(argv)
    for i, arg in enumerate(argv):
        if re.match(r"--?config=", arg):
            changed[i] = f"--config={path}"
        elif arg in ("--config", "-config") and i + 1 < len(argv):
            changed[i + 1] = path
    return changed


def check_overrides(argv: Sequence[str], config: ml_collections.ConfigDict) -> None:
    """Holds the overrides of a command line, `--config.KEY=value`, against the config.

    Raises:
      ValueError: the config has no such key; the message names the nearest.
    """
    keys = list(flatten(config))
    for arg in argv:
        override = re.match(r"--?(?:no)?config\.([^=]+)", arg)
        if override and not any(key == override[1] or key.startswith(f"{override[1]}.") for key in keys):
            raise ValueError(f"the config has no key {override[1]!r}.{_renamed(override[1], config) or nearest(override[1], keys)}")


def take_lists(argv: Sequence[str], config: ml_collections.ConfigDict) -> tuple[list[str], dict[str, tuple[str, ...]]]:
    """The command line without its overrides of lists, and what they give: elements by dotted name; one that is given again adds to it.

    ml_collections would make one word of `a,b`, and numbers of names.

    Raises:
      ValueError: a list cannot be read.
    """
    rest: list[str] = []
    given: dict[str, tuple[str, ...]] = {}
    of_lists = {key for key, value in flatten(config).items() if isinstance(value, tuple | list) or _takes_anything(config, key)}
    words = iter(argv)
    for word in words:
        override = re.fullmatch(r"--?config\.([^=]+)(?:=(.*))?", word, re.DOTALL)
        if not override or override[1] not in of_lists:
            rest.append(word)
            continue
        text = override[2] if override[2] is not None else next(words, "")
        given[override[1]] = given.get(override[1], ()) + lists.read(f"config.{override[1]}", text)
    return rest, given


def _takes_anything(config: ml_collections.ConfigDict, key: str) -> bool:
    """Whether a value is a list that may be written as one word, as in `configs/`."""
    *path, last = key.split(".")
    for part in path:
        config = config[part]
    return config.get_type(last) is object


def _renamed(key: str, config: ml_collections.ConfigDict) -> str:
    """' Did you mean ...?' of what the config's task calls now a key that older versions had; '' of any other key."""
    from ava_jax.tasks.base import task_class  # imports jax

    if "task" not in config:
        return ""
    *path, last = key.split(".")
    group = old = ml_collections.ConfigDict()
    for part in path:
        group[part] = ml_collections.ConfigDict()
        group = group[part]
    group[last] = None
    task_class(config).migrate(old)
    (now,) = flatten(old)
    return f" Did you mean {now}?" if now != key else ""
