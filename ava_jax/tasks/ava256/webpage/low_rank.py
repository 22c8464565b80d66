"""Arrays that change from frame to frame as a mean and a few components: what a page holds instead of all frames."""

from collections.abc import Iterator

import numpy as np

from ava_jax.core.types import Array

_CHUNK = 1 << 22  # values worked on at once
_LARGEST_CODE = 127  # of a component's bytes, which are stored with this offset less one: 1..255, 128 is zero
ZERO_CODE = 128
_NOISE = 1e-6  # of the largest component's square: what float32 leaves of none


def components(samples: Array, importance: Array, rank: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean and principal components, weighted.

    Args:
      samples: [N, P, C], N samples of P points; float16 will do, sums are float64.
      importance: f32 [P] >= 0, of a point's squared error.
      rank: of the components; fewer come back where the samples hold no more.

    Returns:
      mean f32 [P, C]; components f32 [R, P, C], orthogonal under the importance, the most important first; the samples' largest weights
      f32 [R].
    """
    count = len(samples)
    mean = np.mean(samples, axis=0, dtype=np.float32)
    gram = np.zeros((count, count))
    for part in _chunks(samples):
        apart = (samples[:, part].astype(np.float32) - mean[part]) * np.sqrt(importance[part])[:, None]
        apart = apart.reshape(count, -1)
        gram += apart @ apart.T
    values, vectors = np.linalg.eigh(gram)
    kept = [i for i in np.argsort(-values)[:rank] if values[i] > _NOISE * max(values.max(), 1e-30)]
    directions = (vectors[:, kept] / np.sqrt(np.maximum(values[kept], 1e-30))).astype(np.float32)  # [N, R]
    found = np.zeros((len(kept), *mean.shape), np.float32)
    for part in _chunks(samples):
        apart = samples[:, part].astype(np.float32) - mean[part]
        found[:, part] = np.einsum("nr,npc->rpc", directions, apart, optimize=True)
    largest = np.abs(vectors[:, kept] * np.sqrt(np.maximum(values[kept], 0))).max(0)
    return mean, found, largest.astype(np.float32)


def to_codes(component: Array, matter: Array, step: float) -> tuple[np.ndarray, float]:
    """A component as bytes.

    Args:
      component: f32 [P, C].
      matter: bool [P]; what does not becomes zero.
      step: what is worth telling apart: finer steps would cost bytes and not be seen.

    Returns:
      u8 [P, C], and what a step is worth: at least `step`. The few largest values are clipped.
    """
    size = np.abs(component[matter])
    largest = float(np.quantile(size, 0.9999)) if size.size else 0.0
    scale = max(largest / _LARGEST_CODE, step, 1e-12)
    codes = np.clip(np.rint(np.where(matter[:, None], component, 0) / scale), -_LARGEST_CODE, _LARGEST_CODE) + ZERO_CODE
    return codes.astype(np.uint8), scale


class Projection:
    """Finds the components' weights for further samples by weighted least squares."""

    def __init__(self, mean: Array, basis: Array, importance: Array):
        """What `components` gave, or what is left of it after rounding."""
        self.mean, self.basis, self.importance = mean, basis, importance
        gram = np.zeros((len(basis), len(basis)))
        for part in _chunks(basis):
            one = _rows(basis[:, part])
            gram += (one * self._weights(part, basis)) @ one.T
        # Components that rounding left without a value get the weight 0.
        self.inverse = np.linalg.pinv(gram, rcond=1e-9, hermitian=True)

    def __call__(self, sample: Array) -> np.ndarray:
        """Weights f32 [R] of a sample [P, C]."""
        products = np.zeros(len(self.basis))
        for part in _chunks(self.basis):
            apart = (np.asarray(sample[part], np.float32) - self.mean[part]).reshape(-1) * self._weights(part, self.basis)
            products += _rows(self.basis[:, part]) @ apart
        return (self.inverse @ products).astype(np.float32)

    def _weights(self, part: slice, basis: Array) -> np.ndarray:
        return np.repeat(self.importance[part], basis.shape[-1])


def fit(frames: Array, tolerance: float, most: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """As few components as keep the root mean square error of [F, n] within `tolerance`.

    Args:
      frames: f32 [F, n].
      tolerance: in their unit.
      most: components.

    Returns:
      mean f32 [n], components f32 [R, n], weights f32 [F, R].
    """
    mean = frames.mean(0, dtype=np.float64).astype(np.float32)
    apart = frames - mean
    values, vectors = np.linalg.eigh(apart.astype(np.float64) @ apart.T)
    values, vectors = np.maximum(values[::-1], 0), vectors[:, ::-1]
    left = np.sqrt(np.maximum(values.sum() - np.concatenate([[0], np.cumsum(values)]), 0) / frames.size)
    rank = min(int(np.argmax(left <= tolerance)) if (left <= tolerance).any() else most, most, len(frames) - 1)
    size = np.sqrt(np.maximum(values[:rank], 1e-30))
    return mean, ((vectors[:, :rank] / size).T @ apart).astype(np.float32), (vectors[:, :rank] * size).astype(np.float32)


def _chunks(samples: Array) -> Iterator[slice]:
    points = max(1, _CHUNK // max(samples.shape[0] * samples.shape[2], 1))
    return (slice(i, i + points) for i in range(0, samples.shape[1], points))


def _rows(basis: Array) -> np.ndarray:
    return basis.reshape(len(basis), basis.shape[1] * basis.shape[2])  # where there is no component, -1 would not do


def evenly(count: int, most: int) -> list[int]:
    """At most `most` of `count` indices, evenly spaced, the ends among them."""
    return sorted({int(round(i)) for i in np.linspace(0, count - 1, min(count, most))})
