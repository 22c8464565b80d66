"""`ava_jax.load` on a run whose captures are gone; the page of docs that shows it, executed."""

import pathlib
import re
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import ava_jax
from ava_jax.core import cameras as geometry
from ava_jax.run.inference import Inference
from ava_jax.tasks.ava256.data import neutrals
from ava_jax.tasks.ava256.model.codec import AvatarCodec, cameras_of
from ava_jax.train.checkpoint import restore_model

REPOSITORY = pathlib.Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def avatar(small_run):
    return ava_jax.load(small_run)


def run_blocks(name: str, run: pathlib.Path, least: int) -> dict:
    """Runs a page's blocks of Python in order, with RUN in the current folder; the names that they leave."""
    page = (REPOSITORY / name).read_text()
    pathlib.Path("RUN").symlink_to(run)
    names: dict = {}
    blocks = list(re.finditer(r"^```python\n(.*?)^```", page, re.M | re.S))
    assert len(blocks) >= least
    for block in blocks:
        line = page[: block.start()].count("\n") + 1
        exec(compile("\n" * line + block[1], name, "exec"), names)  # noqa: S102  errors name the page's own line
    return names


def test_the_readme_runs(small_run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = run_blocks("README.md", small_run, least=1)
    picture = np.asarray(Image.open("driven.png"))
    assert picture.shape == names["rgba"].shape[1:] == (512, 384, 4) and picture[..., 3].max() > 0


def test_the_page_runs(small_run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = run_blocks("docs/guide/python.md", small_run, least=8)
    picture = np.asarray(Image.open("avatar.png"))
    assert picture.shape == (256, 192, 4) and picture[..., 3].max() > 0 and picture[0, 0, 3] == 0, "something, on nothing"
    assert names["driven"].vertices.shape == (1, *names["vertices"].shape[1:])
    assert (names["picture"][..., 3] == 1).all() and np.isfinite(names["slope"]).all() and np.abs(names["slope"]).max() > 0
    np.testing.assert_allclose(names["picture"][0, 0, 0, :3], 255.0)


def test_pictures_are_the_models_own(small_run, tiny_capture, avatar):
    """Over the rig's background, what `AvatarCodec.reconstruct` gives, and so what is trained and scored."""
    restored = restore_model(small_run, overrides={"data.root": str(tiny_capture)})
    source = restored.task.source("train", restored.assets)
    sample = next(sample for sample in map(source.__getitem__, range(len(source))) if sample is not None and sample["identity"] == 0)
    batch = {name: np.asarray(value)[None] for name, value in sample.items()}
    neutral = avatar.neutral(avatar.identities[0])
    np.testing.assert_array_equal(neutral.texture, batch["neutral_texture"])
    np.testing.assert_array_equal(neutral.vertices, batch["neutral_vertices"])
    cameras = cameras_of(batch)
    decoded = avatar.decode(
        avatar.encode_identity(*neutral), avatar.encode(batch["texture"], batch["vertices"], *neutral), cameras.position
    )
    names = {"identity": avatar.identities[0], "camera": avatar.cameras[int(batch["camera"][0])]}
    ours = avatar.render(decoded, cameras, *batch["image"].shape[1:3], **names, background="rig")
    np.testing.assert_allclose(ours[..., :3], Inference(restored.model).compile(AvatarCodec.reconstruct)(batch), atol=0.02)
    assert (ours[..., 3] == 1).all()


def test_the_rigs_background_is_computed_once_for_all_frames_of_a_camera(small_run):
    avatar = ava_jax.load(small_run)
    person, cameras = avatar.encode_identity(*avatar.neutral(avatar.identities[0])), avatar.portrait(32, 24)
    names = {"identity": avatar.identities[0], "camera": avatar.cameras[0], "background": "rig"}
    render = jax.jit(lambda decoded: avatar.render(decoded, cameras, 32, 24, **names))  # kept within another program's compilation too
    frames = [avatar.decode(person, np.full((1, 4, 4, 16), x, np.float32), cameras.position) for x in (0.0, 1.0)]
    pictures = [render(frames[0]), *(avatar.render(frame, cameras, 32, 24, **names) for frame in frames)]
    assert avatar._rig.cache_info().misses == 1 and avatar._rig.cache_info().hits == 2
    np.testing.assert_allclose(pictures[0], pictures[1], atol=1e-3)
    both = avatar.render(frames[0], cameras, 32, 24, identity=list(avatar.identities[:2]), camera=avatar.cameras[0], background="rig")
    assert avatar._rig.cache_info().misses == 2
    np.testing.assert_allclose(both[0], pictures[1][0], atol=1e-3)
    assert np.abs(both[1, 0, 0] - both[0, 0, 0]).max() > 0.1, "another's"


def test_a_background_shows_where_the_head_does_not(avatar):
    cameras = avatar.portrait(64, 48)
    decoded = avatar.decode(avatar.encode_identity(*avatar.neutral(avatar.identities[0])), np.zeros((1, 4, 4, 16)), cameras.position)
    rgba = np.asarray(avatar.render(decoded, cameras, 64, 48))
    behind = np.random.default_rng(0).uniform(0, 255, (64, 48, 3)).astype(np.float32)
    over = np.asarray(avatar.render(decoded, cameras, 64, 48, background=behind))
    np.testing.assert_allclose(over[..., :3], rgba[..., :3] + (1 - rgba[..., 3:]) * behind, atol=1e-3)
    assert rgba[0, 0, 0].tolist() == [0, 0, 0, 0] and 0 <= rgba[..., 3].min() < rgba[..., 3].max() <= 1
    two = avatar.render(decoded, cameras, 64, 48, background=np.stack([behind, 0 * behind]))
    np.testing.assert_allclose(two[0], over[0], rtol=2e-5, atol=1e-3)
    assert two.shape == (2, 64, 48, 4) and np.abs(two[1] - two[0]).max() > 10


def test_functions_are_compiled_once_for_each_set_of_shapes(avatar):
    compiled = []
    jax.monitoring.register_event_duration_secs_listener(lambda name, seconds, **_: compiled.append(name))
    counted = lambda: sum("backend_compile" in name for name in compiled)  # noqa: E731
    try:
        neutral = avatar.neutral(avatar.identities[1])
        turns = []
        for azimuth in (0.0, 10.0, 20.0):
            cameras = avatar.portrait(32, 24, azimuth=azimuth)
            person, code = avatar.encode_identity(*neutral), avatar.encode(*neutral, *neutral)
            avatar.render(avatar.decode(person, code, cameras.position), cameras, 32, 24).block_until_ready()
            turns.append(counted())
    finally:
        jax.monitoring.clear_event_listeners()
    assert turns[0] > 0 and turns[0] == turns[1] == turns[2]


def test_a_portrait_looks_at_the_head_from_where_it_says(avatar):
    cameras = avatar.portrait(100, 80, azimuth=[0.0, 90.0, 0.0], elevation=[0.0, 0.0, 45.0], distance=500.0)
    middle = np.asarray(avatar.portrait(100, 80, distance=0.001).position[0])
    away = (cameras.position - middle) / 500
    np.testing.assert_allclose(away, [[0, 0, 1], [1, 0, 0], [0, 0.5**0.5, 0.5**0.5]], atol=1e-4)
    np.testing.assert_allclose(geometry.frontality(away), [1, 0, 0.5**0.5], atol=1e-4)
    seen = np.einsum("bij,bj->bi", cameras.rotation, middle - cameras.position)
    np.testing.assert_allclose(seen, [[0, 0, 500]] * 3, atol=1e-2)
    np.testing.assert_allclose(cameras.rotation[0], np.diag([1, -1, -1]), atol=1e-6)


def test_mistakes_are_named(avatar, tmp_path):
    texture, vertices = avatar.neutral(avatar.identities[0])
    person, cameras = avatar.encode_identity(texture, vertices), avatar.portrait(32, 24)
    code = np.zeros((1, 4, 4, 16), np.float32)
    decoded = avatar.decode(person, code, cameras.position)
    subject = avatar.identities[0].rpartition("--")[2]
    cases = [
        (lambda: avatar.neutral(subject + "x"), f"no identity '{subject}x'; of 2, the nearest are .*{subject}"),
        (lambda: avatar.neutral(), "name one identity or more"),
        (lambda: avatar.encode_identity(texture[0], vertices), r"texture must be \[B, 256, 256, 3\]; got .* in front: texture\[None\]"),
        (lambda: avatar.encode_identity(texture[:, ::2, ::2], vertices), r"got \(1, 128, 128, 3\). Resize it"),
        (lambda: avatar.encode(texture, vertices[:, 1:], texture, vertices), r"encode: vertices must be \[B, \d+, 3\]"),
        (lambda: avatar.decode(code, code, cameras.position), "identity must come from encode_identity; got ndarray"),
        (lambda: avatar.decode(person, code[..., 1:], cameras.position), r"expression must be \[B, 4, 4, 16\]; got \(1, 4, 4, 15\)"),
        (lambda: avatar.decode(person, code.repeat(2, 0), cameras.position.repeat(3, 0)), "does not fit: identity 1, expression 2"),
        (lambda: avatar.render(person, cameras, 32, 24), "decoded must come from decode"),
        (lambda: avatar.render(decoded, cameras, 32, 24, background="rig"), '"rig", which needs an identity and a camera'),
        (lambda: avatar.render(decoded, cameras, 32, 24, background=np.zeros((3, 3))), r"a colour \[3\] or a picture \[32, 24, 3\]"),
        (lambda: avatar.render(decoded, cameras, 32, 24, camera="400"), "no camera '400'"),
        (lambda: avatar.portrait(32, 24, elevation=90.0), "between -90 and 90"),
        (lambda: avatar.portrait(32, 24, azimuth=[1, 2], elevation=[1, 2, 3]), "numbers or"),
        (lambda: neutrals.read(tmp_path, avatar.identities[0], 256), "neutrals.zip: no such file; ava-train writes it"),
        (lambda: neutrals.read(avatar._folder, "nobody", 256), "has no neutral face of nobody"),
    ]
    for call, message in cases:
        with pytest.raises(ValueError, match=message):
            call()
    with pytest.raises(FileNotFoundError, match="no checkpoint"):
        ava_jax.load(tmp_path)


def test_bytes_have_straight_alpha():
    rgba = np.array([[100.0, 50.0, 0.0, 0.5], [7.0, 7.0, 7.0, 0.0], [300.0, -5.0, 10.4, 1.2]])
    np.testing.assert_array_equal(ava_jax.to_uint8(jnp.asarray(rgba)), [[200, 100, 0, 128], [0, 0, 0, 0], [255, 0, 10, 255]])
    with pytest.raises(ValueError, match=r"rgba must be \[..., 4\]; got \(2, 3\)"):
        ava_jax.to_uint8(np.zeros((2, 3)))


def test_importing_the_package_imports_no_jax():
    code = (
        "import sys, ava_jax; assert not {'jax', 'numpy', 'flax'} & set(sys.modules); "
        "assert set(ava_jax.__all__) <= set(dir(ava_jax)); "
        "from ava_jax import *; assert callable(raymarch) and callable(load) and __version__"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=REPOSITORY)
    assert done.returncode == 0, done.stderr
    with pytest.raises(AttributeError, match="has no attribute 'lode'; it has .*load"):
        ava_jax.lode  # noqa: B018
