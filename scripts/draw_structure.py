"""Draws the package as rooms on floors: every folder, how much it holds, and which folder imports which.

  python scripts/draw_structure.py --out=docs/design/structure.svg
  python scripts/draw_structure.py --root=OTHER_CHECKOUT --out=before.svg

A folder stands above all folders that it imports; an arrow that would run back up is drawn red. Needs nothing but Python.
"""

import argparse
import ast
import collections
import pathlib
from typing import NamedTuple

_WIDTH, _MARGIN, _GAP, _BOX, _FLOOR = 1180, 24, 10, 62, 104
_INK, _LINE, _UP = "#20242c", "#8a93a5", "#c0392b"
_FILL = ("#eef3fb", "#e7f3ec", "#fdf3e3", "#f6ecf7", "#eaf4f6", "#f3f0e6", "#f2eceb", "#ececf6")


class Room(NamedTuple):
    """A folder: its files and their lines, C++ and Python alike."""

    name: str
    files: int
    lines: int


def rooms_of(root: pathlib.Path) -> dict[str, Room]:
    """Folder of the package, dotted -> Room. A task's subfolders are rooms of their own."""
    found: dict[str, list[int]] = collections.defaultdict(list)
    for path in (root / "ava_jax").rglob("*.py"):
        text = path.read_text()
        if text.strip():
            found[room_name(path.relative_to(root).with_suffix("").parts)].append(text.count("\n"))
    return {name: Room(name, len(lines), sum(lines)) for name, lines in found.items()}


def room_name(parts: tuple[str, ...]) -> str:
    """('ava_jax', 'tasks', 'ava256', 'model', 'codec') -> 'tasks/ava256/model'; modules right in a folder belong to the folder."""
    inner = parts[1:-1]
    if not inner:
        return "ava_jax"
    return "/".join(inner[:3] if inner[0] == "tasks" else inner[:1])


def arrows_of(root: pathlib.Path) -> dict[tuple[str, str], int]:
    """(importing room, imported room) -> number of import statements, at the top of files and inside functions."""
    arrows: dict[tuple[str, str], int] = collections.Counter()
    for path in (root / "ava_jax").rglob("*.py"):
        own = room_name(path.relative_to(root).with_suffix("").parts)
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("ava_jax"):
                for alias in node.names:
                    parts = (*node.module.split("."), alias.name)
                    target = parts if root.joinpath(*parts).with_suffix(".py").is_file() or root.joinpath(*parts).is_dir() else parts[:-1]
                    other = room_name(target if root.joinpath(*target).with_suffix(".py").is_file() else (*target, "__init__"))
                    if other != own:
                        arrows[own, other] += 1
    return dict(arrows)


def floors_of(rooms: dict[str, Room], arrows: dict[tuple[str, str], int]) -> dict[str, int]:
    """Room -> floor, 0 at the bottom: one above the highest room that it imports. Circles are cut where they are met."""
    below = collections.defaultdict(set)
    for own, other in arrows:
        below[own].add(other)
    floors: dict[str, int] = {}

    def floor(name: str, above: frozenset[str]) -> int:
        if name not in floors:
            floors[name] = 1 + max((floor(other, above | {name}) for other in below[name] - above if other in rooms), default=-1)
        return floors[name]

    for name in rooms:
        floor(name, frozenset({name}))
    return floors


def draw(root: pathlib.Path) -> str:
    """The picture as SVG."""
    rooms, arrows = rooms_of(root), arrows_of(root)
    floors = floors_of(rooms, arrows)
    top = max(floors.values())
    at: dict[str, tuple[float, float, float]] = {}  # left, top, width
    for level in range(top + 1):
        names = sorted((n for n in rooms if floors[n] == level), key=lambda n: -rooms[n].lines)
        width = min(190.0, (_WIDTH - 2 * _MARGIN - _GAP * (len(names) - 1)) / len(names))
        left = (_WIDTH - width * len(names) - _GAP * (len(names) - 1)) / 2
        for i, name in enumerate(names):
            at[name] = left + i * (width + _GAP), _MARGIN + (top - level) * _FLOOR, width
    height = 2 * _MARGIN + top * _FLOOR + _BOX
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" font-family="Helvetica, Arial, sans-serif">',
        f'<rect width="{_WIDTH}" height="{height}" fill="white"/>',
    ]
    for (own, other), count in sorted(arrows.items()):
        if own in at and other in at:
            up = floors[own] <= floors[other]
            x1, y1 = at[own][0] + at[own][2] / 2, at[own][1] + (0 if up else _BOX)
            x2, y2 = at[other][0] + at[other][2] / 2, at[other][1] + (_BOX if up else 0)
            style = f'stroke="{_UP if up else _LINE}" stroke-width="{min(0.6 + count / 8, 3):.1f}" stroke-opacity="0.55" fill="none"'
            middle = (y1 + y2) / 2
            parts.append(f'<path d="M{x1:.0f},{y1:.0f} C{x1:.0f},{middle:.0f} {x2:.0f},{middle:.0f} {x2:.0f},{y2:.0f}" {style}/>')
    for name, (left, y, width) in at.items():
        fill = _FILL[floors[name] % len(_FILL)]
        box = f'x="{left:.0f}" y="{y:.0f}" width="{width:.0f}" height="{_BOX}" rx="6"'
        parts.append(f'<rect {box} fill="{fill}" stroke="{_INK}" stroke-opacity="0.35"/>')
        size = min(14.0, 1.6 * (width - 16) / max(len(name), 1))
        parts.append(f'<text x="{left + 8:.0f}" y="{y + 25:.0f}" font-size="{size:.1f}" fill="{_INK}" font-weight="bold">{name}</text>')
        room = rooms[name]
        plural = "" if room.files == 1 else "s"
        parts.append(
            f'<text x="{left + 8:.0f}" y="{y + 46:.0f}" font-size="11" fill="{_INK}" fill-opacity="0.7">'
            f"{room.files} file{plural}, {room.lines:,} lines</text>"
        )
    return "\n".join([*parts, "</svg>"]) + "\n"


def main() -> None:
    """Reads the flags and writes the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=pathlib.Path, default=pathlib.Path(__file__).resolve().parents[1], help="a checkout")
    parser.add_argument("--out", type=pathlib.Path, required=True, help="SVG to write")
    args = parser.parse_args()
    if not (args.root / "ava_jax").is_dir():
        parser.error(f"--root={args.root}: has no folder ava_jax")
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(draw(args.root.resolve()))
    print(f"wrote {args.out}")


if __name__ == "__main__":
    main()
