"""Samples of a multiface capture: which a split has, and reading one.

A sample is one frame seen by one camera; it exists where the frame's average texture and the camera's own are there. Arrays as they are
given, without the batch axis ([B, ...] in a batch); S is the side of the capture's textures (1024 in published ones), V its vertices:

  texture u8 [S, S, 3]: the camera's own texture, the target (not of PREDICT); average_texture u8 [S, S, 3]: the encoder's input. Raw values
    0-255, rows turned so that row 0 is v = 0 (the bottom of the file's picture); a channel that is 0 was not seen. Normalising, the mask
    (`raw != 0`, per channel) and the resizing to the model's texture size, in this order, are the model's, on the device: bytes travel.
  vertices f32 [V, 3]: mm, head space, not normalised.
  view_direction f32 [3]: unit vector from the head's origin to the camera, head space; camera_position f32 [3]: mm, head space.
  camera_rotation f32 [3, 3], camera_translation f32 [3]: head space to camera, mm (x right, y down, z forward): p = R v + t.
  focal, principal f32 [2]: (x, y), pixels of `image`, whose pixel centres are integers, as the rasteriser's: KRT's principal point, for
    centres at i + 0.5, minus 0.5.
  image u8 [H, W, 3]: the photograph; only where the source is made with image=True (the screen loss). (H, W) = assets.arrays["image_size"].
  head_pose f32 [3, 4]: head to world, mm.
  camera i32 []: the camera's position in KRT, its row in the colour table, whatever cameras are used; -1: of another KRT than the assets'.
  segment i32 []: index in assets.names["segments"], -1 where it is not in them; camera_id, frame i32 []: numbers on disk.

Assets of `prepare`:

  arrays: texture_mean f32 [S, S, 3], raw 0-255, rows turned like the textures; texture_std f32 []; vertices_mean f32 [V, 3], mm;
    vertices_std f32 [], mm; faces i32 [F, 3], face_uvs i32 [F, 3], uvs f32 [U, 2] (v as in the OBJ: with turned textures, v = 0 is row 0);
    image_size i32 [2]; weight_mask f32 [S', S', 3], 0-1, rows turned, only where config.data.weight_mask names a picture.
  names: "cameras" (ids, in the order of KRT, all of them), "segments" (sorted), "identity" ([ID of the folder's name]).

The part of the config that is read here:

  data.root: the capture's folder, m--DATE--TIME--ID--GHS, a packed copy of it, or a folder that holds one.
  data.held_out.segments: beginnings of names of segments that are tested on (published: EXP_ROM, EXP_free_face); a frame of a segment that
    begins with any is of the split "unseen_segments", all others are trained on.
  data.split: JSON {"full": {"train": [...], "test": [...], "visual": [...]}} of cameras; "": all cameras are trained on and tested.
  data.cameras: only these; () = all. data.frames: numbers of the only frames; () = all.
  data.downsample: of photographs: 1 is the files' own 2048 x 1334.
  data.weight_mask: picture, or "". data.max_unreadable: fraction of samples that may fail to decode.
  eval.max_samples: of a scored split, evenly spaced; 0 = all.

Splits: "train" (TRAIN), "unseen_segments", "unseen_cameras" (cameras of the JSON's "test" that are not in its "train", frames trained on),
"predict" (PREDICT: all that has an average texture, no `texture`, no `image`).
"""

import pathlib
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from ava_jax.captures.multiface import layout, recording
from ava_jax.captures.multiface.recording import Recording
from ava_jax.core import names as naming
from ava_jax.core.types import Assets, Batch
from ava_jax.data import mesh_files
from ava_jax.tasks.base import PREDICT
from ava_jax.tasks.multiface.data import files, packed, splits
from ava_jax.tasks.multiface.data.splits import UNSEEN_CAMERAS, UNSEEN_SEGMENTS
from ava_jax.tasks.multiface.data.views import ViewSource

LISTS = {"data.held_out.segments": str, "data.cameras": str, "data.frames": int}  # of the config
PATHS = ("data.root", "data.split", "data.weight_mask")


def load(config: ConfigDict) -> Recording:
    """The capture that a config names.

    Raises:
      ValueError: there is none, there are several, or its small files are missing or malformed.
    """
    if not config.data.root:
        raise ValueError(
            "config.data.root must name the folder of a capture, m--DATE--TIME--ID--GHS; it is empty (--config.data.root=FOLDER)."
        )
    root = pathlib.Path(config.data.root).expanduser()
    if not root.is_dir():
        raise ValueError(f"{root}: there is no such folder; config.data.root must be a capture's, m--DATE--TIME--ID--GHS.")
    found = recording.find(root)
    if not found:
        raise ValueError(f"{root}: no capture of multiface (KRT, frame_list.txt) there; ava multiface synthesize or download makes one.")
    if len(found) > 1:
        shown = ", ".join(path.name for path in found[:3])
        raise ValueError(f"{root}: has {len(found)} captures, {shown}; a model is of one: give its folder, as in {found[0]}.")
    return recording.load(found[0])


def prepare(config: ConfigDict) -> Assets:
    """Statistics, topology and names of the capture.

    Raises:
      ValueError: a file is missing or malformed, they do not fit together, or the config holds out what is not there.
    """
    found = load(config)
    splits.check(found, config)
    mean = files.turned(found.folder / layout.TEXTURE_MEAN)
    vertices = recording.vertex_mean(found.folder / layout.VERTEX_MEAN)
    obj = found.topology()
    if obj is None:
        raise ValueError(f"{found.folder / layout.MESHES}: no OBJ beside the meshes, which gives faces and UVs; fetch the meshes whole.")
    topology = mesh_files.read_topology(obj, len(vertices))
    arrays = {
        "texture_mean": mean.astype(np.float32),
        "texture_std": _deviation(found.folder / layout.TEXTURE_VARIANCE),
        "vertices_mean": vertices.copy(),
        "vertices_std": _deviation(found.folder / layout.VERTEX_VARIANCE),
        "faces": topology.faces,
        "face_uvs": topology.face_uvs,
        "uvs": topology.uvs,
        "image_size": np.array(image_size(config), np.int32),
    }
    if config.data.get("weight_mask", ""):
        mask = files.turned(pathlib.Path(config.data.weight_mask).expanduser()).astype(np.float32)
        if not mask.max():
            raise ValueError(f"{config.data.weight_mask}: a mask of weights must have some that are not 0.")
        arrays["weight_mask"] = mask / mask.max()
    names = {
        "cameras": [camera.name for camera in found.cameras],
        "segments": sorted(set(found.segments.tolist())),
        "identity": [found.identity],
    }
    return Assets(arrays=arrays, names=names)


def image_size(config: ConfigDict) -> tuple[int, int]:
    """(height, width) of photographs.

    Raises:
      ValueError: `config.data.downsample` is below 1.
    """
    downsample = config.data.get("downsample", 1)
    if downsample < 1:
        raise ValueError(f"config.data.downsample must be 1 or more; got {downsample}.")
    return layout.SENSOR[0] // downsample, layout.SENSOR[1] // downsample


def _deviation(path: pathlib.Path) -> np.float32:
    variance = recording.number(path)
    if not variance:
        raise ValueError(f"{path}: the variance is 0: nothing can be normalised by it.")
    return np.float32(np.sqrt(variance))


def source(config: ConfigDict, split: str, assets: Assets, *, image: bool = False) -> ViewSource:
    """Samples of a split.

    Args:
      config: of the task.
      split: one of `splits.SPLITS`.
      assets: of `prepare`, of this capture or another one.
      image: whether samples have photographs; then one whose photograph is missing is left out.

    Raises:
      ValueError: `split` is not one, or none of its samples is there.
    """
    naming.pick("multiface: split", split, splits.SPLITS)
    found = load(config)
    splits.check(found, config)
    part = splits.select(found, config, split)
    most = config.eval.max_samples if split in (UNSEEN_SEGMENTS, UNSEEN_CAMERAS) else 0
    image = image and split != PREDICT
    if packed.is_one(found.folder):
        reader: files.Reader = packed.Packed(found.folder, config.data.get("downsample", 1), image=image)
    else:
        texels, vertices = assets.arrays["texture_mean"].shape[0], len(assets.arrays["vertices_mean"])
        reader = files.Files(found, texels, vertices, image_size(config))
    made = ViewSource(found, part, assets, reader, image=image, texture=split != PREDICT, most=most, config=config)
    if part.count and not made.available:
        raise ValueError(
            f"{found.folder}: none of the {part.count} samples of the split {split!r} is there with textures, mesh and head pose"
            f"{' and photograph' if image else ''}; ava verify says what is missing."
        )
    return made


def eval_splits(config: ConfigDict, assets: Assets) -> tuple[str, ...]:
    """The splits beside "train" in which the config leaves any sample."""
    del assets
    found = load(config)
    return tuple(split for split in (UNSEEN_SEGMENTS, UNSEEN_CAMERAS) if splits.select(found, config, split).count)


def describe(batch: Batch, assets: Assets) -> list[dict[str, Any]]:
    """Segment, camera and frame of each sample of a batch."""
    known = assets.names["segments"]
    rows = zip(*(np.asarray(batch[key]).tolist() for key in ("segment", "camera_id", "frame")), strict=True)
    return [{"segment": known[s] if s >= 0 else "unknown", "camera": str(camera), "frame": frame} for s, camera, frame in rows]
