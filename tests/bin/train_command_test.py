"""`ava-train` from the command line: names of configs, overrides, one-line errors."""

import os
import pathlib
import subprocess
import sys

import pytest

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
INSTALLED = ", ".join(sorted(path.stem for path in (REPOSITORY / "configs").glob("*.py")))


def _ava_train(*args, cwd, path=()):
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(REPOSITORY), *map(str, path)]), "JAX_PLATFORMS": "cpu"}
    env["PYTHONDONTWRITEBYTECODE"] = "1"  # what Python keeps of a config is not the command's to leave behind
    env |= {"XDG_CACHE_HOME": str(cwd / "cache")}
    command = [sys.executable, "-m", "ava_jax.bin.train", *map(str, args)]
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=600)


def test_help_is_quick_to_make_and_lists_the_keys(tmp_path):
    done = _ava_train("--help", "--config=ava256:tiny", cwd=tmp_path)
    assert done.returncode == 0
    for text in ("--workdir", "--config.KEY=value", "model.primitives_per_side = 32", "train.steps = "):
        assert text in done.stdout
    plain = _ava_train("--help", cwd=tmp_path)
    assert plain.returncode == 0 and all(name in plain.stdout.partition("Installed configs")[2] for name in INSTALLED.split(", "))
    program = "import sys; sys.argv=['x', '--help']\ntry:\n  from ava_jax.bin import train; train.run()\nexcept SystemExit: pass\n"
    check = "assert 'jax' not in sys.modules"
    subprocess.run([sys.executable, "-c", program + check], cwd=REPOSITORY, check=True, stdout=subprocess.DEVNULL, timeout=900)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--config=ava257:tiny"], f"no such file and no installed config of that name ({INSTALLED}). Did you mean ava256?"),
        (["--config=ava256:tinny"], "variant must be 'full', 'quick' or 'tiny'; got 'tinny'"),
        (["--config=ava256:tiny", "--config.train.stps=3"], "the config has no key 'train.stps'. Did you mean train.steps?"),
        (["--config=ava256:tiny", "--config.trian.steps=3"], "the config has no key 'trian.steps'. Did you mean train.steps?"),
        (["--config", "ava256:tiny", "--config.batch_size=3"], "no key 'batch_size'. Did you mean eval.batch_size or train."),
        (
            ["--config=ava256:tiny", "--config.model.background_share=1"],
            "key 'model.background_share'. Did you mean model.background_fraction?",
        ),
        (["--config=ava256:tiny", "--config.optimizer.ramp_steps=9"], "'optimizer.ramp_steps'. Did you mean optimizer.lr_warmup_steps?"),
        (["--config=ava256:tiny", "--config.model.warmup_steps=9"], "key 'model.warmup_steps'. Did you mean model.guided_steps?"),
        (["--config=ava256:tiny", "--config.qqq=3"], "the config has no key 'qqq'."),
        (["--config=ava256:tiny", "--config.data.cameras[0]=3"], "no key 'data.cameras[0]'. Did you mean data.cameras?"),
        (["--config=ava256:tiny", "--steps=3"], "flag 'steps'. The config's values are given as --config.KEY=value. Did you mean train.st"),
        (["--config=ava256:tiny", "--config.train.batch_size=0", "--workdir=x"], "config.train.batch_size must be at least 1; got 0"),
        (["--config=ava256:tiny", "--config.train.spike_factor=0.5", "--workdir=x"], "spike_factor must be over 1, or 0 for never"),
        (["--config=ava256:tiny", "--workdir=x", "stray"], "unexpected argument 'stray'"),
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
    assert [p.name for p in tmp_path.iterdir() if p.name != "cache"] == []


def test_a_config_file_with_overrides_trains(tmp_path):
    tests = REPOSITORY / "tests" / "train"
    (tmp_path / "mine.py").write_text("from toy_task import toy_config\n\ndef get_config(variant='a'):\n    return toy_config()\n")
    run = ["--config=mine.py:b", "--config.train.steps=2", f"--workdir={tmp_path / 'run'}"]
    done = _ava_train(*run, cwd=tmp_path, path=[tests])
    assert done.returncode == 0, done.stderr
    assert "step 2/2" in done.stdout and "done: 2 steps" in done.stdout
    assert done.stderr == ""


@pytest.fixture
def toy(tmp_path):
    """Runs `ava-train` on the toy config, with more arguments, in a folder of its own."""
    (tmp_path / "mine.py").write_text("from toy_task import toy_config\n\ndef get_config():\n    return toy_config()\n")

    def train(*args):
        return _ava_train("--config=mine.py", *args, cwd=tmp_path, path=[REPOSITORY / "tests" / "train"])

    return train


def test_check_tries_everything_and_leaves_nothing(tmp_path, toy):
    done = toy("--workdir=runs/new", "--check")
    assert done.returncode == 0 and done.stderr == "", done.stderr
    for text in ("model:", "compiling:", "step:", "memory:", "save:", "restore:", "disk:", "check passed: one step, one save, one restore"):
        assert text in done.stdout
    assert [p.name for p in tmp_path.iterdir() if p.name != "cache"] == ["mine.py"]


def test_check_fails_with_one_line_and_leaves_nothing(tmp_path, toy):
    done = toy("--workdir=run", "--check", "--config.data.poison=0", "--config.train.batch_size=20")
    assert done.returncode == 1 and len(done.stderr.strip().splitlines()) == 1
    assert "the first step's loss cannot be learned from: fit nan" in done.stderr
    assert [p.name for p in tmp_path.iterdir() if p.name != "cache"] == ["mine.py"]


def test_a_run_of_another_config_is_refused_and_left_alone(tmp_path, toy):
    assert toy("--workdir=run", "--config.train.steps=2").returncode == 0
    before = sorted(p.relative_to(tmp_path) for p in (tmp_path / "run").rglob("*"))
    done = toy("--workdir=run", "--config.train.steps=4", "--config.optimizer.learning_rate=0.5")
    assert done.returncode == 1 and len(done.stderr.strip().splitlines()) == 1
    assert "holds a run of another config; it differs in optimizer.learning_rate (saved 0.05, now 0.5)" in done.stderr
    assert sorted(p.relative_to(tmp_path) for p in (tmp_path / "run").rglob("*")) == before
