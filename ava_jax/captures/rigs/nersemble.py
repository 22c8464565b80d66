"""NeRSemble: camera_params.json of a person (world to camera, metres, one K for all cameras), and pictures that are in mp4.

Videos are read by `extract`, which writes their frames where `read` looks for them.
"""

import pathlib
from collections.abc import Sequence

import numpy as np

from ava_jax.captures.rigs import building, pictures, values
from ava_jax.captures.rigs.types import Rig, RigCamera
from ava_jax.data import text_files

SIZE = (3208, 2200)  # of the sensors, to which K belongs; videos may be half
_FORM = '{"world_2_cam": {"222200036": [4 x 4], ...}, "intrinsics": [3 x 3]}'


def file_of(path: pathlib.Path) -> pathlib.Path | None:
    """camera_params.json of a path: the file, a person's folder, or one of its sequences; None where there is none."""
    if path.is_file():
        return path if path.name == "camera_params.json" else None
    candidates = [path / "calibration", path, path.parent.parent / "calibration" if path.parent.name == "sequences" else path]
    return next((folder / "camera_params.json" for folder in candidates if (folder / "camera_params.json").is_file()), None)


def read(path: pathlib.Path, images: pathlib.Path | None = None) -> Rig:
    """The rig of a person, or of one of its sequences.

    Args:
      path: camera_params.json, a person's folder, or sequences/SEQ in it.
      images: folder with cam_<serial>/<frame>.png; None is the sequence's `images`.

    Raises:
      ValueError: the file is missing or wrong, or frames of several sequences are there and none is named.
    """
    file = file_of(path)
    if file is None:
        raise ValueError(f"{path}: must hold calibration/camera_params.json, {_FORM}.")
    person = file.parent.parent if file.parent.name == "calibration" else file.parent
    cameras = _cameras(file)
    notes = ["NeRSemble, metres; K is that of 3208 x 2200 (height x width) pixels, scaled to pictures of another size"]
    folder = images or _frames(path, person, notes)
    named = [RigCamera(f"cam_{name}", SIZE, k, pose) for name, k, pose in cameras]
    rig = building.of_cameras(file, named, [folder] if folder else [], [], mm_per_unit=1000.0)
    sized = tuple(_scaled(camera, rig, file) for camera in rig.cameras)
    if (person / "calibration" / "color_calibration.json").is_file():
        notes.append("color_calibration.json (colour matrices in linear sRGB) is there and not used")
    if list(person.glob("sequences/BACKGROUND/image_*.jpg")):
        notes.append("backgrounds lie in sequences/BACKGROUND/image_<serial>.jpg")
    short = {camera.name: camera.name.removeprefix("cam_") for camera in sized}
    return Rig(
        tuple(RigCamera(short[c.name], c.size, c.k, c.world_to_camera) for c in sized),
        {(short[name], frame): picture for (name, frame), picture in rig.images.items()},
        {(short[name], frame): picture for (name, frame), picture in rig.masks.items()},
        mm_per_unit=1000.0,
        notes=tuple(notes),
    )


def _cameras(file: pathlib.Path) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """Serial number, K and pose of each camera."""
    tree = text_files.read_json(file)
    poses = tree.get("world_2_cam") if isinstance(tree, dict) else None
    if not isinstance(poses, dict) or not poses or "intrinsics" not in tree:
        raise ValueError(f"{file}: must be {_FORM}.")
    try:
        k = values.require_pinhole(values.array(tree["intrinsics"], (3, 3), "intrinsics"))
    except ValueError as e:
        raise ValueError(f"{file}: {e}.") from e
    found = []
    for name, rows in poses.items():
        try:
            if not name.strip():
                raise ValueError("must have a serial number as its name")
            matrix = values.array(rows, (4, 4), "world_2_cam")
            if np.abs(matrix[3] - [0, 0, 0, 1]).max() > 1e-6:
                raise ValueError(f"world_2_cam must end in the row 0 0 0 1; got {matrix[3].tolist()}")
            found.append((name, k, values.pose(matrix[:3, :3], matrix[:3, 3])))
        except ValueError as e:
            raise ValueError(f"{file}: camera {name[:40]!r}: {e}.") from e
    return found


def _frames(path: pathlib.Path, person: pathlib.Path, notes: list[str]) -> pathlib.Path | None:
    """The folder of extracted frames; notes say how to get them where there are none."""
    sequences = [path] if path.parent.name == "sequences" else sorted(p for p in person.glob("sequences/*") if p.is_dir())
    extracted = [s for s in sequences if any(p.is_dir() for p in (s / "images").glob("cam_*"))]
    if len(extracted) > 1:
        names = ", ".join(s.name for s in extracted[:4])
        raise ValueError(
            f"{person}: frames of several sequences are there ({names}), whose numbers are the same; name one: {extracted[0]}."
        )
    if extracted:
        return extracted[0] / "images"
    videos = [s for s in sequences if any((s / "images").glob("cam_*.mp4"))]
    if videos:
        notes.append(
            f"pictures are in videos ({len(videos)} sequences, 73 fps): ava_jax.captures.rigs.nersemble.extract writes their frames; or, "
            "per video, mkdir cam_SERIAL; ffmpeg -i cam_SERIAL.mp4 -start_number 0 -qscale:v 2 cam_SERIAL/%06d.jpg"
        )
    else:
        notes.append(f"no videos and no frames in {person / 'sequences'}")
    return None


def _scaled(camera: RigCamera, rig: Rig, file: pathlib.Path) -> RigCamera:
    """The camera with K of its pictures' size: a pixel's centre stays where it is, (c + 1/2) s - 1/2."""
    picture = next((path for (name, _), path in rig.images.items() if name == camera.name), None)
    if picture is None:
        return camera
    size = pictures.size(picture)
    across, down = size[1] / SIZE[1], size[0] / SIZE[0]
    if abs(across / down - 1) > 0.01:
        raise ValueError(f"{picture}: must be of the aspect of {SIZE[0]} x {SIZE[1]} (h x w), of {file.name}; got {size[0]} x {size[1]}.")
    k = camera.k.copy()
    k[0, :2] *= across
    k[1, :2] *= down
    k[:2, 2] = (camera.k[:2, 2] + 0.5) * [across, down] - 0.5
    return RigCamera(camera.name, size, k, camera.world_to_camera)


def extract(sequence: pathlib.Path, *, every: int = 1, cameras: Sequence[str] = (), suffix: str = ".jpg") -> int:
    """Writes the frames of a sequence's videos, images/cam_<serial>.mp4, into images/cam_<serial>/<frame>.

    Args:
      sequence: folder sequences/SEQ of a person.
      every: nth frame that is written; its number stays that of the video.
      cameras: serial numbers; () is all.
      suffix: of the pictures: .jpg or .png.

    Returns:
      How many pictures there are then; those that were there are kept.

    Raises:
      ValueError: there is no such video, or one cannot be read.
    """
    import imageio.v3
    from PIL import Image

    videos = sorted((sequence / "images").glob("cam_*.mp4"))
    videos = [v for v in videos if not cameras or v.stem.removeprefix("cam_") in cameras]
    if not videos or every < 1 or suffix not in (".jpg", ".png"):
        raise ValueError(f"{sequence}: must hold images/cam_<serial>.mp4; every must be 1 or more, suffix .jpg or .png.")
    count = 0
    for video in videos:
        folder = video.with_suffix("")
        folder.mkdir(exist_ok=True)
        try:
            for number, picture in enumerate(imageio.v3.imiter(video, plugin="FFMPEG")):
                target = folder / f"{number:06d}{suffix}"
                if number % every == 0:
                    count += 1
                    if not target.exists():
                        part = target.with_name(f".{target.name}")
                        Image.fromarray(picture).save(part, format="JPEG" if suffix == ".jpg" else "PNG", quality=95)
                        part.rename(target)
        except (OSError, RuntimeError) as e:
            raise ValueError(f"{video}: cannot be read as a video ({' '.join(str(e).split())[:200]}).") from e
    return count
