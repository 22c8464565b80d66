"""The network against the published modules' outputs and gradients, and their Laplacian. Bound: 1e-5 of each array's largest value."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from mesh_fit_published import VARIANTS, Golden, model_config

from ava_jax.core.types import Assets
from ava_jax.tasks.mesh_fit import laplacian, reference_weights
from ava_jax.tasks.mesh_fit.model import MeshFitter, coordinates_of
from ava_jax.tasks.mesh_fit.rows import rows_of_frames

BOUND = 1e-5
JOINTS = 83


class Case:
    """A variant's model with the golden weights, and its inputs: 64 vertices in 3 frames."""

    def __init__(self, golden: Golden, variant: str):
        self.golden, self.variant = golden, variant
        self.joints = 0.5 * golden.random("joints", (1, JOINTS, 3)) if variant == "joints" else None
        config = model_config(joints=JOINTS if variant == "joints" else 0)
        self.model = MeshFitter(config, Assets({"faces": golden.arrays["faces"]}, {}), rngs=nnx.Rngs(0))
        weights, names = golden.state_dict(variant), reference_weights.published_names()
        self.parameters = reference_weights.parameters(self.model)
        for key, array in weights.items():
            self.parameters[names[key]][...] = jnp.asarray(array.T if key.endswith(".weight") else array)
        rows = 0.5 * golden.random("cond", (64, 9))  # x, y, z in the oldest frame first
        self.source = rows.reshape(1, 64, 3, 3).transpose(0, 2, 1, 3)

    def expected(self, name: str) -> np.ndarray:
        return self.golden.arrays[f"{self.variant}.{name}"]

    def gradients(self, loss):
        """Of loss(prediction, neighbours), by published key, in the published layout."""
        graph, params, rest = nnx.split(self.model, nnx.Param, ...)

        def total(params):
            model = nnx.merge(graph, params, rest)
            return loss(model(self.source, self.joints)[0], model.neighbours)

        found = reference_weights.parameters(nnx.merge(graph, jax.jit(jax.grad(total))(params), rest))
        for key, name in reference_weights.published_names().items():
            gradient = np.asarray(found[name][...])
            gradient = gradient.T if key.endswith(".weight") else gradient
            yield key, gradient[:, ::8, ::8] if key == "decoder.w1" else gradient


@pytest.fixture(scope="module", params=VARIANTS)
def case(request, test_data) -> Case:
    return Case(Golden(test_data / "golden"), request.param)


def assert_close(found, expected, name):
    expected = np.asarray(expected)
    error = np.abs(np.asarray(found, np.float64) - expected).max() / np.abs(expected).max()
    assert found.shape == expected.shape and error < BOUND, f"{name}: {error:.1e} of the largest value"


def test_as_many_parameters_as_published(case):
    count = sum(variable.size for variable in case.parameters.values())
    assert count == case.golden.described[case.variant]["parameters"]
    assert count == (751_960 if case.variant == "joints" else 608_536)


def test_outputs(case):
    if case.variant == "laplacian":
        pytest.skip("its network is that of sbs")
    model = case.model
    given = coordinates_of(rows_of_frames(case.source), case.joints)
    encoding = model.encoder.encoding(model.arithmetic, given)
    assert_close(encoding.mean[:64], case.expected("mu"), "mu")
    assert_close(encoding.logvar[:64], case.expected("logvar"), "logvar")
    code = model.encoder.code(model.arithmetic, given)
    assert_close(code, encoding.mean + encoding.logvar, "code")
    assert_close(model.decoder.gate(model.arithmetic, given, code)[:64], case.expected("gate"), "gate")
    assert_close(model(case.source, case.joints)[0], case.expected("prediction"), "prediction")


def test_gradients(case):
    if case.variant == "laplacian":
        pytest.skip("its network is that of sbs")
    cotangent = case.golden.random("cotangent", (64, 3))
    gradients = dict(case.gradients(lambda found, _: jnp.sum(found * cotangent)))
    named = [name.partition(":")[2] for name in case.golden.arrays if name.startswith(f"{case.variant}.grad:")]
    assert len(named) == 12
    for key in named:
        assert_close(gradients[key], case.expected(f"grad:{key}"), key)


def test_losses(case):
    target = 0.5 * case.golden.random("target", (64, 3))
    found = case.model(case.source, case.joints)
    assert_close(jnp.mean(jnp.square(found[0] - target)), case.expected("l2"), "l2")
    if case.variant == "laplacian":
        assert_close(laplacian.roughness(case.model.neighbours, found)[0], case.expected("laplacian"), "laplacian")
        gradients = case.gradients(
            lambda found, neighbours: jnp.mean(jnp.square(found - target)) + laplacian.roughness(neighbours, found[None])[0]
        )
        expected = {n.partition(":")[2]: array for n, array in case.golden.arrays.items() if n.startswith("laplacian.gradloss:")}
        assert len(expected) == 2
        for key, gradient in gradients:
            if key in expected:
                assert_close(gradient, expected[key], key)
