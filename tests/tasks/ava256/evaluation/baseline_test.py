"""The mean heads: a plate with a known texture in front of a known camera."""

import numpy as np
import pytest

from ava_jax.core.types import Cameras
from ava_jax.tasks.ava256.evaluation.baseline import MeanHeads

SIDE, DISTANCE = 32, 500.0  # pixels; mm


def camera() -> Cameras:
    """At +z, looking back along z, y down in the picture; the plate from (-50, -50) to (50, 50) fills 20 x 20 pixels."""
    middle = (SIDE - 1) / 2
    return Cameras(
        rotation=np.diag([1.0, -1.0, -1.0]),
        position=np.array([0.0, 0.0, DISTANCE]),
        focal=np.full(2, 20 * DISTANCE / 100),
        principal=np.full(2, middle),
    )


@pytest.fixture
def plate() -> MeanHeads:
    """Two triangles in the plane z = 0; the texture's upper half is red, its lower left quarter green, the lower right one blue."""
    vertices = np.array([[-50, 50, 0], [50, 50, 0], [50, -50, 0], [-50, -50, 0]], np.float32)
    faces = np.array([[0, 1, 2], [0, 2, 3]], np.int32)
    texture = np.zeros((64, 64, 3), np.float32)
    texture[:32, :, 0], texture[32:, :32, 1], texture[32:, 32:, 2] = 200, 200, 200
    uvs = np.array([[0, 1], [1, 1], [1, 0], [0, 0]], np.float32)
    return MeanHeads({1: vertices}, {1: texture}, faces, faces, uvs)


@pytest.fixture
def batch(plate) -> dict[str, np.ndarray]:
    """Three photographs of the plate; in the second, 10 grey levels are missing; the third is of somebody without a mean."""
    picture = plate.render(1, camera(), SIDE, SIDE)
    covered = np.zeros((SIDE, SIDE), np.uint8)
    covered[6:26, 6:26] = 2
    batch = {"image": np.stack([picture, np.maximum(picture, 10.0) - 10.0, picture]), "segmentation": np.stack([covered] * 3)}
    cameras = zip(("camera_rotation", "camera_position", "focal", "principal"), camera(), strict=True)
    batch["vertices"] = np.stack([plate.vertices[1] + np.float32([0, 3, 4])] * 3)
    return batch | {"identity": np.array([1, 1, -1])} | {name: np.stack([value.astype(np.float32)] * 3) for name, value in cameras}


def test_texture_and_picture_are_the_same_way_up(plate):
    picture = plate.render(1, camera(), SIDE, SIDE)
    np.testing.assert_allclose(picture[10, 16], [200, 0, 0], atol=0.1)
    np.testing.assert_allclose(picture[20, 10], [0, 200, 0], atol=0.1)
    np.testing.assert_allclose(picture[20, 21], [0, 0, 200], atol=0.1)


def test_what_the_mesh_does_not_cover_takes_the_mean_of_what_is_seen(plate):
    picture = plate.render(1, camera(), SIDE, SIDE)
    seen = picture[6:26, 6:26].mean((0, 1))
    np.testing.assert_allclose(picture[0, 0], seen, atol=1.0)
    away = camera()._replace(position=np.array([0.0, 0.0, -DISTANCE]))
    np.testing.assert_allclose(plate.render(1, away, SIDE, SIDE)[3, 3], plate.textures[1].mean((0, 1)), rtol=1e-5)


def test_scores_are_of_the_face_and_nan_without_a_mean(plate, batch):
    scores = plate.scores(batch)
    assert list(scores) == ["face_psnr", "face_ssim", "face_l1", "vertex_error"], "the first is what the gain is taken in"
    np.testing.assert_allclose(scores["vertex_error"][:2], 5.0)
    np.testing.assert_allclose(scores["face_psnr"][0], 100.0)
    error = np.minimum(batch["image"][0], 10.0)[6:26, 6:26]
    np.testing.assert_allclose(scores["face_psnr"][1], -10 * np.log10(np.square(error).mean() / 255**2), rtol=1e-4)
    np.testing.assert_allclose(scores["face_l1"][1], error.mean(), rtol=1e-4)
    assert all(np.isnan(values[2]) for values in scores.values())


def test_a_photograph_with_centres_half_a_pixel_on_is_met_too(plate, batch):
    shifted = batch | {"principal": batch["principal"] + np.float32(0.5)}
    np.testing.assert_allclose(plate.scores(shifted)["face_psnr"][0], 100.0)
