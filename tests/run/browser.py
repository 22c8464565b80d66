"""A headless Chromium for tests of pages, drawing in software."""

import contextlib
import os
import shutil
from collections.abc import Iterator

import pytest

_SOFTWARE = ("--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader")
_WEBGPU = ("--enable-unsafe-webgpu", "--enable-features=Vulkan", "--use-vulkan=swiftshader")  # without Vulkan its pictures are not shown


def chromium() -> str:
    """Path of Chromium: $CHROMIUM, or one that is on the path; skips the test where there is none."""
    names = ("chromium", "chromium-browser", "google-chrome")
    path = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, names)), None)
    if not path:
        pytest.skip("there is no Chromium: install it, or name it in CHROMIUM")
    return path


@contextlib.contextmanager
def browsing(*, webgpu: bool = False) -> Iterator:
    """A Playwright browser; skips the test where there is no Chromium or no Playwright."""
    path = chromium()
    sync_api = pytest.importorskip("playwright.sync_api", reason="there is no playwright: pip install 'ava-jax[test]'")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=[*_SOFTWARE, *(_WEBGPU if webgpu else ())])
        try:
            yield browser
        finally:
            browser.close()
