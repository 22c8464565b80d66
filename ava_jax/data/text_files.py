"""Small text files as editors and spreadsheets save them: byte order marks, UTF-16, line ends of all systems, JSON."""

import codecs
import csv
import io
import json
import pathlib
import re
from collections.abc import Iterable, Sequence
from typing import Any

# Far above any list or calibration (a full capture's have 300 kB). What Python makes of JSON takes up to 30 times its size.
MOST_BYTES = 1 << 24
_MARKS = {codecs.BOM_UTF8: "utf-8", codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}


def decode(data: bytes) -> str:
    """Text of a file's content: UTF-8, or UTF-16 where a byte order mark says so; the mark is left out.

    Raises:
      ValueError: it is neither.
    """
    encoding = next((name for mark, name in _MARKS.items() if data.startswith(mark)), "utf-8")
    try:
        return data.decode(encoding).removeprefix("\ufeff")
    except UnicodeDecodeError as e:
        raise ValueError(f"no text in UTF-8 (byte {e.start}: {data[e.start : e.start + 1]!r}); save it as UTF-8") from e


def read(path: pathlib.Path) -> str:
    """The text of a file, as `decode`.

    Raises:
      ValueError: it cannot be read, is no text or is too large; the message names it.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except OSError as e:
        raise ValueError(f"{path}: cannot be read ({e}).") from e
    if len(data) > MOST_BYTES:
        raise ValueError(f"{path}: must be a text file of {MOST_BYTES >> 20} MiB at most; it is larger.")
    try:
        return decode(data)
    except ValueError as e:
        raise ValueError(f"{path}: {e}.") from e


def read_json(path: pathlib.Path) -> Any:
    """What a JSON file holds.

    Raises:
      ValueError: it cannot be read or is no JSON; the message names the file and, where it is known, the line.
    """
    return parse_json(read(path), str(path))


def parse_json(text: str, name: str) -> Any:
    """What a text in JSON holds; `name` is what messages call it.

    Raises:
      ValueError: it is no JSON; the message says where.
    """
    try:
        return json.loads(text)
    except json.JSONDecodeError as e:
        raise ValueError(f"{name}: must be JSON; line {e.lineno}, column {e.colno}: {e.msg}.") from e
    except ValueError as e:  # a whole number of over 4,300 digits
        raise ValueError(f"{name}: must be JSON; {e}.") from e
    except RecursionError as e:
        raise ValueError(f"{name}: must be JSON of some levels; its lists and objects lie too deep in each other.") from e


def numbers(data: bytes) -> list[float]:
    """All numbers of a text, between spaces, tabs, line ends, commas or semicolons.

    Raises:
      ValueError: a word is no number.
    """
    found = []
    for word in re.split(r"[\s,;]+", decode(data)):
        try:
            found += [float(word)] if word else []
        except ValueError as e:
            raise ValueError(f"{word[:40]!r} is no number") from e
    return found


def csv_text(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A table as CSV: the header's line, then a line per row."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()
