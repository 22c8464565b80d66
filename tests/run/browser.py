"""A browser for tests of pages."""

import os
import shutil

import pytest

ARGUMENTS = ("--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader")


def chromium() -> str:
    """The path of Chromium, of the environment variable CHROMIUM or the one that is installed; skips the test where there is none."""
    pytest.importorskip("playwright.sync_api", reason="tests of pages need playwright: pip install playwright")
    path = os.environ.get("CHROMIUM") or shutil.which("chromium")
    if not path:
        pytest.skip("no Chromium: apt-get install chromium, or CHROMIUM=PATH")
    return path
