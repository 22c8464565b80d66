"""Local implicit functions against golden vectors: values, gradients, decoder, published files."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ava_jax.ops import implicit
from ava_jax.ops.implicit import decoder
from ava_jax.tasks.ldif.data import element_files, occnet_files

pytestmark = pytest.mark.data
GRADIENTS = {"c": "constant", "mu": "center", "r": "variance", "ang": "angles", "z": "features"}


@pytest.fixture(scope="module")
def golden(test_data):
    with np.load(test_data / "golden" / "ldif_modules.npz") as file:
        return dict(file)


@pytest.fixture(scope="module")
def folder(test_data):
    return test_data / "golden" / "ldif"


def shape(folder, name):
    """Elements, how many are symmetric, and their detail."""
    file = {"sif": "test-sif.txt", "sifsym": "b831f60f211435df5bbc861d0124304c.txt", "ldif": "test-ldif.txt"}[name]
    elements, symmetric = element_files.read(folder / file)
    if name != "ldif":
        return elements, symmetric, None
    weights = occnet_files.read(folder / "extracted.occnet")
    return elements, symmetric, lambda features, local: implicit.decode(weights, features, local)


def close(found, wanted, of_largest, name=""):
    scale = np.abs(wanted).max()
    assert np.abs(np.asarray(found) - wanted).max() <= of_largest * scale, f"{name}: {np.abs(np.asarray(found) - wanted).max() / scale:.2e}"


@pytest.mark.parametrize("name", ["sif", "sifsym", "ldif"])
def test_values_and_gradients(golden, folder, name):
    elements, symmetric, detail = shape(folder, name)
    points, cotangent = golden[f"{name}.points"], golden[f"{name}.cotangent"]

    def total(elements, points):
        value = implicit.evaluate(elements, points, symmetric=symmetric, detail=detail)
        return jnp.sum(value * cotangent), value

    (_, value), (by_element, by_point) = jax.value_and_grad(total, (0, 1), has_aux=True)(elements, points)
    np.testing.assert_allclose(value, golden[f"{name}.f"], atol=4e-6 if detail else 2e-7)
    np.testing.assert_allclose(implicit.occupancy(value), golden[f"{name}.class"], atol=3e-5 if detail else 4e-6)
    close(by_point, golden[f"{name}.grad_points"], 2e-5, "points")
    for key, field in GRADIENTS.items():
        if f"{name}.grad_{key}" in golden:
            close(getattr(by_element, field), golden[f"{name}.grad_{key}"], 2e-5, field)


def test_the_decoder_has_gradients(golden, folder):
    elements, symmetric, _ = shape(folder, "ldif")
    weights = occnet_files.read(folder / "extracted.occnet")

    def total(weights):
        detail = lambda features, local: implicit.decode(weights, features, local)  # noqa: E731
        return jnp.sum(implicit.evaluate(elements, golden["ldif.points"], symmetric=symmetric, detail=detail) * golden["ldif.cotangent"])

    found = jax.grad(total)(weights)
    parts = {"in": found.first, "fc1": found.dense1, "out": found.last, "cbn1_gamma": found.norm1.gamma, "cbnf_beta": found.norm3.beta}
    for key, part in parts.items():
        close(part.weight, golden[f"ldif.grad_net_{key}_weight"], 2e-5, key)


def test_parts_of_the_sum(golden, folder):
    elements, symmetric, detail = shape(folder, "ldif")
    start, stop = golden["ldif.el_slice"]
    points = golden["ldif.points"][start:stop]
    np.testing.assert_allclose(implicit.influences(elements, points, symmetric=symmetric), golden["ldif.el_weight"], atol=2e-6)
    close(implicit.world_to_local(elements), golden["ldif.world2local"], 2e-6)
    features = elements.features[np.r_[: len(elements.features), :symmetric]]
    close(detail(features, golden["ldif.el_local"]), golden["ldif.el_g"], 2e-6)


def test_the_published_cut(golden, folder):
    elements, symmetric, detail = shape(folder, "ldif")
    value = implicit.evaluate(elements, golden["ldif.points"], symmetric=symmetric, detail=detail, cut=True)
    np.testing.assert_allclose(value, golden["ldif.f_kernel"], atol=4e-6)


@pytest.mark.parametrize("kind", ["rotated", "axis"])
def test_numbers_of_a_network(golden, kind):
    raw, points = golden["raw.input"], golden["raw.points"]
    taken, symmetric = (raw, 5) if kind == "rotated" else (raw[:, :7], 0)

    def total(raw):
        value = implicit.evaluate(implicit.from_network(raw), points, symmetric=symmetric, rotated=kind == "rotated")
        return jnp.sum(value * golden["raw.cotangent"]), value

    (_, value), by_raw = jax.value_and_grad(total, has_aux=True)(taken)
    np.testing.assert_allclose(value, golden[f"raw.{kind}_f"], atol=2e-6)
    close(by_raw, golden[f"raw.{kind}_grad"][:, : taken.shape[1]], 2e-5)
    elements = implicit.from_network(raw)
    for key, field in (("c", "constant"), ("mu", "center"), ("r", "variance"), ("ang", "angles")):
        np.testing.assert_allclose(getattr(elements, field), golden[f"raw.{key}"], rtol=2e-6, atol=1e-9)


def test_five_values_of_the_reference(folder):
    near = np.array([[0.02, 0.008, -0.05], [0, 0, 0]], np.float32)
    for name, wanted in (("sif-nosym", [-0.0547159]), ("b831f60f211435df5bbc861d0124304c", [-0.238868, -0.590321])):
        elements, symmetric = element_files.read(folder / f"{name}.txt")
        value = implicit.evaluate(elements, near, symmetric=symmetric)
        np.testing.assert_allclose(value[: len(wanted)], wanted, atol=1e-6)  # as many digits as were printed
    elements, symmetric = element_files.read(folder / "b7eefc4c25dd9e49238581dd5a8af82c.txt")
    np.testing.assert_allclose(implicit.evaluate(elements, near, symmetric=symmetric), [-0.126568, -0.11410], atol=1e-5)


def test_conditional_normalisation(golden, folder):
    weights = occnet_files.read(folder / "extracted.occnet")
    found = implicit.decode(weights, golden["decoder.z"], golden["decoder.x"])
    close(found, golden["decoder.out_eval"], 2e-6)
    norm = decoder.Norm(
        decoder.Dense(golden["cbn.beta_weight"], golden["cbn.beta_bias"]),
        decoder.Dense(golden["cbn.gamma_weight"], golden["cbn.gamma_bias"]),
        *np.float32(golden["cbn.running_after"]),
    )
    close(decoder.normalize(norm, golden["cbn.z"], golden["cbn.x"]), golden["cbn.out"], 2e-6)
