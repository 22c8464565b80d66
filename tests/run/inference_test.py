"""Functions of a model are compiled once, and batches keep one size."""

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from ava_jax.core.variables import Constant, Running
from ava_jax.run import inference


class Affine(nnx.Module):
    def __init__(self, *, rngs: nnx.Rngs):
        self.gain = nnx.Param(jnp.array(3.0))
        self.seen = Running(jnp.array(0.0))
        self.offset = Constant(jnp.array(1.0))


class Numbers:
    """0, 1, 2, ...; those in `missing` cannot be read."""

    def __init__(self, count: int, missing: tuple[int, ...] = ()):
        self.count, self.missing = count, missing

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int):
        return None if index in self.missing else {"x": np.array([index], np.float32)}


def test_compiled_functions_use_all_variables_and_trace_once():
    traces = []

    def fn(model, x):
        traces.append(x.shape)
        model.seen[...] = model.seen[...] + 1.0  # dropped: a trained model does not change at work
        return model.gain[...] * x + model.offset[...] + model.seen[...]

    call = inference.Inference(Affine(rngs=nnx.Rngs(0))).compile(fn)
    for _ in range(3):
        np.testing.assert_allclose(call(np.array([1.0, 2.0], np.float32)), [5.0, 8.0])
    assert traces == [(2,)]


@pytest.mark.parametrize("threads", [0, 2])
def test_batches_are_in_order_and_the_last_is_filled_up(threads):
    batches = list(inference.read_in_order(Numbers(8, missing=(1,)), 3, threads=threads))
    assert [count for _, count in batches] == [3, 3, 1]
    np.testing.assert_array_equal(np.stack([batch["x"][:, 0] for batch, _ in batches]), [[0, 2, 3], [4, 5, 6], [7, 7, 7]])


def test_an_empty_source_is_refused():
    with pytest.raises(ValueError, match="no samples"):
        next(inference.read_in_order(Numbers(0), 3, threads=0))
