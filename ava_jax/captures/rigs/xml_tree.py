"""XML as a tree of nodes that know their line; no entities, no document types, of which none of the formats here has any."""

import dataclasses
import pathlib
from xml.parsers import expat

from ava_jax.data import text_files

_MOST_DEPTH = 100


@dataclasses.dataclass
class Node:
    """An element.

    Attributes:
      tag: its name without a prefix of a namespace.
      line: in the file, from 1.
      attributes: by name, without prefixes.
      text: all text directly in it.
      children: in the order of the file.
    """

    tag: str
    line: int
    attributes: dict[str, str]
    text: str = ""
    children: list["Node"] = dataclasses.field(default_factory=list)

    def find(self, tag: str) -> "Node | None":
        """The first child of a name; None where there is none."""
        return next((child for child in self.children if child.tag == tag), None)

    def walk(self, tag: str) -> list["Node"]:
        """All nodes of a name below this one, in the order of the file."""
        found, left = [], [self]
        while left:
            node = left.pop()
            if node.tag == tag:
                found.append(node)
            left += reversed(node.children)
        return found


def read(path: pathlib.Path) -> Node:
    """The root of a file.

    Raises:
      ValueError: it cannot be read or is no XML; the message names file and line.
    """
    parser, stack, roots = expat.ParserCreate(), [], []

    def start(tag: str, attributes: dict[str, str]) -> None:
        node = Node(_local(tag), parser.CurrentLineNumber, {_local(key): value for key, value in attributes.items()})
        (stack[-1].children if stack else roots).append(node)
        stack.append(node)
        if len(stack) > _MOST_DEPTH:
            raise ValueError(f"has elements over {_MOST_DEPTH} levels deep")

    def text(data: str) -> None:
        parts.setdefault(id(stack[-1]), []).append(data)

    def end(_: str) -> None:
        node = stack.pop()
        node.text = "".join(parts.pop(id(node), ())).strip()

    def refuse(*_) -> None:
        raise ValueError("has a document type, which no file of a rig needs")

    parts: dict[int, list[str]] = {}
    parser.StartElementHandler, parser.EndElementHandler, parser.CharacterDataHandler = start, end, text
    parser.StartDoctypeDeclHandler = refuse
    content = text_files.read(path)
    if content.lstrip().startswith("<?xml"):  # whose encoding was that of the bytes
        content = "\n" * content[: content.find("?>") + 2].count("\n") + content[content.find("?>") + 2 :]
    try:
        parser.Parse(content.encode(), True)
    except expat.ExpatError as e:
        raise ValueError(f"{path}, line {e.lineno}: is no XML that can be read ({expat.errors.messages.get(e.code, e.code)}).") from e
    except ValueError as e:
        raise ValueError(f"{path}, line {parser.CurrentLineNumber}: {e}.") from e
    return roots[0]


def _local(name: str) -> str:
    return name.rpartition(":")[2]
