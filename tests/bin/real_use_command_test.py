"""What users do: lists in every form, ids that look like numbers, data that are not there, bare environments, Ctrl-C, two at once."""

import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import pytest

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
TINY = """
import runpy
from ava_jax.tasks.ava256.task import Ava256

def get_config():
    config = runpy.run_path({path!r})["get_config"]("tiny")
    Ava256.test_config(config)
    config.train.validate_every = 1
    {more}
    return config
"""


def environment(cache, **more):
    env = {name: value for name, value in os.environ.items() if name not in ("JAX_PLATFORMS", "HOME")}
    return env | {"PYTHONPATH": str(REPOSITORY), "JAX_PLATFORMS": "cpu", "XDG_CACHE_HOME": str(cache), "HOME": str(cache)} | more


def ava(*args, cwd, env=None, **more):
    command = [sys.executable, "-m", "ava_jax.bin.ava", *map(str, args)]
    return subprocess.run(command, cwd=cwd, env=env or environment(cwd / "cache"), capture_output=True, text=True, timeout=900, **more)


def config_file(folder, more=""):
    path = folder / "mine.py"
    path.write_text(TINY.format(path=str(REPOSITORY / "configs" / "ava256.py"), more=more))
    return f"--config={path}"


def refused(done, *texts):
    """One line, status 1."""
    assert done.returncode == 1, done.stdout + done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    for text in texts:
        assert text in done.stderr, done.stderr


@pytest.fixture
def own(tiny_capture, tmp_path):
    """A copy of captures that a test may change."""
    return pathlib.Path(shutil.copytree(tiny_capture, tmp_path / "captures"))


def test_a_name_that_matches_nothing_is_refused_with_the_nearest(tiny_capture, tmp_path):
    args = [f"--config.data.root={tiny_capture}", "--workdir=run", "--config.data.held_out.segments=EXP_jaw_open,EXP_fre_face"]
    done = ava("train", "--config=ava256:tiny", *args, cwd=tmp_path)
    refused(done, "config.data.held_out.segments: no capture has EXP_fre_face; of 6, the nearest are EXP_free_face")
    assert not (tmp_path / "run").exists()


def test_an_id_that_looks_like_a_number_is_a_name(tiny_capture, tmp_path):
    args = [f"--config.data.root={tiny_capture}", "--workdir=run", "--config.data.cameras", "400008"]
    done = ava("train", "--config=ava256:tiny", *args, "--config.data.held_out.cameras=400009", cwd=tmp_path)
    refused(done, "20260102--0901--SYN002: no camera to use: it has none of config.data.cameras; of 3, the nearest are 4000")


@pytest.mark.slow
def test_numbers_and_lists_of_the_command_line_train(own, tmp_path):
    """The whole way: an id that looks like a number, a list with commas, a relative root; then evaluation from another folder."""
    for path in own.glob("*/decoder/frame_list.csv"):  # a frame of the held-out segment, under another one too
        lines = path.read_text().splitlines()
        free = [line for line in lines if line.startswith("EXP_free_face")]
        path.write_text("\n".join([*lines, free[0].replace("EXP_free_face", "EXP_brows")]) + "\n")
    args = ["--config.data.root=captures", "--config.data.held_out.cameras=400008", "--workdir=run", "--config.train.steps=1"]
    held = "--config.data.held_out.segments=EXP_jaw_open, EXP_free_face"
    done = ava("train", config_file(tmp_path), *args, held, cwd=tmp_path)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    frames = sum(
        "EXP_jaw_open" not in line and "EXP_free_face" not in line and line.count(",")
        for path in own.glob("*/decoder/frame_list.csv")
        for line in path.read_text().splitlines()[1:]
    )
    frames -= 2  # each capture's, listed twice
    cameras = {path.parents[2].name: len(list(path.parent.glob("cam*.zip"))) for path in own.glob("*/decoder/image/cam401168.zip")}
    assert (
        f"{frames // 2 * sum(count - (own / name / 'decoder/image/cam400008.zip').is_file() for name, count in cameras.items())} samples"
        in (done.stdout)
    ), done.stdout
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    done = ava("eval", f"--workdir={tmp_path / 'run'}", "--max_samples=1", "--splits=unseen_cameras", cwd=elsewhere)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "eval" / "1" / "scores.json").is_file()
    done = ava("train", config_file(tmp_path), *args, held.replace(", ", ","), "--config.train.steps=1", cwd=tmp_path)
    assert done.returncode == 0 and "done already" in done.stdout, "the same list, written in another way"


def test_lists_of_mesh_fit_are_read_alike(tmp_path):
    made = ava("mesh_fit", "synthesize", "--out=data", "--motions=walk,squat", "--frames=4", "--vertices=1000", "--jobs=1", cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    args = ["--config=mesh_fit:tiny", "--config.data.root=data", "--workdir=run", "--check"]
    refused(ava("train", *args, "--config.data.sequences=walk,squt", cwd=tmp_path), "no sequence 'squt'", "Did you mean squat?")
    refused(ava("train", *args, "--config.data.held_out.sequences=walk,squt", cwd=tmp_path), "no 'squt' to hold out", "Did you mean squat?")
    done = ava("train", *args, '--config.data.sequences=["walk", "squat"]', "--config.data.held_out.sequences=squat", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "data:    2 samples (2 sequences)" in done.stdout, done.stdout


@pytest.mark.parametrize("check", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_a_split_of_which_nothing_is_there_is_told_before_compiling(own, tmp_path, check):
    import zipfile

    for path in own.glob("*/decoder/frame_list.csv"):
        held = {line.split(",")[1] for line in path.read_text().splitlines() if line.startswith("EXP_free_face")}
        for zipped in path.parent.glob("image/cam*.zip"):
            with zipfile.ZipFile(zipped) as old:
                kept = {name: old.read(name) for name in old.namelist() if str(int(pathlib.PurePath(name).stem)) not in held}
            with zipfile.ZipFile(zipped, "w") as new:
                for name, content in kept.items():
                    new.writestr(name, content)
    done = ava("train", config_file(tmp_path), f"--config.data.root={own}", "--workdir=run", *["--check"] * check, cwd=tmp_path)
    refused(
        done, "validation: ava256: none of the", "of the split 'unseen_frames' is there", f"{own}/20260101--0900--SYN001/decoder has no"
    )
    refused(done, "images (image/cam400008.zip", "config.train.validate_samples = 0 goes without")
    assert "compiling" not in done.stdout
    assert {path.name for path in (tmp_path / "run").glob("*")} == ({"check.jpg"} if check else set())


def test_a_camera_id_that_is_too_large_is_refused(own, tmp_path):
    decoder = next(own.glob("*--SYN001/decoder"))
    path = decoder / "camera_calibration.json"
    path.write_text(path.read_text().replace("401168", "3000001000"))
    for kind in ("image", "segmentation_parts"):
        (decoder / kind / "cam401168.zip").rename(decoder / kind / "cam3000001000.zip")
    done = ava("train", "--config=ava256:tiny", f"--config.data.root={own}", "--workdir=run", cwd=tmp_path)
    refused(done, str(decoder.parent), "3000001000")


NOBODY = """
import pwd

def _none(uid):
    raise KeyError(f"getpwuid(): uid not found: {uid}")

pwd.getpwuid = _none
"""


def test_a_user_without_home_and_entry_works(tmp_path):
    (tmp_path / "sitecustomize.py").write_text(NOBODY)  # as of a container's user whom its /etc/passwd does not know
    env = environment(tmp_path, PYTHONPATH=f"{tmp_path}{os.pathsep}{REPOSITORY}")
    del env["HOME"], env["XDG_CACHE_HOME"], env["JAX_COMPILATION_CACHE_DIR"]
    small = ["--identities=1", "--frames=3", "--cameras=2", "--height=32", "--texture_size=32", "--jobs=1"]
    done = ava("synth", "--out=made", *small, cwd=tmp_path, env=env)
    assert done.returncode == 0, done.stderr
    refused(
        ava("train", "--config=ava256:tiny", "--config.data.root=~/there", "--workdir=run", cwd=tmp_path, env=env), "data.root = ~/there"
    )


CACHE = """
import resource
import sys

from absl import flags

from ava_jax.bin import _main

flags.FLAGS(["ava"])
_main._enable_compilation_cache()
resource.setrlimit(resource.RLIMIT_FSIZE, (500, resource.RLIM_INFINITY))
import jax

for factor in range(4):
    jax.jit(lambda x, factor=factor: factor * x)(1.0).block_until_ready()
"""


def test_a_full_cache_is_one_line(tmp_path):
    env = environment(tmp_path / "cache")
    del env["JAX_COMPILATION_CACHE_DIR"]
    done = subprocess.run([sys.executable, "-c", CACHE], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0
    (line,) = done.stderr.splitlines()
    where = tmp_path / "cache" / "ava_jax" / "compiled"
    assert line.startswith(f"{where}: compiled programs cannot be kept there (") and line.endswith("the next start compiles anew")


def test_a_full_disk_is_named_by_the_folder(tmp_path):
    args = ["synth", "--out=made", "--identities=1", "--frames=6", "--height=128", "--jobs=1"]
    command = ["bash", "-c", 'ulimit -f 20; exec "$0" "$@"', sys.executable, "-m", "ava_jax.bin.ava", *args]  # kB
    env = environment(tmp_path / "cache", JAX_COMPILATION_CACHE_DIR=str(tmp_path / "cache"))  # no cut entries for others
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=900)
    assert done.returncode == 1 and done.stderr.splitlines()[-1] == "ava synth: made: File too large", done.stderr
    assert [path.name for path in tmp_path.iterdir() if path.name != "cache"] == []


def test_a_device_that_is_not_there_is_one_line(tiny_capture, tmp_path):
    args = ["train", config_file(tmp_path), f"--config.data.root={tiny_capture}", "--workdir=run"]
    done = ava(*args, cwd=tmp_path, env=environment(tmp_path / "cache", JAX_PLATFORMS="cuda"))
    refused(done, "JAX_PLATFORMS=cuda: jax finds no such device here", "JAX_PLATFORMS=cpu")


@pytest.mark.slow
def test_two_captures_of_one_subject_keep_their_renders(small_run, own, tmp_path):
    shutil.copytree(next(own.glob("*--SYN001")), own / "20270101--0000--SYN001")
    args = ["render", f"--workdir={small_run}", f"--captures={own}", f"--out={tmp_path / 'out'}", "--max_frames=1"]
    refused(ava(*args, "--identity=SYN001", cwd=tmp_path), "2 captures are of that subject", "--people=20260101--0900--SYN001")
    for name in ("20260101--0900--SYN001", "20270101--0000--SYN001"):
        done = ava(*args, f"--identity={name}", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert ("not seen in training: 20270101--0000--SYN001" in done.stdout) == name.startswith("2027")
    assert len(list((tmp_path / "out").glob("*SYN001_cam*.mp4"))) == 2


@pytest.mark.slow
def test_evaluation_of_strangers_names_them_and_writes_over_nothing(small_run, own, tmp_path):
    run = pathlib.Path(shutil.copytree(small_run, tmp_path / "run"))
    args = ["eval", f"--workdir={run}", f"--captures={own}", "--max_samples=2"]
    assert ava(*args, cwd=tmp_path).returncode == 0
    scores = (run / "eval" / "0" / "scores.csv").read_text()
    assert "not seen in training" not in scores
    next(own.glob("*--SYN001")).rename(own / "20270101--0000--NEW1")
    refused(ava(*args, cwd=tmp_path), "eval/0: holds the scores of other data", "20260101--0900--SYN001", "take another --out")
    done = ava(*args, f"--out={tmp_path / 'out'}", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "not seen in training: 20270101--0000--NEW1: encoded from their neutral faces" in done.stdout
    assert "20270101--0000--NEW1 (not seen in training)" in done.stdout.partition("by identity")[2]
    rows = [row.split(",") for row in (tmp_path / "out" / "scores.csv").read_text().splitlines()]
    psnr = rows[0].index("psnr")
    assert {row[psnr] for row in rows if "NEW1" in row[1]} == {""}, "without a background, scored over the face alone"
    assert (run / "eval" / "0" / "scores.csv").read_text() == scores
    with_numbers = {row[1] for row in rows[1:]}
    assert with_numbers == {"20270101--0000--NEW1 (not seen in training)", "20260102--0901--SYN002"}


def interrupt(command, cwd, until, env=None):
    """Starts a command, sends SIGINT to its whole group once `until` is on stdout or stderr, as a terminal does; (status, stderr)."""
    log = cwd / "log"
    with log.open("w") as out:
        process = subprocess.Popen(command, cwd=cwd, env=env or environment(cwd / "cache"), stdout=out, stderr=out, start_new_session=True)
    deadline = time.monotonic() + 120
    while until not in log.read_text() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    return process.wait(timeout=900), log.read_text()


INTERRUPTED_ELSEWHERE = """
import sys
from ava_jax.bin import _main

class Interrupting:
    def __hash__(self):
        raise KeyboardInterrupt

def main():
    {body}

sys.argv = ["ava"]
_main.run(main, doc="a command")
"""


@pytest.mark.parametrize(
    ("body", "status", "last"),
    [
        ("raise SystemError('returned a result with an exception set') from KeyboardInterrupt()", 130, "ava: stopped by Ctrl-C."),
        ("{Interrupting()}", 130, "ava: stopped by Ctrl-C."),
        ("try:\n        {Interrupting()}\n    finally:\n        raise ValueError('a loop is closed')", 130, "ava: stopped by Ctrl-C."),
        ("try:\n        {Interrupting()}\n    except KeyboardInterrupt:\n        raise OSError('mine') from None", 1, "ava: mine"),
        ("raise SystemError('of its own')", 1, "SystemError: of its own"),
    ],
    ids=["within a call of C", "plain", "an error while it unwinds", "an answer to it", "no interrupt"],
)
def test_ctrl_c_that_another_error_hides(tmp_path, body, status, last):
    script = INTERRUPTED_ELSEWHERE.replace("{body}", body)
    done = subprocess.run([sys.executable, "-c", script], env=environment(tmp_path / "cache"), capture_output=True, text=True)
    assert done.returncode == status and done.stderr.strip().endswith(last), done.stderr
    assert ("Traceback" in done.stderr) == (last.startswith("SystemError"))


@pytest.mark.parametrize(
    ("args", "until"),
    [
        (["synth", "--out=made", "--identities=50", "--jobs=2"], "ava-synth"),
        (["mesh_fit", "synthesize", "--out=made", "--frames=400", "--vertices=1000", "--jobs=2"], "mesh_fit synthesize"),
        pytest.param(["eval"], "unseen_frames", marks=pytest.mark.slow),
        pytest.param(["render", "--turntable"], "turntable", marks=pytest.mark.slow),
        pytest.param(["predict"], "predict:", marks=pytest.mark.slow),
        pytest.param(["train", "--check"], "devices:", marks=pytest.mark.slow),
    ],
    ids=lambda value: " ".join(value[:2]) if isinstance(value, list) else None,
)
def test_ctrl_c_is_one_line_and_130(request, tiny_capture, tmp_path, args, until):
    if args[0] in ("eval", "render", "predict"):
        args = [*args, f"--workdir={request.getfixturevalue('small_run')}", f"--data={tiny_capture}", f"--out={tmp_path / 'out'}"]
    elif args[0] == "train":
        args = [*args, "--workdir=run", config_file(tmp_path), f"--config.data.root={tiny_capture}"]
    status, log = interrupt([sys.executable, "-m", "ava_jax.bin.ava", *args], tmp_path, until)
    assert status == 130 and "Traceback" not in log and log.count("stopped by Ctrl-C") == 1, log
    assert not list(tmp_path.glob(".made.partial*")) and not list(tmp_path.glob(".ava-train-check*"))


@pytest.mark.slow
def test_a_second_run_in_one_folder_is_refused(tiny_capture, tmp_path):
    args = [sys.executable, "-m", "ava_jax.bin.ava", "train", config_file(tmp_path), f"--config.data.root={tiny_capture}", "--workdir=run"]
    with open(tmp_path / "log", "w") as log:
        first = subprocess.Popen([*args, "--config.train.steps=100000"], cwd=tmp_path, env=environment(tmp_path / "cache"), stdout=log)
    try:
        while "devices:" not in (tmp_path / "log").read_text() and first.poll() is None:
            time.sleep(0.1)
        done = ava(*args[3:], "--config.train.steps=100000", cwd=tmp_path)
        refused(done, f"run: process {first.pid} of ", " trains there. Wait for it, or take another --workdir.")
    finally:
        first.kill()
        first.wait()
