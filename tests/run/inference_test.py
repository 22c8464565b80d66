"""Functions of a model are compiled once."""

import jax.numpy as jnp
import numpy as np
from flax import nnx

from ava_jax.core.variables import Constant, Running
from ava_jax.run import inference


class Affine(nnx.Module):
    def __init__(self, *, rngs: nnx.Rngs):
        self.gain = nnx.Param(jnp.array(3.0))
        self.seen = Running(jnp.array(0.0))
        self.offset = Constant(jnp.array(1.0))


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
