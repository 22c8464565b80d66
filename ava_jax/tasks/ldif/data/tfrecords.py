"""Examples as the published tools' optimised records hold them, without TensorFlow.

SPLIT/SPLIT-00000-of-00009.tfrecords, gzip: records of a length (u64), its masked CRC-32C, a serialised tf.train.Example, and its own.
An example has, as lists of floats or as float32 bytes: bounding_box_samples [100000, 4], depth_renders [20, 224, 224, 1],
near_surface_samples [100000, 4], grid [32, 32, 32], world2grid [4, 4], surface_point_samples [10000, 6]; and mesh_name, "class|name".
Checksums are google-crc32c's; parsing is protobuf's, which tensorboardX brings. A record is read at a time, and one of more than 256 MB
is refused.
"""

import functools
import gzip
import pathlib
import zlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from ava_jax.tasks.ldif.model.encoders import resized

_SHAPES = {
    "bounding_box_samples": (-1, 4), "near_surface_samples": (-1, 4), "surface_point_samples": (-1, 6),
    "depth_renders": (20, 224, 224), "grid": (32, 32, 32), "world2grid": (4, 4),
}  # fmt: skip
_LONGEST = 1 << 28
_DEEPEST = 20  # units; depths above it are thousandths, as the published loader has them


class Record(NamedTuple):
    """An example: its name, CLASS/NAME, and its arrays, those of `reading.read`."""

    name: str
    sample: dict[str, np.ndarray]


def read(path: pathlib.Path) -> Iterator[Record]:
    """The examples of a file, one at a time.

    Raises:
      ValueError: it is no such file, is damaged or cut off, or an example lacks something; google-crc32c is not installed.
      OSError: it cannot be read.
    """
    message = _message()
    for number, data in enumerate(_records(path)):
        yield _decoded(data, message, f"{path}, record {number}")


def _records(path: pathlib.Path) -> Iterator[bytes]:
    """The bytes of each record, checked."""
    try:
        import google_crc32c
    except ImportError as e:
        raise ValueError("reading .tfrecords needs google-crc32c: pip install 'ava-jax[ldif]'.") from e

    def checked(file: Any, count: int) -> bytes:
        both = file.read(count + 4)
        if len(both) != count + 4:
            raise ValueError(f"{path}: cut off.")
        crc = google_crc32c.value(both[:count])
        masked = ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
        if int.from_bytes(both[count:], "little") != masked:
            raise ValueError(f"{path}: damaged (checksum), or no .tfrecords.")
        return both[:count]

    try:
        with open(path, "rb") as plain:
            packed = plain.read(2) == b"\x1f\x8b"
            plain.seek(0)
            file = gzip.open(plain) if packed else plain
            while first := file.read(1):
                rest = _Prefixed(first, file)
                length = int.from_bytes(checked(rest, 8), "little")
                if length > _LONGEST:
                    raise ValueError(f"{path}: a record of {length:,} bytes; at most {_LONGEST:,}.")
                yield checked(file, length)
    except (gzip.BadGzipFile, EOFError, zlib.error) as e:
        raise ValueError(f"{path}: damaged or cut off ({str(e)[:80]}).") from e


class _Prefixed:
    """A file of which some bytes have been read already."""

    def __init__(self, first: bytes, file: Any) -> None:
        self._first, self._file = first, file

    def read(self, count: int) -> bytes:
        return self._first + self._file.read(count - len(self._first))


def _decoded(data: bytes, message: Any, where: str) -> Record:
    from google.protobuf.message import DecodeError

    try:
        features = message.FromString(data).features.feature
    except DecodeError as e:
        raise ValueError(f"{where}: no tf.train.Example ({str(e)[:80]}).") from e
    arrays = {name: _array(features, name, shape, where) for name, shape in _SHAPES.items()}
    names = features["mesh_name"].bytes_list.value if "mesh_name" in features else ()
    kind, bar, name = (bytes(names[0]).decode(errors="replace") if len(names) == 1 else "").partition("|")
    if not bar or not kind or not name or {"/", ".", ".."} & {"/" if "/" in kind + name else "", kind, name}:
        raise ValueError(f"{where}: mesh_name must be CLASS|NAME; got {f'{kind}{bar}{name}'[:80]!r}.")
    depth = arrays["depth_renders"]
    return Record(f"{kind}/{name}", {
        "depth": resized(depth / np.float32(1000) if depth.max() > _DEEPEST else depth),
        "points": arrays["surface_point_samples"],
        "uniform": arrays["bounding_box_samples"],
        "near": arrays["near_surface_samples"],
        "grid": arrays["grid"],
        "world_to_grid": arrays["world2grid"],
    })  # fmt: skip


def _array(features: Any, name: str, shape: tuple[int, ...], where: str) -> np.ndarray:
    """A feature's numbers, f32 of a shape of which one side may be -1."""
    if name not in features:
        raise ValueError(f"{where}: has no {name}.")
    one = features[name]
    kind = one.WhichOneof("kind")
    if kind == "bytes_list":
        data = b"".join(one.bytes_list.value)
        numbers = np.frombuffer(data[: len(data) // 4 * 4], "<f4").astype(np.float32)
    else:
        numbers = np.asarray(getattr(one, kind).value if kind else (), np.float32)
    known = int(np.prod([side for side in shape if side > 0]))
    if not len(numbers) or (len(numbers) % known if -1 in shape else len(numbers) != known):
        raise ValueError(f"{where}: {name} has {len(numbers):,} numbers; its shape is {list(shape)}.")
    if not np.isfinite(numbers).all():
        raise ValueError(f"{where}: a number of {name} is not finite.")
    return numbers.reshape(shape)


@functools.cache
def _message() -> Any:
    """The class of tf.train.Example, made of its description, as example.proto and feature.proto have it."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    file = descriptor_pb2.FileDescriptorProto(name="ava_jax/example.proto", package="ava_jax", syntax="proto3")
    field = descriptor_pb2.FieldDescriptorProto
    scalars = (("BytesList", field.TYPE_BYTES), ("FloatList", field.TYPE_FLOAT), ("Int64List", field.TYPE_INT64))
    for name, kind in scalars:
        file.message_type.add(name=name).field.add(name="value", number=1, label=field.LABEL_REPEATED, type=kind)
    feature = file.message_type.add(name="Feature")
    feature.oneof_decl.add(name="kind")
    for number, (own, kind) in enumerate((("bytes_list", "BytesList"), ("float_list", "FloatList"), ("int64_list", "Int64List")), 1):
        feature.field.add(
            name=own, number=number, label=field.LABEL_OPTIONAL, type=field.TYPE_MESSAGE, type_name=f".ava_jax.{kind}", oneof_index=0
        )
    features = file.message_type.add(name="Features")
    entry = features.nested_type.add(name="FeatureEntry")
    entry.options.map_entry = True
    entry.field.add(name="key", number=1, label=field.LABEL_OPTIONAL, type=field.TYPE_STRING)
    entry.field.add(name="value", number=2, label=field.LABEL_OPTIONAL, type=field.TYPE_MESSAGE, type_name=".ava_jax.Feature")
    features.field.add(
        name="feature", number=1, label=field.LABEL_REPEATED, type=field.TYPE_MESSAGE, type_name=".ava_jax.Features.FeatureEntry"
    )
    example = file.message_type.add(name="Example")
    example.field.add(name="features", number=1, label=field.LABEL_OPTIONAL, type=field.TYPE_MESSAGE, type_name=".ava_jax.Features")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("ava_jax.Example"))
