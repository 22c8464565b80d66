"""ava-256 as it is published: addresses, assets and their files, the list of captures; `published_choice` takes some of them.

An address is `<base><size>/<mcd>--<mct>--<sid>/<decoder|encoder>/<path>`; on disk the same without base and size, below one folder.
"""

import csv
import io
import pathlib
import re
from collections.abc import Sequence
from typing import NamedTuple

from ava_jax.core.names import pick
from ava_jax.data import text_files
from ava_jax.data.download import manifest
from ava_jax.data.download.engine import Download, Item

BASE = "https://fb-baas-f32eacb9-8abb-11eb-b2b8-4857dd089e15.s3.amazonaws.com/ava-256/"
SIZES = ("4TB", "8TB", "16TB", "32TB")  # 7.5, 15, 7.5, 15 frames per second; images of 1024 x 667, twice that from 16TB on
FRONTAL = ("401168", "401875", "402040", "401031")  # the first that a capture has is its frontal camera
CALIBRATION = "decoder/camera_calibration.json"
FRAMES, HEADSET_FRAMES = "decoder/frame_list.csv", "encoder/frame_list.csv"
CHECKPOINT = "checkpoints/decoder/aeparams_1440000.pt"
ALL = "all"
_CHECKPOINT_SIZE = "4TB"  # the only folder that has it
_HEADSET = ("cyclop", "left-eye-atl-temporal", "left-mouth", "right-eye-atl-temporal", "right-mouth")
_STATISTICS = (
    "decoder/uv_image/color_mean.png",
    "decoder/uv_image/color_variance.txt",
    "decoder/kinematic_tracking/registration_vertices_mean.npy",
    "decoder/kinematic_tracking/registration_vertices_variance.txt",
)
_NAME = re.compile(r"\d{8}--\d{4}--[A-Za-z0-9]+")
_LIST = (
    "the list of captures, 256_ids.csv, is a file of the published project (github.com/facebookresearch/ava-256); "
    "give it as --captures_file=FILE, or name captures whole, as in --captures=20230324--0820--AEY864"
)


class Asset(NamedTuple):
    """Files of a capture that belong together.

    Attributes:
      files: that are fetched as they are.
      zips: of frames, of which members may be selected.
      cameras: a folder with such a zip for each camera, cam<id>.zip.
      frames: the frame list that the zips follow.
      optional: not one of "all".
      only: the one size that has it; "" is all.
      of_data_set: there is one for all captures.
    """

    files: tuple[str, ...] = ()
    zips: tuple[str, ...] = ()
    cameras: str = ""
    frames: str = FRAMES
    optional: bool = False
    only: str = ""
    of_data_set: bool = False


ASSETS = {
    "camera_calibration": Asset((CALIBRATION,)),
    "frame_list": Asset((FRAMES,)),
    "head_pose": Asset(zips=("decoder/head_pose/head_pose.zip",)),
    "keypoints_3d": Asset(zips=("decoder/keypoints_3d/keypoints_3d.zip",)),
    "kinematic_tracking": Asset(_STATISTICS[2:], ("decoder/kinematic_tracking/registration_vertices.zip",)),
    "uv_image": Asset(_STATISTICS[:2], ("decoder/uv_image/color.zip",)),
    "image": Asset(cameras="decoder/image"),
    "segmentation_parts": Asset(cameras="decoder/segmentation_parts"),
    "encoder": Asset((HEADSET_FRAMES,), tuple(f"encoder/image/cam-{name}.zip" for name in _HEADSET), frames=HEADSET_FRAMES),
    "statistics": Asset(_STATISTICS, optional=True),
    "background_image": Asset(("decoder/background_image/background_image.zip",), optional=True, only="4TB"),
    "foreground_masks": Asset(cameras="decoder/foreground_masks", optional=True, only="4TB"),
    "expression_codes": Asset(("decoder/expression_codes/aeparams_1440000.pkl",), optional=True, only="4TB"),
    "encoder_labels": Asset(("encoder/encodings_gt.pt", "encoder/encodings_framelist.csv"), optional=True, only="4TB"),
    "checkpoint": Asset((CHECKPOINT,), optional=True, of_data_set=True),
}


def item(base: str, size: str, capture: str, path: str, group: str) -> Item:
    """A file of a capture."""
    return Item(f"{capture}/{path}", f"{base}{size}/{capture}/{path}", group)


def checkpoint(base: str) -> Item:
    """The trained decoder's weights; one for all captures and sizes."""
    return Item(CHECKPOINT, f"{base}{_CHECKPOINT_SIZE}/{CHECKPOINT}", "checkpoint")


def assets(listed: Sequence[str], size: str) -> tuple[str, ...]:
    """Names of assets, in the order of `ASSETS`; "all" is what the published tool calls so: all that are not optional.

    Raises:
      ValueError: there is no asset of a name, or not at this size.
    """
    for name in listed:
        pick("--assets", name, [ALL, *ASSETS])
    chosen = {name for name, asset in ASSETS.items() if name in listed or (ALL in listed and not asset.optional)}
    if wrong := [name for name in ASSETS if name in chosen and ASSETS[name].only not in ("", size)]:
        only = ASSETS[wrong[0]].only
        raise ValueError(f"--assets={','.join(wrong)}: published at {only} alone; fetch it with --size={only}, into the same folder.")
    if "statistics" in chosen and {"kinematic_tracking", "uv_image"} <= chosen:
        chosen.remove("statistics")  # they have it all
    return tuple(name for name in ASSETS if name in chosen)


def captures(listed: Sequence[str], file: str, count: int | None, folder: pathlib.Path) -> list[str]:
    """Whole names of captures, `<mcd>--<mct>--<sid>`.

    Args:
      listed: whole names, subjects' ids, or one CSV with the columns mcd, mct, sid; () = all of `file`.
      file: that CSV; "" is none.
      count: the first so many; None is all.
      folder: in which captures may lie already, whose ids are known from there.

    Raises:
      ValueError: a name is not known, or nothing says which captures there are.
    """
    if (
        len(listed) == 1
        and not _NAME.fullmatch(listed[0])
        and (listed[0].endswith(".csv") or pathlib.Path(listed[0]).expanduser().is_file())
    ):
        listed, file = (), listed[0]
    known = read_list(pathlib.Path(file).expanduser()) if file else []
    if not listed and not known:
        raise ValueError(f"which captures? {_LIST[0].upper()}{_LIST[1:]}.")
    chosen = [_whole(one, known, folder) for one in listed] or known
    if count is not None and count < 1:
        raise ValueError(f"--count must be 1 or more; got {count}.")
    return list(dict.fromkeys(chosen))[:count]


def read_list(path: pathlib.Path) -> list[str]:
    """Whole names of the captures that a CSV lists, in its order; other columns may be there too.

    Raises:
      ValueError: it cannot be read, or lacks a column, or a row is no capture.
    """
    rows = csv.DictReader(io.StringIO(text_files.read(path), newline=""), skipinitialspace=True)
    found = []
    for row in rows:
        date, time, subject = (str(row.get(key) or "").strip() for key in ("mcd", "mct", "sid"))
        name = f"{date}--{time.zfill(4)}--{subject}"  # a spreadsheet makes 900 of the time 0900
        if not _NAME.fullmatch(name):
            raise ValueError(
                f"{path}, line {rows.line_num}: must have mcd (8 digits), mct (4 digits) and sid, under these headings; got {name!r}."
            )
        found.append(name)
    if not found:
        raise ValueError(f"{path}: must have the columns mcd,sid,mct and a row or more.")
    return found


def camera_ids(text: str, name: str) -> list[str]:
    """Ids of the cameras of a calibration, in its order; `name` is what messages call it.

    Raises:
      ValueError: it is no calibration.
    """
    tree = text_files.parse_json(text, name)
    entries = tree.get("KRT") if isinstance(tree, dict) else None
    found = [str(entry.get("cameraId", "")) if isinstance(entry, dict) else "" for entry in entries] if isinstance(entries, list) else []
    if not found or not all(one.isascii() and one.isalnum() and len(one) < 40 for one in found):
        raise ValueError(f"{name}: must be a calibration, a list KRT of cameras with a cameraId each.")
    return list(dict.fromkeys(found))


def frame_rows(text: str, name: str) -> list[tuple[str, int]]:
    """Segment and frame id of each row of a frame list; `name` is what messages call it.

    Raises:
      ValueError: it is no frame list.
    """
    rows = csv.DictReader(io.StringIO(text, newline=""), skipinitialspace=True)
    try:
        found = [(row["seg_id"].strip(), int(row["frame_id"])) for row in rows]
    except (KeyError, ValueError, TypeError, AttributeError, csv.Error):
        found = []
    if not found:
        raise ValueError(f"{name}, line {rows.line_num}: must have the columns seg_id,frame_id and a row or more, all filled in.")
    return found


def refetch(folder: pathlib.Path, names: Sequence[str], *, jobs: int = 8) -> list[str]:
    """Fetches files again, whatever is there; a zip of chosen members keeps those of them that are sound.

    Args:
      folder: that has a manifest of a download, or one of whose parents has.
      names: of files, relative to `folder`.
      jobs: files at a time.

    Returns:
      Those that could not be fetched, among them those that the manifest does not know.

    Raises:
      ValueError: there is no manifest, or it cannot be read.
      OSError: the disk is full or fails, or the server cannot be reached.
    """
    root = manifest.find(folder)
    if root is None:
        raise ValueError(
            f"{folder}: nothing says where its files came from: no {manifest.FILE} there or above; fetch them with a download."
        )
    below = folder.absolute().relative_to(root).as_posix()
    full = {name: name if below == "." else f"{below}/{name}" for name in names}
    with manifest.locked(root):
        failed = {problem.path for problem in Download(root, jobs=jobs).again(full.values())}
    return [name for name in names if full[name] in failed]


def _whole(name: str, known: Sequence[str], folder: pathlib.Path) -> str:
    """The whole name of a capture that is named whole or by its subject's id."""
    if _NAME.fullmatch(name):
        return name
    here = [path.name for path in folder.glob("*--*--*") if _NAME.fullmatch(path.name)] if folder.is_dir() else []
    by_subject = {one.rpartition("--")[2]: one for one in [*here, *known]}
    if name in by_subject:
        return by_subject[name]
    if not known:
        raise ValueError(f"--captures={name}: an id is looked up in a list: {_LIST}.")
    return by_subject[pick("--captures", name, by_subject)]
