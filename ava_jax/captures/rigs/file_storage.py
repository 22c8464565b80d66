"""OpenCV's FileStorage, YAML and XML, and plain YAML, as a mapping of names to words, lists and matrices (of which rows, cols, data).

All scalars stay text: what a number must be is for the reader of the key to say.
"""

import pathlib
import re
from typing import Any

import numpy as np
import yaml

from ava_jax.captures.rigs import values, xml_tree
from ava_jax.data import text_files

_MOST = 1 << 20  # bytes; a rig of 100 cameras has 100 kB
_MOST_ITEMS = 4096
# Text alone: no dates, no numbers of a thousand digits, no objects; tags such as !!opencv-matrix are passed over.
_Loader = getattr(yaml, "CBaseLoader", yaml.BaseLoader)


def read(path: pathlib.Path) -> dict[str, Any]:
    """What a file holds, by key.

    Raises:
      ValueError: it cannot be read, is too large, or is no mapping; the message names file and line.
    """
    if path.is_file() and path.stat().st_size > _MOST:
        raise ValueError(f"{path}: must be a calibration of {_MOST >> 20} MiB at most.")
    tree = _xml(path) if path.suffix.lower() == ".xml" else _yaml(path)
    if not isinstance(tree, dict) or not all(isinstance(key, str) for key in tree):
        raise ValueError(f"{path}: must be a mapping of names to values.")
    return tree


def _yaml(path: pathlib.Path) -> Any:
    # OpenCV's first line has a colon where YAML has a space. Lines keep their numbers.
    text = re.sub(r"\A\s*%YAML:?[ ]?1\.[0-9]\s*?(?=\n)", "", text_files.read(path))
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as e:
        mark = e.problem_mark or e.context_mark
        where = f", line {mark.line + 1}" if mark else ""
        raise ValueError(f"{path}{where}: is no YAML that can be read ({' '.join(str(e.problem).split())[:200]}).") from e
    except (yaml.YAMLError, ValueError, RecursionError) as e:
        raise ValueError(f"{path}: is no YAML that can be read ({' '.join(str(e).split())[:200]}).") from e


def _xml(path: pathlib.Path) -> Any:
    root = xml_tree.read(path)
    if root.tag != "opencv_storage":
        raise ValueError(f"{path}: must be OpenCV's <opencv_storage>; got <{root.tag[:40]}>.")
    return {child.tag: _of_node(child) for child in root.children}


def _of_node(node: xml_tree.Node) -> Any:
    if not node.children:
        return node.text.strip('"') if '"' in node.text else node.text
    found = {child.tag: child.text for child in node.children}
    if "data" in found:
        found["data"] = found["data"].split()
    return found


def matrix(tree: dict[str, Any], key: str, shapes: tuple[tuple[int, ...], ...]) -> np.ndarray:
    """A matrix of a key: `rows`, `cols`, `data`, or lists, or words; f64 [shape], of that one of `shapes` that its count fits.

    Raises:
      ValueError: it fits none, or has other than finite numbers.
    """
    value = tree.get(key)
    if isinstance(value, dict):
        value = value.get("data")
    if isinstance(value, str):
        value = value.replace(",", " ").split()
    count = _count(value)
    for shape in shapes:
        if count == int(np.prod(shape)):
            return values.array(value, shape, key)
    raise ValueError(f"{key} must be {' or '.join(' x '.join(map(str, shape)) for shape in shapes)} numbers; got {count}")


def _count(value: Any) -> int:
    """Numbers in lists in each other, as far as they can be a matrix's."""
    if not isinstance(value, list):
        return 0
    if len(value) > _MOST_ITEMS:
        return len(value)
    return sum(len(item) if isinstance(item, list) else 1 for item in value)
