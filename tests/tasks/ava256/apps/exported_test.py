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
from ava_jax.run.programs import ModelPrograms
from ava_jax.tasks.ava256.apps.avatar import Avatar
from ava_jax.tasks.ava256.apps.exported import bundle, frames, programs
from ava_jax.tasks.ava256.apps.exported.baking import Baker
from ava_jax.tasks.ava256.data import codes_file
from ava_jax.train.checkpoint import restore_model

HEIGHT, WIDTH = 64, 48
REPOSITORY = pathlib.Path(__file__).resolve().parents[4]
# Of what an installation of this package brings along, all that the folder must do without; SciPy comes with JAX.
ABSENT = ("ava_jax", "flax", "optax", "orbax", "ml_collections", "grain", "safetensors", "plyfile", "imageio", "absl")
WITHOUT = f"""
import os, runpy, sys
sys.modules.update(dict.fromkeys({ABSENT!r}))
import numpy as np
"""


@pytest.fixture(scope="module")
def restored(small_run):
    return restore_model(small_run)


@pytest.fixture(scope="module")
def exporting(restored):
    return ModelPrograms(restored.model)


@pytest.fixture(scope="module")
def avatar(small_run, restored):
    return Avatar(Inference(restored.model).compile, restored.config, restored.assets, small_run, restored.step)


@pytest.fixture(scope="module")
def neutral(avatar):
    """The first person's neutral face, and the frame that is decoded of it."""
    face = avatar.neutral(avatar.identities[0])
    cameras = avatar.portrait(HEIGHT, WIDTH)
    return face, cameras, avatar.decode(avatar.encode_identity(*face), avatar.encode(*face, *face), cameras.position)


@pytest.fixture(scope="module")
def folder(exporting, restored, avatar, tmp_path_factory):
    path = tmp_path_factory.mktemp("exported") / "avatar"
    notes = bundle.write(path, exporting, restored.model, avatar, avatar.identities[:1], HEIGHT, WIDTH)
    assert len(notes) == 2 - native.COMPLETE - native.CUDA_BUILT
    return path


def without_the_package(code, env=()):
    """Runs Python in a process that finds nothing of ABSENT."""
    env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | dict(env) | {"JAX_PLATFORMS": "cpu"}
    check = f"\nassert not any(sys.modules.get(name) for name in {ABSENT!r})"
    done = subprocess.run([sys.executable, "-c", WITHOUT + code + check], env=env, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(not native.COMPLETE, reason="the compiled module is not built")
def test_the_example_draws_the_avatars_own_picture(folder, avatar, neutral, tmp_path, compiling_quickly):
    """With the compiled calls, which the folder brings along."""
    code = f"""
sys.argv = ["avatar.py", {str(tmp_path / "picture.png")!r}, "cpu"]
np.save({str(tmp_path / "rgba.npy")!r}, runpy.run_path({str(folder / "avatar.py")!r}, run_name="__main__")["rgba"])
"""
    without_the_package(code, compiling_quickly)
    _, cameras, decoded = neutral
    expected = np.asarray(avatar.render(decoded, cameras, HEIGHT, WIDTH))[0]
    np.testing.assert_allclose(np.load(tmp_path / "rgba.npy"), expected, atol=0.05)
    drawn = np.asarray(Image.open(tmp_path / "picture.png")).astype(int)
    assert drawn.shape == (HEIGHT, WIDTH, 4) and np.ptp(drawn[..., 3]) > 100
    seen = expected[..., 3] > 0.1  # where it is all but transparent, colour is divided by next to nothing
    assert np.abs(drawn - ava_jax.to_uint8(expected))[seen].max() <= 2


def test_plain_jax_draws_any_batch_and_any_part_of_the_same_picture(folder, avatar, neutral, tmp_path, compiling_quickly):
    code = f"""
names = runpy.run_path({str(folder / "avatar.py")!r})
face = [np.load(names["HERE"] / names["ABOUT"]["people"][0]["file"])[part] for part in ("texture", "vertices")]
camera = {{name: np.concatenate([np.array(value, np.float32)] * 2) for name, value in names["ABOUT"]["camera"].items()}}
identity, expression = names["load"]("encode_identity")(*face), names["load"]("encode")(*face, *face)
decoded = names["load"]("decode")(identity, expression, camera["position"][:1])
two = {{name: np.concatenate([np.asarray(value)] * 2) for name, value in decoded.items()}}
rows, columns = np.arange(10, 50, dtype=np.float32), np.arange(0, {WIDTH}, 3, dtype=np.float32)
camera["position"][1] += 50
rgba = names["load"]("render")(two, camera, rows, columns, np.array([[-1, -1], [0, 1]], np.int32))
np.save({str(tmp_path / "rgba.npy")!r}, rgba)
"""
    without_the_package(code, compiling_quickly)
    rgba = np.load(tmp_path / "rgba.npy")
    assert rgba.shape == (2, 40, 16, 4) and np.abs(rgba[1] - rgba[0]).max() > 1
    _, cameras, decoded = neutral
    np.testing.assert_allclose(rgba[0], avatar.render(decoded, cameras, HEIGHT, WIDTH)[0, 10:50, ::3], atol=0.05)
    moved = Cameras(*cameras)._replace(position=np.asarray(cameras.position) + 50)
    own = avatar.render(decoded, moved, HEIGHT, WIDTH, camera=avatar.cameras[0], identity=avatar.identities[1])
    np.testing.assert_allclose(rgba[1], own[0, 10:50, ::3], atol=0.05)


def test_the_folder_says_what_it_holds(folder, exporting, avatar):
    about = json.loads((folder / "avatar.json").read_text())
    held = np.load(folder / "weights.npz")
    ours = exporting.weights
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


def test_programs_for_gpus_are_lowered_here_with_their_custom_call(exporting, restored):
    if not native.CUDA_BUILT:
        pytest.skip("the CUDA module is not built")
    program = programs.export_function(exporting, restored.model, "render", "gpu", programs.Sizes(None, HEIGHT, WIDTH))
    assert program.calls == ("ava_raymarch_forward",)
    exported = jax.export.deserialize(bytearray(program.content))
    assert exported.platforms == ("cuda",) and exported.out_avals[0].shape[1:] == (HEIGHT, WIDTH, 4)


def test_what_cannot_be_exported_is_told(exporting, restored, avatar, tmp_path):
    with pytest.raises(ValueError, match="name must be one of encode_identity, encode, decode, render; got 'draw'"):
        programs.export_function(exporting, restored.model, "draw", "portable")
    with pytest.raises(ValueError, match="target must be one of portable, cpu, gpu; got 'tpu'"), tracing.traced_for("tpu"):
        pass
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ValueError, match="not empty, and not to be overwritten"):
        bundle.write(tmp_path, exporting, restored.model, avatar, avatar.identities[:1], HEIGHT, WIDTH)
    with pytest.raises(ValueError, match="has no neutral face of nobody|there is no identity 'nobody'"):
        bundle.write(tmp_path / "new", exporting, restored.model, avatar, ["nobody"], HEIGHT, WIDTH)
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
    texture = np.asarray(mesh.visual.material.image)[..., :3]
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
    expected = np.clip(colour_at(points), 0, 255)
    error, others = (np.median(np.abs(texture - expected)) for texture in (baked.texture, baked.texture[::-1]))
    assert error < 6 and others > 3 * error, "boxes of this model are 50 mm wide; one colour's step is 2 mm"
    cameras = Cameras(*map(np.asarray, avatar.portrait(96, 72)))
    chart = {"uvs": avatar.topology.uvs, "uv_faces": avatar.topology.face_uvs, "texture": baked.texture[::-1].astype(np.float32)}
    drawn = render_mesh(decoded.vertices, avatar.topology.faces, cameras, 96, 72, **chart)
    own = np.asarray(avatar.render(decoded, cameras, 96, 72))[0]
    inside = (np.asarray(drawn.mask[0]) > 0) & (own[..., 3] > 0.99)
    assert inside.mean() > 0.1 and np.median(np.abs(np.asarray(drawn.colour[0]) - own[..., :3])[inside]) < 8


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


def command(*args, env=()):
    line = [sys.executable, "-m", "ava_jax.bin.ava", "export", *map(str, args)]
    env = os.environ | {"JAX_PLATFORMS": "cpu"} | dict(env)
    return subprocess.run(line, cwd=REPOSITORY, env=env, capture_output=True, text=True, timeout=900)


def test_a_drivers_segment_is_exported_by_the_command(small_run, tiny_capture, avatar, tmp_path, compiling_quickly):
    capture = next(path.parent for path in sorted(tiny_capture.glob("*/decoder")) if path.parent.name == avatar.identities[1])
    row = (capture / "decoder" / "frame_list.csv").read_text().splitlines()[1].split(",")
    segment = next(cell for cell in row if not cell.isdigit())
    who = f"--identity={avatar.identities[0].rpartition('--')[2]}", f"--driver={capture.name}", f"--segment={segment}"
    out = tmp_path / "out"
    done = command(
        f"--workdir={small_run}",
        f"--data={tiny_capture}",
        "--format=primitives",
        f"--out={out}",
        *who,
        "--max_frames=2",
        env=compiling_quickly,
    )
    assert done.returncode == 0, done.stderr
    record = json.loads((out / "export.json").read_text())
    assert record["identity"] == avatar.identities[0] and record["driver"] == capture.name and 1 <= len(record["frames"]) <= 2
    numbers = [line.split(",") for line in (capture / "decoder" / "frame_list.csv").read_text().splitlines()]
    assert all([one["segment"], str(one["frame"])] in [sorted(row, key=str.isdigit)[:2] for row in numbers] for one in record["frames"])
    assert np.isfinite(np.load(out / record["frames"][0]["files"][0])["rgba"]).all()


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (("--out=x", "--format=obj", "--height=4"), "--height is of --format=jax; this is obj."),
        (("--out=x", "--format=jax", "--driver=codes.npz"), "--driver is of --format=primitives or ply or obj; this is jax."),
    ],
)
def test_flags_that_do_not_fit_are_one_line(args, says):
    done = command(*args)
    assert done.returncode != 0 and says in done.stderr and "Traceback" not in done.stderr
