"""What a page holds of a segment, against the frames that it was baked from."""

import numpy as np
import page_scene as scene
import pytest

from ava_jax.tasks.ava256.webpage import bake, low_rank


@pytest.fixture(scope="module")
def baked() -> bake.Baked:
    return scene.bake()


def test_frames_are_as_they_were_also_from_sides_that_were_not_baked(baked):
    for frame in range(scene.FRAMES):
        camera = scene.cameras(25 * frame - 40)
        shown = scene.picture(bake.to_primitives(baked, frame, bake.directions(camera)[0]), camera)
        true = scene.picture(scene.primitives(frame, camera.position[0]), camera)
        assert scene.psnr(shown, true) > 44, frame


def test_what_no_picture_shows_is_left_out(baked):
    assert len(baked.mean) + baked.pruned == scene.COUNT and baked.pruned >= 1
    camera = scene.cameras(0)
    hidden = np.asarray(scene.primitives(0, camera.position[0]).scale)[0, -1]
    scales = np.exp(baked.poses["log_scale"][0].reshape(-1, 3))
    assert np.abs(scales - hidden).min() > 1, "the box inside of three opaque ones"
    assert (baked.mean[..., 3] == 0).any(), "voxels that are not seen hold no density"


def test_more_components_come_nearer(baked):
    few = scene.bake(rank=1)
    camera = scene.cameras(0)
    true = scene.picture(scene.primitives(2, camera.position[0]), camera)
    shown = [scene.picture(bake.to_primitives(one, 2), camera) for one in (few, baked)]
    assert len(few.basis) == 1 and scene.psnr(shown[1], true) > scene.psnr(shown[0], true) + 6


def test_a_single_frame_has_no_components_of_poses():
    still = scene.bake(frames=1, rank=0, views=(0,))
    camera = scene.cameras(0)
    shown = scene.picture(bake.to_primitives(still, 0), camera)
    assert len(still.basis) == 0 and all(len(components) == 0 for _, components, _ in still.poses.values())
    assert scene.psnr(shown, scene.picture(scene.primitives(0, camera.position[0]), camera)) > 44


def test_nothing_to_see_and_poses_that_are_not_finite_are_told():
    def empty(frame, position):
        prims = scene.primitives(frame, position)
        return prims._replace(rgba=prims.rgba.at[..., 3].set(0))

    def broken(frame, position):
        prims = scene.primitives(frame, position)
        return prims._replace(position=prims.position.at[0, 0].set(np.nan if frame == 1 else 0))

    with pytest.raises(ValueError, match="none of the primitives is seen"):
        scene.bake(decode=empty, views=(0,))
    with pytest.raises(ValueError, match="pose in frame 1 is not finite"):
        scene.bake(decode=broken, frames=2, views=(0,))


def test_components_hold_what_few_of_them_can():
    rng = np.random.default_rng(0)
    weights, parts = rng.standard_normal((9, 2)), rng.standard_normal((2, 300, 3))
    samples = (5 + np.einsum("nr,rpc->npc", weights, parts)).astype(np.float32)
    importance = rng.uniform(0, 1, 300).astype(np.float32)
    mean, basis, largest = low_rank.components(samples, importance, 5)
    assert len(basis) == 2, "no component of what is not there"
    project = low_rank.Projection(mean, basis, importance)
    found = np.stack([project(one) for one in samples])
    np.testing.assert_allclose(mean + np.einsum("nr,rpc->npc", found, basis), samples, atol=1e-3)
    np.testing.assert_allclose(np.abs(found).max(0), largest, rtol=1e-3)


def test_codes_are_within_half_a_step_where_it_matters():
    rng = np.random.default_rng(0)
    component, matter = rng.uniform(-1, 1, (500, 3)).astype(np.float32), rng.uniform(size=500) > 0.3
    codes, scale = low_rank.to_codes(component, matter, 0.05)
    back = (codes.astype(float) - low_rank.ZERO_CODE) * scale
    assert scale == 0.05 and np.abs(back - component)[matter].max() <= scale / 2 + 1e-6 and not back[~matter].any()
    assert low_rank.to_codes(component, matter, 1e-9)[1] == pytest.approx(1 / 127, rel=0.01), "as fine as bytes are"


def test_poses_are_within_the_tolerance():
    rng = np.random.default_rng(0)
    frames = (rng.standard_normal((12, 6)) * 2.0 ** -np.arange(6) @ rng.standard_normal((6, 200))).astype(np.float32)
    for tolerance, most in ((0.1, 12), (1e-6, 12), (0.1, 2)):
        mean, basis, weights = low_rank.fit(frames, tolerance, most)
        error = np.sqrt(np.mean((mean + weights @ basis - frames) ** 2))
        assert len(basis) == 2 if most == 2 else error <= tolerance + 1e-5
