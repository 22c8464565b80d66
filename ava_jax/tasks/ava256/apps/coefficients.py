"""Other programs' coefficients, as a tracker's for FLAME, to expression codes: a ridge regression fitted on frames that have both.

The fit is linear in the coefficients, which are brought to unit deviation first. The ridge is the one whose fits on most of the frames
predict the others' codes best; frames of one segment are held out together, as neighbours are alike.
"""

import dataclasses
import pathlib
import zipfile
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ava_jax.core.names import near
from ava_jax.data import files
from ava_jax.tasks.ava256.data.codes_file import CODE, Codes

KEY = "coefficients"  # the array that a file is expected to have
RIDGES = np.logspace(-6, 3, 28)  # times the frames
_FOLDS = 5
_LEAST = 10  # frames
_FAR = 4.0  # deviations from the mean, beyond which coefficients are unlike those fitted on
_WORDS = ("capture", "segment", "frame")


class Coefficients(NamedTuple):
    """A file of coefficients.

    Attributes:
      values: f64 [F, C].
      capture, segment: str [F]; frame: int64 [F]; None where the file does not say.
    """

    values: np.ndarray
    capture: np.ndarray | None = None
    segment: np.ndarray | None = None
    frame: np.ndarray | None = None

    @property
    def named(self) -> bool:
        """Whether frames say which they are."""
        return not any(word is None for word in self[1:])


def read(path: pathlib.Path, keys: Sequence[str] = (KEY,)) -> Coefficients:
    """Reads an npz of arrays [F, ...], whose rows are laid side by side in the order of `keys`.

    Raises:
      ValueError: it is none, lacks a key, or arrays do not fit together or are not finite numbers.
      OSError: it cannot be read.
    """
    try:
        with np.load(path) as file:
            held = {name: file[name] for name in file.files if name in (*keys, *_WORDS)}
            names = file.files
    except FileNotFoundError as e:
        raise FileNotFoundError(f"{path}: there is no such file of coefficients.") from e
    except (ValueError, zipfile.BadZipFile, EOFError, AttributeError, TypeError) as e:
        raise ValueError(f"{path}: is no npz of plain arrays ({e}).") from e
    if missing := [key for key in keys if key not in held]:
        raise ValueError(
            f"{path}: has no array {missing[0]!r}; name others with --keys, nearest {', '.join(near(missing[0], names)) or 'none'}."
        )
    parts = []
    for key in keys:
        array = held[key]
        if array.dtype.kind not in "fiu" or array.ndim < 1 or not len(array) or len(array) != len(held[keys[0]]):
            raise ValueError(
                f"{path}: {key} must be numbers [F, ...] of at least one frame, F as in {keys[0]}; got {array.dtype} {list(array.shape)}."
            )
        parts.append(array.reshape(len(array), -1).astype(np.float64))
    values = np.concatenate(parts, axis=1)
    if not np.isfinite(values).all():
        raise ValueError(f"{path}: not all numbers of frame {int(np.flatnonzero(~np.isfinite(values).all(1))[0])} (from 0) are finite.")
    words = [held.get(word) for word in _WORDS]
    if any(word is not None and word.shape != (len(values),) for word in words):
        raise ValueError(f"{path}: capture, segment and frame must have an entry per frame, {len(values)}.")
    return Coefficients(values, *words)


def paired(coefficients: Coefficients, codes: Codes) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """The frames that have both.

    Returns:
      Rows of the coefficients and of the codes, int [P] each, and a line on how they were found.

    Raises:
      ValueError: they have no frame in common; or coefficients that do not say whose they are do not match the codes one by one.
    """
    if not coefficients.named:
        if len(coefficients.values) != len(codes.codes):
            raise ValueError(
                f"coefficients of {len(coefficients.values)} frames do not say which (capture, segment, frame), and there are codes of "
                f"{len(codes.codes)}: add these arrays, or give as many of both, in one order."
            )
        every = np.arange(len(codes.codes))
        return every, every, ["coefficients do not say of which frames they are: they are paired with the codes in order"]
    places = {key: i for i, key in enumerate(zip(codes.capture.tolist(), codes.segment.tolist(), codes.frame.tolist(), strict=True))}
    words = (np.asarray(word) for word in coefficients[1:])
    keys = [(str(capture), str(segment), int(frame)) for capture, segment, frame in zip(*words, strict=True)]
    found = np.array([(i, places[key]) for i, key in enumerate(keys) if key in places], int).reshape(-1, 2)
    if not len(found):
        first, other = (" ".join(map(str, key)) for key in (keys[0], next(iter(places))))
        raise ValueError(f"no frame has both: coefficients begin with {first}, codes with {other}.")
    return found[:, 0], found[:, 1], [f"{len(found)} frames have both, of {len(keys)} with coefficients and {len(places)} with codes"]


@dataclasses.dataclass(frozen=True)
class Fit:
    """A linear map of coefficients [C] to codes.

    Attributes:
      weights: f64 [C, 256], of coefficients in deviations.
      bias: f64 [256], the mean code.
      mean, deviation: f64 [C], of the coefficients fitted on; a deviation of 0 is kept as 1.
      ridge: that was chosen, per frame.
      explained: part of the codes' variance that fits on other frames explained, of frames held out.
      keys: arrays that the coefficients came from.
    """

    weights: np.ndarray
    bias: np.ndarray
    mean: np.ndarray
    deviation: np.ndarray
    ridge: float
    explained: float
    keys: tuple[str, ...] = (KEY,)

    def codes(self, values: np.ndarray) -> np.ndarray:
        """Codes f32 [F, 4, 4, 16] of coefficients [F, C].

        Raises:
          ValueError: there are more or fewer coefficients than were fitted.
        """
        if values.shape[1] != len(self.mean):
            raise ValueError(f"the fit is of {len(self.mean)} coefficients ({', '.join(self.keys)}); got {values.shape[1]}.")
        found = ((values - self.mean) / self.deviation) @ self.weights + self.bias
        return found.reshape(-1, *CODE).astype(np.float32)

    def unlike(self, values: np.ndarray) -> int:
        """How many of the frames [F, C] have a coefficient far outside of those fitted on."""
        return int((np.abs(values - self.mean) > _FAR * self.deviation).any(1).sum())


def fit(values: np.ndarray, codes: np.ndarray, groups: Sequence[Any], *, keys: Sequence[str] = (KEY,)) -> tuple[Fit, dict[float, float]]:
    """Fits, with the ridge that predicts held-out frames best.

    Args:
      values: coefficients [P, C].
      codes: [P, 4, 4, 16], of the same frames.
      groups: [P]; frames of one group, a segment say, are held out together. Where there are fewer than two, stretches of frames are.
      keys: arrays that the coefficients came from.

    Returns:
      The fit; and ridge -> the part of the variance that it explained of frames held out.

    Raises:
      ValueError: there are too few frames, or the codes are all the same.
    """
    count, target = len(values), np.asarray(codes, np.float64).reshape(len(codes), -1)
    if count < _LEAST:
        raise ValueError(f"at least {_LEAST} frames must have coefficients and codes to fit one to the other; got {count}.")
    if not np.square(target - target.mean(0)).sum() > 0:
        raise ValueError(f"the codes of all {count} frames are the same: there is nothing to fit.")
    mean, deviation = values.mean(0), values.std(0)
    deviation = np.where(deviation > 0, deviation, 1.0)
    inputs = (values - mean) / deviation
    folds = _folds(groups, count)
    left, total = np.zeros(len(RIDGES)), 0.0
    for fold in range(folds.max() + 1):
        inside, out = folds != fold, folds == fold
        at, of = inputs[inside].mean(0), target[inside].mean(0)
        solved = _solve(inputs[inside] - at, target[inside] - of)
        total += np.square(target[out] - of).sum()
        for i, ridge in enumerate(RIDGES):
            left[i] += np.square((inputs[out] - at) @ solved(ridge) + of - target[out]).sum()
    explained = 1.0 - left / total
    best = int(explained.argmax())
    weights = _solve(inputs, target - target.mean(0))(float(RIDGES[best]))
    found = Fit(weights, target.mean(0), mean, deviation, float(RIDGES[best]), float(explained[best]), tuple(keys))
    return found, dict(zip(RIDGES.tolist(), explained.tolist(), strict=True))


def _solve(inputs: np.ndarray, target: np.ndarray) -> Any:
    """Ridge regression of centred arrays, [P, C] to [P, D]: a function of the ridge per frame that gives weights [C, D]."""
    values, vectors = np.linalg.eigh(inputs.T @ inputs / len(inputs))
    product = vectors.T @ (inputs.T @ target / len(inputs))
    return lambda ridge: vectors @ (product / (np.maximum(values, 0.0) + ridge)[:, None])


def _folds(groups: Sequence[Any], count: int) -> np.ndarray:
    """Which of up to _FOLDS parts each frame is held out with, int [P]: whole groups, the largest first, each to the smallest part."""
    labels, number = np.unique([str(group) for group in groups], return_inverse=True)
    if len(labels) < 2:
        return np.arange(count) * _FOLDS // count
    sizes, parts = np.bincount(number), np.zeros(min(_FOLDS, len(labels)), int)
    fold_of = np.zeros(len(labels), int)
    for group in np.argsort(-sizes, kind="stable"):
        fold_of[group] = parts.argmin()
        parts[fold_of[group]] += sizes[group]
    return fold_of[number]


def save(path: pathlib.Path, found: Fit) -> None:
    """Writes a fit as npz, whole or not at all.

    Raises:
      OSError: it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with files.writing(path) as file:
        np.savez(file, **dataclasses.asdict(found))


def load(path: pathlib.Path) -> Fit:
    """Reads a fit.

    Raises:
      ValueError: the file is none.
      OSError: it cannot be read.
    """
    try:
        with np.load(path) as file:
            arrays = {field.name: file[field.name] for field in dataclasses.fields(Fit)}
        whole = {name: arrays.pop(name) for name in ("ridge", "explained", "keys")}
        shapes = arrays["weights"].shape, arrays["bias"].shape, arrays["mean"].shape, arrays["deviation"].shape
        if shapes[0] != (*shapes[2], *shapes[1]) or shapes[1] != (int(np.prod(CODE)),) or shapes[2] != shapes[3]:
            raise ValueError(f"shapes {shapes} do not fit together")
        return Fit(**arrays, ridge=float(whole["ridge"]), explained=float(whole["explained"]), keys=tuple(map(str, whole["keys"])))
    except FileNotFoundError as e:
        raise FileNotFoundError(f"{path}: there is no such fit; make one with --codes and --coefficients.") from e
    except (ValueError, KeyError, zipfile.BadZipFile, EOFError, AttributeError, TypeError) as e:
        raise ValueError(f"{path}: is no fit of coefficients to codes ({e}).") from e
