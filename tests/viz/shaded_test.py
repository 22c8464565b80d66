"""Meshes drawn with light, and ellipsoids as meshes."""

import numpy as np
import pytest

from ava_jax.viz import ellipsoids, shaded
from ava_jax.viz.colours import palette

pytest.importorskip("trimesh", reason="spheres need trimesh: pip install 'ava-jax[ldif]'")
RED, GREEN = [220, 30, 30], [30, 220, 30]
PAPER = (30, 31, 36)


def two_balls(**view) -> np.ndarray:
    """A red one at +x, a green one above the middle."""
    turns = np.tile(np.eye(3), (2, 1, 1))
    centers, radii = np.array([[0.4, 0, 0], [0, 0.4, 0]]), np.full((2, 3), 0.15)
    return shaded.draw(*ellipsoids.mesh(centers, turns, radii, np.array([RED, GREEN], np.uint8)), 64, **view).astype(int)


def middle(picture: np.ndarray, channel: int) -> np.ndarray:
    """Row and column of the middle of what has most of a colour."""
    others = [c for c in range(3) if c != channel]
    return np.argwhere(picture[..., channel] > 2 * picture[..., others].max(-1)).mean(0)


def test_a_picture_shows_what_is_where():
    front, behind = two_balls(azimuth=0, elevation=0), two_balls(azimuth=180, elevation=0)
    assert middle(front, 0)[1] > 40 and middle(behind, 0)[1] < 24, "x is to the right from the front, to the left from behind"
    assert middle(front, 1)[0] < 24, "y is up"
    side = two_balls(azimuth=90, elevation=0)
    assert abs(middle(side, 0)[1] - 31.5) < 1.5, "from the side x comes towards the eye"
    assert (front[0, 0] == PAPER).all()
    rows = [row for row in range(64) if front[row, 31, 1] > 60]
    assert front[rows[2], 31, 1] > front[rows[-3], 31, 1] + 30, "light comes from above"


def test_an_empty_mesh_is_paper():
    none = np.zeros((0, 3))
    assert (shaded.draw(none, none.astype(int), none, 8) == PAPER).all()


def test_ellipsoids_have_their_axes_and_radii():
    turn = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])  # the first axis is y
    vertices, faces, colours = ellipsoids.mesh(np.zeros((1, 3)), turn[None], np.array([[0.5, 0.2, 0.1]]), palette(1))
    np.testing.assert_allclose(np.abs(vertices).max(0), [0.2, 0.5, 0.1], rtol=0.01)
    assert faces.max() == len(vertices) - 1 and len(colours) == len(vertices)
    corners = vertices[faces]
    volume = np.einsum("fi,fi->", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])) / 6
    assert volume == pytest.approx(4 / 3 * np.pi * 0.01, rel=0.02), "faces look outward"


def test_colours_of_a_palette_differ():
    found = palette(48).astype(int)
    apart = np.abs(found[:, None] - found[None]).sum(-1) + 999 * np.eye(48, dtype=int)
    assert apart.min() > 12 and found.max(1).min() > 120
