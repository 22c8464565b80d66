"""Fixtures shared by all tests."""

import os
import pathlib

import pytest


@pytest.fixture(scope="session", autouse=True)
def cache_home(tmp_path_factory) -> None:
    """What is cached from run to run stays out of the user's own cache."""
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def test_data() -> pathlib.Path:
    """The folder named by AVA_TEST_DATA: `golden/`, `capture/`, `assets/` of the reference."""
    folder = os.environ.get("AVA_TEST_DATA", "")
    if not folder:
        pytest.skip("AVA_TEST_DATA names no folder of reference data")
    path = pathlib.Path(folder)
    if not path.is_dir():
        pytest.fail(f"AVA_TEST_DATA={folder!r} is not a folder")
    return path


@pytest.fixture(scope="session")
def tiny_capture(tmp_path_factory) -> pathlib.Path:
    """Captures of 2 procedural heads, 6 frames, 3 of 4 cameras each, images 64 x 41: read only.

    A test that changes files copies it first.
    """
    from ava_jax.tasks.ava256 import synth

    folder = tmp_path_factory.mktemp("tiny") / "captures"
    synth.write(folder, synth.Request(identities=2, frames=6, cameras=4, height=64, texture_size=64), jobs=1)
    return folder
