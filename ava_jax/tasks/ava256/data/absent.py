"""What captures lack: cameras without segmentation, splits of which nothing is there."""

from collections.abc import Sequence

import numpy as np

from ava_jax.captures.ava256 import Capture
from ava_jax.captures.capture_set import CaptureSet
from ava_jax.captures.packed import index
from ava_jax.captures.splits import Selection
from ava_jax.core.binding import listed
from ava_jax.data.archive import Archives
from ava_jax.data.frame_files import FrameFiles

_CAPTURES = 2  # that an error goes into
_NO_SCORES = "their images are trained on, and cannot be scored"


def tell_segmentation(captures: CaptureSet, selections: Sequence[Selection]) -> None:
    """Says once, for each capture, which cameras of a split that is to be scored have no zip of segmentations."""
    for capture, selection in zip(captures, selections, strict=True):
        lacking = [f"cam{capture.cameras[i]}.zip" for i in selection.cameras[~with_segmentation(capture, selection.cameras)]]
        if lacking:
            captures.say(f"{capture.decoder / 'segmentation_parts'}: there is no {listed(lacking)}: {_NO_SCORES}")


def with_segmentation(capture: Capture, cameras: np.ndarray) -> np.ndarray:
    """Of cameras, indices int [U], whether their zip of segmentations is there: bool [U]; where all are missing, reading says so."""
    if not capture.has_segmentation:  # the mesh's silhouette stands for it
        return np.ones(len(cameras), bool)
    there = np.array([index.has_stream(capture.segmentation(capture.cameras[i])) for i in cameras], bool)
    return there if there.any() else np.ones(len(there), bool)


def nothing_there(captures: CaptureSet, selections: Sequence[Selection], split: str, *, image: bool, segmentation: bool) -> str:
    """In a line, which files are absent where no sample of a split is there."""
    chosen = [(capture, selection) for capture, selection in zip(captures, selections, strict=True) if selection.count]
    count = sum(selection.count for _, selection in chosen)
    why = "; ".join(_lacks(captures.archives, *one, image=image, segmentation=segmentation) for one in chosen[:_CAPTURES])
    more = f"; and so on in {len(chosen) - _CAPTURES} more captures" if len(chosen) > _CAPTURES else ""
    return f"none of the {count} samples of the split {split!r} is there: {why}{more}. Fetch the files, or see what config.data holds out."


def _lacks(archives: Archives, capture: Capture, selection: Selection, *, image: bool, segmentation: bool) -> str:
    numbers = np.unique(capture.frames[selection.frames]).tolist()
    cameras = [capture.cameras[i] for i in selection.cameras]
    kinds = {"head poses": [capture.head_pose], "meshes": [capture.vertices], "textures": [capture.texture]}
    kinds |= {"images": [capture.image(camera) for camera in cameras]} if image else {}
    kinds |= {"segmentations": [capture.segmentation(camera) for camera in cameras]} if segmentation and capture.has_segmentation else {}
    absent = []
    for kind, paths in kinds.items():
        there = [path for path in paths if isinstance(path, FrameFiles) or index.has_stream(path)]
        if not any(archives.has(path, number) for path in there for number in numbers):
            absent.append(f"no {kind} ({listed([path.relative_to(capture.decoder).as_posix() for path in paths])})")
    frames = f"frames {listed([str(number) for number in numbers])}"
    return f"{capture.decoder} has {', '.join(absent) or 'not one with all of its files'} of {frames}"
