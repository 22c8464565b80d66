"""A record of a packed capture: one file of one frame, with what it is of, so that it can be understood by itself.

  magic     4 bytes, "AVR1"
  crc       u32, CRC-32 of all that follows it
  capture   u16, length of the capture's name in bytes
  stream    u16, length of the stream's name in bytes
  frame     i32, id of the frame
  names     the capture's, then the stream's, UTF-8
  data      the rest: the file's content, as the zip had it (AVIF, PNG, PLY, text) or encoded anew

All numbers are little-endian. A stream is named as the zip that its files came from, below `decoder/`, without `.zip`:
`image/cam400029`, `segmentation_parts/cam400029`, `head_pose/head_pose`, `kinematic_tracking/registration_vertices`, `uv_image/color`.
Here is nothing but the format: whoever reads shards by Grain alone needs this module alone.
"""

import struct
import zlib
from typing import NamedTuple

_HEADER = struct.Struct("<4sIHHi")
_MAGIC = b"AVR1"
_CHECKED = 8  # bytes, before what the CRC is of


class Record(NamedTuple):
    """One file of one frame.

    Attributes:
      capture: name of the capture's folder.
      stream: see the module's docstring.
      frame: id.
      data: the file's content.
    """

    capture: str
    stream: str
    frame: int
    data: bytes

    @property
    def camera(self) -> str:
        """Id of the camera; "" of streams that are not a camera's."""
        name = self.stream.rpartition("/")[2]
        return name.removeprefix("cam") if name.startswith("cam") else ""


def encode(record: Record) -> bytes:
    """The bytes of a record."""
    capture, stream = record.capture.encode(), record.stream.encode()
    header = _HEADER.pack(_MAGIC, 0, len(capture), len(stream), record.frame)
    parts = (header[_CHECKED:], capture, stream, record.data)
    crc = 0
    for part in parts:
        crc = zlib.crc32(part, crc)
    return b"".join((_MAGIC, crc.to_bytes(4, "little"), *parts))


def decode(record: bytes) -> Record:
    """What `encode` made the bytes of.

    Raises:
      ValueError: they are no such record, or damaged.
    """
    if len(record) < _HEADER.size or record[:4] != _MAGIC:
        raise ValueError(
            f"a record must begin with {_MAGIC.decode()} and have {_HEADER.size} bytes or more; got {len(record)}: no packed capture."
        )
    _, crc, capture, stream, frame = _HEADER.unpack_from(record)
    if zlib.crc32(memoryview(record)[_CHECKED:]) != crc:
        raise ValueError("a record is damaged (checksum); pack the capture again.")
    names = _HEADER.size + capture
    start = names + stream
    return Record(record[_HEADER.size : names].decode(), record[names:start].decode(), frame, record[start:])
