"""`ava ldif view`: values that follow elements, colours, surfaces coarse and fine, the page in a browser."""

import dataclasses
import os
import pathlib
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request

import numpy as np
import pytest
from browser import browsing
from PIL import Image

pytest.importorskip("viser", reason="the page needs viser: pip install 'ava-jax[view]'")
from ldif_made import decoder_of, elements_of, grid_points  # noqa: E402

from ava_jax.ops import implicit  # noqa: E402
from ava_jax.tasks.ldif.apps import tints  # noqa: E402
from ava_jax.tasks.ldif.apps.field import Field  # noqa: E402
from ava_jax.tasks.ldif.apps.shape import Shape  # noqa: E402
from ava_jax.tasks.ldif.data import element_files  # noqa: E402
from ava_jax.tasks.ldif.viewer import benchmark, scene, worker  # noqa: E402
from ava_jax.tasks.ldif.viewer.page import Viewer  # noqa: E402
from ava_jax.viz.live import options  # noqa: E402
from ava_jax.viz.live.client import Client  # noqa: E402

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
WAIT = 240.0  # seconds that no test needs


@pytest.mark.parametrize("kind", ["sif", "axes", "cut", "ldif", "ldif cut"])
def test_a_field_is_the_function_before_and_after_elements_move(kind):
    decoder = decoder_of() if "ldif" in kind else None
    shape = Shape(elements_of(6, 4 if decoder else 0), 2, decoder, rotated=kind != "axes", cut="cut" in kind)
    field = Field(20)
    assert field.update(shape)
    points = grid_points(field.places)
    np.testing.assert_allclose(field.values.reshape(-1), shape.values(points), rtol=1e-6, atol=3e-6)
    wanted = worker.Wanted("a", shape, 20, tints.PLAIN)
    for value in np.linspace(-0.3, 0.3, 5):
        moved = wanted.moved(1, center=np.array([value, 0.1, 0.2]), angles=np.array([value, 0, 0]), constant=-0.5).shape
        assert field.update(moved)
    np.testing.assert_allclose(field.values.reshape(-1), moved.values(points), rtol=1e-6, atol=3e-6)
    assert np.abs(moved.values(points) - shape.values(points)).max() > 0.1
    assert field.update(shape)
    np.testing.assert_allclose(field.values.reshape(-1), shape.values(points), rtol=1e-6, atol=3e-6)


def test_a_field_that_was_interrupted_goes_on():
    shape, field, asked = Shape(elements_of(6), 2), Field(16), []
    assert not field.update(shape, lambda: asked.append(0) or len(asked) > 3)
    fewer = Shape(elements_of(5, seed=1), 5)
    assert field.update(fewer)
    np.testing.assert_allclose(field.values.reshape(-1), fewer.values(grid_points(field.places)), rtol=1e-6, atol=3e-6)


def test_colours_say_what_is_where():
    elements = elements_of(3, features=4)._replace(
        constant=np.array([-1, -1, -1], np.float32), center=np.array([[-0.5, 0, 0], [0.5, 0, 0], [0, 0.5, 0.3]], np.float32)
    )
    shape = Shape(elements, 0, decoder_of())
    at_centers = tints.of_vertices(shape, tints.ELEMENT, np.asarray(elements.center))
    np.testing.assert_array_equal(at_centers, tints.of_elements(shape, tints.ELEMENT))
    assert len(np.unique(at_centers, axis=0)) == 3
    mirrored = np.asarray(elements.center) * [1, 1, -1]
    reflected = tints.of_vertices(dataclasses.replace(shape, symmetric=3), tints.ELEMENT, mirrored)
    np.testing.assert_array_equal(reflected, at_centers)
    features = tints.of_features(shape)
    assert np.abs(tints.of_vertices(shape, tints.FEATURES, np.asarray(elements.center)) - features.astype(int)).max() < 40
    alike = dataclasses.replace(shape, elements=elements._replace(features=np.ones_like(elements.features)))
    assert (tints.of_features(alike) == 128).all(), "elements that are alike are grey"
    points = np.asarray(elements.center) + 0.01
    np.testing.assert_array_equal(tints.corresponding(shape, shape, points), tints.of_places(points))


class Shown(list):
    """Surfaces that a session was given."""

    def wait(self, done) -> None:
        end = time.monotonic() + WAIT
        while not (self and done(self[-1])):
            assert time.monotonic() < end
            time.sleep(0.005)


def test_surfaces_come_coarse_then_fine_and_a_change_begins_anew():
    shape = Shape(elements_of(6), 2)
    shown, crowd = Shown(), worker.Worker()
    session = worker.Session(worker.Wanted("a", shape, 64, tints.ELEMENT), shown.append)
    crowd.add(session)
    crowd.start()
    try:
        shown.wait(lambda found: found.finished)
        assert [found.resolution for found in shown] == [worker.COARSE, 64]
        assert shown[-1].surface.crosses and len(shown[-1].colours) == len(shown[-1].surface.vertices)
        crowd.change(session, lambda w: w.moved(0, center=np.array([0.6, 0.6, 0.6]), constant=-3.0))
        shown.wait(lambda found: found.finished and found.wanted is session.wanted)
        assert shown[-1].surface.vertices.max() > shown[1].surface.vertices.max() + 0.05, "the surface reaches to where the element went"
        crowd.change(session, lambda w: dataclasses.replace(w, other=shape, mode=tints.PLACE))
        shown.wait(lambda found: found.finished and found.other is not None)
        assert shown[-1].other[0].crosses and shown[-1].other[1].shape == shown[-1].other[0].vertices.shape
    finally:
        crowd.stop()
    assert crowd.failure is None


def test_what_fails_in_the_thread_is_kept_for_the_main_one():
    def show(found):
        raise OSError("no more room")

    crowd = worker.Worker()
    crowd.add(worker.Session(worker.Wanted("a", Shape(elements_of(3)), 32, tints.PLAIN), show))
    crowd.start()
    with pytest.raises(OSError, match="no more room"):
        options.wait_for_failure(lambda: crowd.failure)
    crowd.stop()


def test_reflected_ellipsoids_are_reflections():
    shape = Shape(elements_of(4), 3)
    places, turns, radii, which = scene._placed(shape)
    import viser.transforms

    corners = np.random.default_rng(0).standard_normal((500, 3))
    corners /= np.linalg.norm(corners, axis=1, keepdims=True)
    for mirror, own in enumerate((0, 1, 2), start=4):
        drawn = [viser.transforms.SO3(turns[i]).as_matrix() * radii[i] for i in (own, mirror)]  # columns: axes times radii
        forms = [one @ one.T for one in drawn]
        flip = np.diag([1.0, 1.0, -1.0])
        np.testing.assert_allclose(forms[1], flip @ forms[0] @ flip, atol=1e-7)
        np.testing.assert_allclose(places[mirror], places[own] * [1, 1, -1])
        assert which[mirror] == own


@pytest.fixture(scope="module")
def page():
    """Of two shapes with features."""
    shapes = {name: Shape(elements_of(8, 4, seed=seed), 2, decoder_of()) for name, seed in (("first", 0), ("second", 3))}
    viewer = Viewer(shapes, 64)
    try:
        yield viewer.serve("127.0.0.1", 0, "secret")
    finally:
        viewer.stop()
    assert viewer.worker.failure is None


def test_a_browser_shows_shapes_and_the_surface_follows_a_slider(page, tmp_path):
    with browsing() as browser:
        tab = browser.new_page(viewport={"width": 720, "height": 400})
        assert tab.goto(page.address.partition("?")[0]).status == 403
        tab.goto(page.address)

        def screenshot(shows, what: str) -> np.ndarray:
            """The two halves of the picture, ellipsoids and surface, [2, H, W, 3], once `shows` is true of them and they stand still."""
            last, end = None, time.monotonic() + WAIT
            while True:
                tab.screenshot(path=tmp_path / "page.png")
                shown = np.asarray(Image.open(tmp_path / "page.png").convert("RGB"))[140:, :400].astype(int)  # without panel and notice
                blocks = (
                    shown[: len(shown) // 4 * 4].reshape(-1, 4, 100, 4, 3).mean((1, 3))
                )  # the page draws edges finer or coarser as it has time
                halves = np.stack([blocks[:, :50], blocks[:, 50:]])
                if last is not None and np.abs(halves - last).max() < 3 and shows(halves):
                    return halves
                assert time.monotonic() < end, what
                last = halves
                tab.wait_for_timeout(300)

        def changed(halves) -> np.ndarray:
            return (np.abs(halves - first).max(-1) > 20).mean((1, 2))

        tab.get_by_text(re.compile(r"^64³ points: [\d,]+ vertices, \d+ ms$")).wait_for(timeout=1e3 * WAIT)
        first = screenshot(lambda halves: (halves.max(-1) > 60).mean((1, 2)).min() > 0.02, "ellipsoids left, the surface right")
        tab.get_by_role("slider").nth(2).press("End")  # the first element's x
        screenshot(lambda halves: changed(halves).min() > 0.002, "the ellipsoid has moved, and the surface with it")
        with tab.expect_download() as saved:
            tab.get_by_text("Elements .txt").click()
        elements, symmetric = element_files.parse(pathlib.Path(saved.value.path()).read_text())
        assert saved.value.suggested_filename == "first.txt" and symmetric == 2
        np.testing.assert_allclose(elements.center[0], [0.75, *elements_of(8).center[0][1:]], atol=0.003)
        with tab.expect_download() as saved:
            tab.get_by_text("Mesh .ply").click()
        assert pathlib.Path(saved.value.path()).read_bytes()[:3] == b"ply"
        tab.get_by_text("All", exact=True).click()
        screenshot(lambda halves: changed(halves).max() < 0.001, "undone")


def test_the_page_answers_and_is_measured(page, monkeypatch):
    monkeypatch.setattr(benchmark, "_CHANGES", 3)
    monkeypatch.setattr(benchmark, "_SETTLE", 0.2)
    lines = benchmark.run(page, 2).splitlines()
    assert all(float(re.search(r"([\d.]+) ms", line)[1]) > 0 for line in lines[1:]) and len(lines) == 4
    client = Client(page.address)
    try:
        client.look((1.0, 1.0, 2.0), (0.0, 0.0, 0.0), 0.7)
        for label, value in (("Colours", tints.ELEMENT), ("Resolution", 32), ("Compare with", "second"), ("Name", "second")):
            count = len(client.meshes)
            assert client.wait(lambda c: label in c.controls, WAIT)
            client.set(label, value)
            assert client.wait(lambda c: len(c.meshes) > count, WAIT), label
        assert client.wait(lambda c: any("**second**: 8 elements" in text for text in c.texts.values()), WAIT)
    finally:
        client.close()


def test_the_command_serves_until_ctrl_c(tmp_path):
    element_files.write(tmp_path / "a.txt", implicit.Elements(*elements_of(3)), 1)
    line = [sys.executable, "-m", "ava_jax.bin.ava", "ldif", "view", f"--shapes={tmp_path / 'a.txt'}", "--port=0"]
    command = subprocess.Popen(
        line, env=os.environ | {"PYTHONPATH": str(REPOSITORY), "JAX_PLATFORMS": "cpu"}, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    address = command.stdout.readline().split()[-1]
    try:
        assert urllib.request.urlopen(address, timeout=WAIT).status == 200
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(address.partition("?")[0], timeout=WAIT)
    finally:
        command.send_signal(signal.SIGINT)
        out, err = command.communicate(timeout=WAIT)
    assert command.returncode == 130 and not out and err.splitlines()[-1] == "ava ldif view: stopped by Ctrl-C.", err
