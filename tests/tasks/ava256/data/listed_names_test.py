"""Names and numbers that a config lists: read in every form, refused where they match nothing, held out by number."""

import pathlib
import runpy
import shutil
import zipfile

import pytest

from ava_jax.bin import _configs
from ava_jax.tasks.base import load_task
from ava_jax.train import config as configs
from ava_jax.train import plan

CONFIG = pathlib.Path(__file__).resolve().parents[4] / "configs" / "ava256.py"


def task_of(root, *overrides):
    """The task of a command line's overrides, as `ava train` makes it."""
    config = runpy.run_path(str(CONFIG))["get_config"]("tiny")
    rest, lists = _configs.take_lists(["ava", *(f"--config.{text}" for text in overrides)], config)
    assert rest == ["ava"]
    config.data.root = str(root)
    configs.override(config, lists)
    plan.validate(config)
    return load_task(config)


@pytest.fixture
def own(tiny_capture, tmp_path):
    """A copy of captures that a test may change."""
    return pathlib.Path(shutil.copytree(tiny_capture, tmp_path / "captures"))


@pytest.mark.parametrize(
    "text",
    ["EXP_jaw_open,EXP_free_face", "EXP_jaw_open, EXP_free_face", '("EXP_jaw_open","EXP_free_face")', '["EXP_jaw_open", "EXP_free_face"]'],
)
def test_segments_are_held_out_however_they_are_listed(tiny_capture, text):
    task = task_of(tiny_capture, f"data.held_out.segments={text}")
    assets = task.prepare()
    held = {assets.names["segments"].index(name) for name in ("EXP_jaw_open", "EXP_free_face")}
    segments = {split: _column(task.source(split, assets), "segment") for split in ("train", "unseen_frames")}
    assert set(segments["unseen_frames"]) == held and not held & set(segments["train"])
    assert len(segments["train"]) + len(segments["unseen_frames"]) == 35


def _column(source, name):
    """Of all samples that can be read."""
    return [int(sample[name]) for sample in map(source.__getitem__, range(len(source))) if sample is not None]


@pytest.mark.parametrize("text", ["400008", "(400008,)", "[400008]", '"400008"', "400008,401168"])
def test_cameras_are_ids_however_they_are_written(tiny_capture, text):
    task = task_of(tiny_capture, f"data.held_out.cameras={text}")
    assets = task.prepare()
    held = {"400008", "401168"} if "401168" in text else {"400008"}
    assert set(assets.names["cameras"]) == {"400008", "400015", "400022", "401168"} - held
    assert {str(camera) for camera in _column(task.source("unseen_cameras", assets), "camera_id")} == held


@pytest.mark.parametrize("value", [400008, (400008, 400015), ["400008", 400015], "400008,400015", ("400008", "400015")])
def test_config_files_may_give_numbers_and_lists(tiny_capture, value):
    config = runpy.run_path(str(CONFIG))["get_config"]("tiny")
    config.data.root = str(tiny_capture)
    config.data.held_out.cameras = value
    config.eval.unseen_camera_frames = "0, 3"
    plan.validate(config)
    assert config.data.held_out.cameras == (("400008",) if value == 400008 else ("400008", "400015"))
    assert config.eval.unseen_camera_frames == (0, 3)
    assert load_task(config).prepare().names["cameras"]
    config.data.held_out.cameras = 5
    assert _configs.take_lists(["--config.data.held_out.cameras=6,7"], config) == ([], {"data.held_out.cameras": ("6", "7")})


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("held_out.segments=EXP_jawopen", "config.data.held_out.segments: no capture has EXP_jawopen; of 6, the nearest are EXP_jaw_open"),
        ("held_out.cameras=400009", "config.data.held_out.cameras: no capture has 400009; of 4, the nearest are 400008"),
        ("held_out.cameras=(1.5,)", "config.data.held_out.cameras: no capture has 1.5"),
        ("cameras=401168,400009", "config.data.cameras: no capture has 400009; of 4, the nearest are 400008"),
        ("cameras=[400009]", "no camera to use: it has none of config.data.cameras; of 3, the nearest are 400008"),
    ],
)
def test_what_matches_nothing_is_refused_with_the_nearest(tiny_capture, override, message):
    with pytest.raises(ValueError) as e:
        task_of(tiny_capture, f"data.{override}").prepare()
    assert message in str(e.value) and "\n" not in str(e.value)


@pytest.mark.parametrize("text", ["-1", "6", "1000,2000"])
def test_positions_that_no_frame_list_has_are_refused(tiny_capture, text):
    with pytest.raises(ValueError, match="unseen_camera_frames: must be positions in the frame lists, 0 to 5"):
        task_of(tiny_capture, f"eval.unseen_camera_frames={text}").prepare()
    with pytest.raises(ValueError, match="config.eval.unseen_camera_frames must be a list of whole numbers"):
        task_of(tiny_capture, "eval.unseen_camera_frames=all")


def test_a_frame_is_held_out_by_its_number(own):
    numbers = {}
    for path in own.glob("*/decoder/frame_list.csv"):
        lines = path.read_text().splitlines()
        (free,) = [line for line in lines if line.startswith("EXP_free_face")]
        path.write_text("\n".join([lines[0], free.replace("EXP_free_face", "EXP_brows"), *lines[1:]]) + "\n")
        numbers[path.parents[1].name] = int(free.split(",")[1])
    task = task_of(own)
    assets = task.prepare()
    train, unseen = task.source("train", assets), task.source("unseen_frames", assets)
    assert set(_column(unseen, "frame")) == set(numbers.values())
    assert not set(_column(train, "frame")) & set(numbers.values())
    assert len(train) == 30, "as many as without the second listing"
    last = task_of(own, "data.held_out.segments=()").config
    last.data.held_out.last_frames = 1
    assert not set(_column(load_task(last).source("train", assets), "frame")) & set(numbers.values())


def test_a_camera_without_segmentation_is_trained_on_and_named(own, capsys):
    (gone,) = own.glob("*--SYN001/decoder/segmentation_parts/cam401168.zip")
    gone.unlink()
    task = task_of(own)
    assets = task.prepare()
    train, unseen = task.source("train", assets), task.source("unseen_frames", assets)
    told = capsys.readouterr().err.splitlines()
    assert told == [f"{gone.parent}: there is no cam401168.zip: their images are trained on, and cannot be scored"]
    cameras = [(identity, camera) for identity, camera in zip(_column(unseen, "identity"), _column(unseen, "camera_id"))]
    assert (0, 401168) not in cameras and (1, 401168) in cameras
    task.source("unseen_frames", assets)
    assert capsys.readouterr().err == "", "it is said once"
    train_cameras = list(zip(_column(train, "identity"), _column(train, "camera_id")))
    assert (0, 401168) in train_cameras


def test_nothing_there_names_captures_and_files(own):
    for zipped in own.glob("*/decoder/image/cam*.zip"):
        _without(zipped)
    task = task_of(own)
    assets = task.prepare()
    assert len(task.source("train", assets)) == 30
    with pytest.raises(ValueError) as e:
        task.source("unseen_frames", assets)
    text = str(e.value)
    assert text.startswith("ava256: none of the 6 samples of the split 'unseen_frames' is there: ") and "\n" not in text
    for capture in own.glob("*--*"):
        assert f"{capture / 'decoder'} has no images (image/cam" in text


def _without(zipped):
    """A zip without the held-out frame."""
    lines = (zipped.parents[1] / "frame_list.csv").read_text().splitlines()
    held = {int(line.split(",")[1]) for line in lines if line.startswith("EXP_free_face")}
    with zipfile.ZipFile(zipped) as old:
        kept = {name: old.read(name) for name in old.namelist() if int(pathlib.PurePath(name).stem) not in held}
    with zipfile.ZipFile(zipped, "w") as new:
        for name, content in kept.items():
            new.writestr(name, content)
