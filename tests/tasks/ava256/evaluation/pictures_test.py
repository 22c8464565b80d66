"""Progress pictures and sheets, with a model whose pictures are known."""

from typing import NamedTuple

import numpy as np
import pytest

from ava_jax.core.types import Assets, Primitives
from ava_jax.tasks.ava256.evaluation import pictures, scores
from ava_jax.tasks.base import Example
from ava_jax.viz import sheet

B, H, W = 3, 16, 12


class Decoded(NamedTuple):
    primitives: Primitives


class Painter:
    """Instead of an avatar, a plain picture: red tells whose it is, green whose expression, blue whose view it has."""

    def encode_identity(self, neutral_texture, neutral_vertices):
        return {"red": neutral_texture[:, 0, 0, 0] * 1.0}

    def encode_expression(self, texture, vertices, neutral_texture, neutral_vertices):
        return texture[:, 0, 0, 0] * 1.0, None

    def decode(self, identity, z, camera_position):
        return Decoded(np.stack([identity["red"], z, camera_position[:, 2]], axis=-1))

    def render(self, primitives, cameras, height, width):
        return np.broadcast_to(np.asarray(primitives)[:, None, None], (len(primitives), height, width, 3))

    def calibrate_and_composite(self, rgba, camera, identity, *, background=None):
        return rgba + identity[:, None, None, None]

    def reconstruct(self, batch, size=None):
        return batch["image"] + np.float32(10.0)

    def reconstruct_with_mesh(self, batch, size=None):
        return self.reconstruct(batch), batch["vertices"] + np.float32([0.0, 3.0, 4.0])


def batch() -> dict[str, np.ndarray]:
    one = np.ones((B, 4, 4, 3), np.uint8)
    index = np.arange(B)
    return {
        "image": np.full((B, H, W, 3), 100, np.uint8),
        "neutral_texture": one * (10 * index + 10).astype(np.uint8)[:, None, None, None],
        "texture": one * (10 * index + 60).astype(np.uint8)[:, None, None, None],
        "neutral_vertices": np.zeros((B, 5, 3), np.float32),
        "vertices": np.zeros((B, 5, 3), np.float32),
        "camera_position": np.stack([0 * index, 0 * index, 200 + index], -1).astype(np.float32),
        "camera_rotation": np.tile(np.eye(3, dtype=np.float32), (B, 1, 1)),
        "focal": np.ones((B, 2), np.float32),
        "principal": np.ones((B, 2), np.float32),
        "camera": np.array([0, -1, 1], np.int32),
        "identity": np.array([0, 1, 2], np.int32),
        "segmentation": np.full((B, H, W), 2, np.uint8),
    }


def test_progress_shows_everyone_and_another_person_driven():
    shown = {name: np.asarray(p) for name, p in pictures.progress(Painter(), batch()).items()}
    assert {name: (p.shape, p.dtype) for name, p in shown.items()} == {
        **{name: ((B, H, W, 3), np.uint8) for name in ("render", "error", "driven")},
        "partner": ((B,), np.int32),
    }
    # identity's shade + its index, expression + index, view + index
    np.testing.assert_array_equal(shown["render"][:, 8, 6], [[10, 60, 200], [21, 71, 202], [32, 82, 204]])
    np.testing.assert_array_equal(shown["driven"][:, 8, 6], [[21, 61, 201], [32, 72, 203], [10, 80, 202]])
    assert (shown["error"][0] > 0).all()


@pytest.mark.parametrize(
    ("identity", "partner"),
    [((0, 1, 2), (1, 2, 0)), ((5, 5, 7), (2, 2, 0)), ((3, 3, 3), (1, 2, 0)), ((4,), (0,)), ((-1, 2), (1, 0))],
)
def test_the_partner_is_the_next_of_another_person(identity, partner):
    np.testing.assert_array_equal(pictures.next_of_another(np.array(identity, np.int32)), partner)


def test_a_progress_sheet_is_captioned_with_people(monkeypatch):
    drawn = []
    monkeypatch.setattr(sheet, "compose", lambda strips, columns: drawn.extend(strips))
    names = {"identities": ["d--t--ANN", "d--t--BOB", "d--t--CID"], "segments": ["EXP_smile"], "cameras": ["7", "8"]}
    samples = batch() | {"segment": np.zeros(B, np.int32), "frame": np.arange(B), "camera_id": np.array([7, 9, 8])}
    pictures.progress_sheet(pictures.progress(Painter(), samples), samples, Assets({}, names))
    assert [strip.title for strip in drawn] == ["ANN   EXP_smile 0, camera 7", "BOB   EXP_smile 1, camera 9", "CID   EXP_smile 2, camera 8"]
    assert [caption for caption, _ in drawn[2].panels][::3] == ["truth", "ANN, driven by CID"]
    np.testing.assert_array_equal(drawn[2].panels[3][1][8, 6], [10, 80, 202])


def run_at_once(fn):
    """Instead of a compiler."""
    return lambda *args: fn(Painter(), *args)


def test_best_and_worst_stand_beside_each_other(monkeypatch):
    drawn = []
    monkeypatch.setattr(sheet, "compose", lambda strips, columns: drawn.extend(strips))
    samples = batch()
    samples["segmentation"][1, :8] = 0
    row = {"identity": "d--t--ANN", "segment": "EXP_smile", "frame": 3, "camera": "7"}
    best, worst = ([Example(label, row, {name: value[i] for name, value in samples.items()})] for i, label in enumerate(("best", "worst")))
    pictures.best_and_worst(run_at_once, best, worst)
    assert [strip.title for strip in drawn] == ["ANN   EXP_smile 3, camera 7: best", "ANN   EXP_smile 3, camera 7: worst"]
    assert [caption for caption, _ in drawn[0].panels] == ["truth", "render", "error (0 to 64 of 255)"]
    np.testing.assert_array_equal(drawn[0].panels[1][1], 110)
    assert drawn[0].panels[2][1].all(-1).all() and drawn[1].panels[2][1][8:].all(-1).all()
    assert not drawn[1].panels[2][1][:8].any(), "off the face, where a camera that was never seen is not scored"
    with pytest.raises(ValueError, match="no sample of the split has a score"):
        pictures.best_and_worst(run_at_once, (), ())


def test_a_camera_never_seen_is_scored_on_the_face_alone():
    samples = batch()
    samples["segmentation"][2] = 3  # nobody but a chair
    samples["segmentation"][0, :5] = 6
    assets = Assets({"faces": np.array([[0, 1, 2], [0, 2, 4]])}, {})
    found = scores.on_host(scores.predict(Painter(), samples, (H, W)), assets)
    assert set(found) == {score.name for score in scores.DECLARED}
    np.testing.assert_allclose(found["vertex_error"], 5.0)
    np.testing.assert_allclose(found["upper_lip_l1"], [10, np.nan, np.nan], rtol=1e-5)
    np.testing.assert_allclose(found["body_psnr"], [20 * np.log10(255 / 10)] * 2 + [np.nan], rtol=1e-5)
    np.testing.assert_allclose(found["face_cc_l1"], [0, 0, np.nan], atol=1e-3)
    np.testing.assert_allclose(found["cc_psnr"], [100, np.nan, 100])
    np.testing.assert_allclose(found["l1"], [10, np.nan, 10], rtol=1e-5)
    np.testing.assert_allclose(found["face_l1"], [10, 10, np.nan], rtol=1e-5)
    np.testing.assert_allclose(found["face_psnr"][:2], 20 * np.log10(255 / 10), rtol=1e-5)
    assert np.isnan(found["ssim"][1]) and np.isnan(found["face_ssim"][2])


def test_a_vertex_that_no_face_uses_does_not_count():
    distances = np.array([[1.0, 2.0, 3.0, 100.0, 6.0]], np.float32)
    np.testing.assert_allclose(scores.vertex_error(distances, np.array([[0, 1, 2], [0, 2, 4]])), [3.0])


def test_the_face_is_neither_background_nor_chair():
    np.testing.assert_array_equal(scores.face_mask(np.arange(11)), [False, True, True, False] + [True] * 7)
