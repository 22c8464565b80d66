"""An avatar's frames as files that other programs read: primitives as npz, meshes with a texture as OBJ or PLY."""

import json
import pathlib
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import tqdm
from PIL import Image

from ava_jax.core.mesh import first_uv_of_vertex
from ava_jax.data import files, mesh_files
from ava_jax.tasks.ava256.apps.avatar import Avatar
from ava_jax.tasks.ava256.apps.exported.baking import Baker
from ava_jax.tasks.ava256.data.codes_file import Codes
from ava_jax.tasks.ava256.data.neutrals import Neutral
from ava_jax.tasks.ava256.model.codec import Decoded

FORMATS = ("primitives", "ply", "obj")
RECORD = "export.json"
_MATERIAL = "face"
_PICTURE = (1024, 667)  # of the camera in front, from whose place colours are decoded


class Shown(NamedTuple):
    """Whose avatar is written, in which expressions.

    Attributes:
      identity: the name, of the run's or of a capture.
      neutral: the neutral face, B = 1.
      driver: whose expressions, in words.
      codes: F of them.
    """

    identity: str
    neutral: Neutral
    driver: str
    codes: Codes


class Exporter:
    """Writes frames into a folder; one that was begun with the same request is gone on with."""

    def __init__(self, avatar: Avatar, baker: Callable[[], Baker], volume_radius: float):
        """Of one run.

        Args:
          avatar: the run's.
          baker: makes the one that textures come from, where they are asked for.
          volume_radius: the model's, mm.
        """
        self._avatar, self._baker, self._radius = avatar, baker, volume_radius

    def write(self, folder: pathlib.Path, shown: Shown, kind: str) -> list[str]:
        """Writes every frame that is not there yet, each file whole or not at all, with a progress bar.

        Args:
          folder: new, empty, or begun with the same request.
          shown: who, in which expressions.
          kind: of FORMATS.

        Returns:
          Lines on what was written.

        Raises:
          ValueError: the folder holds something else.
          OSError: it cannot be written.
        """
        request = self._request(shown, kind)
        _begin(folder, request)
        missing = [i for i, one in enumerate(request["frames"]) if not all((folder / name).is_file() for name in one["files"])]
        write = self._primitives_writer(folder) if kind == "primitives" else self._mesh_writer(folder, shown, kind)
        unseen = []
        for i, decoded in tqdm.tqdm(self._decoded(shown, missing), total=len(missing), desc=kind, unit="frame"):
            unseen.append(write(request["frames"][i]["files"], decoded))
        held = sum((folder / name).stat().st_size for one in request["frames"] for name in one["files"])
        lines = [f"{folder}: {shown.identity} with the expressions of {shown.driver}, {len(shown.codes.codes)} frames, {held / 1e6:.1f} MB"]
        if len(missing) < len(request["frames"]):
            lines.append(f"{len(request['frames']) - len(missing)} of them were there already")
        if kind != "primitives" and unseen:
            lines.append(f"up to {100 * max(unseen):.1f}% of a texture is filled in from nearby: primitives have next to no density there")
        return lines

    def _request(self, shown: Shown, kind: str) -> dict[str, Any]:
        codes = shown.codes
        frames = [
            {"files": _names(kind, i), "capture": str(codes.capture[i]), "segment": str(codes.segment[i]), "frame": int(codes.frame[i])}
            for i in range(len(codes.codes))
        ]
        about = {"format": kind, "step": self._avatar.step, "identity": shown.identity, "driver": shown.driver}
        return about | {"units": _UNITS[kind], "frames": frames}

    def _decoded(self, shown: Shown, frames: list[int]) -> Iterator[tuple[int, Decoded]]:
        if not frames:
            return
        position = self._avatar.portrait(*_PICTURE).position
        code = self._avatar.encode_identity(*shown.neutral)
        for i in frames:
            yield i, self._avatar.decode(code, shown.codes.codes[i : i + 1], position)

    def _primitives_writer(self, folder: pathlib.Path) -> Callable[[list[str], Decoded], float]:
        def write(names: list[str], decoded: Decoded) -> float:
            arrays = {name: np.asarray(value, np.float32) for name, value in decoded.primitives._asdict().items()}
            arrays |= {"vertices": np.asarray(decoded.vertices), "volume_radius": np.float32(self._radius)}
            _into(folder / names[0], lambda file: np.savez(file, **arrays))
            return 0.0

        return write

    def _mesh_writer(self, folder: pathlib.Path, shown: Shown, kind: str) -> Callable[[list[str], Decoded], float]:
        baker, topology = self._baker(), self._avatar.topology
        known = self._avatar.identities
        identity = known.index(shown.identity) if shown.identity in known else -1
        uvs = first_uv_of_vertex(topology, len(self._avatar.mean_vertices))

        def write(names: list[str], decoded: Decoded) -> float:
            baked, vertices = baker(decoded, self._radius, identity), np.asarray(decoded.vertices[0])
            mesh, texture, *materials = names
            _into(folder / texture, lambda file: Image.fromarray(baked.texture).save(file, "png"))
            for name in materials:
                _into(folder / name, lambda file: file.write(mesh_files.textured_material(_MATERIAL, texture).encode()))
            if kind == "obj":
                content = mesh_files.textured_obj(topology, vertices, materials[0], _MATERIAL).encode()
            else:
                content = mesh_files.textured_ply(topology, vertices, _at(baked.texture, uvs), texture)
            _into(folder / mesh, lambda file: file.write(content))
            return baked.unseen

        return write


_UNITS = {
    "primitives": "K volumetric primitives of one frame: boxes of D x D x D voxels. position f32 [1, K, 3], centres, and scale f32 "
    "[1, K, 3], 1 over the half-extents along the box's axes, in volume radii (volume_radius mm); rotation f32 [1, K, 3, 3], columns are "
    "the box's axes in head space; rgba f32 [1, K, D, D, D, 4], voxels z, y, x: colour 0-255, before calibration, as seen from 1 m in "
    "front of the face, and density per volume radius, which fades by exp(-8 (x^8 + y^8 + z^8)) in the box's own -1..1; vertices f32 "
    "[1, V, 3], mm. Head space: x to the subject's left, y up, z out of the face. These are no Gaussians: a viewer of Gaussian splats "
    "cannot show them.",
    "obj": "mm, head space: x to the subject's left, y up, z out of the face. The texture is baked from the primitives: each texel is what "
    "a ray straight onto the surface sees of them, with colours as seen from 1 m in front of the face, calibrated.",
}
_UNITS["ply"] = _UNITS["obj"] + " UVs are at the faces' corners (texcoord), the picture's name is a comment; vertices have its colours too."


def _names(kind: str, i: int) -> list[str]:
    """Of a frame's files; the one that readers open comes first."""
    stem = f"frame_{i:05d}"
    return {"primitives": [f"{stem}.npz"], "ply": [f"{stem}.ply", f"{stem}.png"], "obj": [f"{stem}.obj", f"{stem}.png", f"{stem}.mtl"]}[
        kind
    ]


def _begin(folder: pathlib.Path, request: dict[str, Any]) -> None:
    """Makes the folder with the request's record, or finds it there."""
    record, text = folder / RECORD, json.dumps(request, indent=1) + "\n"
    if folder.exists() and any(folder.iterdir()):
        if not record.is_file() or record.read_text() != text:
            raise ValueError(f"{folder}: not empty, and not an export of the same frames; choose another --out, or remove it first.")
        return
    folder.mkdir(parents=True, exist_ok=True)
    files.replace(record, text)


def _into(path: pathlib.Path, write: Callable[[BinaryIO], Any]) -> None:
    with files.writing(path, durable=False) as file:
        write(file)


def _at(texture: np.ndarray, uvs: np.ndarray) -> np.ndarray:
    """The texels at uvs [V, 2]: u8 [V, 3]."""
    size = len(texture)
    column, row = (np.clip(np.floor(size * x), 0, size - 1).astype(int) for x in (uvs[:, 0], 1.0 - uvs[:, 1]))
    return texture[row, column]
