"""Paths of a run's config are found from any folder."""

import json
import pathlib

import pytest
from loop_test import _config

from ava_jax.train import config as configs
from ava_jax.train import plan, starts
from ava_jax.train.checkpoint import Checkpoints, restore_model
from ava_jax.train.loop import train


def test_a_run_keeps_where_its_data_are(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = _config(steps=1)
    config.data.root = "data"
    train(config, tmp_path / "run")
    assert json.loads((tmp_path / "run" / "config.json").read_text())["data"]["root"] == str(tmp_path / "data")
    monkeypatch.chdir("/")
    assert restore_model(tmp_path / "run").config.data.root == str(tmp_path / "data")


def test_a_run_of_an_older_version_started_from_its_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(configs, "make_absolute", lambda *args: None)
    config = _config(steps=1)
    config.data.root = "data"
    train(config, tmp_path / "run")
    monkeypatch.undo()
    monkeypatch.chdir("/")
    with Checkpoints(tmp_path / "run") as saved:
        assert json.loads((tmp_path / "run" / "config.json").read_text())["data"]["root"] == "data"
        assert saved.about(1).config.data.root == str(tmp_path / "data")
    (tmp_path / "run" / starts.FILE).unlink()
    with Checkpoints(tmp_path / "run") as saved:
        assert saved.about(1).config.data.root == "/data", "not noted: from the current folder, as ever"


def test_home_is_written_out(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    config = _config()
    config.data.root = "~/data"
    plan.validate(config)
    assert config.data.root == "/home/me/data"
    config.data.root = ""
    plan.validate(config)
    assert config.data.root == ""


def test_no_home_is_told_with_the_key(monkeypatch):
    def none():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(pathlib.Path, "expanduser", lambda self: none())
    config = _config()
    config.data.root = "~/data"
    with pytest.raises(ValueError, match="config: data.root = ~/data: Could not determine home directory. Write the whole path."):
        plan.validate(config)
