"""Pictures in order to an mp4 and PNGs."""

import pathlib
import warnings
from collections.abc import Iterable

import imageio.v2 as imageio
import numpy as np
import tqdm
from PIL import Image


def write(frames: Iterable[np.ndarray], folder: pathlib.Path, name: str, *, fps: float, total: int) -> list[pathlib.Path]:
    """Writes `<name>.mp4` and a folder `<name>/` of numbered PNGs, with a progress bar.

    Args:
      frames: u8 [H, W, 3], or [H, W, 4] with alpha, which the PNGs keep and the video shows over black; all of one size; may be made as
        they are asked for.
      folder: made where it is not there.
      total: how many there are.

    Returns:
      The video and the folder of PNGs.

    Raises:
      ValueError: a frame has another size than the first.
    """
    video, pictures = folder / f"{name}.mp4", folder / name
    pictures.mkdir(parents=True, exist_ok=True)
    for old in pictures.glob("[0-9]*.png"):  # a shorter video would leave the tail of the last one
        old.unlink()
    shape = None
    # macro_block_size 1: imageio would stretch pictures to a multiple of 16 otherwise; `_even` is all that H.264 needs.
    options = {"codec": "libx264", "quality": 8, "macro_block_size": 1, "pixelformat": "yuv420p"}
    with warnings.catch_warnings(), imageio.get_writer(video, fps=fps, **options) as writer:
        # The encoder is started by a fork that does nothing but set its process group; jax warns of every fork.
        warnings.filterwarnings("ignore", message=r"os\.fork\(\) was called", category=RuntimeWarning)
        for i, frame in enumerate(tqdm.tqdm(frames, total=total, desc=name, unit="frame")):
            shape = shape or frame.shape
            if frame.shape != shape:
                raise ValueError(f"{video}: every frame must be {shape} as the first; frame {i} is {frame.shape}.")
            Image.fromarray(frame).save(pictures / f"{i:06d}.png")
            writer.append_data(_even(_opaque(frame)))
    return [video, pictures]


def _opaque(frame: np.ndarray) -> np.ndarray:
    """Over black where it has alpha: H.264 knows none."""
    if frame.shape[-1] == 3:
        return frame
    return np.rint(frame[..., :3] * (frame[..., 3:] / 255.0)).astype(np.uint8)


def _even(frame: np.ndarray) -> np.ndarray:
    """The frame with an even number of rows and columns: the last one is doubled where needed."""
    return np.pad(frame, ((0, frame.shape[0] % 2), (0, frame.shape[1] % 2), (0, 0)), mode="edge")
