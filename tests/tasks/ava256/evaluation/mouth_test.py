"""Mouths found in meshes that move: procedural heads, whose jaws are known, in two topologies, and the registered topology."""

import numpy as np
import pytest

from ava_jax.captures import capture_set, chart, reading
from ava_jax.data import mesh_files
from ava_jax.synth.heads import geometry, layouts
from ava_jax.synth.heads.geometry import Expression, Identity
from ava_jax.tasks.ava256.evaluation import mouth

JAWS = np.array([0.0, 0.2, 0.5, 1.0, 0.7, 0.0])


@pytest.fixture(scope="module")
def heads() -> np.ndarray:
    """Two procedural heads that open their mouths, smile and shut their eyes: [2 F, P, 3]."""
    bump = np.zeros(len(geometry.topology().uvs))
    expressions = [Expression(jaw=jaw, smile=0.3 * (i % 2), blink=float(i % 3 == 1)) for i, jaw in enumerate(JAWS)]
    people = [Identity(seed=0, shape=dict.fromkeys(geometry.SHAPE, strength), look={}) for strength in (0.0, 0.5)]
    return np.stack([geometry.shape(person, expression, bump) for person in people for expression in expressions])


def gap_of_rows(heads: np.ndarray) -> np.ndarray:
    """Distance of the grid's rows on either side of the line between the lips, at the middle."""
    side = geometry.CELLS + 1
    middle = np.arange(side * side).reshape(side, side)[:, geometry.CELLS // 2]
    follows, y = geometry.jaw_weight(geometry.vertex_surface())[middle], geometry.vertex_surface().y[middle]
    near = np.abs(y - geometry.MOUTH) < 12
    upper, lower = middle[near & (follows < 0.2)].max(), middle[near & (follows > 0.9)].min()
    return np.linalg.norm(heads[:, upper] - heads[:, lower], axis=-1)


def test_the_opening_follows_the_jaw(heads):
    faces = geometry.topology().faces
    lips = mouth.find(faces, heads[[0, len(JAWS)]].mean(0), heads)
    found, known = lips.opening(heads), gap_of_rows(heads)
    assert np.corrcoef(found, known)[0, 1] > 0.99
    assert np.polyfit(known, found, 1)[0] == pytest.approx(1.0, abs=0.15), "mm for mm"
    assert np.ptp(known) > 20
    upper, lower = (np.einsum("pc,pcx->px", w, heads[0][c]) for w, c in zip(lips.weights, lips.corners, strict=True))
    assert (upper[:, 1] > geometry.MOUTH).all() and (lower[:, 1] < geometry.MOUTH).all()


def test_another_topology_has_the_same_mouth(heads):
    other = layouts.load(layouts.STAND_IN, "")
    meshes = np.stack([other.vertices(head) for head in heads])
    found = mouth.find(other.topology.faces, meshes[0], meshes).opening(meshes)
    assert np.corrcoef(found, gap_of_rows(heads))[0, 1] > 0.98


def test_nothing_that_opens_is_no_mouth(heads):
    still = heads[[0, 0, 0]]
    with pytest.raises(ValueError, match="no mouth is found.*in the 3 meshes at hand.*--lips"):
        mouth.find(geometry.topology().faces, still[0], still)


def test_lips_may_be_named():
    mesh = np.zeros((2, 4, 3))
    mesh[1, 2] = [0, -3, 4]
    np.testing.assert_allclose(mouth.of_vertices([0, 1], [2, 3], 4).opening(mesh), [0, 2.5])
    with pytest.raises(ValueError, match="as many vertices of the upper lip as of the lower"):
        mouth.of_vertices([0, 1], [2], 4)
    with pytest.raises(ValueError, match="vertex 4 is none of the mesh's, 0 to 3"):
        mouth.of_vertices([0], [4], 4)


@pytest.mark.data
def test_registered_meshes_have_a_mouth(test_data):
    captures = capture_set.load(test_data / "capture", "", cameras=(), topology="", index_folder=None)
    capture = captures.captures[0]
    frames = capture.frames.tolist()
    meshes = np.stack([reading.decoded(captures.archives, capture.vertices, frame, mesh_files.read_vertices) for frame in frames])
    faces = mesh_files.read_topology(captures.topology, meshes.shape[1]).faces
    lips = mouth.find(faces, meshes[0], meshes)
    neutral, tip = meshes[0], chart.nose_tip(meshes[0][np.unique(faces)])
    upper, lower = (np.einsum("pc,pcx->px", w, neutral[c]) - tip for w, c in zip(lips.weights, lips.corners, strict=True))
    # On the registered head the lips meet 37 to 38 mm below the tip of the nose, at the middle.
    assert (upper[:, 1] > -37.0).all() and (lower[:, 1] < -37.5).all() and np.abs(np.concatenate([upper, lower])[:, 0]).max() < 6
    assert np.ptp(lips.opening(meshes)) > 5
