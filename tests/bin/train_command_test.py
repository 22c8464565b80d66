"""`ava-train` from the command line: names of configs, overrides, one-line errors."""

import os
import pathlib
import subprocess
import sys

import pytest

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]


def _ava_train(*args, cwd, path=()):
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(REPOSITORY), *map(str, path)]), "JAX_PLATFORMS": "cpu"}
    env |= {"XDG_CACHE_HOME": str(cwd / "cache")}
    command = [sys.executable, "-m", "ava_jax.bin.train", *map(str, args)]
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=120)


def test_help_is_quick_to_make_and_lists_the_keys(tmp_path):
    done = _ava_train("--help", "--config=ava256:tiny", cwd=tmp_path)
    assert done.returncode == 0
    for text in ("--workdir", "--config.KEY=value", "model.primitives_per_side = 32", "train.steps = "):
        assert text in done.stdout
    program = "import sys; sys.argv=['x', '--help']\ntry:\n  from ava_jax.bin import train; train.run()\nexcept SystemExit: pass\n"
    check = "assert 'jax' not in sys.modules"
    subprocess.run([sys.executable, "-c", program + check], cwd=REPOSITORY, check=True, stdout=subprocess.DEVNULL, timeout=60)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--config=ava257:tiny"], "no such file and no installed config of that name (ava256). Did you mean 'ava256'?"),
        (["--config=ava256:tinny"], "variant must be 'full' or 'tiny'; got 'tinny'"),
        (["--config=ava256:tiny", "--config.train.stps=3"], "Did you mean \"steps\" instead of \"stps\"?"),
        (["--config=ava256:tiny", "--config.train.steps=many"], "flag --config.train.steps=many: invalid literal"),
        (["--config=ava256:tiny", "--wrkdir=x"], "Unknown command line flag 'wrkdir'. Did you mean: workdir"),
        (["--config=ava256:tiny"], "--workdir is missing"),
        (["--workdir=x"], "--config is missing"),
        (["--config=ava256:tiny", "--workdir=x", "--config.data.root=nowhere"], "nowhere"),
    ],
)
def test_a_mistake_is_one_plain_line(tmp_path, args, message):
    done = _ava_train(*args, cwd=tmp_path)
    assert done.returncode == 1
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr


def test_a_config_file_with_overrides_trains(tmp_path):
    tests = REPOSITORY / "tests" / "train"
    (tmp_path / "mine.py").write_text("from toy_task import toy_config\n\ndef get_config(variant='a'):\n    return toy_config()\n")
    run = ["--config=mine.py:b", "--config.train.steps=2", f"--workdir={tmp_path / 'run'}"]
    done = _ava_train(*run, cwd=tmp_path, path=[tests])
    assert done.returncode == 0, done.stderr
    assert "step 2/2" in done.stdout and "done: 2 steps" in done.stdout
    assert done.stderr == ""
