"""Pictures in order to videos and PNGs, with alpha where they have it.

| kind | codec | alpha |
|---|---|---|
| mp4 | H.264, 4:2:0 | none: shown over black |
| webm | VP9, 4:2:0 | 8 bit, for browsers |
| mov | ProRes 4444, 10 bit | 12 bit or less, for editors |
| png | a folder of numbered files | 8 bit |

Alpha is straight (colour is not weighted by it) in all of them. Videos are BT.709 in limited range, and say so.
"""

import contextlib
import pathlib
import shutil
import warnings
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import imageio.v2 as imageio
import numpy as np
import tqdm
from PIL import Image
from scipy import ndimage

KINDS = ("mp4", "webm", "mov", "png")
DEFAULT = ("mp4", "png")
_BT709 = ["-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "bt709", "-color_range", "tv"]
_BT709 += ["-vf", "scale=out_color_matrix=bt709:out_range=tv"]
_VP9 = ["-crf", "18", "-b:v", "0", "-row-mt", "1", "-deadline", "good", "-cpu-used", "4", "-auto-alt-ref", "0"]  # alpha needs the last
_PRORES = ["-profile:v", "4444", "-vendor", "apl0"]


def write(
    frames: Iterable[np.ndarray], folder: pathlib.Path, name: str, *, fps: float, total: int, kinds: Sequence[str] = DEFAULT
) -> list[pathlib.Path]:
    """Writes `<name>.mp4`, `.webm`, `.mov` and a folder `<name>/` of numbered PNGs, with a progress bar; each appears when it is whole.

    Args:
      frames: u8 [H, W, 3], or [H, W, 4] with straight alpha; all of one shape; may be made as they are asked for.
      folder: made where it is not there.
      fps: frames per second.
      total: how many there are.
      kinds: of `KINDS`.

    Returns:
      The videos and the folder of PNGs.

    Raises:
      ValueError: a frame has another shape than the first, there is none, or a kind is not known.
      OSError: a file cannot be written.
    """
    if unknown := [kind for kind in kinds if kind not in KINDS]:
        raise ValueError(f"video: the kinds are {', '.join(KINDS)}; got {unknown[0]!r}.")
    folder.mkdir(parents=True, exist_ok=True)
    shape, i = None, -1
    with contextlib.ExitStack() as stack:
        writers: list[_Video | _Pictures] = []
        for i, frame in enumerate(tqdm.tqdm(frames, total=total, desc=name, unit="frame")):
            if shape is None:
                shape, alpha = frame.shape, frame.shape[-1] == 4
                for kind in dict.fromkeys(kinds):
                    kept = _Pictures(folder / name) if kind == "png" else _Video(folder / f"{name}.{kind}", kind, fps, alpha)
                    writers.append(stack.enter_context(contextlib.closing(kept)))
            if frame.shape != shape:
                raise ValueError(f"{folder / name}: every frame must be {shape} as the first; frame {i} is {frame.shape}.")
            for writer in writers:
                writer.add(frame)
        if i < 0:
            raise ValueError(f"{folder / name}: a video needs a frame; there is none.")
        return [writer.finish() for writer in writers]


class _Video:
    """One file, written under another name until it is whole."""

    def __init__(self, path: pathlib.Path, kind: str, fps: float, alpha: bool) -> None:
        self._path, self._alpha = path, alpha and kind != "mp4"
        self._partial = path.with_name(f".{path.stem}.partial{path.suffix}")  # ffmpeg tells the container by the end of the name
        self._fill = self._alpha and kind == "webm"
        # macro_block_size 1: imageio would stretch pictures to a multiple of 16 otherwise; `_even` is all that the codecs need.
        options: dict[str, Any] = {"fps": fps, "macro_block_size": 1, "quality": None, "output_params": _BT709}
        if kind == "mp4":
            options |= {"codec": "libx264", "quality": 8, "pixelformat": "yuv420p"}
        elif kind == "webm":
            options |= {"codec": "libvpx-vp9", "pixelformat": "yuva420p" if self._alpha else "yuv420p", "output_params": _BT709 + _VP9}
        else:
            pixels = "yuva444p10le" if self._alpha else "yuv444p10le"
            options |= {"codec": "prores_ks", "pixelformat": pixels, "output_params": _BT709 + _PRORES}
        with _quiet_fork():
            self._writer = imageio.get_writer(self._partial, format="FFMPEG", **options)

    def add(self, frame: np.ndarray) -> None:
        frame = frame if self._alpha else _opaque(frame)
        try:
            with _quiet_fork():
                self._writer.append_data(_even(_filled(frame) if self._fill else frame))
        except OSError as e:
            raise self._fault(e) from e

    def finish(self) -> pathlib.Path:
        self._writer.close()
        if not self._partial.is_file() or not self._partial.stat().st_size:
            raise self._fault("the encoder wrote nothing")
        self._partial.replace(self._path)
        return self._path

    def _fault(self, why: OSError | str) -> OSError:
        """In a line: the encoder's own message has a page."""
        lines = [line.strip() for line in str(why).splitlines() if line.strip()]
        return OSError(f"{self._path}: the video cannot be written: {lines[-1][:200]} (is the disk full?)")

    def close(self) -> None:
        self._writer.close()
        self._partial.unlink(missing_ok=True)


class _Pictures:
    """A folder of PNGs; those of an older video are replaced once all are there."""

    def __init__(self, folder: pathlib.Path) -> None:
        self._folder, self._partial, self._count = folder, folder.with_name(f".{folder.name}.partial"), 0
        shutil.rmtree(self._partial, ignore_errors=True)  # of a writer that was killed
        self._partial.mkdir()

    def add(self, frame: np.ndarray) -> None:
        Image.fromarray(frame).save(self._partial / f"{self._count:06d}.png")
        self._count += 1

    def finish(self) -> pathlib.Path:
        self._folder.mkdir(exist_ok=True)
        for old in self._folder.glob("[0-9]*.png"):  # a shorter video would leave the tail of the last one
            old.unlink()
        for new in self._partial.iterdir():
            new.replace(self._folder / new.name)
        return self._folder

    def close(self) -> None:
        shutil.rmtree(self._partial, ignore_errors=True)


@contextlib.contextmanager
def _quiet_fork() -> Iterator[None]:
    """The encoder is started by a fork that does nothing but set its process group; jax warns of every fork."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"os\.fork\(\) was called", category=RuntimeWarning)
        yield


def _opaque(frame: np.ndarray) -> np.ndarray:
    """Over black where it has alpha."""
    if frame.shape[-1] == 3:
        return frame
    return np.rint(frame[..., :3] * (frame[..., 3:] / 255.0)).astype(np.uint8)


def _filled(frame: np.ndarray) -> np.ndarray:
    """Colour of what is transparent taken from the nearest pixel that is seen: 4:2:0 mixes neighbours' colours at the edge."""
    hidden = frame[..., 3] == 0
    if not hidden.any() or hidden.all():
        return frame
    rows, columns = ndimage.distance_transform_edt(hidden, return_distances=False, return_indices=True)
    return np.concatenate([frame[rows, columns, :3], frame[..., 3:]], axis=-1)


def _even(frame: np.ndarray) -> np.ndarray:
    """The frame with an even number of rows and columns: the last one is doubled where needed."""
    return np.pad(frame, ((0, frame.shape[0] % 2), (0, frame.shape[1] % 2), (0, 0)), mode="edge")
