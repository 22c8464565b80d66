"""Folders of OBJ files: pairs, order, what is missing, the cache and when it is stale."""

import os
import pathlib
import shutil

import numpy as np
import pytest
from mesh_fit_folders import FACES, vertices, write

from ava_jax.data import obj_files
from ava_jax.tasks.mesh_fit.data import folders, sequences


def load(root: pathlib.Path, **options):
    return sequences.load(root, **{"targets": True, "joints": 2, "jobs": 1, **options})


def test_files_are_read_in_order_and_paired_by_name(tmp_path):
    root = write(tmp_path, {"dyna": 3, "rom": 2})
    loaded, faces = load(root)
    np.testing.assert_array_equal(faces, FACES)
    assert [(s.name, s.frames) for s in loaded] == [("dyna", ("00001", "00002", "00003")), ("rom", ("00001", "00002"))]
    for number, sequence in enumerate(loaded):
        for frame in range(len(sequence.frames)):
            np.testing.assert_array_equal(sequence.source[frame], vertices(number, frame, "sbs"))
            np.testing.assert_array_equal(sequence.target[frame], vertices(number, frame, "target"))
            np.testing.assert_array_equal(sequence.joints[frame], vertices(number, frame, "joints"))
    (rom,), _ = load(root, names=("rom",), targets=False, joints=0, max_frames=1)
    assert rom.name == "rom" and rom.frames == ("00001",) and rom.target is None and rom.joints is None and rom.source.shape == (1, 4, 3)


def test_numbers_in_names_sort_by_value_and_pair_names_that_never_agree(tmp_path):
    root = write(tmp_path, {"dyna": 11})
    for kind, name in (("sbs", "skin_{}.obj"), ("target", "scan{}.obj"), ("joints", "j{:04d}.OBJ")):
        for frame in range(11):
            folder = root / f"dyna_{kind}" / "obj"
            (folder / f"{frame + 1:05d}.obj").rename(folder / name.format(frame + 1))
    (dyna,), _ = load(root)
    assert dyna.frames == tuple(f"skin_{i}" for i in range(1, 12))
    for frame in range(11):
        np.testing.assert_array_equal(dyna.source[frame], vertices(0, frame, "sbs"))
        np.testing.assert_array_equal(dyna.target[frame], vertices(0, frame, "target"))
        np.testing.assert_array_equal(dyna.joints[frame], vertices(0, frame, "joints"))


def test_files_are_read_as_editors_and_systems_save_them(tmp_path):
    """A byte order mark, CRLF, tabs; what macOS puts beside each file is passed over; a damaged cache is made anew."""
    root = write(tmp_path, {"dyna": 2})
    expected, faces = load(root)
    for path in root.glob("dyna_*/obj/*.obj"):
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b" \r\n").replace(b" ", b"\t", 1))
        path.with_name(f"._{path.name}").write_bytes(b"\0\5\x16\7")
    for damage in (None, "vertices.npy", "faces.npy", "record.json"):
        if damage:
            for path in (root / sequences.CACHE).glob(f"*/{damage}"):
                path.write_bytes(path.read_bytes()[:40])
        (loaded,), again = load(root)
        np.testing.assert_array_equal(again, faces)
        for name in ("source", "target", "joints"):
            np.testing.assert_array_equal(getattr(loaded, name), getattr(expected[0], name))


def test_files_of_all_kinds_in_one_folder(tmp_path):
    """Without `obj/`; quads, UVs, colours and CRLF; targets without faces."""
    texts = {
        "a_sbs/1.obj": "v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\nf 1 2 3 4\n",
        "a_sbs/2.obj": "v 0 0 1\r\nv 1 0 1\r\nv 1 1 1\r\nv 0 1 1\r\nvt 0 0\r\nf 1/1 2/1 3/1\r\nf 1/1 3/1 4/1\r\n",
        "a_target/1.obj": "v 0 0 2 1 0 0\nv 1 0 2 1 0 0\nv 1 1 2 1 0 0\nv 0 1 2 1 0 0\n",
        "a_target/2.obj": "# points\nv 0 0 3\nv 1 0 3\nv 1 1 3\nv 0 1 3\n",
    }
    for name, text in texts.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(text.encode())
    (sequence,), faces = load(tmp_path, joints=0)
    np.testing.assert_array_equal(faces, [[0, 1, 2], [0, 2, 3]])
    square = np.float32([[0, 0], [1, 0], [1, 1], [0, 1]])
    np.testing.assert_array_equal(sequence.source[..., :2], [square, square])
    np.testing.assert_array_equal(sequence.source[..., 2].T, [[0, 1]] * 4)
    np.testing.assert_array_equal(sequence.target[..., 2].T, [[2, 3]] * 4)


def _remove(*names):
    return lambda root: [(root / name).unlink() for name in names]


def _replace(name, text):
    return lambda root: (root / name).write_text(text)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_remove("dyna_target/obj/00002.obj"), r"dyna_target/obj: lacks the partners of 1 file \(00002\.obj\) of .*dyna_sbs/obj\."),
        (
            _remove(*(f"dyna_target/obj/0000{i}.obj" for i in range(1, 7))),
            r"lacks the partners of 6 files \(00001\.obj, 00002\.obj, 00003\.obj, 00004\.obj, 00005\.obj, \.\.\.\)",
        ),
        (_remove("dyna_sbs/obj/00007.obj"), r"dyna_sbs/obj: lacks the partners of 1 file \(00007\.obj\) of .*dyna_target/obj\."),
        (lambda root: shutil.rmtree(root / "dyna_joints"), r"dyna_joints: lacks the partners of 7 files"),
        (_replace("dyna_sbs/obj/00003.obj", "v 0 0 0\n"), r"dyna_sbs/obj: all must have the 4 vertices of 00001\.obj; .*obj has 1\)"),
        (_replace("dyna_sbs/obj/00003.obj", "v 0 0 0\n" * 4 + "f 1 2 3\n"), r"must have the faces of 00001\.obj; not so 1 file \(00003"),
        (_replace("dyna_target/obj/00001.obj", "v 0 0\n"), r"dyna_target/obj/00001\.obj, line 1: a vertex has 3 coordinates"),
        (_replace("dyna_joints/obj/00001.obj", "v 0 0 0\n"), r"dyna_joints/obj: all must have the 1 vertices of 00001"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named_and_leaves_no_cache(tmp_path, damage, message):
    root = write(tmp_path, {"dyna": 7})
    damage(root)
    with pytest.raises(ValueError, match=message):
        load(root)
    assert not list((root / sequences.CACHE).glob(".*"))


def test_sequences_must_be_of_one_body(tmp_path):
    root = write(tmp_path, {"dyna": 2, "rom": 2})
    for frame in ("00001", "00002"):
        obj_files.write(root / "rom_target" / "obj" / f"{frame}.obj", np.zeros((5, 3)), FACES)
    with pytest.raises(ValueError, match=r"rom_target/obj: must have 4 vertices as .*dyna_sbs/obj; it has 5"):
        load(root)
    for frame in ("00001", "00002"):
        obj_files.write(root / "rom_target" / "obj" / f"{frame}.obj", np.zeros((4, 3)), FACES[::-1])
    with pytest.raises(ValueError, match=r"rom_target/obj: must have the faces of .*dyna_sbs/obj"):
        load(root)
    with pytest.raises(ValueError, match=r"dyna_joints/obj: must have config\.model\.joints = 3 joints per frame; it has 2"):
        load(root, joints=3)


def test_roots_without_sequences_are_refused(tmp_path):
    with pytest.raises(ValueError, match="there is none at"):
        load(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="must hold folders NAME_sbs"):
        load(tmp_path)
    write(tmp_path, {"dyna": 1})
    with pytest.raises(ValueError, match="there is no sequence 'walk'; it has dyna"):
        load(tmp_path, names=("walk",))
    (tmp_path / "empty_sbs").mkdir()
    with pytest.raises(ValueError, match="empty_sbs: must hold OBJ files"):
        load(tmp_path)


def test_files_are_read_once(tmp_path, monkeypatch):
    root = write(tmp_path, {"dyna": 3})
    first, _ = load(root)
    monkeypatch.setattr(obj_files, "read", lambda path: pytest.fail(f"{path} was read again"))
    second, faces = load(root)
    np.testing.assert_array_equal(first[0].source, second[0].source)
    np.testing.assert_array_equal(faces, FACES)
    assert isinstance(second[0].source, np.memmap)
    (fewer,), _ = load(root, max_frames=2)  # a part of what is cached
    np.testing.assert_array_equal(fewer.source, first[0].source[:2])


@pytest.mark.parametrize("change", ["content", "time", "new", "gone", "record"])
def test_a_stale_cache_is_noticed(tmp_path, change):
    root = write(tmp_path, {"dyna": 3})
    load(root)
    path = root / "dyna_sbs" / "obj" / "00002.obj"
    moved = np.ones((4, 3), np.float32)
    expected = np.stack([vertices(0, frame, "sbs") for frame in range(3)])
    if change in ("content", "time"):
        before = path.stat()
        obj_files.write(path, moved, FACES, decimals=4 if change == "time" else 3)
        if change == "content":  # another size, at the same time
            os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        expected[1] = moved
    elif change == "new":
        for kind in folders.KINDS:
            folder = root / f"dyna_{kind}" / "obj"
            shutil.copy(folder / "00001.obj", folder / "00000.obj")
        expected = np.concatenate([expected[:1], expected])
    elif change == "gone":
        for kind in folders.KINDS:
            (root / f"dyna_{kind}" / "obj" / "00002.obj").unlink()
        expected = expected[[0, 2]]
    else:
        (root / sequences.CACHE / "dyna_sbs" / "record.json").write_text('{"version": 1, "fi')
    (sequence,), _ = load(root)
    np.testing.assert_array_equal(sequence.source, expected)


def test_a_cache_is_whole_or_not_there(tmp_path, monkeypatch):
    root = write(tmp_path, {"dyna": 3})
    read = obj_files.read

    def interrupted(path):
        if path.name == "00003.obj":
            raise KeyboardInterrupt
        return read(path)

    monkeypatch.setattr(obj_files, "read", interrupted)
    with pytest.raises(KeyboardInterrupt):
        load(root)
    assert list((root / sequences.CACHE).iterdir()) == []
    monkeypatch.setattr(obj_files, "read", read)
    load(root)


def test_a_root_that_cannot_be_written_is_cached_elsewhere(tmp_path, monkeypatch):
    root = write(tmp_path / "data", {"dyna": 2})
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    load(root)
    assert not (root / sequences.CACHE).exists()
    assert len(list((tmp_path / "home" / "ava_jax" / "mesh_fit").glob("data-*/dyna_*/vertices.npy"))) == 3
    load(root, cache=tmp_path / "mine")
    assert (tmp_path / "mine" / "dyna_target" / "vertices.npy").is_file()


def test_processes_read_what_one_reads(tmp_path, monkeypatch):
    root = write(tmp_path, {"dyna": 20}, kinds=("sbs", "target"))
    alone, _ = load(root, joints=0)
    monkeypatch.setattr(sequences, "_FEW", 1)
    together, _ = load(root, joints=0, jobs=2, cache=tmp_path / "other")
    np.testing.assert_array_equal(alone[0].source, together[0].source)
    np.testing.assert_array_equal(alone[0].target, together[0].target)


def test_a_cache_that_another_process_has_written_meanwhile_is_taken(tmp_path, monkeypatch):
    root = write(tmp_path, {"dyna": 3})
    read, inner = obj_files.read, []

    def slow(path):
        if not inner:  # the first file: the other process does all of it
            inner.append(path)
            with monkeypatch.context() as other:
                other.setattr(os, "getpid", lambda: -1)
                load(root)
            inner.append((root / sequences.CACHE / "dyna_sbs" / "vertices.npy").stat().st_ino)
        return read(path)

    monkeypatch.setattr(obj_files, "read", slow)
    (sequence,), _ = load(root)
    assert (root / sequences.CACHE / "dyna_sbs" / "vertices.npy").stat().st_ino == inner[1]
    np.testing.assert_array_equal(sequence.source[2], vertices(0, 2, "sbs"))
    assert not list((root / sequences.CACHE).glob(".*"))
