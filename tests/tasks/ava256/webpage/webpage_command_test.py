"""`ava ava256 webpage`, on the smallest avatar, which has learnt nothing: a page that Chromium shows as the package does."""

import base64
import io
import os
import pathlib
import subprocess
import sys

import browser
import numpy as np
import page_scene as scene
import pytest
from PIL import Image

import ava_jax

REPOSITORY = pathlib.Path(__file__).resolve().parents[4]
HEIGHT, WIDTH = 96, 80


def command(*args, env=None) -> subprocess.CompletedProcess:
    env = os.environ | {"PYTHONPATH": str(REPOSITORY), "JAX_PLATFORMS": "cpu"} | (env or {})
    line = [sys.executable, "-m", "ava_jax.bin.ava", "ava256", "webpage", *map(str, args)]
    return subprocess.run(line, env=env, capture_output=True, text=True, timeout=900)


def test_a_page_of_an_avatar_is_what_the_avatar_renders(small_run, compiling_quickly, tmp_path):
    codes = np.random.default_rng(0).standard_normal((2, 4, 4, 16)).astype(np.float32)
    np.savez(tmp_path / "codes.npz", codes=codes)
    out = tmp_path / "pages" / "head.html"
    flags = f"--workdir={small_run}", f"--driver={tmp_path / 'codes.npz'}", "--identity=SYN002", "--background=#204060", f"--out={out}"
    done = command(*flags, env=compiling_quickly)
    assert done.returncode == 0, done.stderr[-2000:]
    assert (
        f"wrote {out}, {out.stat().st_size / 1e6:.1f} MB" in done.stdout and "SYN002 with the expressions of codes: 2 frames" in done.stdout
    )
    assert [one.name for one in out.parent.iterdir()] == ["head.html"]

    avatar = ava_jax.load(small_run)
    camera = avatar.portrait(HEIGHT, WIDTH, azimuth=20)
    decoded = avatar.decode(avatar.encode_identity(*avatar.neutral("SYN002")), codes[1:], camera.position)
    name = avatar.full_name("SYN002")
    true = np.asarray(avatar.render(decoded, camera, HEIGHT, WIDTH, identity=name, background=np.float32([32, 64, 96])))[0, ..., :3]
    asked = scene.as_request(camera, 1) | {"width": WIDTH, "height": HEIGHT}
    with browser.browsing() as chromium:
        tab = chromium.new_page(viewport={"width": 200, "height": 200})
        tab.goto(f"{out.as_uri()}?renderer=webgl2&scale=0.25")
        tab.locator("#message").wait_for(state="hidden")
        url = tab.evaluate("async (asked) => { await avatar.show(asked); return avatar.canvas.toDataURL(); }", asked)
    shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))).convert("RGB"))
    assert scene.psnr(shown, np.clip(true, 0, 255)) > 40


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--out=head.mp4",), "--out=head.mp4: it must end in .html"),
        (("--background=whit",), "--background=whit: not a colour; the nearest names are white"),
    ],
)
def test_what_does_not_fit_is_one_line(tmp_path, flags, said):
    done = command(f"--workdir={tmp_path}", *flags)
    assert done.returncode != 0 and said in done.stderr and len(done.stderr.strip().splitlines()) == 1, done.stderr
