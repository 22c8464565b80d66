"""`ava ldif sheet`: meshes, elements and surfaces side by side; examples by their scores."""

import pathlib
from types import SimpleNamespace

import numpy as np
import pytest
import trimesh
from ldif_made import elements_of

from ava_jax.ops.implicit import Elements
from ava_jax.tasks.ldif.apps import ranking, sheet, tints
from ava_jax.tasks.ldif.apps.shape import Shape
from ava_jax.tasks.ldif.data.source import Listed


def ball(radius: float = 0.3) -> Elements:
    """One element whose surface is about a ball."""
    return Elements(*(np.array(part, np.float32) for part in ([-1.0], [[0, 0, 0]], [[(radius / 2.3) ** 2] * 3], [[0, 0, 0]], [[]])))


def test_a_strip_shows_mesh_elements_and_surface():
    box = trimesh.creation.box((0.6, 0.6, 0.6))
    drawn = sheet.strip(sheet.Drawn("a box", (np.asarray(box.vertices), np.asarray(box.faces)), Shape(ball(), 0)), size=48, resolution=24)
    (_, mesh), (_, elements), (_, surface) = drawn.panels
    size = [(np.abs(picture.astype(int) - picture[0, 0]).max(-1) > 15).mean() for picture in (mesh, elements, surface)]
    assert size[0] > 0.2, "the box"
    assert 0.01 < size[1] < 0.6 * size[2], "an ellipsoid of one radius, within the surface of its element"
    assert size[2] == pytest.approx(np.pi * 0.3**2 / (2 * 1.18 * 0.3 * 3**0.5) ** 2, rel=0.15), "a ball of radius 0.3"
    hue = tints.of_elements(Shape(ball(), 0), tints.ELEMENT)[0].astype(float)
    seen = surface[24, 24].astype(float)
    np.testing.assert_allclose(seen / seen.sum(), hue / hue.sum(), atol=0.03)


def test_a_function_without_a_surface_is_said():
    nothing = ball()._replace(constant=np.array([-0.01], np.float32))
    drawn = sheet.strip(sheet.Drawn("nothing", None, Shape(nothing, 0)), size=16, resolution=8)
    assert [caption for caption, _ in drawn.panels] == ["elements", "the function has no surface"]
    assert len(np.unique(drawn.panels[1][1].reshape(-1, 3), axis=0)) == 1


def test_reflected_elements_are_drawn_reflected():
    shape = Shape(elements_of(3), 2)
    vertices, _, _ = sheet.elements_mesh(shape)
    per = len(vertices) // 5
    own, reflected = vertices[:per], vertices[3 * per : 4 * per]
    near = np.linalg.norm(own[:, None] * [1, 1, -1] - reflected[None], axis=-1).min(1)
    np.testing.assert_allclose(near.max(), 0, atol=0.03)


def test_examples_are_ranked_and_chosen():
    """Networks that make a ball; examples are balls of other sizes."""
    rng = np.random.default_rng(0)
    points = rng.uniform(-0.7, 0.7, (4000, 3))
    radii = (0.32, 0.5, 0.3, 0.15)

    class Found:
        examples = [Listed(kind, f"{kind}_{at}", pathlib.Path(f"{at}")) for at, kind in enumerate("abba")]
        names = [f"{one.kind}/{one.name}" for one in examples]
        split = "test"

        def sample(self, at):
            distance = np.linalg.norm(points, axis=1, keepdims=True) - radii[at]
            return {"uniform": np.concatenate([points, distance], axis=1).astype(np.float32)}

        def make(self, sample):
            return Shape(ball(), 0)

    ranked = ranking.score_all(Found())
    assert [one.name for one in ranked] == ["b/b_2", "a/a_0", "b/b_1", "a/a_3"]
    assert ranked[0].iou > 90 and ranked[0].sphere > 95 and ranked[-1].iou < 20
    assert [(one.name, label) for one, label in ranking.best_median_worst(ranked)] == [
        ("b/b_2", "best: "), ("b/b_1", "median: "), ("a/a_3", "worst: ")
    ]  # fmt: skip
    assert [one.kind for one, _ in ranking.medians(ranked)] == ["a", "b"]
    assert [label for _, label in ranking.best_median_worst(ranked[:2])] == ["", ""]


def test_examples_of_a_run_are_chosen_by_name_or_class():
    from ava_jax.tasks.ldif.apps.run_shapes import Shapes

    found = Shapes.__new__(Shapes)
    found._source = SimpleNamespace(examples=[Listed(kind, f"{kind}_{at}", pathlib.Path()) for at, kind in enumerate("aaabbc")])
    assert found.choose((), 4) == [0, 1, 3, 5], "of each class first"
    assert found.choose(["b", "a/a_1", "b/b_3"], 1) == [3, 4, 1]
    with pytest.raises(ValueError, match="--examples=b/b_9: there is none of that name; .*b/b_3"):
        found.choose(["b/b_9"], 1)
