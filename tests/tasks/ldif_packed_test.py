"""Examples in few bytes: packed sets, what a step reads of them, the published tools' records; preparing by other runners."""

import concurrent.futures
import gzip
import json
import pathlib
import runpy
import struct
from concurrent.futures.process import BrokenProcessPool

import google_crc32c
import jax
import numpy as np
import pytest
import trimesh
from flax import nnx
from PIL import Image

from ava_jax.core.sampling import Sampling
from ava_jax.data import pipeline
from ava_jax.tasks.ldif.data import compact, examples, packed, packing, prepare, reading, source, tfrecords, views
from ava_jax.tasks.ldif.model import losses
from ava_jax.tasks.ldif.task import Ldif

CONFIGS = runpy.run_path(str(pathlib.Path(__file__).resolve().parents[2] / "configs" / "ldif.py"))
SAMPLES = 600


def write_meshes(root):
    for split, kind, name, size in (
        ("train", "a", "one", (1, 0.5, 0.4)),
        ("train", "b c", "two", (0.3, 1, 0.4)),
        ("test", "a", "it", (1, 1, 0.5)),
    ):
        (root / split / kind).mkdir(parents=True, exist_ok=True)
        trimesh.creation.box(size).export(root / split / kind / f"{name}.ply")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("ldif")
    write_meshes(root / "meshes")
    (root / "data").mkdir()
    works = prepare.find(root / "meshes", root / "data")
    assert not any(outcome.fault for outcome in prepare.prepare(works, root / "data", prepare.Settings(samples=SAMPLES)).values())
    return root / "data"


@pytest.fixture(scope="module")
def packed_set(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("packed") / "set"
    assert packing.pack(data, out, jobs=1).examples == 3
    return out


def config_of(root, **values):
    config = CONFIGS["get_config"]("ldif")
    Ldif.test_config(config)
    config.unlock()
    config.data.update({"root": str(root), "image": False, **values})
    return config


def sources(*roots, split="train", **values):
    for root in roots:
        config = config_of(root, **values)
        yield source.ExampleSource(config, split, source.prepare(config))


def test_places_sides_and_normals_come_back():
    rng = np.random.default_rng(0)
    rows = np.concatenate([rng.uniform(-0.9, 0.9, (2000, 3)), rng.standard_normal((2000, 1))], axis=1).astype(np.float32)
    rows[:3] = [(0.9, -0.9, 0, 0), (-0.9, 0.9, 0.9, 1e-9), (0, 0, 0, -1e-9)]
    far = compact.reach(rows[:, :3])
    words = compact.pack_samples(rows, far)
    assert far == np.float32(0.9) and words.dtype == np.uint32 and words.shape == (2000, 2)
    # By hand: x the largest of 21 bits, y the least, z halfway (rounded to even), and the bit of the inside, which the surface belongs to.
    assert words[0].tolist() == [0x1FFFFF, 1 << 31 | 0x100000 << 10]
    found = compact.samples(words, far)
    assert np.abs(found[:, :3] - rows[:, :3]).max() < 0.9 / 2**21 + 6e-8
    np.testing.assert_array_equal(found[:, 3], np.where(rows[:, 3] > 0, 1, -1))
    np.testing.assert_allclose(jax.jit(compact.samples)(words[None], far[None])[0], found, atol=6e-8)
    with pytest.raises(ValueError, match="beyond its example's reach"):
        compact.pack_samples(rows, np.float32(0.7))

    normals = rng.standard_normal((2000, 3))
    normals[:6] = [(1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0), (0, 0, 1), (0, 0, -1)]
    points = np.concatenate([rows[:, :3], normals / np.linalg.norm(normals, axis=1, keepdims=True)], axis=1).astype(np.float32)
    found = compact.points(compact.pack_points(points, far), far)
    assert found.dtype == np.float32 and np.linalg.norm(found[:, 3:] - points[:, 3:], axis=1).max() < 7e-5


def test_a_packed_set_has_the_same_examples(data, packed_set):
    plain, small = sources(data, packed_set, image=True)
    assert [one[:2] for one in plain.examples] == [one[:2] for one in small.examples] == [("a", "one"), ("b c", "two")]
    assert small.examples[1].folder == data / "train" / "b c" / "two", "where the mesh is found that it is of"
    for index in range(2):
        wanted, found = plain[index], small[index]
        assert sum(value.nbytes for value in found.values()) < 0.55 * sum(value.nbytes for value in wanted.values())
        batch = compact.unpacked({name: value[None] for name, value in found.items()})
        assert np.abs(batch["depth"][0] - wanted["depth"][..., :2]).max() <= 0.5 / 16384 + 1e-7
        np.testing.assert_allclose(batch["points"][0], wanted["points"], atol=1e-4)
        np.testing.assert_array_equal(batch["image"][0], wanted["image"])
        for name in ("near", "uniform"):
            samples = compact.samples(found[name], found["reach"])
            np.testing.assert_allclose(samples[:, :3], wanted[name][:, :3], atol=5e-7)
            np.testing.assert_array_equal(samples[:, 3] > 0, wanted[name][:, 3] > 0)
        for name in ("grid", "world_to_grid", "kind", "example"):
            np.testing.assert_array_equal(found[name], wanted[name])
        np.testing.assert_array_equal(found["inside_box"], np.stack(losses.inside_box(wanted["uniform"][None])).squeeze(1))


def test_losses_take_both(data, packed_set):
    """Traced alone: every name, shape and kind of number that a step meets."""
    shapes = []
    for root in (data, packed_set):
        config = config_of(root)
        config.loss_weights.center = 1.0
        task = Ldif(config)
        assets = task.prepare()
        batch = {name: np.stack([value] * 2) for name, value in task.source("train", assets).redraw(0, 7).items()}

        def terms(batch, task=task, assets=assets):
            model = task.model(assets, rngs=nnx.Rngs(0))
            found = task.loss(model, batch, step=0, key=jax.random.key(0), terms=task.loss_terms)
            return {name: value for name, (value, _) in found.items()}, task.predict(model, batch)

        shapes.append(nnx.eval_shape(terms, batch)[0])
    assert shapes[0] == shapes[1]


def test_a_step_reads_another_piece_each_time(packed_set):
    config = config_of(packed_set)
    config.data.samples = 50
    of_split = {split: source.ExampleSource(config, split, source.prepare(config)) for split in ("train", "test")}
    train = of_split["train"]
    whole, pieces = train[1]["near"], [train.redraw(1, position)["near"] for position in range(40)]
    starts = []
    for piece in pieces:
        assert piece.shape == (50, 2)
        starts.append(int(np.flatnonzero((whole == piece[0]).all(1))[0]))
        np.testing.assert_array_equal(piece, whole[starts[-1] : starts[-1] + 50])
    assert len(set(starts)) > 30 and min(starts) < 100 and max(starts) > SAMPLES - 150
    assert of_split["test"].redraw(0, 3)["near"].shape == (SAMPLES, 2), "what is scored is scored whole"

    # Gone on with, the same pieces come.
    read = pipeline.iterator(train, Sampling(2), seed=0, threads=2)
    next(read)
    state = read.get_state()
    wanted = [next(read)["near"] for _ in range(2)]
    again = pipeline.iterator(train, Sampling(2), seed=0, threads=0)
    again.set_state(state)
    np.testing.assert_array_equal([next(again)["near"] for _ in range(2)], wanted)
    assert (wanted[0] != wanted[1]).any()


def test_packing_goes_on_and_tells_damage(data, packed_set, tmp_path):
    shard = packed.shard_path(packed_set, "train", 0, 1)
    before = shard.stat().st_mtime_ns
    packing.pack(data, packed_set, jobs=1)
    assert shard.stat().st_mtime_ns == before
    other = tmp_path / "other"
    other.mkdir()
    (other / "train.txt").write_text("train/a/one/\n")
    with pytest.raises(ValueError, match="a set packed from .*choose another --out"):
        packing.pack(other, packed_set, jobs=1)

    cut = tmp_path / "cut"
    cut.mkdir()
    for path in packed_set.iterdir():
        (cut / path.name).write_bytes(path.read_bytes()[:-1000] if path == shard else path.read_bytes())
    damaged, *_ = sources(cut)
    with pytest.raises(ValueError, match=r"train-00000.*damaged \(cut off\)"):
        damaged[0]
    (cut / shard.name).write_bytes(b"\xff" * 100)
    with pytest.raises(ValueError, match="train-00000.*no packed examples"):
        next(sources(cut))[0]
    (cut / "train.txt").unlink()
    (cut / "test.txt").unlink()
    with pytest.raises(ValueError, match="not packed to its end"):
        next(sources(cut))


def test_an_example_that_is_damaged_is_left_out(data, tmp_path):
    for path in data.rglob("*"):
        if path.is_file() and path.suffix in (".txt", ".sdf", ".pts", ".grd", ".npz"):
            (tmp_path / "d" / path.relative_to(data)).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "d" / path.relative_to(data)).write_bytes(path.read_bytes())
    (tmp_path / "d" / "train" / "a" / "one" / examples.NEAR).write_bytes(b"123")
    found = packing.pack(tmp_path / "d", tmp_path / "out", jobs=1)
    assert found.examples == 2 and len(found.faults) == 1 and "one/nss_points.sdf: 3 bytes" in found.faults[0]
    assert (tmp_path / "out" / "train.txt").read_text() == "train/b c/two/\n"


def test_pictures(data, tmp_path):
    folder = data / "train" / "a" / "one"
    written = np.asarray(Image.open(folder / examples.IMAGE))
    assert written.shape == (137, 137, 3) and (written[0, 0] == 255).all()
    middle = written[60:76, 60:76].reshape(-1, 3)
    assert (middle < 250).all() and (middle.min(0) > 10).all()
    np.testing.assert_array_equal(reading.read(folder, image=True)["image"], written)
    assert "image" not in reading.read(folder)


def test_normals_as_the_published_reader_has_them():
    depth = np.zeros((20, 224, 224), np.float32)
    depth[0, 0, :2] = 1
    normals = np.zeros((20, 224, 224, 3), np.float32)
    normals[0, 0, :2] = [(0, 0, 1), (-1, 0, 0)]
    found = views.coded(views.Views(depth, normals)).normals
    np.testing.assert_allclose(found[0, 0, 0], np.array([1, 1, 2]) / np.sqrt(6), atol=2e-5)
    np.testing.assert_allclose(found[0, 0, 1], np.array([0, 1, 1]) / np.sqrt(2), atol=2e-5)
    assert not found[1:].any() and not found[0, 1:].any()


def varint(number):
    out = b""
    while number > 127:
        out, number = out + bytes([number & 127 | 128]), number >> 7
    return out + bytes([number])


def field(number, data):
    return varint(number << 3 | 2) + varint(len(data)) + data


def masked(data):
    crc = google_crc32c.value(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def record(features):
    """A record by hand, as the wire format has it: floats packed in field 2, bytes in field 1 of a feature."""
    entries = b""
    for name, value in features.items():
        kind = field(1, field(1, value)) if isinstance(value, bytes) else field(2, field(1, value.astype("<f4").tobytes()))
        entries += field(1, field(1, name.encode()) + field(2, kind))
    data = field(1, entries)
    length = struct.pack("<Q", len(data))
    return length + masked(length) + data + masked(data)


@pytest.fixture(scope="module")
def published():
    rng = np.random.default_rng(0)
    depth = np.zeros((20, 224, 224, 1), np.float32)
    depth[:, 50:180, 60:170] = 700 + rng.integers(0, 300, (20, 130, 110, 1))
    normals = rng.standard_normal((100, 3))
    return {
        "mesh_name": b"03001627|a1b2",
        "depth_renders": depth,
        "bounding_box_samples": rng.uniform(-0.7, 0.7, (300, 4)).astype(np.float32),
        "near_surface_samples": rng.uniform(-0.5, 0.5, (300, 4)).astype(np.float32),
        "grid": rng.standard_normal((32, 32, 32)).astype(np.float32),
        "world2grid": np.eye(4, dtype=np.float32),
        "surface_point_samples": np.concatenate([normals * 0.1, normals / np.linalg.norm(normals, axis=1)[:, None]], 1).astype(np.float32),
    }


def test_published_records(published, tmp_path):
    folder = tmp_path / "optimized" / "train"
    folder.mkdir(parents=True)
    path = folder / "train-00000-of-00001.tfrecords"
    as_bytes = {**published, "grid": published["grid"].astype("<f4").tobytes(), "mesh_name": b"other|two"}
    path.write_bytes(gzip.compress(record(published) + record(as_bytes), 1))
    one, two = tfrecords.read(path)
    assert (one.name, two.name) == ("03001627/a1b2", "other/two")
    for name, key in (
        ("near", "near_surface_samples"),
        ("uniform", "bounding_box_samples"),
        ("points", "surface_point_samples"),
        ("grid", "grid"),
    ):
        np.testing.assert_array_equal(one.sample[name], published[key])
    np.testing.assert_array_equal(two.sample["grid"], published["grid"])
    corner = one.sample["depth"][60, 60]
    assert one.sample["depth"].shape == (137, 137, 20) and ((corner > 0.699) & (corner < 1.0)).all(), "in units"
    assert packing.pack(tmp_path / "optimized", tmp_path / "packed", jobs=1).examples == 2
    small, *_ = sources(tmp_path / "packed")
    assert small.examples[0][:2] == ("03001627", "a1b2")
    np.testing.assert_allclose(
        compact.samples(small[0]["near"], small[0]["reach"])[:, :3], published["near_surface_samples"][:, :3], atol=5e-7
    )


def test_records_that_are_none(published, tmp_path):
    path = tmp_path / "a.tfrecords"
    good = record(published)

    def fault(data):
        path.write_bytes(data)
        with pytest.raises(ValueError) as e:
            list(tfrecords.read(path))
        assert str(path) in str(e.value) and "\n" not in str(e.value)
        return str(e.value)

    assert "cut off" in fault(good[:-1]) and "cut off" in fault(good[:5])
    assert "checksum" in fault(good[:1000] + bytes([good[1000] ^ 1]) + good[1001:])
    assert "damaged or cut off" in fault(gzip.compress(good, 1)[:-50])
    length = struct.pack("<Q", 1 << 50)
    assert "at most" in fault(length + masked(length) + b"123")
    bad = b"\x0a\xff\xff\xff\xff\x0f123"
    assert "no tf.train.Example" in fault(struct.pack("<Q", len(bad)) + masked(struct.pack("<Q", len(bad))) + bad + masked(bad))
    assert "has no grid" in fault(record({name: value for name, value in published.items() if name != "grid"}))
    assert "its shape is [4, 4]" in fault(record({**published, "world2grid": np.zeros(15, np.float32)}))
    assert "not finite" in fault(record({**published, "world2grid": np.full(16, np.nan, np.float32)}))
    for name in (b"chair", b"../x|y", b"..|y", b"a|"):
        assert "CLASS|NAME" in fault(record({**published, "mesh_name": name}))


def test_beam_makes_the_same_examples(data, tmp_path):
    write_meshes(tmp_path / "meshes")
    (tmp_path / "meshes" / "train" / "a" / "bad.ply").write_text("nonsense")
    (tmp_path / "out").mkdir()
    works = prepare.find(tmp_path / "meshes", tmp_path / "out")
    outcomes = prepare.prepare(works, tmp_path / "out", prepare.Settings(samples=SAMPLES), runner="DirectRunner")
    assert [work.name for work, outcome in outcomes.items() if outcome.fault] == ["bad"]
    for work in works:
        for name in (examples.NEAR, examples.GRID, examples.POINTS, examples.MATRIX) if work.name != "bad" else ():
            assert (work.folder / name).read_bytes() == (data / work.folder.relative_to(tmp_path / "out") / name).read_bytes()
    assert (tmp_path / "out" / "train.txt").read_text() == (data / "train.txt").read_text()
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["prepare.json", "test", "test.txt", "train", "train.txt"]


class PoolThatBreaks:
    """As `data.workers.Workers`: where a process is killed, every future of its pool that is not done fails."""

    def __init__(self, jobs, initializer):
        self.broken = False

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        pass

    def submit(self, function, work):
        future = concurrent.futures.Future()
        self.broken |= work.name == "deadly"
        if self.broken:
            future.set_exception(BrokenProcessPool())
        else:
            future.set_result(function(work))
        return future


def test_a_process_that_is_killed_costs_one_mesh(tmp_path, monkeypatch):
    monkeypatch.setattr(prepare, "Workers", PoolThatBreaks)
    works = [prepare.Work("train", "a", name, tmp_path / name, tmp_path / "out" / name) for name in ("one", "deadly", *map(str, range(9)))]
    made = []
    found = {
        work.name: outcome.fault for work, outcome in prepare._by_processes(works, 2, lambda work: made.append(work) or prepare.Outcome())
    }
    assert found.pop("deadly") == f"{tmp_path / 'deadly'}: the process that prepared it was killed; it may have been short of memory."
    assert len(found) == len(made) == 10 and set(found.values()) == {""}


def test_meshes_that_enclose_nothing_or_promise_too_much(tmp_path):
    ball = trimesh.creation.icosphere(1)
    twice = ball.copy()
    twice.invert()
    folder = tmp_path / "meshes" / "train" / "a class"
    folder.mkdir(parents=True)
    trimesh.util.concatenate([ball, twice]).export(folder / "nothing.ply")
    header = "ply\nformat binary_little_endian 1.0\nelement vertex 8\nproperty float x\nproperty float y\nproperty float z\n"
    (folder / "huge.ply").write_text(header + "element face 10000000\nproperty list uchar int vertex_indices\nend_header\n")
    (folder / "large.off").write_text("OFF\n8 10000000 0\n")
    (tmp_path / "out").mkdir()
    works = prepare.find(tmp_path / "meshes", tmp_path / "out")
    outcomes = prepare.prepare(works, tmp_path / "out", prepare.Settings(samples=100))
    faults = {work.name: outcome.fault for work, outcome in outcomes.items()}
    assert "encloses nothing" in faults["nothing"]
    assert "10,000,000 faces; at most 2,000,000" in faults["huge"] and "10,000,000 faces" in faults["large"]
    assert json.loads((tmp_path / "out" / "prepare.json").read_text())["made"] == 0


def test_meshes_by_file(tmp_path):
    for name in ("bob.ply", "a/bob.obj", "blub.ply"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        trimesh.creation.box().export(tmp_path / name)
    one, two = prepare.of_files([tmp_path / "bob.ply", tmp_path / "blub.ply"], tmp_path / "out", "test", "an animal")
    assert (one.name, two.folder) == ("bob", tmp_path / "out" / "test" / "an animal" / "blub")
    with pytest.raises(ValueError, match="of the same name"):
        prepare.of_files([tmp_path / "bob.ply", tmp_path / "a" / "bob.obj"], tmp_path / "out", "test", "x")
    with pytest.raises(ValueError, match="no such mesh"):
        prepare.of_files([tmp_path / "none.ply"], tmp_path / "out", "test", "x")
    for name in ("", "..", "a/b"):
        with pytest.raises(ValueError, match="--split must be a name"):
            prepare.one_word(name, "--split")
