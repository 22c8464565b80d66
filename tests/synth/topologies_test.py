"""Procedural heads in other topologies than their own: the same pictures, other meshes and textures."""

import dataclasses
import hashlib
import json

import numpy as np
import pytest

from ava_jax.captures import appearance, ava256, projection
from ava_jax.data import archive, images, mesh_files
from ava_jax.synth import ava256_layout
from ava_jax.synth.ava256_request import Request
from ava_jax.synth.heads import geometry, layouts, standin
from ava_jax.synth.heads.geometry import Expression, Identity

SMALL = Request(identities=1, frames=3, cameras=2, height=128, texture_size=128)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    root = tmp_path_factory.mktemp("topologies")
    ava256_layout.write(root / "own", SMALL, jobs=1)
    ava256_layout.write(root / "other", dataclasses.replace(SMALL, topology=layouts.STAND_IN), jobs=1)
    return root


def test_what_is_written_by_default_stays_as_it_was(written):
    """Pictures depend on the encoder's version and the last bit on the processor; texts do not, and say what the rest is made of."""
    root = written / "own"
    record = {"identities": 1, "frames": 3, "cameras": 2, "height": 128, "texture_size": 128, "seed": 0}
    assert (root / ava256_layout.REQUEST).read_text() == json.dumps(record, indent=1)
    digest = hashlib.sha256((root / ava256.TOPOLOGY).read_bytes()).hexdigest()
    assert digest == "620fce4eb067d9c90f9fb73507b3f063197402ca4fab6af409d01867985ba863"
    capture = ava256.load(ava256.find(str(root), "")[0])
    vertices = np.load(capture.vertices.with_name("registration_vertices_mean.npy"))
    texture = images.decode(capture.texture.with_name("color_mean.png").read_bytes(), (128, 128)).astype(np.float64)
    assert vertices.astype(np.float64).mean(0) == pytest.approx([0.0188, -51.1845, 9.2393], abs=1e-3)
    assert texture.mean((0, 1)) == pytest.approx([87.695, 72.138, 62.988], abs=0.3)


def test_only_meshes_and_textures_are_others(written):
    own, other = (written / name for name in ("own", "other"))
    same = {"image", "segmentation_parts", "head_pose", "keypoints_3d", "decoder"}
    for path in sorted(own.rglob("*")):
        if path.is_file() and path.name not in (ava256_layout.REQUEST, ava256.TOPOLOGY):
            equal = path.read_bytes() == (other / path.relative_to(own)).read_bytes()
            assert equal == (path.parent.name in same or path.name == "ids.csv"), path
    record = json.loads((other / ava256_layout.REQUEST).read_text())
    assert record["topology"] == "other" and "template" not in record and Request(**record).topology == "other"
    capture = ava256.load(ava256.find(str(other), "")[0])
    vertices = mesh_files.read_vertices(archive.Archives().read(capture.vertices, int(capture.frames[0])))
    topology = mesh_files.read_topology(other / ava256.TOPOLOGY, 5023)
    assert vertices.shape == (5023, 3) and topology.uvs.shape == (5118, 2)


def test_textures_show_what_the_pictures_show(written):
    """The same check finds sound what is sound in the heads' own topology."""
    for name in ("own", "other"):
        capture = ava256.load(ava256.find(str(written / name), "")[0])
        archives = archive.Archives()
        found = projection.reference(archives, capture)
        topology = mesh_files.read_topology(written / name / ava256.TOPOLOGY, len(found.points))
        assert appearance.doubts(archives, [capture], topology, capture.cameras) == []


def test_the_stand_in_has_its_size_seams_and_holes():
    topology, binding = standin.mesh()
    assert len(binding.corners) == topology.vertices_used == standin.VERTICES and len(topology.uvs) == standin.UVS
    assert len(np.unique(topology.faces)) == standin.VERTICES and len(np.unique(topology.face_uvs)) == standin.UVS
    corners = topology.uvs[topology.face_uvs].astype(np.float64)
    ab, ac = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    assert (ab[:, 0] * ac[:, 1] - ab[:, 1] * ac[:, 0] > 0).all() and topology.uvs.min() > 0 and topology.uvs.max() < 1
    edges = np.sort(np.concatenate([topology.faces[:, [0, 1]], topology.faces[:, [1, 2]], topology.faces[:, [2, 0]]]), axis=1)
    times = np.unique(edges, axis=0, return_counts=True)[1]
    assert times.max() == 2 and 60 < (times == 1).sum() < 200  # the neck, and round two holes


def test_its_vertices_go_with_the_face():
    layout = layouts.load(layouts.STAND_IN, "")
    nobody = Identity(seed=0, shape=dict.fromkeys(geometry.SHAPE, 0.0), look={})
    rest = layouts.generic_head()
    opened = geometry.shape(nobody, Expression(jaw=1.0), np.zeros(len(rest)))
    moved = np.linalg.norm(layout.vertices(opened) - layout.vertices(rest), axis=1)
    truth = np.linalg.norm(opened - rest, axis=1)
    assert moved.max() == pytest.approx(truth.max(), rel=0.1) and np.median(moved) < 1


def obj(path, vertices, topology):
    mesh_files.write_topology(path, topology, vertices)
    return str(path)


@pytest.mark.slow
def test_a_mesh_of_other_size_and_unit_is_laid_over_the_head(tmp_path):
    """The heads' own mesh, in metres, elsewhere and stretched a little: its nose is the head's again, and it lies on its surface."""
    head = layouts.generic_head()
    given = head[::1] * [0.00105, 0.001, 0.00097] + [0.3, 1.5, -0.2]
    layout = layouts.load(obj(tmp_path / "mine.obj", given, geometry.topology()), "")
    vertices = layout.vertices(head)
    away = np.linalg.norm(vertices - head, axis=1)
    assert np.median(away) < 3 and (np.abs(layout.binding.offset).max(1) == 0).mean() > 0.9


def test_what_does_not_fit_is_refused_in_a_line(tmp_path):
    with pytest.raises(ValueError, match="--template is the mesh of a --topology=OBJ"):
        Request(template="mesh.bin")
    with pytest.raises(ValueError, match="--template is the mesh of a --topology=OBJ"):
        Request(topology="other", template="mesh.bin")
    path = obj(tmp_path / "mine.obj", layouts.generic_head(), geometry.topology())
    (tmp_path / "few.bin").write_bytes(bytes(120))
    with pytest.raises(ValueError, match=r"mine\.obj: must be of the captures' meshes, of 10 vertices"):
        layouts.load(path, str(tmp_path / "few.bin"))
    (tmp_path / "odd.bin").write_bytes(bytes(13))
    with pytest.raises(ValueError, match=r"odd\.bin: must hold float32 numbers in rows of three; it has 13 bytes"):
        layouts.load(path, str(tmp_path / "odd.bin"))
    with pytest.raises(ValueError, match="nowhere.obj: cannot be read"):
        layouts.load(str(tmp_path / "nowhere.obj"), "")


@pytest.mark.data
@pytest.mark.slow
def test_the_registered_topology_fits_the_head(test_data):
    assets = test_data / "assets"
    layout = layouts.load(str(assets / "face_topology.obj"), str(assets / "021924.bin"))
    head = layouts.generic_head()
    vertices, used = layout.vertices(head), np.unique(layout.topology.faces)
    off = np.linalg.norm(layout.binding.offset[used], axis=1)
    assert vertices.shape == (7306, 3) and (off == 0).mean() > 0.85 and np.abs(vertices).max() < 256
    template = np.fromfile(assets / "021924.bin", "<f4").reshape(-1, 3).astype(np.float64)
    edges = layout.topology.faces[:, :2]
    ratio = np.linalg.norm(np.diff(vertices[edges], axis=1)[:, 0], axis=1) / np.linalg.norm(np.diff(template[edges], axis=1)[:, 0], axis=1)
    assert 0.8 < np.median(ratio) < 1.1 and np.percentile(ratio, 5) > 0.5 and np.percentile(ratio, 95) < 1.5
