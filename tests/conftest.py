"""Fixtures shared by all tests."""

import os
import pathlib

import pytest


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
