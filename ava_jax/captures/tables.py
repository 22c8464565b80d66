"""Tables beside the captures and in them: CSVs with named columns, frame lists, lists of captures."""

import csv
import io
import pathlib
import sys

import numpy as np

from ava_jax.data import text_files
from ava_jax.data.remote.location import RemotePath

_SEPARATORS = ",;\t "  # of the columns of a CSV, the first that its header has
_MOST_FRAME = 2**31 - 1


def frame_list(path: pathlib.Path) -> tuple[np.ndarray, np.ndarray]:
    """Reads a `frame_list.csv`, with the columns `seg_id,frame_id`.

    Returns:
      Frame ids, int32 [N], in the order of the file, and the segment of each, an object array [N], in which equal names are one string.

    Raises:
      ValueError: it is missing or malformed; the message names it.
    """
    segments, frame_ids = columns(path, ("seg_id", "frame_id"))
    try:
        frames = np.array([int(frame) for frame in frame_ids], np.int64)
    except (ValueError, OverflowError) as e:
        raise ValueError(f"{path}: every frame_id must be a whole number ({str(e)[:120]}).") from e
    if not 0 <= frames.min() <= frames.max() <= _MOST_FRAME:
        wrong = frames[(frames < 0) | (frames > _MOST_FRAME)][0]
        raise ValueError(f"{path}: every frame_id must be from 0 to {_MOST_FRAME}; got {wrong}.")
    return frames.astype(np.int32), np.array([sys.intern(segment) for segment in segments], object)


def names_listed(ids: pathlib.Path | RemotePath) -> list[str]:
    """Names of the captures that a CSV with the columns `mcd,sid,mct` lists, in its order.

    Raises:
      ValueError: it cannot be read, or lacks a column.
    """
    mcd, mct, sid = columns(ids, ("mcd", "mct", "sid"))
    # A spreadsheet makes 900 of the time 0900.
    return ["--".join((date, time.zfill(4), subject)) for date, time, subject in zip(mcd, mct, sid, strict=True)]


def columns(path: pathlib.Path, names: tuple[str, ...]) -> list[list[str]]:
    """Columns of a CSV by name, each [rows], without spaces around; blank lines, and lines of separators alone, are passed over.

    A frame list has ten thousand rows, and csv's own dictionaries cost ten times as much.

    Raises:
      ValueError: it cannot be read, lacks a column, or a row does; the message names the line.
    """
    text = text_files.read(path)
    if (plain := _plain_columns(text, names)) is not None:
        return plain
    header_line = text.lstrip().partition("\n")[0].strip()
    separator = next((mark for mark in _SEPARATORS if mark in header_line), ",")
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True)
    indices: list[int] = []
    columns: list[list[str]] = [[] for _ in names]
    try:
        for row in rows:
            cells = [cell.strip() for cell in row]
            if not any(cells):
                continue
            if not indices:
                indices = [cells.index(name) for name in names]
                continue
            for column, index in zip(columns, indices, strict=True):
                if not cells[index]:
                    raise IndexError
                column.append(cells[index])
    except csv.Error as e:
        raise ValueError(f"{path}, line {rows.line_num}: cannot be read ({e}).") from e
    except (ValueError, IndexError):  # a name that is not in the header, a row that is short
        columns = [[]]
    if not columns[0]:
        raise ValueError(f"{path}, line {rows.line_num}: must have the columns {','.join(names)} and a row or more, all filled in.")
    return columns


def _plain_columns(text: str, names: tuple[str, ...]) -> list[list[str]] | None:
    """What `columns` finds in a CSV of these columns alone, no quotes, spaces or blank lines, as programs write it; None of others.

    A fifth of its time: a full data set lists a million frames and more.
    """
    body, width = text.removesuffix("\n"), len(names)
    if not body.isascii():
        return None
    data = np.frombuffer(body.encode(), np.uint8)
    ends = data == ord("\n")
    lines = int(ends.sum()) + 1
    expected = np.full(lines * width, ord(","), np.uint8)
    expected[width - 1 :: width] = ord("\n")
    quoted = ((data <= ord('"')) & ~ends & (data != ord("!"))).any()  # or with spaces and the like
    if lines < 2 or quoted or not np.array_equal(data[ends | (data == ord(","))], expected[:-1]):
        return None
    cells = body.replace("\n", ",").split(",")
    header = cells[:width]
    if sorted(header) != sorted(names) or not all(cells):
        return None
    return [cells[width + header.index(name) :: width] for name in names]
