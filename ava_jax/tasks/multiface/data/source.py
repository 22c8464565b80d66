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

  data.root: the capture's folder, m--DATE--TIME--ID--GHS, or a folder that holds one.
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
