"""An avatar in other hands: a folder that draws it with JAX alone, primitives as npz, meshes with textures as OBJ and PLY."""

import json
import os
import pathlib
import subprocess
import sys

import jax
import numpy as np
import plyfile
import pytest
import trimesh
from PIL import Image

import ava_jax
from ava_jax.core import tracing
from ava_jax.core.mesh import uv_barycentric
from ava_jax.core.types import Cameras, Primitives
from ava_jax.ops import native
from ava_jax.ops.mesh import render_mesh
from ava_jax.run.inference import Inference
from ava_jax.tasks.ava256.apps.exported import bundle, frames, programs
from ava_jax.tasks.ava256.apps.exported.baking import Baker
from ava_jax.tasks.ava256.data import codes_file
from ava_jax.train.checkpoint import restore_model

HEIGHT, WIDTH = 64, 48
# Of what an installation of this package brings along, all that the folder must do without; SciPy comes with JAX.
ABSENT = ("ava_jax", "flax", "optax", "orbax", "ml_collections", "grain", "safetensors", "plyfile", "imageio", "absl")
WITHOUT = "import runpy, sys; sys.modules.update(dict.fromkeys({absent!r})); sys.argv = sys.argv[1:]; "
WITHOUT += "names = runpy.run_path(sys.argv[0], run_name='__main__')"

SAVE = """
import os
import numpy as np
assert not any(sys.modules.get(name) for name in {absent!r})
os.chdir({{folder!r}})
np.save("rgba.npy", names["rgba"])
""".format(absent=ABSENT)


@pytest.fixture(scope="module")
def restored(small_run):
    return restore_model(small_run)


@pytest.fixture(scope="module")
def avatar(small_run):
    return ava_jax.load(small_run)


@pytest.fixture(scope="module")
def neutral(avatar):
    """The first person's neutral face, and the frame that is decoded of it."""
    face = avatar.neutral(avatar.identities[0])
    cameras = avatar.portrait(HEIGHT, WIDTH)
    return face, cameras, avatar.decode(avatar.encode_identity(*face), avatar.encode(*face, *face), cameras.position)


@pytest.fixture(scope="module")
def folder(restored, avatar, tmp_path_factory):
    path = tmp_path_factory.mktemp("exported") / "avatar"
    notes = bundle.write(path, restored.model, avatar, avatar.identities[:1], HEIGHT, WIDTH)
    assert len(notes) == 2 - native.COMPLETE - native.CUDA_BUILT
    return path


def without_the_package(folder, *args, tail="", env=()):
    code = WITHOUT.format(absent=ABSENT) + "\n" + tail
    env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | dict(env) | {"JAX_PLATFORMS": "cpu"}
    done = subprocess.run([sys.executable, "-c", code, folder / "avatar.py", *args], env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(not native.COMPLETE, reason="the compiled module is not built")
def test_the_folder_draws_the_same_picture_with_the_compiled_calls_alone(folder, avatar, neutral, tmp_path):
    without_the_package(folder, tmp_path / "picture.png", "cpu", tail=SAVE.format(folder=str(tmp_path)))
    _check_picture(tmp_path, avatar, neutral)


def test_the_folder_draws_the_same_picture_with_jax_alone(folder, avatar, neutral, tmp_path, compiling_quickly):
    """And any batch, and any part of a picture."""
    tail = (
        SAVE.format(folder=str(tmp_path))
        + """
camera = {name: np.concatenate([value] * 2) for name, value in names["camera"].items()}
camera["position"][1] += 50
two = {name: np.concatenate([np.asarray(value)] * 2) for name, value in names["decoded"].items()}
rows, columns = np.arange(10, 50, dtype=np.float32), np.arange(0, 48, 3, dtype=np.float32)
np.save("two.npy", names["load"]("render")(two, camera, rows, columns, np.array([[-1, -1], [0, 1]], np.int32)))
"""
    )
    without_the_package(folder, tmp_path / "picture.png", "portable", tail=tail, env=compiling_quickly)
    _check_picture(tmp_path, avatar, neutral)
    _, cameras, decoded = neutral
    two = np.load(tmp_path / "two.npy")
    assert two.shape == (2, 40, 16, 4)
    np.testing.assert_allclose(two[0], avatar.render(decoded, cameras, HEIGHT, WIDTH)[0, 10:50, ::3], atol=0.05)
    moved = Cameras(*cameras)._replace(position=np.asarray(cameras.position) + 50)
    own = avatar.render(decoded, moved, HEIGHT, WIDTH, camera=avatar.cameras[0], identity=avatar.identities[1])
    np.testing.assert_allclose(two[1], own[0, 10:50, ::3], atol=0.05)
    assert np.abs(two[1] - two[0]).max() > 1


def _check_picture(folder, avatar, neutral):
    """`picture.png` and `rgba.npy` there are the avatar's own picture."""
    _, cameras, decoded = neutral
    expected = np.asarray(avatar.render(decoded, cameras, HEIGHT, WIDTH))[0]
    np.testing.assert_allclose(np.load(folder / "rgba.npy"), expected, atol=0.05)
    drawn = np.asarray(Image.open(folder / "picture.png")).astype(int)
    assert drawn.shape == (HEIGHT, WIDTH, 4) and np.ptp(drawn[..., 3]) > 100
    seen = expected[..., 3] > 0.1  # where it is all but transparent, colour is divided by next to nothing
    assert np.abs(drawn - ava_jax.to_uint8(expected))[seen].max() <= 2


def test_the_folder_says_what_it_holds(folder, restored, avatar):
    about = json.loads((folder / "avatar.json").read_text())
    held = np.load(folder / "weights.npz")
    ours = programs.weights_of(restored.model)
    for name, one in about["programs"].items():
        assert (folder / one["file"]).is_file() and set(one["weights"]) <= set(held.files), name
        assert not one["calls"] or (folder / one["library"]).is_file()
        exported = jax.export.deserialize(bytearray((folder / one["file"]).read_bytes()))
        assert exported.platforms == (("cpu", "cuda") if "calls" not in one or not one["calls"] else (name.split("-")[1],))
    for name in held.files:
        np.testing.assert_array_equal(held[name], ours[name])
    assert set(held.files) < set(ours), "what nothing reads, such as the backgrounds, stays at home"
    assert about["identities"] == list(avatar.identities) and [one["name"] for one in about["people"]] == list(avatar.identities[:1])
    assert len([line for line in (folder / "avatar.py").read_text().splitlines() if line.strip()]) <= 35
    mesh = trimesh.load(folder / "topology.obj", process=False, maintain_order=True)
    assert len(mesh.faces) == len(avatar.topology.faces)


def test_programs_for_gpus_are_lowered_here_with_their_custom_call(restored):
    if not native.CUDA_BUILT:
        pytest.skip("the CUDA module is not built")
    program = programs.export_function(restored.model, "render", "gpu", programs.Sizes(None, HEIGHT, WIDTH))
    assert program.calls == ("ava_raymarch_forward",)
    exported = jax.export.deserialize(bytearray(program.content))
    assert exported.platforms == ("cuda",) and exported.out_avals[0].shape[1:] == (HEIGHT, WIDTH, 4)


def test_what_cannot_be_exported_is_told(restored, avatar, tmp_path):
    with pytest.raises(ValueError, match="name must be one of encode_identity, encode, decode, render; got 'draw'"):
        programs.export_function(restored.model, "draw", "portable")
    with pytest.raises(ValueError, match="target must be one of portable, cpu, gpu; got 'tpu'"), tracing.traced_for("tpu"):
        pass
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ValueError, match="not empty, and not to be overwritten"):
        bundle.write(tmp_path, restored.model, avatar, avatar.identities[:1], HEIGHT, WIDTH)
    with pytest.raises(ValueError, match="has no neutral face of nobody|there is no identity 'nobody'"):
        bundle.write(tmp_path / "new", restored.model, avatar, ["nobody"], HEIGHT, WIDTH)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.txt"]


@pytest.fixture(scope="module")
def shown(avatar, neutral):
    face = neutral[0]
    codes = np.concatenate([np.asarray(avatar.encode(*face, *face)), np.full((1, 4, 4, 16), 0.5, np.float32)])
    return frames.Shown(avatar.identities[0], face, "two codes", codes_file.of(codes, ["A", "B"], ["EXP_x", "EXP_y"], [3, 70]))


@pytest.fixture(scope="module")
def baker(restored, avatar):
    return Baker(Inference(restored.model).compile, avatar.topology, 128)


@pytest.fixture(scope="module")
def exporter(restored, avatar, baker):
    return frames.Exporter(avatar, lambda: baker, restored.config.model.volume_radius)


def test_primitives_draw_the_frame_again(exporter, shown, avatar, neutral, tmp_path):
    lines = exporter.write(tmp_path / "out", shown, "primitives")
    assert "with the expressions of two codes, 2 frames" in lines[0]
    held = [np.load(tmp_path / "out" / f"frame_0000{i}.npz") for i in (0, 1)]
    _, cameras, decoded = neutral
    primitives = Primitives(*(held[0][field] for field in Primitives._fields))
    drawn = avatar.render(decoded._replace(primitives=primitives), cameras, HEIGHT, WIDTH)
    front = avatar.decode(avatar.encode_identity(*shown.neutral), shown.codes.codes[:1], avatar.portrait(1024, 667).position)
    np.testing.assert_allclose(drawn, avatar.render(front, cameras, HEIGHT, WIDTH), atol=1e-3)
    np.testing.assert_array_equal(held[0]["vertices"], front.vertices)
    assert held[0]["volume_radius"] == 256.0 and np.abs(held[1]["rgba"] - held[0]["rgba"]).max() > 1
    record = json.loads((tmp_path / "out" / "export.json").read_text())
    assert [(one["capture"], one["segment"], one["frame"]) for one in record["frames"]] == [("A", "EXP_x", 3), ("B", "EXP_y", 70)]


@pytest.mark.parametrize("kind", ["obj", "ply"])
def test_meshes_open_elsewhere_with_the_texture_of_the_frame(exporter, shown, avatar, tmp_path, kind):
    out = tmp_path / "out"
    exporter.write(out, shown, kind)
    mesh = trimesh.load(out / f"frame_00000.{kind}", process=False, maintain_order=True)
    front = avatar.decode(avatar.encode_identity(*shown.neutral), shown.codes.codes[:1], avatar.portrait(1024, 667).position)
    vertices, topology = np.asarray(front.vertices[0]), avatar.topology
    # A reader may split vertices at seams: corners are what stays.
    np.testing.assert_allclose(mesh.vertices[mesh.faces], vertices[topology.faces], atol=1e-3)
    np.testing.assert_allclose(mesh.visual.uv[mesh.faces], topology.uvs[topology.face_uvs], atol=1e-5)
    image = mesh.visual.material.image if kind == "obj" else mesh.visual.material.baseColorTexture
    texture = np.asarray(image)[..., :3]
    np.testing.assert_array_equal(texture, np.asarray(Image.open(out / "frame_00000.png")))
    if kind == "ply":
        ply = plyfile.PlyData.read(out / "frame_00000.ply")
        assert ply.comments == ["TextureFile frame_00000.png"] and ply["vertex"]["red"].std() > 1


def test_a_texture_shows_what_colours_lie_on_the_surface(baker, avatar, neutral):
    """Of dense primitives in the colours of where they are: so are the texels, and the mesh drawn with them."""

    def colour_at(points):  # mm
        return 120.0 + 0.5 * (points - avatar.middle)

    decoded = neutral[2]
    position = np.asarray(decoded.primitives.position)
    rgba = np.full(decoded.primitives.rgba.shape, 2000.0, np.float32)
    rgba[..., :3] = colour_at(256.0 * position)[:, :, None, None, None]
    decoded = decoded._replace(primitives=decoded.primitives._replace(rgba=rgba))
    baked = baker(decoded, 256.0, -1)
    assert baked.unseen < 0.05
    index, weights = uv_barycentric(avatar.topology, 128)
    points = np.einsum("ijc,ijcl->ijl", weights, np.asarray(decoded.vertices[0])[index])
    error = np.abs(baked.texture - np.clip(colour_at(points), 0, 255))
    assert np.median(error) < 3, np.median(error)
    assert np.median(np.abs(baked.texture[::-1] - np.clip(colour_at(points), 0, 255))) > 10
    cameras = Cameras(*map(np.asarray, avatar.portrait(96, 72)))
    chart = {"uvs": avatar.topology.uvs, "uv_faces": avatar.topology.face_uvs, "texture": baked.texture[::-1].astype(np.float32)}
    drawn = render_mesh(decoded.vertices, avatar.topology.faces, cameras, 96, 72, **chart)
    own = np.asarray(avatar.render(decoded, cameras, 96, 72))[0]
    inside = (np.asarray(drawn.mask[0]) > 0) & (own[..., 3] > 0.99)
    assert inside.mean() > 0.1 and np.median(np.abs(np.asarray(drawn.colour[0]) - own[..., :3])[inside]) < 5


def test_an_export_that_was_stopped_goes_on(exporter, shown, tmp_path):
    out = tmp_path / "out"
    exporter.write(out, shown, "primitives")
    first, second = out / "frame_00000.npz", out / "frame_00001.npz"
    content, stamp = second.read_bytes(), first.stat().st_mtime_ns
    second.unlink()
    lines = exporter.write(out, shown, "primitives")
    assert second.read_bytes() == content and first.stat().st_mtime_ns == stamp and "1 of them were there already" in lines
    with pytest.raises(ValueError, match="not an export of the same frames; choose another --out"):
        exporter.write(out, shown._replace(driver="others"), "primitives")
    assert not list(pathlib.Path(out).glob(".*"))
