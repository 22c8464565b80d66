"""`config.data.split`: people, segments and cameras that a file holds out are not trained on, and scored apart."""

import json
import os
import pathlib
import runpy

import numpy as np
import pytest
from capture_splits import make_config, prepare, read_split, views

from ava_jax.captures import splits
from ava_jax.tasks.ava256.data import sample_rows, source, strangers
from ava_jax.tasks.base import NOT_SEEN, load_task
from ava_jax.train import plan

CONFIG = pathlib.Path(__file__).resolve().parents[4] / "configs" / "ava256.py"
ONE, OTHER = "20260101--0900--SYN001", "20260102--0901--SYN002"


def written(folder: pathlib.Path, tree: dict) -> str:
    path = folder / "split.json"
    path.write_text(json.dumps(tree))
    return str(path)


def test_people_held_out_are_never_trained_on_and_scored_as_strangers(tiny_capture, tmp_path):
    config = make_config(tiny_capture, **{"data.split": written(tmp_path, {"test": {"people": ["SYN002"]}})})
    captures, assets = source.load_captures(config), prepare(config)
    assert assets.names["identities"] == [ONE] and assets.names["segments held out"] == ["EXP_free_face"]
    alone = {capture.name: capture for capture in captures}[ONE]
    np.testing.assert_array_equal(assets.arrays["vertices_mean"], np.load(alone.vertices.with_name("registration_vertices_mean.npy")))
    assert assets.names["cameras"] == list(alone.cameras)
    for split in (splits.TRAIN, splits.UNSEEN_FRAMES):
        assert {identity for identity, _, _ in views(read_split(config, split, assets))} == {0}
    assert source.eval_splits(captures, config) == (splits.UNSEEN_FRAMES, splits.TEST_PEOPLE)
    test = read_split(config, splits.TEST_PEOPLE, assets)
    assert len(test) == 18 and {identity for identity, _, _ in views(test)} == {-2}  # not seen, the second of the captures at hand
    batch = {name: value[None] for name, value in test[0].items()}
    assert sample_rows.describe(batch, assets, captures)[0]["identity"] == OTHER + NOT_SEEN
    assert "segmentation" in batch
    notes = strangers.check(captures, config, assets).notes
    assert any(OTHER in note and "not seen in training" in note for note in notes)


def test_validation_and_test_are_apart(tiny_capture, tmp_path):
    tree = {
        "validation": {"people": ["SYN001"], "cameras": ["400022"]},
        "test": {"segments": ["EXP_jaw_open"], "cameras": ["401168"]},
    }
    config = make_config(tiny_capture, **{"data.split": written(tmp_path, tree), "data.held_out.segments": ("EXP_free_face",)})
    captures, assets = source.load_captures(config), prepare(config)
    assert source.eval_splits(captures, config) == (
        *(splits.UNSEEN_FRAMES, splits.UNSEEN_CAMERAS, splits.UNSEEN_PEOPLE),
        *(splits.TEST_FRAMES, splits.TEST_CAMERAS),
    )
    seen = {split: set(views(read_split(config, split, assets))) for split in (splits.TRAIN, *source.eval_splits(captures, config))}
    for a in seen:
        for b in seen:
            assert a == b or not seen[a] & seen[b] or {a, b} <= {splits.UNSEEN_CAMERAS, splits.TEST_CAMERAS}
    assert not {camera for _, camera, _ in seen[splits.TRAIN]} & {400022, 401168}
    assert {camera for _, camera, _ in seen[splits.TEST_CAMERAS]} == {401168}
    assert {camera for _, camera, _ in seen[splits.UNSEEN_CAMERAS]} == {400022}
    assert assets.names["segments held out"] == ["EXP_free_face", "EXP_jaw_open"]
    other = {capture.name: capture for capture in captures}[OTHER]
    jaw = set(other.frames[other.segments == "EXP_jaw_open"].tolist())
    assert {frame for _, _, frame in seen[splits.TEST_FRAMES]} == jaw
    assert not jaw & {frame for _, _, frame in seen[splits.TRAIN] | seen[splits.UNSEEN_FRAMES]}


def test_train_may_list_people(tiny_capture, tmp_path):
    config = make_config(tiny_capture, **{"data.split": written(tmp_path, {"train": {"people": [OTHER]}})})
    assert prepare(config).names["identities"] == [OTHER]
    assert splits.TEST_PEOPLE not in source.eval_splits(source.load_captures(config), config)


def test_names_that_are_nowhere_and_nobody_left(tiny_capture, tmp_path):
    config = make_config(tiny_capture, **{"data.split": written(tmp_path, {"test": {"people": ["SYN003"]}})})
    with pytest.raises(ValueError, match=r"split.json, test.people: no capture has SYN003; of 4, the nearest are SYN00"):
        prepare(config)
    config.data.split = written(tmp_path, {"test": {"people": ["SYN001", "SYN002"]}})
    with pytest.raises(ValueError, match="leaves none of the 2 people to train on"):
        prepare(config)


def test_the_published_split_on_a_part_of_the_data_holds_out_nobody_there(tiny_capture):
    config = make_config(tiny_capture, **{"data.split": "ava256"})
    assert prepare(config).names["identities"] == [ONE, OTHER]
    assert source.eval_splits(source.load_captures(config), config) == (splits.UNSEEN_FRAMES,)


def test_without_a_split_all_is_as_before(tiny_capture):
    """Configs of older versions lack the key; with "" nothing is added to what a run is bound to."""
    old, now = make_config(tiny_capture), make_config(tiny_capture, **{"data.split": ""})
    assert "split" not in old.data
    a, b = prepare(old), prepare(now)
    assert a.names == b.names and set(a.names) == {"cameras", "identities", "segments"}
    assert all(np.array_equal(a.arrays[name], b.arrays[name]) for name in a.arrays)


def test_a_file_is_found_from_any_folder_afterwards(tiny_capture, tmp_path, monkeypatch):
    config = runpy.run_path(str(CONFIG))["get_config"]("tiny")
    written(tmp_path, {"test": {"people": ["SYN002"]}})
    monkeypatch.chdir(tmp_path)
    config.data.root, config.data.split = str(tiny_capture), "split.json"
    plan.bring_up_to_date(config)
    monkeypatch.chdir(os.path.dirname(tmp_path))
    assert config.data.split == str(tmp_path / "split.json")
    assert load_task(config).prepare().names["identities"] == [ONE]
    config.data.split = "ava256"
    plan.bring_up_to_date(config)
    assert config.data.split == "ava256"
