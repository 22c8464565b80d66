"""Statistics over captures, against figures by hand."""

import dataclasses
import pathlib

import numpy as np
import pytest

from ava_jax.captures import ava256, statistics
from ava_jax.data import images


@dataclasses.dataclass
class Folder:
    """As much of a capture as statistics look at."""

    decoder: pathlib.Path

    texture = ava256.Capture.texture
    vertices = ava256.Capture.vertices
    texture_mean = ava256.Capture.texture_mean
    vertices_mean = ava256.Capture.vertices_mean
    vertices_variance = ava256.Capture.vertices_variance


def make(folder: pathlib.Path, texture, vertices, variance) -> Folder:
    made = Folder(folder / "decoder")
    for path in (made.texture, made.vertices):
        path.parent.mkdir(parents=True)
    made.texture.with_name("color_mean.png").write_bytes(images.encode(np.asarray(texture, np.uint8), "png"))
    np.save(made.vertices.with_name("registration_vertices_mean.npy"), np.asarray(vertices, np.float32))
    made.vertices.with_name("registration_vertices_variance.txt").write_text(f"{variance}\n")
    return made


def test_two_captures(tmp_path):
    grey = np.full((4, 4, 3), 100)
    a = make(tmp_path / "a", grey, [[0, 0, 0], [2, 4, 6]], 9.0)
    b = make(tmp_path / "b", grey + [10, 0, 20], [[2, 0, 0], [2, 4, 0]], 1.0)
    found = statistics.combine([a, b], 4)
    np.testing.assert_allclose(found.texture_mean, np.broadcast_to([105, 100, 110], (4, 4, 3)))
    assert found.texture_std == pytest.approx(np.sqrt((25 + 0 + 100) / 3))
    np.testing.assert_allclose(found.vertices_mean, [[1, 0, 0], [2, 4, 3]])
    assert found.vertices_std == pytest.approx(np.sqrt((1 + 9) / 6 + 5))  # of the means about theirs, and the mean of the variances


def test_one_capture(tmp_path):
    found = statistics.combine([make(tmp_path, np.full((2, 2, 3), [10, 40, 100]), [[1, 2, 3]], 4.0)], 2)
    assert found.texture_std == pytest.approx(np.sqrt((40**2 + 10**2 + 50**2) / 3))  # of each texel about its mean over channels
    assert found.vertices_std == pytest.approx(2.0)


def test_the_deviation_does_not_depend_on_the_size_asked_for(tmp_path):
    rng = np.random.default_rng(0)
    folders = [make(tmp_path / str(i), rng.integers(0, 255, (32, 32, 3)), np.zeros((1, 3)), 1.0) for i in range(3)]
    full, small = statistics.combine(folders, 32), statistics.combine(folders, 8)
    assert small.texture_mean.shape == (8, 8, 3) and full.texture_std == small.texture_std


@pytest.mark.parametrize(
    "name, content, message",
    [
        ("uv_image/color_mean.png", b"no picture", "color_mean.png: .*cannot be decoded"),
        ("kinematic_tracking/registration_vertices_variance.txt", b"much", "must hold one number"),
        ("kinematic_tracking/registration_vertices_mean.npy", b"", "registration_vertices_mean.npy"),
    ],
)
def test_malformed_files_are_named(tmp_path, name, content, message):
    folder = make(tmp_path, np.zeros((2, 2, 3)), [[1, 2, 3]], 4.0)
    (folder.decoder / name).write_bytes(content)
    with pytest.raises(ValueError, match=message):
        statistics.combine([folder], 2)


def test_captures_of_different_meshes_are_refused(tmp_path):
    a = make(tmp_path / "a", np.zeros((2, 2, 3)), [[1, 2, 3]], 4.0)
    b = make(tmp_path / "b", np.zeros((2, 2, 3)), [[1, 2, 3], [4, 5, 6]], 4.0)
    with pytest.raises(ValueError, match=r"must be \(1, 3\); got \(2, 3\)"):
        statistics.combine([a, b], 2)
    c = make(tmp_path / "c", np.zeros((4, 4, 3)), [[1, 2, 3]], 4.0)
    with pytest.raises(ValueError, match=r"must be \(2, 2, 3\)"):
        statistics.combine([a, c], 2)


@pytest.mark.data
def test_the_reference_capture(test_data):
    captures = [ava256.load(folder) for folder in ava256.find(str(test_data / "capture"), "")]
    found = statistics.combine(captures, 1024)
    assert found.texture_std == pytest.approx(9.883930, abs=1e-5)
    assert found.vertices_std == pytest.approx(4.229893, abs=1e-5)
