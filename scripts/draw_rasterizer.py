"""Runs the blocks of docs/guide/rasterizer.md and draws its pictures from what they leave.

python scripts/draw_rasterizer.py --out=docs/images
"""

import pathlib
import re

import numpy as np
from absl import app, flags
from PIL import Image, ImageDraw

from ava_jax.ops import mesh
from ava_jax.viz import sheet

PAGE = pathlib.Path(__file__).resolve().parents[1] / "docs" / "guide" / "rasterizer.md"
_HEIGHT, _WIDTH, _MOST_BYTES = 256, 200, 100_000


def run_page() -> dict:
    """Runs the page's blocks of Python in order; the names that they leave. Errors name the page's own lines."""
    page, names = PAGE.read_text(), {}
    for block in re.finditer(r"^```python\n(.*?)^```", page, re.M | re.S):
        line = page[: block.start()].count("\n") + 1
        exec(compile("\n" * line + block[1], str(PAGE), "exec"), names)  # noqa: S102
    return names


def draw(names: dict) -> dict[str, list[tuple[str, np.ndarray]]]:
    """Pictures of the page, u8 [H, W, 3] each under its caption, by the name of their file."""
    drawn, cameras_around = names["drawn"], names["cameras_around"]
    depth = np.asarray(drawn.depth[0])
    near, far = depth[depth > 0].min(), depth.max()
    grey = np.where(depth > 0, 1 - 0.8 * (depth - near) / (far - near), 0)[..., None].repeat(3, -1)
    side = cameras_around([30], _HEIGHT, _WIDTH)
    unseen = cameras_around([15], _HEIGHT, _WIDTH)
    true_camera, camera_of = names["true_camera"], names["camera_of"]
    poses = [("start", camera_of(names["first_pose"])), ("found", camera_of(names["solved"].x)), ("the picture", true_camera)]
    return {
        "rasterizer": [
            ("colour", _bytes(drawn.colour[0])), ("depth", _bytes(grey)), ("normals", _bytes(0.5 + 0.5 * np.asarray(drawn.normals[0])))
        ],
        "rasterizer_sphere": [
            ("start", _shaded(100 * names["ball"], names["ball_faces"], side)),
            ("after 150 steps", _shaded(names["hull"], names["ball_faces"], side)),
            ("the head", _shaded(names["points"], names["faces"], side)),
        ],
        "rasterizer_texture": [
            (caption, _textured(names, names[texture], unseen))
            for caption, texture in (("start", "grey"), ("after 60 steps", "painted"), ("the head", "texture"))
        ],
        "rasterizer_camera": [(caption, _with_landmarks(names, camera)) for caption, camera in poses],
    }  # fmt: skip


def _bytes(picture) -> np.ndarray:
    return np.uint8(np.clip(np.asarray(picture), 0, 1) * 255 + 0.5)


def _shaded(points, faces, camera) -> np.ndarray:
    seen = mesh.render_mesh(np.asarray(points)[None], faces, camera, _HEIGHT, _WIDTH, outputs=("normals", "mask"))
    facing = np.asarray(seen.normals[0]) @ -camera.rotation[0][2]
    return _bytes((np.asarray(seen.mask[0]) * (0.1 + 0.85 * np.clip(facing, 0, 1)))[..., None].repeat(3, -1))


def _textured(names, texture, camera) -> np.ndarray:
    seen = mesh.render_mesh(
        names["points"][None], names["faces"], camera, _HEIGHT, _WIDTH, texture=texture, uvs=names["uvs"], background=1.0
    )
    return _bytes(seen.colour[0])


def _with_landmarks(names, camera) -> np.ndarray:
    """The head, its landmarks as rings where this camera sees them, and as dots where the picture shows them."""
    picture = Image.fromarray(_textured(names, names["texture"], camera))
    pen = ImageDraw.Draw(picture)
    for x, y in np.asarray(names["shown"]):
        pen.ellipse((x - 2, y - 2, x + 2, y + 2), fill=(0, 160, 255))
    for x, y in np.asarray(names["pixels"](camera)):
        pen.ellipse((x - 5, y - 5, x + 5, y + 5), outline=(230, 60, 0), width=2)
    return np.asarray(picture)


def main(_) -> None:
    for name, panels in draw(run_page()).items():
        picture = sheet.compose([sheet.Strip("", tuple(panels))], columns=1, height=_HEIGHT)
        (pathlib.Path(_OUT.value) / f"{name}.jpg").write_bytes(sheet.jpeg(picture, _MOST_BYTES))


if __name__ == "__main__":
    _OUT = flags.DEFINE_string("out", None, "Folder for the pictures.", required=True)
    app.run(main)
