"""`ava-eval`, `ava-render` and `ava predict` from the command line, on a checkpoint of the smallest avatar, which has learnt nothing."""

import json
import os
import pathlib
import shutil
import subprocess
import sys

import imageio.v2 as imageio
import numpy as np
import pytest
from PIL import Image

from ava_jax.tasks.ava256.data import codes_file

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
COMMANDS = {
    "eval": ("-m", "ava_jax.bin.eval"),
    "render": ("-c", "from ava_jax.bin.ava import render; render()"),
    "predict": ("-m", "ava_jax.bin.ava", "predict"),
    "encode": ("-m", "ava_jax.bin.ava", "ava256", "encode"),
}


@pytest.fixture(scope="module")
def run(small_run) -> pathlib.Path:
    """A run's folder whose config names a folder of captures that is gone: they have moved to `tiny_capture`."""
    return small_run


@pytest.fixture(scope="module", autouse=True)
def environment(compiling_quickly, tmp_path_factory):
    """Commands of this module compile what others have not, and quickly."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ({"XDG_CACHE_HOME": str(tmp_path_factory.mktemp("cache"))} | compiling_quickly).items():
            patch.setenv(name, value)
        yield


def command(name: str, *args, cwd: pathlib.Path) -> subprocess.CompletedProcess:
    env = os.environ | {"PYTHONPATH": str(REPOSITORY), "JAX_PLATFORMS": "cpu"}
    line = [sys.executable, *COMMANDS[name], *map(str, args)]
    return subprocess.run(line, cwd=cwd, env=env, capture_output=True, text=True, timeout=900)


def test_eval_needs_only_a_checkpoint_and_captures(run, tiny_capture):
    done = command("eval", f"--workdir={run}", f"--captures={tiny_capture}", "--max_samples=3", "--export", cwd=run)
    assert done.returncode == 0, done.stderr
    folder = run / "eval" / "0"
    splits = json.loads((folder / "scores.json").read_text())["splits"]
    assert set(splits) == {"unseen_frames", "unseen_cameras"}
    for split, found in splits.items():
        scores = found["scores"]
        assert found["images"] == 3, split
        assert scores["face_psnr"]["images"] == 3 and 3 < scores["face_psnr"]["mean"] < 40
        assert scores["baseline_face_psnr"]["mean"] > scores["face_psnr"]["mean"], "an untrained avatar does not beat the mean head"
    whole = splits["unseen_cameras"]["scores"]["psnr"]
    assert whole["mean"] is None and (whole["images"], whole["ignored"]) == (0, 3)
    assert len((folder / "scores.csv").read_text().splitlines()) == 1 + 2 * 3, "a header, and a row an image"
    for split in splits:
        with Image.open(folder / f"best_and_worst_{split}.jpg") as sheet:
            assert sheet.width > sheet.height / 2
    header = next(line for line in done.stdout.splitlines() if line.startswith("split"))
    assert header.split()[1:5] == ["images", "psnr", "ssim", "l1"] and header.split()[-1] == "gain"
    with Image.open(folder / "contact_sheet.jpg") as sheet:
        assert sheet.width > sheet.height / 2 and (folder / "contact_sheet.jpg").stat().st_size <= 500_000
    assert "unseen_cameras: 100%" in done.stderr, "a progress bar"
    assert [len(list((folder / "predictions" / split).rglob("*.png"))) for split in splits] == [3, 3]


def test_eval_scores_what_its_flags_select(run, tiny_capture, tmp_path):
    """On captures elsewhere, of which the run knows one person: the other is a stranger."""
    captures = pathlib.Path(shutil.copytree(tiny_capture, tmp_path / "captures"))
    (stranger,) = captures.glob("*SYN002")
    stranger.rename(stranger.with_name("20260909--0901--NEW009"))
    flags = ["--segments=EXP_neutral_peak,EXP_brows", "--every=2", "--max_samples=4", "--nobaselines"]
    done = command("eval", f"--workdir={run}", f"--captures={captures}", *flags, f"--out={tmp_path / 'out'}", cwd=run)
    assert done.returncode == 0, done.stderr
    saved = json.loads((tmp_path / "out" / "scores.json").read_text())
    assert set(saved["splits"]) == {"selected"} and saved["splits"]["selected"]["images"] == 4
    protocol = saved["protocol"]
    people = protocol["splits"]["selected"]["people"]
    assert set(people) == {"20260101--0900--SYN001", "20260909--0901--NEW009"} and protocol["image_size"] == [32, 20]
    assert 0 < protocol["splits"]["selected"]["trained_on"] < 4, "the stranger's images are not the run's"
    assert "segments EXP_neutral_peak, EXP_brows" in protocol["rule"]
    assert all(line in done.stdout for line in protocol["lines"]) and "LPIPS left out without --lpips_alex and --lpips_vgg" in done.stdout
    assert all(f"% {line}\n" in (tmp_path / "out" / "scores.tex").read_text() for line in protocol["lines"])
    scores = saved["splits"]["selected"]["scores"]
    assert scores["vertex_error"]["images"] == 4 and scores["cc_psnr"]["images"] < 4 and scores["body_psnr"]["median"] > 0
    again = command("eval", f"--workdir={run}", f"--captures={captures}", "--every=3", f"--out={tmp_path / 'out'}", cwd=run)
    assert again.returncode == 1 and "holds the scores of --segments=EXP_neutral_peak,EXP_brows --every=2: take another" in again.stderr
    assert "gain" not in scores and (tmp_path / "out" / "best_and_worst_selected.jpg").is_file()


def test_predictions_need_no_photographs(run, tiny_capture, tmp_path):
    captures = pathlib.Path(shutil.copytree(tiny_capture, tmp_path / "captures"))
    for decoder in captures.glob("*/decoder"):
        shutil.rmtree(decoder / "image")
        shutil.rmtree(decoder / "segmentation_parts")
    done = command("predict", f"--workdir={run}", f"--data={captures}", "--max_samples=2", f"--out={tmp_path / 'out'}", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    pictures = sorted((tmp_path / "out").rglob("*.png"))
    assert len(pictures) == 2 and "step 0, predict: 2 files" in done.stdout
    assert all(f"wrote {path}" in done.stdout and np.asarray(Image.open(path)).shape == (32, 20, 3) for path in pictures)


@pytest.mark.filterwarnings("ignore:os.fork")  # of the reader below
def test_a_turntable_is_a_video_and_its_frames(run, tiny_capture):
    out = run / "turn"
    args = ["--turntable", "--turntable_frames=3", "--downsample=64", f"--out={out}"]
    done = command("render", f"--workdir={run}", f"--captures={tiny_capture}", *args, cwd=run)
    assert done.returncode == 0, done.stderr
    with imageio.get_reader(out / "turntable.mp4") as reader:
        assert len([frame for frame in reader]) == 3
        assert reader.get_meta_data()["fps"] == 24 and reader.get_meta_data()["size"] == (42, 64), "even sides"
    frames = [np.asarray(Image.open(path)) for path in sorted((out / "turntable").iterdir())]
    assert [frame.shape for frame in frames] == [(64, 41, 3)] * 3
    assert frames[0].std() > 1 and (frames[1] != frames[2]).any(), "something is seen, from more than one side"


@pytest.mark.filterwarnings("ignore:os.fork")  # of the reader below
def test_a_turntable_may_be_transparent_and_go_around(run, tiny_capture):
    out = run / "around"
    args = ["--turntable", "--path=circle", "--turntable_frames=4", "--background=none", "--fps=5", f"--out={out}", "--max_frames=1"]
    done = command("render", f"--workdir={run}", f"--captures={tiny_capture}", "--downsample=64", *args, cwd=run)
    assert done.returncode == 0, done.stderr
    pictures = [np.asarray(Image.open(path)) for path in sorted((out / "turntable").iterdir())]
    assert [picture.shape for picture in pictures] == [(64, 41, 4)] * 4
    assert all(picture[0, 0, 3] == 0 < picture[..., 3].max() for picture in pictures), "nothing in the corner, somebody in the middle"
    with imageio.get_reader(out / "turntable.mp4") as reader:
        film = [np.asarray(frame) for frame in reader]
        assert len(film) == 4 and reader.get_meta_data()["fps"] == 5
    over_black = pictures[0][..., :3] * (pictures[0][..., 3:] / 255.0)
    assert np.abs(film[0][:64, :41] - over_black).mean() < 12, "the same picture, compressed"


def test_a_driver_lends_an_identity_his_expressions(run, tiny_capture):
    shown, driver = sorted(folder.name for folder in tiny_capture.glob("*--*"))[:2]
    names = [f"--identity={shown}", f"--driver={driver.rpartition('--')[2]}", "--max_frames=1"]
    done = command("render", f"--workdir={run}", f"--captures={tiny_capture}", *names, cwd=run)
    assert done.returncode == 0, done.stderr
    assert f"{shown} with the expressions of {driver}, 1 frames" in done.stdout
    (picture,) = (run / "render" / "0").glob("*/000000.png")
    assert np.asarray(Image.open(picture)).shape[1] > 3 * 20, "truth, self and driven beside each other"


@pytest.mark.filterwarnings("ignore:os.fork")  # of the reader below
def test_codes_are_written_and_played_on_everybody_before_a_picture(run, tiny_capture, tmp_path):
    done = command(
        "encode", f"--workdir={run}", f"--data={tiny_capture}", "--people=SYN002", "--segment=EXP_free_face", "--format=csv", cwd=run
    )
    assert done.returncode == 0, done.stderr
    (path,) = (run / "codes" / "0").glob("*.csv")
    codes = codes_file.read(path)
    assert f"wrote {path}: {len(codes.codes)} frames" in done.stdout and set(codes.segment) == {"EXP_free_face"}
    Image.new("RGB", (30, 20), "red").save(tmp_path / "wall.png")
    args = [f"--driver={path}", "--people=all", f"--background={tmp_path / 'wall.png'}", "--video=mov", f"--out={tmp_path / 'out'}"]
    done = command("render", f"--workdir={run}", *args, "--downsample=64", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "without captures: " in done.stdout, "those of the run are gone, and none are needed"
    (film,) = (tmp_path / "out").iterdir()
    with imageio.get_reader(film) as reader:
        pictures = [np.asarray(frame) for frame in reader]
        assert reader.get_meta_data()["fps"] == 30
    assert len(pictures) == len(codes.codes) and pictures[0].shape == (64, 2 * 41, 3)
    assert np.abs(pictures[0][0, 0].astype(int) - [255, 0, 0]).max() < 8 and pictures[0].std() > 5


@pytest.mark.parametrize("name", ["eval", "render", "predict"])
@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([], "--workdir is missing"),
        (["--workdir=nowhere"], "no checkpoint there"),
        (["--workdir=nowhere", "--step=bst"], "--step must be a checkpoint's number, as in --step=1000, or best; got 'bst'"),
        (["--workdir=x", "--stpe=3"], "Did you mean"),
    ],
)
def test_a_mistake_is_one_plain_line(tmp_path, name, args, message):
    done = command(name, *args, cwd=tmp_path)
    assert done.returncode == 1 and message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--all", "--splits=unseen_frames"], "--all is instead of what the run held out, which --splits names parts of"),
        (["--every=0"], "--every=0"),
        (["--segment=EXP_brows"], "Did you mean: segments"),
    ],
)
def test_a_rule_that_cannot_be_is_refused_before_anything_is_read(tmp_path, args, message):
    done = command("eval", "--workdir=nowhere", *args, cwd=tmp_path)
    assert done.returncode == 1 and message in done.stderr, done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--turntable", "--background=whit"], "--background=whit: not a colour; the nearest names are white"),
        (["--background=nowhere.png"], "--background=nowhere.png: there is no such picture"),
        (["--path=sideways"], "--path=sideways: there is none of that name; of 8, the nearest are s"),
        (["--smooth=much"], "--smooth=much: must be --smooth=2"),
        (["--video=mp5"], "--video=mp5: must be of mp4, webm, mov, png"),
        (["--head_pose=kept"], "should be one of <keep|still>"),
    ],
)
def test_a_picture_that_cannot_be_is_refused_before_anything_is_read(tmp_path, args, message):
    done = command("render", "--workdir=nowhere", *args, cwd=tmp_path)
    assert done.returncode == 1 and message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr


def test_a_wrong_name_is_one_line_with_the_nearest(run, tiny_capture, tmp_path):
    out = tmp_path / "out"
    done = command("render", f"--workdir={run}", f"--captures={tiny_capture}", "--identity=SYN01", f"--out={out}", cwd=run)
    assert done.returncode == 1 and "--people=SYN01: there is none of that name" in done.stderr and "SYN001" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1 and not out.exists(), "nothing was written"


@pytest.mark.parametrize(("name", "flags"), [("eval", ("--splits", "--out")), ("render", ("--turntable", "--people", "--driver"))])
def test_help_names_the_flags(tmp_path, name, flags):
    done = command(name, "--help", cwd=tmp_path)
    assert done.returncode == 0 and f"ava{'-' if name == 'eval' else ' '}{name} --workdir=RUN" in done.stdout
    assert all(flag in done.stdout for flag in flags)
