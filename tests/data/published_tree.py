"""A tiny ava-256 as it is published, for a local server: two captures of four cameras and twelve frames."""

import io
import json
import random
import zipfile

from ava_jax.captures import published

ONE, TWO = "20230405--1635--AAN112", "20230324--0820--AEY864"
SEGMENTS = {"EXP_neutral_peak": range(100, 103), "EXP_jaw": range(200, 206), "EXP_free_face": range(300, 303)}
CAMERAS = {ONE: ("400002", "401031", "401168", "401875"), TWO: ("400002", "402040", "401031", "400009")}
CSV = "mcd,sid,mct\n20230405,AAN112,1635\n20230324,AEY864,820\n"  # a spreadsheet took the zero


def zipped(rng: random.Random, names) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name in names:
            archive.writestr(zipfile.ZipInfo(name), rng.randbytes(3000))
    return out.getvalue()


def capture(name: str, size: str = "4TB", *, segments=SEGMENTS) -> dict[str, bytes]:
    """Files of a capture, by their paths on the server."""
    rng, root = random.Random(name + size), f"{size}/{name}"
    rows = [(segment, number) for segment, numbers in segments.items() for number in numbers]
    table = "seg_id,frame_id\n" + "".join(f"{segment},{number}\n" for segment, number in rows)
    cameras = CAMERAS[name]
    files = {
        published.CALIBRATION: json.dumps({"KRT": [{"cameraId": camera} for camera in cameras]}).encode(),
        published.FRAMES: table.encode(),
        published.HEADSET_FRAMES: table.encode(),
    }
    numbers = sorted({number for _, number in rows})
    for asset in published.ASSETS.values():
        if asset.only in ("", size) and not asset.of_data_set:
            plain = {path: zipped(rng, cameras) if path.endswith(".zip") else rng.randbytes(500) for path in asset.files}
            files = plain | files
            files |= {path: zipped(rng, [f"{number:06d}.bin" for number in numbers]) for path in asset.zips}
            files |= {
                f"{asset.cameras}/cam{camera}.zip": zipped(rng, [f"cam{camera}/{number:06d}.avif" for number in numbers])
                for camera in cameras
                if asset.cameras
            }
    return {f"{root}/{path}": content for path, content in files.items()}


def tree() -> dict[str, bytes]:
    """Both captures at 4TB, and the checkpoint."""
    checkpoint = {f"4TB/{published.CHECKPOINT}": zipped(random.Random(0), ["archive/data.pkl", "archive/data/0"])}
    return capture(ONE) | capture(TWO) | checkpoint
