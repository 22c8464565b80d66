import numpy as np
import pytest

from ava_jax.tasks.ava256.data import components
from ava_jax.tasks.ava256.model import texels
from ava_jax.tasks.ava256.model.components import COMPONENT_GAIN, ComponentCode, component_embedding

VERTICES, SIDE = 11, components.SIDE


def spread(squares):
    """[4, 4, 3] to a texture, smoothly."""
    return np.asarray(texels.surroundings(np.kron(squares, np.ones((SIDE // 4, SIDE // 4, 1)))[None]))[0]


def faces(people, seed=0):
    """Neutral textures and meshes."""
    rng = np.random.default_rng(seed)
    return [(spread(rng.uniform(90, 160, (4, 4, 3))), rng.normal(0, 50, (VERTICES, 3))) for _ in range(people)]


def frames(people, per_person, *, ways=2, kind="offset", seed=1):
    """Frames whose meshes and textures follow as many coefficients, of everybody alike."""
    rng = np.random.default_rng(seed)
    moves = [(spread(rng.uniform(-9, 9, (4, 4, 3))), rng.normal(0, 3, (VERTICES, 3))) for _ in range(ways)]
    samples = []
    for texture, vertices in people:
        around = np.asarray(texels.surroundings(texture[None]))[0]
        by = {"offset": 1.0, "gain": texture / 100, "share": around / 100}[kind]
        for _ in range(per_person):
            strength = rng.normal(size=ways)
            changed = texture + sum((s * t * by for s, (t, _) in zip(strength, moves)), np.zeros(texture.shape))
            moved = vertices + sum((s * v for s, (_, v) in zip(strength, moves)), np.zeros(vertices.shape))
            sample = {"texture": changed, "vertices": moved, "neutral_texture": texture, "neutral_vertices": vertices}
            samples.append({name: value.astype(np.float32) for name, value in sample.items()})
    return samples


def stacked(samples, *names):
    return [np.stack([s[name] for s in samples]) for name in names]


def coefficients(found, samples):
    """[N, K], as the code has them."""
    code = ComponentCode(found.vertices, found.textures, found.gains, found.shares)
    values = code(*stacked(samples, "texture", "vertices", "neutral_texture", "neutral_vertices"))
    assert values.shape == (len(samples), 4, 4, 16)
    return np.asarray(values).reshape(len(samples), -1) @ np.asarray(component_embedding(len(found.textures))).T / COMPONENT_GAIN


def shown(found, samples, c):
    """Textures that coefficients [N, K] make of neutral ones."""
    (neutral,) = stacked(samples, "neutral_texture")
    around = np.asarray(texels.surroundings(neutral))
    first = c[:, : len(found.vertices)]
    added = np.einsum("nk,kijc->nijc", c, found.textures)
    added += np.einsum("nm,mijc->nijc", first, found.gains) * neutral / texels.COLOUR_UNIT
    return neutral + added + np.einsum("nm,mijc->nijc", first, found.shares) * around / texels.COLOUR_UNIT


@pytest.mark.parametrize("kind", ["offset", "gain", "share"])
def test_faces_that_were_not_there_follow_like_the_others(kind):
    """Of six people two are left out: coefficients of their frames show them, and so do those of others."""
    people = faces(6)
    seen = frames(people[:4], 6, kind=kind)
    found = components.of_samples(seen, 6)
    assert found.vertices.shape == (2, VERTICES, 3) and found.textures.shape == (6, SIDE, SIDE, 3)
    new = frames(people[4:], 6, kind=kind)
    c = coefficients(found, new)
    np.testing.assert_allclose(
        np.einsum("nm,mvc->nvc", c[:, :2], found.vertices), np.subtract(*stacked(new, "vertices", "neutral_vertices")), atol=1e-2
    )
    texture, neutral = stacked(new, "texture", "neutral_texture")
    moved = np.sqrt(np.mean(np.square(texture - neutral)))
    assert np.sqrt(np.mean(np.square(shown(found, new, c) - texture))) < 0.2 * moved
    # The same strengths on another person: `frames` draws them alike for as many people.
    others = frames(people[2:4], 6, kind=kind)
    assert np.sqrt(np.mean(np.square(shown(found, others, c) - stacked(others, "texture")[0]))) < 0.25 * moved


def test_coefficients_have_mean_square_one_over_the_frames_they_are_made_of():
    samples = frames(faces(3), 5)
    found = components.of_samples(samples, 6)
    squares = np.square(coefficients(found, samples)).mean(0)
    there = np.square(found.textures[2:]).sum((1, 2, 3)) > 0
    np.testing.assert_allclose(squares, [1.0, 1.0, *there], atol=2e-2)


def test_what_textures_have_beyond_the_mesh_has_coefficients_of_its_own():
    samples = frames(faces(2), 4, ways=1)
    look = spread(np.random.default_rng(5).uniform(-30, 30, (4, 4, 3))).astype(np.float32)
    for i, sample in enumerate(samples):
        sample["texture"] = sample["texture"] + (1, -1, -1, 1)[i % 4] * look
    found = components.of_samples(samples, 3)
    error = shown(found, samples, coefficients(found, samples)) - stacked(samples, "texture")[0]
    assert np.sqrt(np.mean(np.square(error))) < 0.05 * np.sqrt(np.mean(np.square(look)))


@pytest.mark.parametrize("count, ways", [(1, 1), (2, 1), (3, 0)])
def test_of_fewer_ways_than_components_the_last_are_zero(count, ways):
    samples = frames(faces(1), count, ways=ways)
    found = components.of_samples(samples, 6)
    assert all(np.isfinite(part).all() for part in found)
    assert not found.vertices[ways:].any()
    assert np.isfinite(coefficients(found, samples)).all()
    if not ways:
        assert not any(part.any() for part in found)


def test_larger_textures_are_reduced_to_their_means():
    small = frames(faces(2), 3)
    large = [s | {k: s[k].repeat(2, 0).repeat(2, 1) for k in ("texture", "neutral_texture")} for s in small]
    one, other = components.of_samples(small, 3), components.of_samples(large, 3)
    np.testing.assert_allclose(one.textures, other.textures, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(coefficients(one, small), coefficients(other, large), rtol=1e-3, atol=1e-3)
