"""Procedural captures in multiface's layout: whole, repeatable, sound to the checker; the other layout's heads in other topologies too."""

import numpy as np
import pytest

from ava_jax.captures.multiface import layout, recording
from ava_jax.captures.verify import report, tree
from ava_jax.captures.verify.contents import Depth
from ava_jax.data import images
from ava_jax.synth import ava256_layout, multiface_layout
from ava_jax.synth.ava256_request import Request

SMALL = Request(identities=1, frames=3, cameras=2, height=32, texture_size=32)


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_the_same_request_gives_the_same_bytes_and_another_is_refused(tmp_path):
    assert multiface_layout.write(tmp_path / "a", SMALL, jobs=1)
    multiface_layout.write(tmp_path / "b", SMALL, jobs=2)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    assert not multiface_layout.write(tmp_path / "a", SMALL, jobs=1, exist_ok=True)
    with pytest.raises(ValueError, match="not empty"):
        multiface_layout.write(tmp_path / "a", Request(identities=1), jobs=1, exist_ok=True)


def test_it_is_sound_and_its_statistics_are_those_of_its_files(tiny_multiface):
    folder = sorted(tiny_multiface.glob("m--*"))[1]
    (book,) = tree.verify(tree.find([folder]), Depth("all"))
    assert book.layout == "multiface" and book.findings == [], report.text([book])
    found = recording.load(folder)
    numbers = found.frames.tolist()
    meshes = np.stack([recording.points(found.vertices.read(n)) for n in numbers]).astype(float)
    np.testing.assert_allclose(recording.vertex_mean(folder / layout.VERTEX_MEAN), meshes.mean(0), atol=1e-4)
    assert recording.number(folder / layout.VERTEX_VARIANCE) == pytest.approx(meshes.var(0).mean(), rel=1e-4)
    views = np.stack([images.decode(found.texture(camera.name).read(n)) for n in numbers for camera in found.cameras]).astype(float)
    seen = views.any(-1)
    mean = views.sum(0) / np.maximum(seen.sum(0), 1)[..., None]
    np.testing.assert_allclose(images.decode((folder / layout.TEXTURE_MEAN).read_bytes()), mean, atol=0.51)
    variance = ((views**2).sum(0) / np.maximum(seen.sum(0), 1)[..., None] - mean**2)[seen.any(0)].mean()
    assert recording.number(folder / layout.TEXTURE_VARIANCE) == pytest.approx(variance, rel=1e-4)
    average = images.decode(found.texture().read(numbers[0]))
    np.testing.assert_array_equal(average.any(-1), seen[: len(found.cameras)].any(0))


@pytest.mark.slow
def test_another_topology_has_the_same_textures_as_in_the_other_layout(tmp_path):
    request = Request(**{**vars(SMALL), "topology": "other"})
    multiface_layout.write(tmp_path / "m", request, jobs=1)
    ava256_layout.write(tmp_path / "a", request, jobs=1)
    assert (tmp_path / "m" / "face_topology.obj").read_text().count("\nv ") == (tmp_path / "a" / "face_topology.obj").read_text().count(
        "\nv "
    )
    (folder,) = (tmp_path / "m").glob("m--*")
    found = recording.load(folder)
    (other,) = (tmp_path / "a").glob("2*")
    mean = np.load(other / "decoder" / "kinematic_tracking" / "registration_vertices_mean.npy")
    np.testing.assert_allclose(recording.vertex_mean(found.folder / layout.VERTEX_MEAN), mean, atol=1e-4)
