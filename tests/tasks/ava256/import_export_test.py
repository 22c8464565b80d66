"""Published weights to a run and back: by the commands, from files that PyTorch and safetensors write."""

import json
import os
import pathlib
import pickle
import shutil

import numpy as np
import pytest
from flax import nnx

from ava_jax.bin import _configs, _context
from ava_jax.captures import ava256 as layout
from ava_jax.captures import camera_table
from ava_jax.core.types import Assets
from ava_jax.data.torch_writer import write_state_dict
from ava_jax.tasks.ava256.apps import imported
from ava_jax.tasks.ava256.data import assets_file, strangers, weight_files
from ava_jax.tasks.ava256.model import weights
from ava_jax.tasks.ava256.model.codec import AvatarCodec
from ava_jax.tasks.base import load_task
from ava_jax.train import checkpoint

PEOPLE = ("20260101--0000--ABC000", "20260102--0901--SYN002", "20260101--0900--SYN001")  # the second and third are there
FIXED = ("uv_tidx", "uv_bary", "warpidentity", "coords", "_ident")
UV = ("uv_tidx", "uv_bary")
CAMERAS = 6  # rows, of which the captures' calibrations have fewer


def config_of(root=""):
    config = _configs.load(_configs.path_of("ava256:tiny"))
    config.data.root = str(root)
    config.data.downsample = 128
    config.model.update(from_neutral=False, expression_basis=0, expression_components=False, view_degree=0)
    config.model.update(step_size=1 / 32, initial_density=1.0, initial_density_outside=1.0)
    config.eval.batch_size = 2
    return config


@pytest.fixture(scope="module")
def trained(tiny_capture):
    """A state dict of random weights with PEOPLE and CAMERAS."""
    assets = load_task(config_of(tiny_capture)).prepare()
    assets = Assets(assets.arrays, assets.names | {"identities": list(PEOPLE), "cameras": camera_table.positions(CAMERAS)})
    fresh = weights.state_dict(AvatarCodec(config_of().model, assets, rngs=nnx.Rngs(0)))
    rng = np.random.default_rng(0)
    found = {k: x + 0.05 * rng.standard_normal(x.shape).astype(np.float32) for k, x in fresh.items() if not k.endswith(FIXED)}
    # Lookups are the trainer's own: theirs are not quite those that this package makes of the topology.
    index, bary = (np.roll(fresh[f"id_encoder.{name}"], 1, axis=1) for name in ("uv_tidx", "uv_bary"))
    index = index.astype(np.int64)
    found |= {f"{owner}.uv_tidx": index for owner in ("id_encoder", "expr_encoder")}
    found |= {f"{owner}.uv_bary": bary for owner in ("id_encoder", "expr_encoder")}
    found["decoder_assembler.geodec.coords"] = np.nextafter(fresh["decoder_assembler.geodec.coords"], np.float32(0))
    return {key: found.get(key, array) for key, array in fresh.items()}


@pytest.fixture
def file(trained, tmp_path):
    path = tmp_path / "aeparams_1440000.pt"
    write_state_dict(
        path, {f"module.{key}": array.astype(np.int64) if array.dtype.kind == "i" else array for key, array in trained.items()}
    )
    return path


@pytest.fixture
def ids(tmp_path):
    rows = [name.split("--") for name in PEOPLE]
    path = tmp_path / "ids.csv"
    path.write_text("mcd,sid,mct\n" + "".join(f"{date},{subject},{time}\n" for date, time, subject in rows))
    return path


def test_an_imported_run_has_the_weights_and_their_order_of_people_and_cameras(trained, file, ids, tiny_capture, tmp_path):
    captures = pathlib.Path(shutil.copytree(tiny_capture, tmp_path / "captures"))
    calibration = captures / PEOPLE[1] / "decoder" / "camera_calibration.json"
    tree = json.loads(calibration.read_text())
    calibration.write_text(json.dumps(tree | {"KRT": tree["KRT"][::-1]}))
    config = config_of(captures)
    config.data.held_out.cameras = ("400015",)  # renumbers none of the others
    found = imported.read(file, config, ids=ids)
    assert found.taken == len(trained) and "statistics of the 2 captures" in found.notes[0]
    run = _context.Context().write_run(config, found.assets, found.model, tmp_path / "run")
    restored = checkpoint.restore_model(run)
    for key, array in weights.state_dict(restored.model).items():
        np.testing.assert_array_equal(array, trained[key], err_msg=key)
    side = len(restored.assets.arrays["uv_index"])
    assert side == 256
    placed = restored.model.assembler.index[0]
    np.testing.assert_array_equal(placed, np.moveaxis(trained["id_encoder.uv_tidx"], 0, -1)[4::8, 4::8])
    assert restored.config.data.camera_table == "position"
    assert restored.assets.names["identities"] == list(PEOPLE)
    task = load_task(restored.config, restore=checkpoint.restore_model)
    samples = task.source("train", restored.assets)
    of_file = {}
    for capture in task.captures:
        entries = json.loads(capture.calibration.read_text())["KRT"]
        of_file[PEOPLE.index(capture.name)] = [int(entry["cameraId"]) for entry in entries]
    seen = {}
    for sample in filter(None, (samples[i] for i in range(len(samples)))):
        assert of_file[int(sample["identity"])][sample["camera"]] == sample["camera_id"]
        seen.setdefault(int(sample["camera_id"]), set()).add(int(sample["camera"]))
    assert set(of_file) == {1, 2} and 400015 not in seen
    assert any(len(positions) > 1 for positions in seen.values()), "one id at two positions, else this would show little"
    at_hand = strangers.check(task.captures, restored.config, restored.assets)
    assert not at_hand.notes


def test_export_and_import_are_each_others_inverse(trained, file, ids, tiny_capture, tmp_path):
    config = config_of(tiny_capture)
    first = imported.read(file, config, ids=ids)
    assets_file.write(tmp_path / "model.assets.npz", first.assets)
    for name in ("model.safetensors", "model.pt"):
        path = tmp_path / name
        weight_files.write(path, weights.state_dict(first.model), weight_files.format_of(path))
        held = weight_files.read(path)
        assert held["id_encoder.uv_tidx"].dtype == np.int64
        again = imported.read(path, config_of(), assets_path=tmp_path / "model.assets.npz")
        assert again.notes == [] and again.assets.names == first.assets.names
        for key, array in first.assets.arrays.items():
            np.testing.assert_array_equal(again.assets.arrays[key], array)
        for key, array in weights.state_dict(again.model).items():
            np.testing.assert_array_equal(array, trained[key], err_msg=key)


def test_a_part_of_the_keys_and_more_people(trained, file, ids, tiny_capture):
    ids.write_text(ids.read_text() + "20260103,XYZ009,0902\n")
    found = imported.read(file, config_of(tiny_capture), ids=ids, only=("decoder", "colorcal.wident"))
    assert "1 of 4 identities are not in the file, and start afresh" in found.notes
    after = weights.state_dict(found.model)
    assert found.taken == sum(key.startswith(("decoder", "colorcal.wident")) for key in trained)
    np.testing.assert_array_equal(after["colorcal.wident"][:3], trained["colorcal.wident"])
    np.testing.assert_array_equal(after["colorcal.wident"][3], after["colorcal.bident"][3])  # fresh, both 0
    np.testing.assert_array_equal(after["decoder_assembler.rgbdec.bias"], trained["decoder_assembler.rgbdec.bias"])
    assert (after["id_encoder.bias"] != trained["id_encoder.bias"]).any()


def test_by_position_a_camera_beyond_the_table_is_a_stranger(tiny_capture):
    capture = layout.load(next(path.parent for path in pathlib.Path(tiny_capture).glob("*/decoder")))
    rows = camera_table.positions(2)
    assert camera_table.indices(capture, rows).tolist() == [p if p < 2 else -1 for p in capture.positions]
    assert len(camera_table.known(capture, rows)) == 2
    only = layout.load(capture.decoder.parent, (capture.cameras[-1],))
    assert only.positions.tolist() == [capture.positions[-1]] and only.calibrated == capture.calibrated


class Shell:
    def __reduce__(self):
        return os.system, ("touch executed",)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-30000]), "aeparams_1440000.pt: no zip, or a damaged one"),
        (lambda path: path.write_bytes(pickle.dumps({"a": Shell()})), "aeparams_1440000.pt: not a file that torch.save wrote"),
        (
            lambda path: write_state_dict(path, {"encoder.weight": np.zeros(3)}),
            "lacks colorcal.wcam, which has a row for each of its cameras",
        ),
        (lambda path: path.unlink(), "there is no such file; --file names a state dict"),
    ],
    ids=["cut short", "a hostile pickle", "another model", "not there"],
)
def test_a_file_of_no_use_is_one_line(file, ids, tiny_capture, tmp_path, monkeypatch, change, says):
    monkeypatch.chdir(tmp_path)
    change(file)
    with pytest.raises((ValueError, OSError)) as e:
        imported.read(file, config_of(tiny_capture), ids=ids)
    assert says in str(e.value) and "\n" not in str(e.value)
    assert not (tmp_path / "executed").exists()


def test_what_the_file_lacks_must_be_given(trained, file, ids, tiny_capture, tmp_path):
    def refused(says, config, **given):
        with pytest.raises(ValueError) as e:
            imported.read(given.pop("path", file), config, **given)
        assert says in str(e.value) and "\n" not in str(e.value), str(e.value)

    refused("holds no statistics", config_of(), ids=ids)
    refused("does not say whose its 3 identities are: give --ids", config_of(tiny_capture))
    ids.write_text("mcd,sid,mct\n20260101,SYN001,0900\n")
    refused("ids.csv: must name the 3 identities", config_of(tiny_capture), ids=ids)
    wide = config_of(tiny_capture)
    wide.model.width = 0.25
    rows = [name.split("--") for name in PEOPLE]
    ids.write_text("mcd,sid,mct\n" + "".join(f"{date},{subject},{time}\n" for date, time, subject in rows))
    refused("aeparams_1440000.pt: load_state_dict: the state dict has wrong shapes at", wide, ids=ids)
    (tmp_path / "a.npz").write_bytes(b"PK\x03\x04 nothing")
    refused("a.npz: must be an npz of a run's assets", config_of(), assets_path=tmp_path / "a.npz")
    bad = dict(trained)
    bad["colorcal.wcam"] = bad["colorcal.wcam"] * np.nan
    write_state_dict(tmp_path / "nan.pt", bad)
    refused("not finite, at 1 keys: colorcal.wcam", config_of(tiny_capture), ids=ids, path=tmp_path / "nan.pt")
    (tmp_path / "x.safetensors").write_bytes(b"12345678" * 3)
    refused("x.safetensors: no safetensors file", config_of(), ids=ids, path=tmp_path / "x.safetensors")


def test_weights_of_another_topology_are_refused(trained, ids, tiny_capture, tmp_path):
    upside_down = {f"{owner}.{name}": trained[f"{owner}.{name}"][:, ::-1] for owner in ("id_encoder", "expr_encoder") for name in UV}
    write_state_dict(tmp_path / "turned.pt", trained | upside_down)
    with pytest.raises(ValueError, match=r"turned.pt: \d\d% of its UV map show points .* trained with another topology"):
        imported.read(tmp_path / "turned.pt", config_of(tiny_capture), ids=ids)
    larger = {f"{owner}.uv_tidx": trained[f"{owner}.uv_tidx"] + 5000 for owner in ("id_encoder", "expr_encoder")}
    write_state_dict(tmp_path / "larger.pt", trained | larger)
    with pytest.raises(ValueError, match="larger.pt: its UV map names vertex 12.*; the topology that was given has 7921"):
        imported.read(tmp_path / "larger.pt", config_of(tiny_capture), ids=ids)


def test_a_model_with_more_than_the_published_parts_is_not_exported(tiny_capture):
    config = config_of(tiny_capture)
    config.model.update(from_neutral=True, expression_basis=8)
    model = load_task(config).model(load_task(config).prepare(), rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="parts that the published one lacks .*basis"):
        weights.state_dict(model)
