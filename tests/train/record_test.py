"""What a run's folder says of how it was made."""

import dataclasses
import json
import pathlib
import shlex
import subprocess
import sys

import jax
import pytest

from ava_jax.captures.capture_set import CaptureSet
from ava_jax.core.types import Assets
from ava_jax.tasks.ava256.data import neutrals, source
from ava_jax.tasks.base import Task
from ava_jax.train import record

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]


def test_a_run_holds_config_command_versions_and_commit(small_run):
    config = json.loads((small_run / "config.json").read_text())
    assert config["task"].endswith(":Ava256") and config["data"]["downsample"] == 128
    (start,) = [json.loads(line) for line in (small_run / "starts.jsonl").read_text().splitlines()]
    assert (
        start["step"] == 0 and start["command"] == shlex.join(sys.argv) and start["versions"]["jax"] == jax.__version__ and start["devices"]
    )
    assert set(start) == {"time", "step", "command", "folder", "host", "devices", "versions", "git"}


class Plain:
    """A task that keeps nothing."""

    write_references = Task.write_references


def test_each_start_is_a_line(tmp_path, small_run):
    config = record.configs.from_json(json.loads((small_run / "config.json").read_text()))
    for first in (0, 30):
        record.write(tmp_path / "run", config, Plain(), Assets({}, {}), first=first)
        config.train.steps = 77
    assert [json.loads(line)["step"] for line in (tmp_path / "run" / "starts.jsonl").read_text().splitlines()] == [0, 30]
    assert json.loads((tmp_path / "run" / "config.json").read_text())["train"]["steps"] == 77, "as of the latest start"


def test_the_commit_is_that_of_the_sources_alone(tmp_path):
    def git(*args: str) -> str:
        identity = ("-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "core.hooksPath=/dev/null")
        return subprocess.run(["git", "-C", str(tmp_path), *identity, *args], capture_output=True, text=True, check=True).stdout.strip()

    assert record.commit(tmp_path) is None, "no checkout"
    git("init", "-q")
    (tmp_path / "inside").mkdir()
    (tmp_path / "file").write_text("1")
    git("add", "file")
    git("commit", "-q", "-m", "first")
    assert record.commit(tmp_path) == {"commit": git("rev-parse", "HEAD"), "changed": False}
    (tmp_path / "file").write_text("2")
    assert record.commit(tmp_path)["changed"] is True
    assert record.commit(tmp_path / "inside") is None, "a package installed inside another project's checkout is not of its commit"


def test_neutral_faces_are_kept_once_whole_or_not_at_all(small_run, tiny_capture, tmp_path, capsys):
    config = record.configs.from_json(json.loads((small_run / "config.json").read_text()))
    config.data.root = str(tiny_capture)  # the run's own are gone
    people = sorted(folder.name for folder in tiny_capture.glob("*--*"))
    assets = Assets({}, {"identities": people})
    captures = source.load_captures(config)
    neutrals.write(captures, assets, tmp_path)
    written = (tmp_path / neutrals.FILE).stat()
    assert (tmp_path / neutrals.FILE).read_bytes() == (small_run / neutrals.FILE).read_bytes()
    gone = CaptureSet(tmp_path, (), tmp_path)
    neutrals.write(gone, assets, tmp_path)  # a resumption where the captures are gone
    assert (tmp_path / neutrals.FILE).stat().st_mtime_ns == written.st_mtime_ns
    (tmp_path / neutrals.FILE).write_bytes(b"half")
    neutrals.write(captures, Assets({}, {"identities": [*people, "d--t--NOBODY"]}), tmp_path)  # imported weights know more people
    assert "has the neutral faces of 2 of 3 people; captures of the others are not at hand" in capsys.readouterr().err
    with pytest.raises(ValueError, match="has no neutral face of d--t--NOBODY"):
        neutrals.read(tmp_path, "d--t--NOBODY", 64)
    without = dataclasses.replace(captures.captures[0], decoder=tmp_path / "empty")
    (tmp_path / neutrals.FILE).unlink()
    with pytest.raises(ValueError, match="empty"):
        neutrals.write(dataclasses.replace(captures, captures=(without, *captures.captures[1:])), assets, tmp_path)
    assert not list(tmp_path.iterdir())
    neutrals.write(captures, assets, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [neutrals.FILE]
    assert neutrals.read(tmp_path, people[1], 64).texture.shape == (1, 64, 64, 3)
