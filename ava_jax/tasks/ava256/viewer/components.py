"""Sliders of expression: directions in the space of expression codes along which faces differ most."""

import json
import pathlib
import sys
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from ava_jax.data import files
from ava_jax.tasks.ava256.data import codes_file
from ava_jax.tasks.ava256.viewer.recordings import Recordings

FILE = "view_components.npz"  # in the run's folder: those of its captures, kept from start to start
COUNT = 8
CAPTURES, CODES, PRIOR = "captures", "codes", "prior"
MOST_FRAMES = 256  # of all captures, that components are found in
_NUMBERS = int(np.prod(codes_file.CODE))
_PROBE = 16  # directions of the prior whose meshes are decoded at once
_SAME = 1e-6  # of the largest deviation: codes that differ less along an axis do not differ


class Components(NamedTuple):
    """Orthogonal directions, the one along which most changes first.

    Attributes:
      axes: f32 [N, 4, 4, 16], unit length.
      deviations: f32 [N], standard deviation of codes along them.
      shares: f32 [N], of the variance of codes (of the mesh's movement, for PRIOR), 0 to 1.
      origin: CAPTURES, CODES or PRIOR: what they were found in.
      frames: that they were found in; 0 for PRIOR.
    """

    axes: np.ndarray
    deviations: np.ndarray
    shares: np.ndarray
    origin: str
    frames: int

    def offset(self, values: np.ndarray) -> np.ndarray:
        """What sliders' values [N], in deviations, add to a code: f32 [4, 4, 16]."""
        return np.tensordot(np.asarray(values, np.float32) * self.deviations, self.axes, axes=1)

    @property
    def text(self) -> str:
        """Where they come from, for the page."""
        if self.origin == PRIOR:
            return "Directions of the code that move a face most, in standard deviations of the prior: no recordings were at hand."
        return f"Principal components of {self.frames} frames ({self.origin}), in standard deviations."


def of_codes(codes: np.ndarray, origin: str) -> Components:
    """Principal components of codes [F, 4, 4, 16]; as many as there are, COUNT at most.

    Raises:
      ValueError: all codes are the same.
    """
    flat = np.asarray(codes, np.float64).reshape(len(codes), -1)
    flat = flat - flat.mean(0)
    _, singular, axes = np.linalg.svd(flat, full_matrices=False)
    deviations = singular / np.sqrt(max(len(flat) - 1, 1))
    some = deviations[:COUNT] > max(_SAME * deviations.max(initial=0.0), np.finfo(np.float32).tiny)
    if not some.any():
        raise ValueError(f"the codes of the {len(codes)} frames ({origin}) are all the same: there is nothing to find components in.")
    shares = deviations**2 / np.sum(deviations**2)
    kept = np.flatnonzero(some)
    return _signed(axes[kept], deviations[kept], shares[kept], origin, len(codes))


def of_prior(mesh: Callable[[np.ndarray], np.ndarray]) -> Components:
    """Directions along which a code drawn from the prior, the unit Gaussian, moves the mesh most, to first order.

    Args:
      mesh: codes [B, 4, 4, 16] to vertices [B, V, 3]; called with B = _PROBE.
    """
    still = np.asarray(mesh(np.zeros((_PROBE, *codes_file.CODE), np.float32)), np.float32)[0]
    moved = []
    for start in tqdm(range(0, _NUMBERS, _PROBE), desc="expressions", unit="probe", disable=not sys.stderr.isatty()):
        codes = np.zeros((_PROBE, _NUMBERS), np.float32)
        codes[np.arange(_PROBE), start + np.arange(_PROBE)] = 1.0
        moved.append((np.asarray(mesh(codes.reshape(-1, *codes_file.CODE))) - still).reshape(_PROBE, -1))
    _, singular, axes = np.linalg.svd(np.concatenate(moved).T, full_matrices=False)
    shares = singular**2 / max(float(np.sum(singular**2)), np.finfo(np.float32).tiny)
    return _signed(axes[:COUNT], np.ones(COUNT), shares[:COUNT], PRIOR, 0)


def of_captures(recordings: Recordings, folder: pathlib.Path, step: int) -> Components:
    """Principal components of MOST_FRAMES frames of the captures at hand; kept in the run's folder, as they take a while.

    Raises:
      ValueError: none of the frames can be read.
    """
    sample = recordings.sample(MOST_FRAMES)
    key = json.dumps([step, [[capture.name, frames.tolist()] for capture, frames in sample]])
    path = folder / FILE
    if (kept := _read(path, key)) is not None:
        return kept
    total = sum(len(frames) for _, frames in sample)
    codes = []
    with tqdm(total=total, desc="expressions", unit="frame") as bar:
        for capture, frames in sample:
            try:
                for code in recordings.encode(capture, frames):
                    bar.update()
                    if code is not None:
                        codes.append(code)
            except ValueError as e:  # a damaged capture: sliders are found in the others
                bar.write(str(e), file=sys.stderr)
    if len(codes) < total:
        print(f"{total - len(codes)} of {total} frames cannot be read, and are left out of the sliders", file=sys.stderr)
    if not codes:
        raise ValueError(f"none of the {total} frames of the captures can be read.")
    found = of_codes(np.stack(codes), CAPTURES)
    try:
        with files.writing(path) as file:
            np.savez(file, key=key, **found._asdict())
    except OSError as e:  # another's run, or a full disk: they are found again at the next start
        print(f"{path}: cannot be kept ({e.strerror or e})", file=sys.stderr)
    return found


def _read(path: pathlib.Path, key: str) -> Components | None:
    """What was kept, if it is of the same frames and checkpoint."""
    if not path.is_file():
        return None
    try:
        with np.load(path, allow_pickle=False) as kept:
            if str(kept["key"]) != key:
                return None
            arrays = [kept[name] for name in ("axes", "deviations", "shares")]
            return Components(*arrays, str(kept["origin"]), int(kept["frames"]))
    except Exception as e:  # numpy raises many kinds on a damaged file
        print(f"{path}: damaged ({' '.join(str(e).split())[:200]}), found anew", file=sys.stderr)
        return None


def _signed(axes: np.ndarray, deviations: np.ndarray, shares: np.ndarray, origin: str, frames: int) -> Components:
    """With the sign that makes each axis's largest number positive: the same from start to start."""
    largest = axes[np.arange(len(axes)), np.abs(axes).argmax(1)]
    axes = (axes * np.sign(largest)[:, None]).astype(np.float32).reshape(-1, *codes_file.CODE)
    return Components(axes, deviations.astype(np.float32), shares.astype(np.float32), origin, frames)
