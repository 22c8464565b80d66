import numpy as np
import pytest

from ava_jax.tasks.ava256.data import components
from ava_jax.tasks.ava256.model.encoders import COMPONENT_GAIN, ComponentCode, component_embedding

VERTICES = 11


def frames(count, ways, *, side=components.SIDE, seed=0):
    """Frames of two people that differ from their neutral faces in so many ways."""
    rng = np.random.default_rng(seed)
    neutral = [
        (rng.integers(60, 180, (side, side, 3)).astype(np.uint8), rng.normal(0, 50, (VERTICES, 3)).astype(np.float32)) for _ in range(2)
    ]
    moves = [(rng.normal(0, 8, (4, 4, 3)), rng.normal(0, 3, (VERTICES, 3))) for _ in range(ways)]
    samples = []
    for i in range(count):
        texture, vertices = neutral[i % 2]
        strength = rng.normal(size=ways)
        change = sum((s * t for s, (t, _) in zip(strength, moves)), np.zeros((4, 4, 3))).repeat(side // 4, 0).repeat(side // 4, 1)
        moved = vertices + sum((s * v for s, (_, v) in zip(strength, moves)), np.zeros((VERTICES, 3)))
        sample = {"texture": np.rint(texture + change).astype(np.uint8), "vertices": moved.astype(np.float32)}
        samples.append(sample | {"neutral_texture": texture, "neutral_vertices": vertices})
    return samples


def differences(samples):
    """Of textures [N, side, side, 3] and meshes [N, V, 3]."""
    texture, vertices = (np.stack([s[k].astype(np.float32) - s[f"neutral_{k}"] for s in samples]) for k in ("texture", "vertices"))
    return texture, vertices


def coefficients(found, samples):
    texture, vertices = differences(samples)
    read = np.einsum("nijc,kijc->nk", components.reduced(texture), found.textures_read)
    return read + np.einsum("nvc,kvc->nk", vertices, found.vertices_read)


def test_frames_are_their_coefficients_times_the_components():
    samples = frames(12, 3)
    found = components.of_samples(samples, 3)
    c = coefficients(found, samples)
    np.testing.assert_allclose(np.square(c).mean(0), 1.0, rtol=1e-3)
    texture, vertices = differences(samples)
    # Textures are rounded to whole numbers, which are no components.
    assert np.abs(np.einsum("nk,kijc->nijc", c, found.textures) - texture).max() < 1.5
    np.testing.assert_allclose(np.einsum("nk,kvc->nvc", c, found.vertices), vertices, atol=0.05)


def test_of_larger_textures_components_are_of_their_means():
    small = frames(6, 2)
    large = [s | {k: s[k].repeat(2, 0).repeat(2, 1) for k in ("texture", "neutral_texture")} for s in small]
    for one, other in zip(components.of_samples(small, 2), components.of_samples(large, 2), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("count, ways", [(2, 1), (3, 0)])
def test_of_fewer_ways_than_components_the_last_are_zero(count, ways):
    samples = frames(count, ways)
    found = components.of_samples(samples, 5)
    assert all(np.isfinite(part).all() and len(part) == 5 for part in found)
    assert not any(part[count:].any() for part in found)
    assert np.abs(coefficients(found, samples)[:, :ways]).max(initial=0.0) < 10
    if not ways:
        assert not any(part.any() for part in found)


def test_the_code_holds_the_coefficients():
    samples = frames(6, 2)
    found = components.of_samples(samples, 4)
    code = ComponentCode(found.textures_read, found.vertices_read)(*differences(samples))
    assert code.shape == (6, 4, 4, 16)
    embedding = np.asarray(component_embedding(4))
    np.testing.assert_allclose(embedding @ embedding.T, np.eye(4), atol=1e-6)
    np.testing.assert_allclose(code.reshape(6, -1) @ embedding.T / COMPONENT_GAIN, coefficients(found, samples), atol=1e-3)
