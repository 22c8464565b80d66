"""Samples: splits, the frames before, names, what inference gets."""

import numpy as np
import pytest
from mesh_fit_folders import FACES, config, vertices, write

from ava_jax.data import pipeline
from ava_jax.tasks.mesh_fit.data import source


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write(tmp_path_factory.mktemp("meshes"), {"dyna": 5, "rom": 4, "walk": 3})


def names(samples):
    return [source.name_of(sample["name"]) for sample in (samples[i] for i in range(len(samples)))]


def test_splits(root):
    settings = config(root, data__held_out__sequences=("rom",), data__held_out__last_frames=2)
    assets = source.prepare(settings)
    assert assets.names == {"sequences": ["dyna", "rom", "walk"]}
    np.testing.assert_array_equal(assets.arrays["faces"], FACES)
    assert source.eval_splits(settings, assets) == ("unseen_frames", "unseen_sequences")
    split = {name: names(source.source(settings, name, assets)) for name in source.SPLITS}
    assert split["train"] == [("dyna", "00001"), ("dyna", "00002"), ("dyna", "00003"), ("walk", "00001")]
    assert split["unseen_frames"] == [("dyna", "00004"), ("dyna", "00005"), ("walk", "00002"), ("walk", "00003")]
    assert split["unseen_sequences"] == [("rom", f"0000{i}") for i in range(1, 5)]
    assert len(split["predict"]) == 12
    assert source.eval_splits(config(root, data__held_out__last_frames=0), assets) == ()
    elsewhere = config(root, data__held_out__sequences=("jump",), data__held_out__last_frames=0)  # a motion that another root has
    assert source.eval_splits(elsewhere, assets) == ()
    thinned = source.source(config(root, eval__max_samples=2), "unseen_frames", assets)
    assert names(thinned) == [("dyna", "00005"), ("walk", "00003")]
    assert len(source.source(config(root, eval__max_samples=2), "train", assets)) == 9
    with pytest.raises(ValueError, match="split must be one of train, unseen_frames, unseen_sequences, predict; got 'test'"):
        source.source(settings, "test", assets)


def test_a_sample_holds_the_frames_before_it(root):
    settings = config(root, model__joints=2)
    assets = source.prepare(settings)
    samples = source.source(settings, "train", assets)
    positions = [vertices(0, frame, "sbs") for frame in range(5)]
    for frame, history in ((0, (0, 0, 0)), (1, (0, 0, 1)), (2, (0, 1, 2)), (3, (1, 2, 3))):
        sample = samples[frame]
        np.testing.assert_array_equal(sample["source"], [positions[i] for i in history])
        np.testing.assert_array_equal(sample["target"], vertices(0, frame, "target"))
        np.testing.assert_array_equal(sample["joints"], vertices(0, frame, "joints"))
        assert sample["sequence"] == 0 and sample["frame"] == frame
        assert all(value.dtype == np.float32 for key, value in sample.items() if key in ("source", "target", "joints"))
    first_of_rom = samples[4]
    np.testing.assert_array_equal(first_of_rom["source"], [vertices(1, 0, "sbs")] * 3)  # nothing of the sequence before
    assert first_of_rom["sequence"] == 1


def test_conditioned_on_vertices_one_frame_is_enough(root):
    settings = config(root, model__condition_on="vertex")
    sample = source.source(settings, "train", source.prepare(settings))[2]
    np.testing.assert_array_equal(sample["source"], [vertices(0, 2, "sbs")])
    assert "joints" not in sample
    one = config(root, model__condition_frames=1)
    np.testing.assert_array_equal(source.source(one, "train", source.prepare(one))[3]["source"], [vertices(0, 3, "sbs")])


def test_inference_needs_no_targets(root, tmp_path):
    settings = config(root)
    assets = source.prepare(settings)
    new = write(tmp_path / "new", {"jump": 2, "dyna": 1}, kinds=("sbs",))
    narrow = config(new, data__sequences=("walk",), data__max_frames=1)  # what was trained on does not limit what is predicted
    samples = source.source(narrow, "predict", assets)
    assert names(samples) == [("dyna", "00001"), ("jump", "00001"), ("jump", "00002")]
    assert all("target" not in samples[i] for i in range(3))
    assert [int(samples[i]["sequence"]) for i in range(3)] == [0, -1, -1]
    with pytest.raises(ValueError, match="lacks the partners"):
        source.source(config(new), "train", assets)
    with pytest.raises(ValueError, match="joints: lacks the partners of 1 file"):
        source.source(config(new, model__joints=2), "predict", assets)


def test_meshes_of_another_topology_are_refused(root, tmp_path):
    assets = source.prepare(config(root))
    other = write(tmp_path, {"jump": 1}, kinds=("sbs",))
    path = other / "jump_sbs" / "obj" / "00001.obj"
    path.write_text(path.read_text().rpartition("f")[0])
    with pytest.raises(ValueError, match="must hold meshes of the topology that was trained on"):
        source.source(config(other), "predict", assets)


def test_batches_are_described_by_their_files(root):
    settings = config(root)
    assets = source.prepare(settings)
    samples = source.source(settings, "unseen_frames", assets)
    found = [row for batch, count in pipeline.read_in_order(samples, 2, threads=1) for row in source.describe(batch, assets)[:count]]
    expected = [("dyna", "00005"), ("rom", "00004"), ("walk", "00003")]
    assert [(row["sequence"], row["frame"]) for row in found] == expected
    assert source.source_file(settings, "rom", "00004") == root / "rom_sbs" / "obj" / "00004.obj"
    assert samples.counts == {"listed": 3} and "3 meshes" in repr(samples)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"data__root": ""}, "config.data.root is missing"),
        ({"data__held_out__sequences": ("jump",)}, "there is no 'jump' to hold out; .* has dyna, rom, walk"),
        ({"data__held_out__last_frames": 9}, "leaves no frame of dyna, rom, walk to train on"),
    ],
)
def test_settings_that_make_no_sense_are_refused(root, values, message):
    with pytest.raises(ValueError, match=message):
        source.prepare(config(root, **values))


def test_names_that_do_not_fit_are_refused(tmp_path):
    root = write(tmp_path, {"a" * 60: 2})
    settings = config(root)
    with pytest.raises(ValueError, match="64 bytes at most"):
        source.source(settings, "train", source.prepare(settings))
