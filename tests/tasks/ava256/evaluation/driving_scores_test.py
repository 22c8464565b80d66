"""Driving scores of models whose answers are known; textures read out of primitives; networks of a user's own."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
import pytest
from small_head import assets, vertices

from ava_jax.core.types import Primitives
from ava_jax.tasks.ava256.evaluation import driving_networks, driving_report, driving_scores
from ava_jax.tasks.ava256.evaluation.driving_networks import Networks
from ava_jax.tasks.ava256.evaluation.mouth import of_vertices
from ava_jax.tasks.ava256.model import texels
from ava_jax.tasks.ava256.model.sizes import Sizes

SIZES = Sizes(32, 8, 256, 0.125, "float32")
FRAMES, BATCH = 5, 2
GAIN = 0.5  # of what the fake model makes of a code


class Decoded(NamedTuple):
    primitives: Primitives
    vertices: jnp.ndarray


class Linear:
    """Instead of an avatar: a code is how far the first vertex has moved up; decoded, it moves by GAIN of it, and reddens everything."""

    sizes = SIZES

    def encode_identity(self, texture, mesh):
        return jnp.asarray(mesh)

    def encode_expression(self, texture, mesh, neutral_texture, neutral_mesh):
        moved = (mesh - neutral_mesh)[:, 0, 1]
        red = jnp.mean((jnp.asarray(texture, jnp.float32) - neutral_texture)[..., 0], axis=(1, 2))
        return jnp.stack([moved, red], -1), None

    def decode(self, identity, code, position):
        mesh = identity.at[:, 0, 1].add(GAIN * code[:, 0])
        rgba = jnp.zeros((len(code), SIZES.primitives, 8, 8, 8, 4)).at[..., 0].set(100.0 + code[:, 1, None, None, None, None])
        one = jnp.ones((len(code), SIZES.primitives, 3))
        return Decoded(Primitives(one, one, one, rgba), mesh)

    def unshaded(self, colours, position):
        return colours

    def render(self, primitives, cameras, height, width):
        return jnp.broadcast_to(primitives.rgba[:, :1, 0, 0, :1], (len(primitives.rgba), height, width, 4))

    def calibrate_and_composite(self, rgba, camera, identity, *, background=None):
        return rgba[..., :3] + 10.0 * identity[:, None, None, None]


def compile_model(fn):
    return lambda *args: fn(Linear(), *args)


def samples(person: int) -> list[dict[str, np.ndarray]]:
    neutral = vertices() + person
    texture = np.full((256, 256, 3), 100, np.uint8)
    found = []
    for i in range(FRAMES):
        mesh = neutral.copy()
        mesh[0, 1] += (i + 1) * (person + 1)
        red = texture.copy()
        red[..., 0] += np.uint8(i)
        frame = {"texture": red, "vertices": mesh, "neutral_texture": texture, "neutral_vertices": neutral}
        camera = {"camera_position": np.float32([0, 0, 1000]), "camera_rotation": np.eye(3, dtype=np.float32), "camera": np.int32(0)}
        lens = {"focal": np.ones(2, np.float32), "principal": np.ones(2, np.float32), "identity": np.int32(person)}
        found.append(frame | camera | lens | {"image": np.full((6, 4, 3), 40 * (person + 1), np.uint8)})
    return found


@pytest.fixture(scope="module")
def people():
    return driving_scores.encode(compile_model, {"a--1": samples(0), "b--2": samples(1)}, BATCH)


@pytest.fixture(scope="module")
def work():
    lips = of_vertices([0], [1], len(vertices()))
    return driving_scores.Driving(compile_model, assets(), lips, batch_size=BATCH, texture=driving_scores.MEAN)


def test_people_are_encoded_frame_by_frame(people):
    np.testing.assert_allclose(people[1].codes[:, 0], [2, 4, 6, 8, 10], rtol=1e-5)
    np.testing.assert_allclose(people[1].codes[:, 1], range(FRAMES), rtol=1e-5)
    np.testing.assert_array_equal(people[1].neutral, [[0, 0]])


def test_codes_that_come_back_and_mouths_are_held_against_the_driver(people, work):
    pair = work.pair(people[0], people[1])
    codes = people[0].codes.astype(float)
    back = codes * [GAIN, 1.0]
    spread = np.sqrt(np.square(codes - codes.mean(0)).sum(1).mean())
    assert pair.scores["code_error"] == pytest.approx(np.sqrt(np.square(back - codes).sum(1).mean()) / spread, rel=1e-4)
    assert pair.scores["drift"] == pytest.approx(0.0, abs=1e-5) and pair.scores["mouth_r"] == pytest.approx(1.0, abs=0.01)
    far, mesh = people[1].frames["neutral_vertices"][0][:2], np.array([0, 1, 0])
    expected = [np.linalg.norm(far[0] + mesh * GAIN * code - far[1]) for code in codes[:, 0]]
    np.testing.assert_allclose(pair.opening, expected, rtol=1e-5)
    assert not pair.own and work.pair(people[0], people[0]).own


def test_a_model_that_gives_everything_back_has_no_error(people):
    codes = people[0].codes
    assert driving_scores.code_distance(codes, codes) == (0.0, 1.0)
    error, found = driving_scores.code_distance(codes, np.broadcast_to(codes.mean(0), codes.shape))
    assert error == pytest.approx(1.0) and found == pytest.approx(1 / FRAMES)
    assert np.isnan(driving_scores.code_distance(codes[:1], codes[:1])[0]), "one frame has no spread"


def test_lines_through_openings():
    x = np.array([1.0, 2.0, 4.0, 3.0])
    assert driving_scores.line(x, 2 * x + 5) == (pytest.approx(1.0), pytest.approx(2.0))
    assert driving_scores.line(x, -x)[0] == pytest.approx(-1.0)
    assert np.isnan(driving_scores.line(x, np.ones(4))[0]) and np.isnan(driving_scores.line(np.ones(4), x)[1])


def test_textures_come_back_out_of_voxels():
    at = np.linspace(0, 4 * np.pi, 256)
    texture = (127 + 60 * np.sin(at)[:, None, None] + 40 * np.cos(0.7 * at)[None, :, None] + np.zeros(3)).astype(np.float32)[None]
    boxes = texels.as_primitives(texels.at_voxels(texture, SIZES), SIZES)
    back = np.asarray(texels.as_texture(boxes, SIZES, 256))
    inside = (slice(None), slice(4, -4), slice(4, -4))
    np.testing.assert_allclose(back[inside], texture[inside], atol=0.5)
    assert np.abs(np.diff(back[0, :, 100, 0])).max() < 6, "no steps where boxes meet"
    half = np.asarray(texels.as_texture(boxes, SIZES, 512))
    np.testing.assert_allclose(half[:, 9:-9:2, 9:-9:2], texture[:, 4:-5, 4:-5], atol=4)


@pytest.mark.parametrize("outward, shown", [(1.0, 200.0), (-1.0, 50.0)])
def test_voxels_are_seen_from_outside(outward, shown):
    rgba = np.zeros((1, 2, 8, 8, 8, 4), np.float32)
    rgba[..., 3] = 1e4
    rgba[:, :, 7, ..., :3], rgba[:, :, 0, ..., :3] = 200.0, 50.0
    rgba[:, 1, ..., 3] = 0.0  # nothing to be seen: the mean
    found = np.asarray(texels.seen_from_outside(rgba, jnp.full((1, 2), 0.1), jnp.float32(outward)))
    np.testing.assert_allclose(found[0, 0], shown, rtol=1e-4)
    np.testing.assert_allclose(found[0, 1], 250 / 8, rtol=1e-5)


def test_networks_of_a_users_own(people):
    def keypoints(pictures):
        assert pictures.dtype == np.uint8 and pictures.shape[1:] == (6, 4, 3)
        return np.repeat(pictures[:, :1, 0, :1].astype(float), 2, axis=-1)  # both coordinates are the red of a corner

    def features(pictures):
        return np.stack([pictures[:, 0, 0, 0] > 45, pictures[:, 0, 0, 0] < 120], -1).astype(float)

    networks = Networks(keypoints, features)
    score = networks.scorer(compile_model, BATCH)
    red = 100 + np.arange(FRAMES)
    own = score(people[0], people[0])
    assert own["akd"] == pytest.approx(np.sqrt(2) * (red - 40).mean()) and own["csim"] == pytest.approx(np.sqrt(0.5))
    cross = score(people[0], people[1])
    assert "akd" not in cross and cross["csim"] == pytest.approx(1.0), "renders 110 to 114, the photograph 80"
    assert [one.name for one in networks.scores] == ["akd", "csim"] and not networks.left_out
    assert [line.split()[0] for line in Networks().left_out] == ["akd", "csim"] and Networks().scorer(compile_model, BATCH)(*people) == {}
    with pytest.raises(ValueError, match=r"--keypoints: for u8 \[5, 6, 4, 3\] it must give \[B, K, 2\], B = 5; got \[5, 4\]"):
        Networks(keypoints=lambda x: np.zeros((len(x), 4))).scorer(compile_model, BATCH)(people[0], people[0])


def test_reports(people, work, tmp_path):
    pairs = driving_scores.all_pairs(work, people, lambda driver, shown: {"csim": 0.5} if driver is shown else {})
    assert [(pair.driver, pair.shown) for pair in pairs] == [("a--1", "a--1"), ("a--1", "b--2"), ("b--2", "a--1"), ("b--2", "b--2")]
    scores = (*driving_scores.SCORES, driving_networks.CSIM)
    table = driving_report.text(pairs, scores).splitlines()
    assert (
        table[3].split()[0] == "own" and table[3].split()[-1] == "0.500" and table[4].split()[0] == "cross" and table[4].split()[-1] == "-"
    )
    truth = {person.name: np.arange(FRAMES) + 1.0 for person in people}
    written = driving_report.write(pairs, truth, scores, {"step": 3}, tmp_path)
    assert [path.name for path in written] == ["driving_scores.json", "driving_scores.csv", "mouth_openings.csv", "mouth_openings.png"]
    assert (tmp_path / "driving_scores.csv").read_text().splitlines()[2].startswith("a--1,b--2,")
    assert len((tmp_path / "mouth_openings.csv").read_text().splitlines()) == 1 + 2 * FRAMES + 4 * FRAMES
    picture = driving_report.curves(pairs, truth)
    assert picture.shape == (600, 960, 3) and len(np.unique(picture.reshape(-1, 3), axis=0)) > 4
