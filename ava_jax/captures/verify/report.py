"""What the user gets of a verification: text to act on, and the same as JSON (docs/guide/verify.md has its form)."""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any

from ava_jax.captures.verify.findings import LEVELS, Book, Finding, grouped
from ava_jax.core import amounts

FORMAT = 1  # of the JSON; raised when a key changes its meaning
_EXAMPLES = 3  # files that a line names
_ENDING = re.compile(r"(?<=sh)es\b|s\b")  # of the plural, as in "meshes read"
_WIDTH = 300  # characters of an example


def text(books: Sequence[Book]) -> str:
    """A block per capture with findings, a line per capture without, and a line on them all."""
    blocks = [_block(book) for book in books]
    return "\n".join([*blocks, "", _summary(books)])


def to_json(books: Sequence[Book], options: Mapping[str, Any]) -> dict[str, Any]:
    """The whole report; `options` are those that it was made with."""
    return {
        "format": FORMAT,
        "options": dict(options),
        "totals": totals(books),
        "captures": [
            {
                "name": book.folder.name,
                "folder": str(book.folder),
                "layout": book.layout,
                "packed": book.packed,
                "state": book.state,
                "counts": dict(sorted(book.counts.items())),
                "findings": [dataclasses.asdict(found) for group in grouped(book.findings) for found in group],
            }
            for book in books
        ],
    }


def totals(books: Sequence[Book]) -> dict[str, int]:
    """Captures by state, findings by level, and the captures' counts added up."""
    found = {"captures": len(books)}
    found |= {state: sum(book.state == state for book in books) for state in ("broken", "doubtful", "sound")}
    found |= {f"{level}s": sum(one.level == level for book in books for one in book.findings) for level in LEVELS}
    for book in books:
        for what, number in book.counts.items():
            found[what] = found.get(what, 0) + number
    return found


def _block(book: Book) -> str:
    counts = ", ".join(_count(what, number) for what, number in book.counts.items() if number)
    lines = [f"{book.folder.name}: {book.state} ({book.layout}{', packed' if book.packed else ''}; {counts or 'nothing to count'})"]
    for group in grouped(book.findings):
        lines += _lines(group)
    return "\n".join(lines)


def _lines(group: Sequence[Finding]) -> list[str]:
    first = group[0]
    frames, files = sum(found.count for found in group if found.frames), {found.file for found in group}
    amount = (
        f" ({_number(frames, 'frame')} in {_number(len(files), 'file')})"
        if frames
        else f" ({_number(len(files), 'file')})"
        if len(files) > 1
        else ""
    )
    examples = "; ".join(_example(found) for found in group[:_EXAMPLES])
    more = f"; and {len(group) - _EXAMPLES} more" if len(group) > _EXAMPLES else ""
    lines = [f"  {first.level} | {first.kind} | {first.what}{amount}: {examples}{more}"]
    return [*lines, f"        -> {first.action}"] if first.action else lines


def _count(what: str, number: int) -> str:
    if what != "bytes":
        return f"{number} {what if number != 1 else _ENDING.sub('', what, count=1)}"
    return amounts.size(number)


def _number(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _example(found: Finding) -> str:
    frames = f"frame {', '.join(found.frames)}{', ...' if found.count > len(found.frames) else ''}" if found.frames else ""
    detail = "; ".join(part for part in (frames, found.detail) if part)
    shown = f"{found.file or 'the capture'} ({detail})" if detail else found.file or "the capture"
    return shown if len(shown) <= _WIDTH else f"{shown[:_WIDTH]}..."


def _summary(books: Sequence[Book]) -> str:
    found = totals(books)
    return (
        f"{_number(found['captures'], 'capture')}: {found['sound']} sound, {found['doubtful']} doubtful, {found['broken']} broken; "
        f"{', '.join(_number(found[f'{level}s'], level) for level in LEVELS)}."
    )
