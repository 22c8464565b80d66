"""Captures that tests of reading may change."""

import pathlib
import shutil

import pytest


@pytest.fixture
def own(tiny_capture, tmp_path):
    """A copy that a test may damage."""
    return pathlib.Path(shutil.copytree(tiny_capture, tmp_path / "captures"))
