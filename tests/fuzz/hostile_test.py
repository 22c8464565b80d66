"""Hostile files: each reader stays under 1 GB and 10 s, and says what is wrong in one line."""

import io
import json
import pathlib
import re
import struct
import subprocess
import sys
import zipfile
import zlib

import numpy as np
import pytest
from mesh_fit_published import zipped
from PIL import Image

MOST_MB, MOST_SECONDS = 1000, 10.0


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def _png(side: int, mode: int = 2, depth: int = 8) -> bytes:
    header = _chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, depth, mode, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + _chunk(b"IDAT", zlib.compress(bytes(1000))) + _chunk(b"IEND", b"")


def _black(side: int, mode: str) -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, (side, side), 255 if mode == "L" else None).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def _patched(form: str, find, replace) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (64, 48)).save(buffer, form)
    data = buffer.getvalue()
    assert data.count(find) >= 1
    return data.replace(find, replace)


def _bomb(total: int) -> bytes:
    """A zip of one member that inflates to `total` bytes of zeros, made of one block again and again."""
    stream = zlib.compressobj(9, zlib.DEFLATED, -15)
    part = stream.compress(bytes(1 << 22)) + stream.flush(zlib.Z_FULL_FLUSH)
    content = part * (total >> 22) + stream.flush()
    name = b"000001.bin"
    local = struct.pack("<4s5H3I2H", b"PK\x03\x04", 20, 0, 8, 0, 0, 0, len(content), total, len(name), 0) + name
    entry = struct.pack("<4s6H3I5H2I", b"PK\x01\x02", 20, 20, 0, 8, 0, 0, 0, len(content), total, len(name), 0, 0, 0, 0, 0, 0) + name
    end = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 1, 1, len(entry), len(local) + len(content), 0)
    return local + content + entry + end


def _crowded(count: int) -> bytes:
    """A zip of very many empty members, of names of two lengths."""
    names = [b"%d" % n for n in range(count)]
    entries = b"".join(struct.pack("<4s6H3I5H2I", b"PK\x01\x02", 20, 20, 0, 0, 0, 0, 0, 0, 0, len(n), 0, 0, 0, 0, 0, 0) + n for n in names)
    large = struct.pack("<4sQ2H2I4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, count, count, len(entries), 0)
    locator = struct.pack("<4sIQI", b"PK\x06\x07", 0, len(entries), 1)
    return entries + large + locator + struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, 2**32 - 1, 2**32 - 1, 0)


def _modules(entries: int) -> bytes:
    """A pickle of modules that hold each other: every one of them lists one dict of very many again."""
    text = b"".join(b"X" + struct.pack("<I", 6) + b"%06d" % i + b"h\x01" for i in range(entries))  # name -> the module in memo 1
    return (
        b"\x80\x02ca\nB\n)\x81q\x01}(X\x08\x00\x00\x00_modules}(" + text + b"uX\x0b\x00\x00\x00_parameters}ub."  # the module holds itself
    )


def _in_torch_zip(pickled: bytes, compression: int = zipfile.ZIP_STORED) -> bytes:
    return zipped(pickled, {}, compression)


def _npy(shape: str) -> bytes:
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + bytes(48)


_PLY = "ply\nformat {}\nelement vertex {}\nproperty float x\nproperty float y\nproperty float z\nend_header\n"
_WIDE = b"ply\nformat ascii 1.0\nelement vertex 400000\n" + b"property double x\n" * 20_000 + b"end_header\n"
_TRIANGLE = b"v 0.0 0.0 0.0\nv 1.0 0.0 0.0\nv 0.0 1.0 0.0\nvt 0.0 0.0\nvt 1.0 0.0\nvt 0.0 1.0\n"

# Name, which begins with the reader's -> content, what the line must say ("" of a value).
CASES = {
    "zip-bomb": (lambda: _bomb(1 << 31), "inflates to more than"),
    "zip-crowded": (lambda: _crowded(400_000), "its directory is of"),
    "zip-quine": (lambda: b"PK\x05\x06" + bytes(18) + _bomb(1 << 22)[-22:], "zip-quine"),
    "picture-png": (lambda: _png(60_000), "60000 x 60000|exceeds limit"),
    "picture-png-12000": (lambda: _png(12_000), "12000 x 12000 pixels are more"),
    "picture-jpeg": (lambda: _patched("JPEG", struct.pack(">HH", 48, 64), struct.pack(">HH", 60_000, 60_000)), "cannot be decoded"),
    "picture-avif": (lambda: _patched("AVIF", struct.pack(">II", 64, 48), struct.pack(">II", 60_000, 60_000)), "cannot be decoded"),
    "picture-tiff": (lambda: _patched("TIFF", struct.pack("<HHII", 256, 4, 1, 64), struct.pack("<HHII", 256, 4, 1, 2**31 - 1)), "ca"),
    "picture-largest": (lambda: _black(8192, "RGB"), ""),
    "picture-alpha": (lambda: _black(2048, "RGBA"), "transparent pixels"),
    "picture-largest-16-bits": (lambda: _black(8192, "I;16"), ""),
    "labels-png": (lambda: _png(60_000, 0), "60000 x 60000|exceeds limit"),
    "labels-large": (lambda: _black(4096, "L"), ""),
    "calibration-deep": (lambda: b'{"KRT": ' + b"[" * 10_000 + b"]" * 10_000 + b"}", "too deep"),
    "calibration-deeper": (lambda: b"[" * 10_000_000, "too deep"),
    "calibration-wide": (lambda: b"[" + b"[]," * 2_000_000 + b"[]]", "must be .*KRT"),
    "calibration-large": (lambda: b" " * (1 << 25), "16 MiB at most"),
    "calibration-digits": (lambda: b'{"KRT": ' + b"1" * 10_000_000 + b"}", "must be JSON"),
    "frames-many": (lambda: b"seg_id,frame_id\n" + b"a,1\n" * 1_000_000, ""),
    "frames-one": (lambda: b"seg_id,frame_id\n" + b"a," * 8_000_000, ""),
    "ply-2^40": (lambda: _PLY.format("binary_little_endian 1.0", 2**40).encode() + bytes(1000), "promises"),
    "ply-2^40-ascii": (lambda: _PLY.format("ascii 1.0", 2**40).encode() + b"0 0 0\n", "promises"),
    "ply-wide": (lambda: _WIDE + b"0 " * 200_000, "promises"),
    "obj-2^40": (lambda: _TRIANGLE + b"f 1099511627776/1 2/2 3/3\n", "line 7: a corner must name one of 3 vertices"),
    "obj-polygon": (lambda: _TRIANGLE + b"f" + b" 1/1" * 1_000_000 + b"\n", ""),
    "obj-by-line": (lambda: b"\tv 0 0 0\n" * 200_000, ""),
    "obj-large": (lambda: b"v 0 0 0\n" * 6_400_000, "48 MiB at most"),
    "obj-large-by-line": (lambda: b"\tv 0 0 0\n" * 2_500_000, "at most 20 MiB of such"),
    "topology-2^40": (lambda: _TRIANGLE + b"f 1/1 2/1099511627776 3/3\n", "line 7: a corner must name"),
    "npy-2^40": (lambda: _npy("(1099511627776, 3)"), "cannot be read"),
    "npy-negative": (lambda: _npy("(-3, 3)"), "cannot be read"),
    "torch-laughs": (lambda: _in_torch_zip(b"\x80\x02K\x01" + b"2\x86" * 200_000 + b"."), "no named arrays|module"),
    "torch-opcodes": (lambda: _in_torch_zip(b"\x80\x02" + b"}" * 400_000 + b"."), "no named arrays|module"),
    "torch-memo": (lambda: _in_torch_zip(b"\x80\x02}r\xff\xff\xff\x7f."), "no named arrays|module"),
    "torch-text": (lambda: _in_torch_zip(b"\x80\x02X\xff\xff\xff\xff" + b"a" * 1000), "no pickle"),
    "torch-modules": (lambda: _in_torch_zip(_modules(200_000)), "too many"),
    "torch-deflated": (lambda: _in_torch_zip(bytes(1 << 26), zipfile.ZIP_DEFLATED), "compressed"),
    "names-deep": (lambda: b'{"a": ' * 100_000, "too deep"),
    "manifest-deep": (lambda: b'{"files": ' + b"[" * 100_000, "too deep"),
}  # fmt: skip


@pytest.fixture(scope="module")
def found(tmp_path_factory) -> dict[str, dict]:
    folder = tmp_path_factory.mktemp("hostile")
    for name, (make, _) in CASES.items():
        (folder / name).write_bytes(make())
    program = [sys.executable, str(pathlib.Path(__file__).with_name("hostile.py")), str(folder)]
    done = subprocess.run(program, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr[-2000:]
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return {line["case"]: line | {"before": before["peak"]} for line, before in zip(lines, [{"peak": 0}, *lines], strict=False)}


@pytest.mark.parametrize("case", CASES)
def test_a_hostile_file_is_refused_or_read_within_bounds(found, case):
    got, says = found[case], CASES[case][1]
    assert got["peak"] < MOST_MB or got["peak"] == got["before"], f"{got['peak']} MB, before it {got['before']}"
    assert got["seconds"] < MOST_SECONDS, got
    assert (got["kind"] == "value") == (says == ""), got["message"][:500]
    if says:
        assert got["kind"] in ("ValueError", "Damaged", "FileNotFoundError") and "\n" not in got["message"] and len(got["message"]) < 1000
        assert re.search(says, got["message"]), got["message"]


def test_an_image_is_not_made_by_what_it_claims():
    assert np.frombuffer(_png(60_000), np.uint8).size < 200
