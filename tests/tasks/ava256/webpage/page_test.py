"""Pages opened in Chromium: they show what the package's raymarcher does, and ask for nothing. WebGL2 and WebGPU, both in software."""

import base64
import io
import json
import re

import browser
import numpy as np
import page_scene as scene
import pytest
from PIL import Image

from ava_jax.tasks.ava256.webpage import bake, page

SCALE = "scale=0.25"  # of the screen's pixels, while nothing is asked for exactly: software is slow


@pytest.fixture(scope="module")
def baked() -> bake.Baked:
    return scene.bake()


@pytest.fixture(scope="module")
def path(baked, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "boxes.html"
    assert page.write(path, baked, scene.about()) == path.stat().st_size
    return path


@pytest.fixture(scope="module")
def chromium():
    with browser.browsing(webgpu=True) as chromium:
        yield chromium


@pytest.fixture(scope="module", params=["webgl2", "webgpu"])
def opened(request, chromium, path):
    """A page's tab, and what it said and asked for."""
    tab = chromium.new_page(viewport={"width": 480, "height": 400})
    heard: list[str] = []
    tab.on("console", lambda message: heard.append(message.text) if message.type == "error" else None)
    tab.on("pageerror", lambda error: heard.append(str(error)))
    tab.on("request", lambda asked: None if asked.url.startswith(path.as_uri()) else heard.append(asked.url))
    tab.goto(f"{path.as_uri()}?renderer={request.param}&{SCALE}")
    tab.locator("#message").wait_for(state="hidden")
    yield tab, heard, {"webgl2": "WebGL2", "webgpu": "WebGPU"}[request.param]
    tab.close()


def shown(tab, asked: dict) -> np.ndarray:
    url = tab.evaluate("async (asked) => { await avatar.show(asked); return avatar.canvas.toDataURL(); }", asked)
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))).convert("RGB"), np.float64)


def test_pictures_are_the_raymarchers(opened, baked):
    tab, heard, name = opened
    for frame, angle in ((0, 0), (1, 70), (4, -150)):
        camera = scene.cameras(angle)
        held = scene.picture(bake.to_primitives(baked, frame, bake.directions(camera)[0]), camera)
        true = scene.picture(scene.primitives(frame, camera.position[0]), camera)
        picture = shown(tab, scene.as_request(camera, frame))
        assert picture.shape == (scene.HEIGHT, scene.WIDTH, 3)
        assert scene.psnr(picture, held) > 55, (frame, angle)
        assert scene.psnr(picture, true) > 40, (frame, angle)
    corner = tab.locator("#renderer").text_content()
    assert corner.startswith(f"{name}, ") and corner.endswith(f"{scene.WIDTH} × {scene.HEIGHT}")
    assert heard == []


def test_time_and_background_and_camera_change_what_is_seen(opened):
    tab, heard, _ = opened
    camera = scene.cameras(0)
    before = shown(tab, scene.as_request(camera, 0))
    between = shown(tab, scene.as_request(camera, 0.5))
    after = shown(tab, scene.as_request(camera, 1))
    assert 0 < np.abs(between - before).mean() < np.abs(after - before).mean(), "half way lies between"
    green = shown(tab, scene.as_request(camera, 0) | {"background": "#00ff00"})
    np.testing.assert_array_equal(green[0, 0], [0, 255, 0])
    assert heard == []


def test_a_reader_plays_scrubs_and_turns(opened, path):
    tab, heard, _ = opened
    tab.reload()
    tab.locator("#message").wait_for(state="hidden")
    times = [tab.locator("#time").input_value() for _ in range(20) if not tab.wait_for_timeout(100)]
    assert len(set(times)) > 1, "it plays at once"
    tab.get_by_role("button", name="Pause").click()
    canvas = tab.locator("#picture")
    tab.locator("#time").fill("0")
    first = settled(tab)
    tab.locator("#time").fill("3")
    assert np.abs(settled(tab) - first).mean() > 1, "another time, another picture"
    tab.locator("#time").fill("0")
    np.testing.assert_array_equal(settled(tab), first)
    box = canvas.bounding_box()
    tab.mouse.move(box["x"] + 200, box["y"] + 150)
    tab.mouse.down()
    tab.mouse.move(box["x"] + 320, box["y"] + 150)
    tab.mouse.up()
    turned = settled(tab)
    assert np.abs(turned - first).mean() > 1
    tab.mouse.wheel(0, 400)
    assert np.abs(settled(tab) - turned).mean() > 0.5
    tab.get_by_role("button", name="Reset view").click()
    np.testing.assert_array_equal(settled(tab), first)
    assert heard == []


def settled(tab) -> np.ndarray:
    """The canvas once nothing moves any more, as Chromium shows it."""
    tab.wait_for_timeout(300)
    tab.evaluate("async () => { while (avatar.renderer.busy() || avatar.waits()) await new Promise(requestAnimationFrame); }")
    tab.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    return np.asarray(
        Image.open(io.BytesIO(tab.locator("#picture").screenshot(style="#renderer, #about { display: none }"))).convert("RGB"), np.float64
    )


def test_where_webgpu_is_lost_webgl2_goes_on(chromium, path):
    tab = chromium.new_page(viewport={"width": 300, "height": 300})
    tab.goto(f"{path.as_uri()}?{SCALE}")
    tab.locator("#message").wait_for(state="hidden")
    assert tab.evaluate("() => avatar.renderer.name") == "WebGPU", "it is taken where there is one"
    tab.evaluate("() => avatar.renderer.device.destroy()")
    tab.locator("#renderer", has_text="WebGL2").wait_for()
    tab.close()


def test_a_wrong_renderer_is_told(chromium, path):
    tab = chromium.new_page()
    tab.goto(f"{path.as_uri()}?renderer=webgl3")
    tab.get_by_text("?renderer=webgl3 is neither webgpu nor webgl2.").wait_for()
    tab.close()


def test_words_in_a_page_are_words(path):
    text = path.read_text()
    assert "<title>boxes &lt;/title&gt;</title>" in text
    header = re.search(r'<script type="application/json" id="header">(.*?)</script>', text, re.S)
    assert json.loads(header[1])["about"] == scene.about().about
    assert not re.search(
        r"(https?:)?//[\w.]+/|@import|url\(", text.partition('id="data"')[0] + text.rpartition("</script>")[0].rpartition("<script>")[2]
    )
