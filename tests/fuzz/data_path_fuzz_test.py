"""What downloads, packs and splits leave on disks, and what servers say, damaged and hostile: a right answer, or one line that names it."""

import functools
import io
import json
import pathlib
import shutil
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st
from readers import JSON, mutated, named, outcome, written

from ava_jax.captures import split_files
from ava_jax.captures.packed import index, pack, records
from ava_jax.captures.packed.archives import RecordArchives
from ava_jax.captures.packed.plan import Settings
from ava_jax.captures.verify import tree
from ava_jax.captures.verify.contents import Depth
from ava_jax.data.download import manifest, zip_listing
from ava_jax.tasks.ava256.data import assets_file

pytestmark = pytest.mark.filterwarnings("ignore")

_ENTRY = {"url": "http://h/a", "size": 3, "crc": 5, "mtime": 7, "checked": 1.5, "etag": "x", "source": 3, "members": 2, "selection": "k"}
_MANIFEST = {"format": "ava_jax download 1", "selections": {"k": {"numbers": [1], "patterns": ["a*"]}}, "files": {"c/d.zip": _ENTRY}}
_SPLIT = {"validation": {"segments": ["EXP_a"], "cameras": ["1"]}, "test": {"people": ["A"]}, "absent": "allowed"}


def _zip() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for i in range(4):
            archive.writestr(f"cam1/{i:06d}.avif", bytes(range(50)))
    return buffer.getvalue()


@given(st.one_of(mutated([json.dumps(_MANIFEST).encode()]), JSON.map(lambda one: json.dumps(_MANIFEST | {"files": one}).encode())))
def test_download_manifests(folder, data):
    written(folder, manifest.FILE, data)
    outcome("download manifest", lambda: manifest.Manifest(folder), manifest.FILE)


@given(mutated([_zip()]))
def test_zip_listings_of_a_server(data):
    found = outcome("zip listing", lambda: named(lambda d: zip_listing.read(lambda at, n: d[at : at + n], len(d)))(data), "x")
    assert found is None or all(member.text for member in found)


@given(mutated([records.encode(records.Record("c", "image/cam1", 7, b"content"))]))
def test_records(data):
    outcome("packed record", lambda: named(records.decode)(data), "x")


@given(mutated([json.dumps(_SPLIT).encode()]))
def test_splits(folder, data):
    path = written(folder, "split.json", data)
    outcome("split", lambda: split_files.load(str(path)), path.name)


@given(mutated([b"split,kind,name\nvalidation,segment,EXP_a\ntest,person,A\nabsent,allowed,\n"]))
def test_splits_as_tables(folder, data):
    path = written(folder, "split.csv", data)
    outcome("split", lambda: split_files.load(str(path)), path.name)


@given(st.binary(max_size=200))
def test_assets(folder, data):
    path = written(folder, "run.assets.npz", data)
    outcome("assets", lambda: assets_file.read(path), path.name)


@functools.cache
def _packed(source: pathlib.Path, folder: pathlib.Path) -> pathlib.Path:
    pack.pack(str(source), folder / "packed", Settings())
    return sorted(path.parent for path in (folder / "packed").glob("*/decoder"))[0]


@given(st.data())
def test_packed_indexes(tiny_capture, folder, data):
    capture, name = _packed(tiny_capture, folder), data.draw(st.sampled_from([index.FILE, index.BITS]))
    sound = (capture / name).read_bytes()
    (capture / name).write_bytes(data.draw(mutated([sound])))
    index._load.cache_clear()
    try:
        found = outcome("packed index", lambda: index.find(capture), capture.name)
        for stream in [one for names in found.streams.values() for one in names][:3] if found else ():
            for frame in found.frames[:2].tolist():
                outcome("packed index", lambda: RecordArchives().read(index.path_of(capture, stream), frame), "records")  # noqa: B023
    finally:
        (capture / name).write_bytes(sound)
        index._load.cache_clear()


@given(st.data())
def test_verify_of_hostile_captures(tiny_capture, folder, data):
    """Whatever a file of a capture holds, verify ends with findings."""
    name = sorted(path.parent.name for path in tiny_capture.glob("*/decoder"))[0]
    capture = folder / "hostile" / name
    if not capture.exists():
        shutil.copytree(tiny_capture / name, capture)
    path = data.draw(st.sampled_from(sorted(one for one in capture.glob("decoder/**/*.*") if one.stat().st_size < 20_000)))
    sound = path.read_bytes()
    path.write_bytes(data.draw(mutated([sound])))
    try:
        (book,) = outcome("verify", lambda: tree.verify([capture], Depth("sample", 1)), "")
        assert book.counts is not None
    finally:
        path.write_bytes(sound)
