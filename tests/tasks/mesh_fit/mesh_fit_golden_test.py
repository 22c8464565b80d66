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


@pytest.fixture(scope="module")
def cases(test_data) -> dict[str, Case]:
    golden = Golden(test_data / "golden")
    return {variant: Case(golden, variant) for variant in VARIANTS}


@pytest.fixture(params=("sbs", "joints"))  # the third variant's network is that of the first
def case(request, cases) -> Case:
    return cases[request.param]


def assert_close(found, expected, name):
    expected = np.asarray(expected)
    error = np.abs(np.asarray(found, np.float64) - expected).max() / np.abs(expected).max()
    assert found.shape == expected.shape and error < BOUND, f"{name}: {error:.1e} of the largest value"


def test_as_many_parameters_as_published(cases):
    counts = {variant: sum(variable.size for variable in case.parameters.values()) for variant, case in cases.items()}
    assert counts == {"sbs": 608_536, "joints": 751_960, "laplacian": 608_536}
    assert counts == {variant: case.golden.described[variant]["parameters"] for variant, case in cases.items()}


def test_outputs(case):
    @jax.jit
    def parts(model):
        given = coordinates_of(rows_of_frames(case.source), case.joints)
        encoding, code = model.encoder.encoding(model.arithmetic, given), model.encoder.code(model.arithmetic, given)
        return *encoding, code, model.decoder.gate(model.arithmetic, given, code), model(case.source, case.joints)

    mean, logvar, code, gate, prediction = parts(case.model)
    assert_close(mean[:64], case.expected("mu"), "mu")
    assert_close(logvar[:64], case.expected("logvar"), "logvar")
    assert_close(code, mean + logvar, "code")
    assert_close(gate[:64], case.expected("gate"), "gate")
    assert_close(prediction[0], case.expected("prediction"), "prediction")
    target = 0.5 * case.golden.random("target", (64, 3))
    assert_close(jnp.mean(jnp.square(prediction[0] - target)), case.expected("l2"), "l2")


def test_gradients(case):
    cotangent = case.golden.random("cotangent", (64, 3))
    gradients = dict(case.gradients(lambda found, _: jnp.sum(found * cotangent)))
    named = [name.partition(":")[2] for name in case.golden.arrays if name.startswith(f"{case.variant}.grad:")]
    assert len(named) == 12
    for key in named:
        assert_close(gradients[key], case.expected(f"grad:{key}"), key)


def test_the_laplacian_and_the_gradients_of_both_losses(cases):
    case = cases["laplacian"]
    target = 0.5 * case.golden.random("target", (64, 3))

    def losses(found, neighbours):
        return jnp.mean(jnp.square(found - target)), laplacian.roughness(neighbours, found[None])[0]

    l2, length = jax.jit(lambda model: losses(model(case.source)[0], model.neighbours))(case.model)
    assert_close(l2, case.expected("l2"), "l2")
    assert_close(length, case.expected("laplacian"), "laplacian")
    gradients = dict(case.gradients(lambda found, neighbours: sum(losses(found, neighbours))))
    named = [name.partition(":")[2] for name in case.golden.arrays if name.startswith("laplacian.gradloss:")]
    assert len(named) == 2
    for key in named:
        assert_close(gradients[key], case.expected(f"gradloss:{key}"), key)
