"""Readers of multiface's files, given what damage and people's mistakes make of them."""

import json
import pathlib
import shutil

from hypothesis import example, given
from hypothesis import strategies as st
from multiface_tree import ENTITY, tar
from readers import JSON, mutated, named, outcome, texts, written

from ava_jax.captures.multiface import layout, published, recording
from ava_jax.core.cameras import rotation_fault
from ava_jax.data.download import tars
from ava_jax.tasks.multiface.data import splits

_KRT = b"400002\n900 0 600\n0 900 1000\n0 0 1\n0 0 0 0 0\n1 0 0 5\n0 0 1 6\n0 -1 0 900\n\n"
_LIST = b"E001_Neutral 000100\nE057 021897\n"


def _recording(folder: pathlib.Path, krt: bytes, frames: bytes) -> pathlib.Path:
    made = folder / "m--1--2--3--GHS"
    made.mkdir(exist_ok=True)
    (made / layout.KRT).write_bytes(krt)
    (made / layout.FRAME_LIST).write_bytes(frames)
    return made


@given(
    st.one_of(mutated([_KRT, 3 * _KRT]), texts(["400002", "900 0 600", "0 0 0 0 0", ""])),
    st.one_of(mutated([_LIST]), texts(["E001 000100", "E"])),
)
@example(_KRT.replace(b"900 0 600", b"1e999 0 600"), _LIST)
@example(_KRT, _LIST + b"E058 21897\n")
def test_lists(folder, krt, frames):
    for pair in ((krt, _LIST), (_KRT, frames)):
        made = _recording(folder, *pair)
        found = outcome("multiface lists", lambda made=made: recording.load(made), made.name)
        if found is not None:
            assert len(set(found.frames.tolist())) == len(found.frames) == len(found.segments) > 0
            assert not any(rotation_fault(camera.extrinsics[:, :3]) for camera in found.cameras)


@given(st.one_of(st.binary(max_size=50), mutated([b"\0" * 36, b"1 0 0 5\n0 1 0 6\n0 0 1 7\n"]), texts(["1 0 0 5", "0 1 0 6"])))
def test_meshes_and_poses(data):
    mesh = outcome("multiface mesh", lambda: named(recording.points)(data), "x")
    assert mesh is None or mesh.shape[1:] == (3,)
    pose = outcome("multiface pose", lambda: named(recording.pose)(data), "x")
    assert pose is None or not rotation_fault(pose[:, :3])


_TAR = tar({f"{ENTITY}/KRT": _KRT, f"{ENTITY}/images/E/400002/000001.png": b"x" * 700})


@given(mutated([_TAR]))
def test_tars(folder, data):
    out = folder / "out"
    path = written(folder, "one.tar", data)

    def unpacked():
        try:
            return tars.unpack(path, out, lambda name: published.place(ENTITY, (), name))
        except ValueError as e:
            raise ValueError(f"one.tar {e}") from e

    found = outcome("multiface tar", unpacked, "one.tar")
    assert {p.name for p in folder.iterdir()} <= {"one.tar", "out", *(p.name for p in folder.glob("m--*"))}
    assert sum(p.stat().st_size for p in out.rglob("*") if p.is_file()) <= len(data)
    if found is not None:
        assert all((out / name).stat().st_size == size for size, _, name in found)
    shutil.rmtree(out, ignore_errors=True)


@given(
    st.one_of(
        mutated([json.dumps({"entity": [ENTITY], "mesh": True, "expression": ["E001"]}).encode()]),
        JSON.map(lambda x: json.dumps(x).encode()),
    )
)
def test_configs_and_splits(folder, data):
    path = written(folder, "one.json", data)
    for read in (published.read_config, splits.read_cameras, splits.test_segments):
        outcome("multiface JSON", lambda read=read: read(path), "one.json")


@given(
    st.one_of(
        st.text(max_size=200),
        mutated([b'<a href="metadata.tar">x</a> <a href="../KRT">', b"0" * 32 + b"  metadata.tar\n"]).map(
            lambda b: b.decode("utf-8", "replace")
        ),
    )
)
def test_lists_of_a_server(text):
    assert all("/" not in name for name in published.links(text))
    assert all("/" not in name and len(md5) == 32 for name, md5 in published.sums(text).items())
