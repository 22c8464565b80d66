"""`ava view --benchmark`, and the server without a model: the avatar is a stand-in."""

import re
import time
from types import SimpleNamespace

import numpy as np
import pytest
from view_stage import FACING, WAIT, Stage

from ava_jax.core.types import Cameras
from ava_jax.tasks.ava256.data.codes_file import CODE
from ava_jax.tasks.ava256.viewer import components

pytest.importorskip("viser", reason="the page needs viser: pip install 'ava-jax[view]'")
from ava_jax.tasks.ava256.viewer import benchmark  # noqa: E402
from ava_jax.tasks.ava256.viewer.server import Server  # noqa: E402


def _portrait(height, width, *, azimuth=0.0, elevation=0.0, distance=1000.0) -> Cameras:
    focal = np.full((1, 2), distance * height / 400, np.float32)
    return Cameras(FACING[None].astype(np.float32), np.array([[0.0, 0.0, distance]], np.float32), focal, np.zeros((1, 2), np.float32))


@pytest.fixture
def viewer_and_server():
    class People(dict):
        names = ("A", "B")

    avatar = SimpleNamespace(middle=np.zeros(3), step=7, portrait=_portrait)
    found = components.of_codes(np.random.default_rng(0).standard_normal((20, *CODE)), components.CODES)
    with Stage() as stage:
        stage.pipeline._people = People(stage.pipeline._people)
        server = Server(
            avatar, stage.pipeline, stage.pipeline._people, SimpleNamespace(drivers=()), found, host="127.0.0.1", port=0, token="secret"
        )
        try:
            yield SimpleNamespace(avatar=avatar, pipeline=stage.pipeline), server
        finally:
            server.stop()


def test_the_parts_and_the_transfer_are_measured(viewer_and_server, monkeypatch):
    for name, value in {"_SECONDS": 0.5, "_CHANGES": 2, "_QUIET": 0.3}.items():
        monkeypatch.setattr(benchmark, name, value)
    viewer, server = viewer_and_server
    report = benchmark.run(viewer, server)
    lines = dict(re.split(r" {2,}", line.strip(), maxsplit=1) for line in report.splitlines()[1:])
    assert "pictures of 64 x 42 pixels" in report.splitlines()[0]
    assert float(lines["orbit, received"].split()[0]) > 2, "pictures follow the camera"
    for name in ("decode", "draw a tile, Picture", "JPEG of a whole picture", "first answer to a camera", "first answer to a slider"):
        assert float(lines[name].split()[0]) >= 0 and " ms" in lines[name]
    begun = time.monotonic()
    while server.clients and time.monotonic() - begun < WAIT:
        time.sleep(0.05)
    assert server.clients == 0, "its client is gone"
