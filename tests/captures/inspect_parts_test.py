"""Parts of `ava inspect` that need no capture."""

import numpy as np
import pytest
from PIL import Image

from ava_jax.captures.inspect import coverage, overlays, run
from ava_jax.viz import html


def test_the_parts_are_tinted():
    picture, labels = np.full((1, 4, 3), 100, np.uint8), np.array([[0, 1, 2, 77]], np.uint8)
    tinted = overlays.tinted(picture, labels)[0].tolist()
    assert tinted[0] == [45] * 3
    assert tinted[1:3] == [[round(45 + 0.55 * c) for c in overlays.TINTS[i]] for i in (1, 2)]
    assert tinted[3][0] == tinted[3][2] > 150, "a number that no part has"


def test_what_is_no_capture_is_named(tmp_path):
    (tmp_path / "bodies" / "walk_sbs" / "obj").mkdir(parents=True)
    (tmp_path / "shapes" / "train" / "car" / "one").mkdir(parents=True)
    (tmp_path / "shapes" / "train" / "car" / "one" / "depth_and_normals.npz").touch()
    for name, said in (("bodies", "of mesh fitting, not captures"), ("shapes", "ava ldif sheet draws shapes")):
        with pytest.raises(ValueError, match=f"{name}: .*{said}"):
            run.find([str(tmp_path / name)])


def test_pictures_in_pages_fit(tmp_path):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (900, 1200, 3), np.uint8))
    tag = html.inlined(noise, 60_000)
    assert len(tag) < 60_000 * 4 / 3 + 200 and "image/jpeg" in tag and "width='1200'" in tag
    assert "image/png" in html.inlined(Image.new("RGB", (600, 400), (9, 99, 9)), 60_000, sharp=True)
    with pytest.raises(ValueError, match="does not fit into 2000 bytes"):
        html.inlined(noise, 2000)


def test_ranges():
    listed = np.array([3, 6, 9, 12, 15, 18])
    assert coverage.ranges(np.array([6, 9, 15]), listed) == "6 to 9, 15"
    assert coverage.ranges(np.array([], int), listed) == "" and coverage.ranges(listed[::-1], listed) == "3 to 18"
