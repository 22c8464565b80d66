"""A truncated or altered checkpoint is detected, named and passed over."""

import json
import shutil

import pytest
from loop_test import _assert_same, _config, _final

from ava_jax.train import loop, manifest
from ava_jax.train.checkpoint import Checkpoints, restore_model


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of 9 steps with checkpoints of 3, 6 and 9; read only."""
    folder = tmp_path_factory.mktemp("trained")
    loop.train(_config(steps=9, keep_checkpoints=3), folder)
    return folder


@pytest.fixture
def run(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / "run")


def _largest(folder):
    return max((p for p in folder.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)


def _truncate(folder):
    path = _largest(folder / "model")
    path.write_bytes(path.read_bytes()[:-1])
    return f"{path.relative_to(folder)} has "


def _flip_a_bit(folder):
    path = _largest(folder / "model")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    return f"{path.relative_to(folder)} is altered"


def _delete_a_file(folder):
    path = _largest(folder / "model")
    path.unlink()
    return f"{path.relative_to(folder)} is missing"


def _garble_the_manifest(folder):
    (folder / "manifest.json").write_text('{"files": [')
    return "manifest.json cannot be read"


def _delete_the_manifest(folder):
    (folder / "manifest.json").unlink()
    return "manifest.json is missing"


def _delete_half(folder):
    """What a deletion that was killed leaves."""
    for name in ("manifest.json", "about", "model"):
        path = folder / name
        path.unlink() if path.is_file() else shutil.rmtree(path)
    return "neither manifest.json nor 'about' can be read"


DAMAGES = [_truncate, _flip_a_bit, _delete_a_file, _garble_the_manifest, _delete_the_manifest, _delete_half]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_one_is_named_and_the_one_before_is_used(run, capsys, damage):
    folder = run / "checkpoints" / "9"
    what = damage(folder)
    assert restore_model(run).step == 6
    said = capsys.readouterr().err
    assert f"{folder} is damaged: {what}" in said and said.strip().endswith("passed over, step 6 is used")
    with pytest.raises(ValueError, match="9 is damaged: .*Take another step") as error:
        restore_model(run, 9)
    assert what in str(error.value)
    assert restore_model(run, 3).step == 3


def test_training_goes_on_from_the_one_before_to_the_same_bits(run, trained, capsys):
    _truncate(run / "checkpoints" / "9")
    _flip_a_bit(run / "checkpoints" / "6")
    assert loop.train(_config(steps=9, keep_checkpoints=3), run) == 9
    said = capsys.readouterr()
    assert said.err.count("is damaged") == 2 and "resuming after 3" in said.out
    _assert_same(_final(run), _final(trained))
    assert sorted(p.name for p in (run / "damaged").iterdir()) == ["6", "9"]  # nothing of the user's is deleted


def test_with_none_whole_it_stops_instead_of_starting_anew(run):
    for step in (3, 6, 9):
        _truncate(run / "checkpoints" / str(step))
    with pytest.raises(ValueError, match="9 is damaged.*6 is damaged.*3 is damaged.*No whole checkpoint is left"):
        loop.train(_config(steps=12, keep_checkpoints=3), run)


def test_evaluation_minds_only_what_it_reads(run):
    _truncate_item = _largest(run / "checkpoints" / "9" / "training")
    _truncate_item.write_bytes(b"")
    assert restore_model(run).step == 9
    with Checkpoints(run) as checkpoints, pytest.raises(manifest.Damaged, match="training/.* has 0 bytes"):
        checkpoints.verify(9)


def test_one_of_a_version_without_manifests_is_taken_and_named(run, capsys):
    """As version 0.1 wrote them: no manifest, no guard, and `about` promises neither. Such a run is not gone on with."""
    folder = run / "checkpoints" / "9"
    (folder / "manifest.json").unlink()
    shutil.rmtree(folder / "guard")
    about = folder / "about" / "metadata"
    saved = json.loads(about.read_text())
    assert saved.pop("manifest") is True and saved.pop("format") == 2
    about.write_text(json.dumps(saved))
    assert restore_model(run).step == 9
    assert f"{folder} has no manifest, as it is of an older version: taken as it is" in capsys.readouterr().err
    with pytest.raises(ValueError, match="9 is of an older version, .* --config.train.init_from="):
        loop.train(_config(steps=12, keep_checkpoints=3), run)
    assert loop.train(_config(steps=12, keep_checkpoints=3, init_from=str(run)), run.with_name("next")) == 12


def test_what_is_written_holds_every_file(run):
    folder = run / "checkpoints" / "9"
    listed = set(json.loads((folder / "manifest.json").read_text())["files"])
    there = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    assert {name for name in there - listed if not name.endswith(("_CHECKPOINT_METADATA", "commit_success.txt"))} == {"manifest.json"}
    assert {name.split("/")[0] for name in listed} >= {"model", "training", "guard", "data", "assets", "about"}
