"""The recording, its cameras written in other programs' forms, becomes the same capture by the whole conversion."""

import json
import pathlib

import numpy as np
import pytest

from ava_jax.captures.convert import converting
from ava_jax.captures.rigs import reading


def nerfstudio(rig, folder) -> dict:
    """`transforms.json`: camera to world in OpenGL's axes, pixels counted from the corner."""
    frames = []
    for camera in rig.cameras:
        pose = np.linalg.inv(camera.world_to_camera) @ np.diag([1.0, -1.0, -1.0, 1.0])
        k1, k2, p1, p2 = camera.distortion.coefficients[:4]
        own = {"fl_x": camera.k[0, 0], "fl_y": camera.k[1, 1], "cx": camera.k[0, 2] + 0.5, "cy": camera.k[1, 2] + 0.5}
        own |= {"h": camera.size[0], "w": camera.size[1], "k1": k1, "k2": k2, "p1": p1, "p2": p2, "transform_matrix": pose.tolist()}
        for (name, frame), path in rig.images.items():
            if name == camera.name:
                frames.append(own | {"file_path": str(path), "mask_path": str(rig.masks[name, frame])})
    (folder / "transforms.json").write_text(json.dumps({"camera_model": "OPENCV", "frames": frames}))
    return {"rig": folder / "transforms.json"}


def easymocap(rig, folder) -> dict:
    """`intri.yml` and `extri.yml`: OpenCV's own axes and centres."""
    intri, extri = ['%YAML:1.0', "---", "names:"], ['%YAML:1.0', "---", "names:"]  # fmt: skip

    def matrix(name, values):
        rows, columns = np.atleast_2d(values).shape
        data = ", ".join(f"{x:.17g}" for x in np.ravel(values))
        return [f"{name}: !!opencv-matrix", f"   rows: {rows}", f"   cols: {columns}", "   dt: d", f"   data: [ {data} ]"]

    names = [f'   - "{camera.name}"' for camera in rig.cameras]
    intri, extri = intri + names, extri + names
    for camera in rig.cameras:
        intri += matrix(f"K_{camera.name}", camera.k) + matrix(f"dist_{camera.name}", [*camera.distortion.coefficients[:4], 0.0])
        extri += matrix(f"Rot_{camera.name}", camera.world_to_camera[:3, :3]) + matrix(f"T_{camera.name}", camera.world_to_camera[:3, 3:])
    for name, lines in (("intri", intri), ("extri", extri)):
        (folder / f"{name}.yml").write_text("\n".join(lines) + "\n")
    return {"rig": folder}


@pytest.mark.parametrize("write", [nerfstudio, easymocap])
def test_the_capture_is_the_same(converted, ask, rig, tmp_path, write):
    folder = tmp_path / "other"
    folder.mkdir()
    changes = write(reading.read(rig), folder)
    if write is easymocap:
        changes |= {"images": rig / "images", "masks": rig / "masks"}
    found = converting.convert(ask(tmp_path / "out", **changes), say=lambda line: None)
    once, again = (json.loads((of.folder / "decoder/camera_calibration.json").read_text())["KRT"] for of in (converted, found))
    assert len(once) == len(again) > 2
    for a, b in zip(once, again, strict=True):
        assert a["cameraId"] == b["cameraId"]
        np.testing.assert_allclose(b["K"], a["K"], atol=1e-6)
        np.testing.assert_allclose(b["T"], a["T"], atol=1e-6)
    names = [path.relative_to(converted.folder) for path in sorted(converted.folder.rglob("*.zip"))]
    assert names == [path.relative_to(found.folder) for path in sorted(found.folder.rglob("*.zip"))]
    different = [str(name) for name in names if (converted.folder / name).read_bytes() != (found.folder / name).read_bytes()]
    assert not [name for name in different if pathlib.Path(name).parts[1] in ("image", "segmentation_parts")], different
