"""Training of local implicit functions against golden vectors: conditional normalisation, decoder, losses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from ava_jax.ops import implicit
from ava_jax.tasks.ldif.data import occnet_files
from ava_jax.tasks.ldif.model import losses
from ava_jax.tasks.ldif.model.decoder import ConditionalNorm, Decoder

pytestmark = pytest.mark.data


@pytest.fixture(scope="module")
def golden(test_data):
    with np.load(test_data / "golden" / "ldif_modules.npz") as file:
        return dict(file)


def close(found, wanted, of_largest, name=""):
    scale = max(np.abs(wanted).max(), 1e-30)
    assert np.abs(np.asarray(found) - wanted).max() <= of_largest * scale, f"{name}: {np.abs(np.asarray(found) - wanted).max() / scale:.2e}"


def copies(*states):
    """Variables of their own, which a traced function may move."""
    return [jax.tree.map(jnp.asarray, state) for state in states]


def statistics(model):
    return [[norm.mean[...], norm.variance[...]] for norm in (model.norm1, model.norm2, model.norm3)]


def test_conditional_normalisation_in_training(golden):
    norm = ConditionalNorm(32, 32, rngs=nnx.Rngs(0))
    for layer, name in ((norm.beta, "beta"), (norm.gamma, "gamma")):
        layer.kernel[...], layer.bias[...] = golden[f"cbn.{name}_weight"], golden[f"cbn.{name}_bias"]
    norm.mean[...], norm.variance[...] = np.float32(golden["cbn.running_before"])
    graph, state = nnx.split(norm)

    def total(params, rest, z, x):
        module = nnx.merge(graph, params, *copies(rest))
        out = module(z, x, train=True)
        return jnp.sum(out * golden["cbn.cotangent"]), (out, module.mean[...], module.variance[...])

    params, rest = state.split(nnx.Param, ...)
    (by_params, by_z, by_x), (out, *running) = jax.grad(total, (0, 2, 3), has_aux=True)(params, rest, golden["cbn.z"], golden["cbn.x"])
    close(out, golden["cbn.out"], 2e-6)
    np.testing.assert_allclose(running, golden["cbn.running_after"], rtol=1e-6)
    close(by_z, golden["cbn.grad_z"], 1e-5, "z")
    close(by_x, golden["cbn.grad_x"], 1e-5, "x")
    for name in ("gamma", "beta"):
        close(by_params[name]["kernel"][...], golden[f"cbn.grad_{name}_weight"], 1e-5, name)
        close(by_params[name]["bias"][...], golden[f"cbn.grad_{name}_bias"], 1e-5, name)
    norm(golden["cbn.z"], golden["cbn.x"], train=True)
    close(norm(golden["cbn.z"], golden["cbn.x"] + 1, train=True), golden["cbn.out_second"], 2e-6)
    np.testing.assert_allclose([norm.mean[...], norm.variance[...]], golden["cbn.running_after_second"], rtol=1e-6)


def test_the_decoder_in_training(golden, test_data):
    model = Decoder(32, rngs=nnx.Rngs(0))
    model.load(occnet_files.read(test_data / "golden" / "ldif" / "extracted.occnet"))
    np.testing.assert_allclose(statistics(model), golden["decoder.running_before"], rtol=1e-6)
    graph, state = nnx.split(model)

    def total(z):
        module = nnx.merge(graph, *copies(state))
        out = module(z, golden["decoder.x"], train=True)
        return jnp.sum(out * golden["decoder.cotangent"]), (
            out,
            statistics(module),
        )

    by_z, (out, running) = jax.grad(total, has_aux=True)(golden["decoder.z"])
    close(out, golden["decoder.out_train"], 1e-5)
    np.testing.assert_allclose(running, golden["decoder.running_after"], rtol=1e-5)
    close(by_z, golden["decoder.grad_z_train"], 2e-5)
    close(model(golden["decoder.z"], golden["decoder.x"]), golden["decoder.out_eval"], 2e-6)


def draw(golden, name):
    """Samples [2, 600, 4] of those that are drawn in a step."""
    key = {"uniform": "uni", "near": "near"}[name]
    return np.stack([part[index] for part, index in zip(golden[f"loss.{key}"], golden[f"loss.{key}_idx"])])


@pytest.mark.parametrize("kind", ["sif++", "sif"])
def test_losses(golden, kind):
    raw, rotated = golden[f"loss.{kind}.raw"], kind == "sif++"
    inside_weight = 1.0 if rotated else 10.0
    low, high = losses.inside_box(golden["loss.uni"])

    def terms(raw):
        elements = implicit.from_network(raw)
        at = lambda points: implicit.evaluate(elements, points, symmetric=4 if rotated else 0, rotated=rotated)  # noqa: E731
        found = {}
        for name, weight in (("uniform", 1.0), ("near", 0.1)):
            samples = draw(golden, name)
            found[name] = weight * losses.of_samples(at(samples[..., :3]), samples[..., 3], inside_weight=inside_weight).mean()
        if rotated:
            found["box"] = 10 * losses.beyond_box(elements.center).mean()
            values = losses.grid_values(golden["loss.grid"], golden["loss.w2g"], elements.center)
            found["grid"] = losses.far_from_surface(values).mean()
        else:
            excess = losses.beyond_shape(elements.center, low, high)
            found["centre"] = (0.01 * losses.outside_at_centers(at(elements.center), excess) + 10 * excess).mean()
        return {**found, "total": sum(found.values())}

    found, by_raw = jax.jit(lambda raw: (terms(raw), jax.jacrev(terms)(raw)))(raw)
    for name, value in found.items():
        np.testing.assert_allclose(value, golden[f"loss.{kind}.{name}"], rtol=2e-5, err_msg=name)
        close(by_raw[name], golden[f"loss.{kind}.grad_{name}"], 5e-5, name)
    if rotated:
        centers = implicit.from_network(raw).center
        np.testing.assert_allclose(
            losses.grid_values(golden["loss.grid"], golden["loss.w2g"], centers), golden["loss.sif++.grid_values"], atol=1e-6
        )
    else:
        boxes = np.stack([low, high], axis=1)
        np.testing.assert_allclose(boxes, [golden["loss.sif.bounds0"], golden["loss.sif.bounds1"]], rtol=1e-6)
