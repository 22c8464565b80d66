"""The codec of differences to the neutral face: what `ava256:tiny` is made of."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from small_head import assets, batch, compiled, config, vertices

from ava_jax.core.types import Primitives
from ava_jax.tasks.ava256.model import codec, texels
from ava_jax.tasks.ava256.model.codec import AvatarCodec
from ava_jax.tasks.ava256.model.decoders import ExpressionBasis

FROM_NEUTRAL = dict(from_neutral=True, expression_basis=3, primitive_placement="patch", moved_weight=50.0, width=0.0625)


@pytest.fixture(scope="module")
def model_from_neutral():
    return AvatarCodec(config(**FROM_NEUTRAL), assets(), rngs=nnx.Rngs(0))


def without_residuals(model):
    """A copy whose last layers give nothing."""
    model = nnx.clone(model)
    for layer in (model.geometry_decoder.vertices[-1], model.colour_decoder.ladder.last):
        layer.magnitude[...] = jnp.zeros_like(layer.magnitude[...])
    return model


def test_from_neutral_a_head_without_residuals_is_the_neutral_one(model_from_neutral):
    sample = batch()
    neutral = [sample[name] for name in ("neutral_texture", "neutral_vertices")]

    def decode(model):
        identity = model.encode_identity(*neutral)
        return model.decode(identity, jnp.ones((2, 4, 4, 16)), sample["camera_position"])

    decoded = compiled(without_residuals(model_from_neutral), decode)()
    np.testing.assert_allclose(decoded.vertices, sample["neutral_vertices"], atol=1e-4)
    expected = texels.as_primitives(texels.at_voxels(sample["neutral_texture"], model_from_neutral.sizes), model_from_neutral.sizes)
    for layer in range(8):
        np.testing.assert_allclose(decoded.primitives.rgba[:, :, layer, ..., :3], expected, atol=1e-3)


def test_the_texture_term_is_zero_for_voxels_that_show_the_texture(model_from_neutral):
    sample = batch()
    sizes = model_from_neutral.sizes
    shown = texels.as_primitives(texels.at_voxels(sample["texture"], sizes), sizes)
    rgba = jnp.broadcast_to(jnp.pad(shown, [(0, 0)] * 4 + [(0, 1)])[:, :, None], (2, 1024, 8, 8, 8, 4))
    primitives = Primitives(position=None, rotation=None, scale=None, rgba=rgba)
    np.testing.assert_allclose(model_from_neutral._texture_error(primitives, sample["camera_position"], sample), 0, atol=1e-3)
    still = sample | dict(neutral_texture=sample["texture"])
    off = primitives._replace(rgba=rgba + 10.0)
    np.testing.assert_allclose(
        model_from_neutral._texture_error(off, sample["camera_position"], still), 10.0, atol=1e-3
    )  # nothing moves: the weight is 1
    moved = sample | dict(texture=np.full_like(sample["texture"], 140), neutral_texture=np.full_like(sample["texture"], 100))
    grey = primitives._replace(rgba=jnp.full_like(rgba, 138.0))
    np.testing.assert_allclose(model_from_neutral._texture_error(grey, sample["camera_position"], moved), 51 * 2.0, atol=1e-3)


def test_colours_are_multiplied_by_the_factors_of_their_texels():
    model = AvatarCodec(config(**FROM_NEUTRAL, view_degree=2), assets(), rngs=nnx.Rngs(0))
    sample = batch()
    places = np.float32([[0, 0, 1000], [600, -300, 700]])
    np.testing.assert_array_equal(model.colour_decoder.factors(places), 1.0)

    def coloured(model):
        identity = model.encode_identity(sample["neutral_texture"], sample["neutral_vertices"])
        return model.decode(identity, jnp.ones((2, 4, 4, 16)), places).primitives.rgba

    plain = compiled(model, coloured)()
    coefficients = model.colour_decoder.view_factors.coefficients
    assert coefficients.shape == (9, 256 * 256 * 3)
    coefficients[...] = jax.random.uniform(jax.random.key(1), coefficients.shape, minval=-0.02, maxval=0.02)
    factors = np.asarray(model.colour_decoder.factors(places))
    assert factors.std() > 0.01 and np.abs(factors[0] - factors[1]).max() > 0.01
    shown = compiled(model, coloured)()
    expected = plain[..., :3] * texels.as_primitives(factors, model.sizes)[:, :, None]
    np.testing.assert_allclose(shown[..., :3], expected, rtol=1e-4, atol=1e-3)
    np.testing.assert_array_equal(shown[..., 3], plain[..., 3])
    np.testing.assert_allclose(model.colour_decoder.factors(3 * places), factors, rtol=1e-5)  # of the direction alone


def test_factors_never_turn_colours_negative():
    model = AvatarCodec(config(**FROM_NEUTRAL, view_degree=1), assets(), rngs=nnx.Rngs(0))
    coefficients = model.colour_decoder.view_factors.coefficients
    coefficients[...] = jnp.full(coefficients.shape, -5.0)
    assert float(model.colour_decoder.factors(np.float32([[0, 0, 1000]])).max()) == 0.0


def test_a_texture_as_the_factors_have_it_is_no_error():
    model = AvatarCodec(config(**FROM_NEUTRAL, view_degree=1), assets(), rngs=nnx.Rngs(0))
    model.colour_decoder.view_factors.coefficients[...] = jnp.full(model.colour_decoder.view_factors.coefficients.shape, 0.05)
    sample = batch()
    shown = texels.as_primitives(texels.at_voxels(sample["texture"], model.sizes), model.sizes)
    shown = shown * np.asarray(model.colour_decoder.factors(sample["camera_position"]))[0, 0, 0, 0]  # the same everywhere
    rgba = jnp.broadcast_to(jnp.pad(shown, [(0, 0)] * 4 + [(0, 1)])[:, :, None], (2, 1024, 8, 8, 8, 4))
    primitives = Primitives(position=None, rotation=None, scale=None, rgba=rgba)
    np.testing.assert_allclose(model._texture_error(primitives, sample["camera_position"], sample), 0, atol=1e-3)
    plain = texels.as_primitives(texels.at_voxels(sample["texture"], model.sizes), model.sizes)
    np.testing.assert_allclose(model.unshaded(rgba[:, :, 0, ..., :3], sample["camera_position"]), plain, rtol=1e-4, atol=1e-3)


def test_components_are_shown_from_the_first_step():
    """A frame made of a neutral face, two components of the mesh and one of the texture alone comes out of code and decoders."""
    rng = np.random.default_rng(3)

    def maps(count, most):
        return rng.uniform(-most, most, (count, 8, 8, 3)).astype(np.float32).repeat(32, 1).repeat(32, 2)

    up = np.linalg.qr(rng.normal(size=(vertices().size, 2)))[0].T.reshape(2, -1, 3).astype(np.float32) * 60
    colours, gains, shares = maps(3, 9), maps(2, 9), maps(2, 9)
    strength = np.float32([[1.0, -0.5, 0.7], [0.3, 2.0, -1.0]])
    sample = batch()
    neutral = np.full((2, 256, 256, 3), 120.0, np.float32)
    neutral[1] = 60
    followed = np.einsum("bm,mijc->bijc", strength[:, :2], gains + shares) * neutral / 128  # a plain face has its own colour around
    expected = neutral + np.einsum("bk,kijc->bijc", strength, colours) + followed
    sample |= dict(neutral_texture=neutral, texture=expected)
    sample["vertices"] = sample["neutral_vertices"] + np.einsum("bm,mvc->bvc", strength[:, :2], up)
    known = assets()
    arrays = dict(vertices=up, textures=colours, gains=gains, shares=shares)
    known.arrays.update({f"component_{name}": array for name, array in arrays.items()})
    changes = FROM_NEUTRAL | dict(expression_basis=3, expression_components=True, initial_code_gain=1e-6)
    model = AvatarCodec(config(**changes), known, rngs=nnx.Rngs(0))

    def decode(model):
        identity = model.encode_identity(sample["neutral_texture"], sample["neutral_vertices"])
        code, _ = model.encode_expression(*(sample[k] for k in ("texture", "vertices", "neutral_texture", "neutral_vertices")))
        return model.decode(identity, code, sample["camera_position"])

    decoded = compiled(without_residuals(model), decode)()
    np.testing.assert_allclose(decoded.vertices, sample["vertices"], atol=0.02)
    voxels = texels.as_primitives(texels.at_voxels(expected, model.sizes), model.sizes)
    np.testing.assert_allclose(decoded.primitives.rgba[:, :, 3, ..., :3], voxels, atol=0.1)


def test_the_squared_image_term_is_the_square_of_the_other(model_from_neutral):
    terms = compiled(model_from_neutral, lambda m, b: m.training_loss_terms(b, step=jnp.int32(9), key=jax.random.key(0)))(batch())
    assert set(terms) == set(codec.LOSS_TERMS)
    np.testing.assert_allclose(terms["image_squared"][0], terms["image"][0] ** 2, rtol=1e-4)
    assert all(bool(jnp.all(jnp.isfinite(values))) for values, _ in terms.values())


@pytest.mark.slow
def test_the_texture_and_vertex_terms_reach_the_expression_encoder_and_their_decoders(model_from_neutral):
    graph, parameters, others = nnx.split(model_from_neutral, nnx.Param, ...)

    def gradient(parameters, others, batch, term):
        def loss(parameters):
            model = nnx.merge(graph, parameters, others, copy=True)
            values, _ = model.training_loss_terms(batch, step=jnp.int32(9), key=jax.random.key(0), terms=(term,))[term]
            return jnp.mean(values)

        return jax.grad(loss)(parameters)

    terms = {"texture": ("colour_decoder", "geometry_decoder"), "vertices": ("geometry_decoder", "colour_decoder")}
    for term, (reached, untouched) in terms.items():
        found = jax.jit(gradient, static_argnums=3)(parameters, others, batch(), term)
        size = {name: sum(float(jnp.abs(x).sum()) for x in jax.tree.leaves(part)) for name, part in found.items()}
        assert float(jnp.abs(found[reached]["basis"]["basis"][...]).sum()) > 0
        assert size[reached] > 0 and size["expression_encoder"] > 0 and size[untouched] == 0


def test_a_head_may_start_as_a_surface():
    """Outside of the mesh, the half of the depths that `Assembler.outward` names, voxels start with a fraction of the density."""
    model = AvatarCodec(config(initial_density=100.0, initial_density_outside=0.01, **FROM_NEUTRAL), assets(), rngs=nnx.Rngs(0))
    density = np.exp(0.1 * np.asarray(model.geometry_decoder.bias[...]))
    outside = [1.0] * 4
    expected = [100.0] * 4 + outside if model.assembler.outward(assets().arrays["vertices_mean"]) > 0 else outside + [100.0] * 4
    np.testing.assert_allclose(density, np.broadcast_to(expected, density.shape), rtol=1e-4)


def test_a_basis_adds_its_vectors_by_the_codes_coefficients():
    """Written out: a tenth of the dense layer of the flattened code, times the vectors; zero for the code 0."""
    basis = ExpressionBasis(3, (5, 2), rngs=nnx.Rngs(0))
    z = jax.random.normal(jax.random.key(0), (2, 4, 4, 16))
    np.testing.assert_array_equal(basis(z), 0.0)
    basis.basis[...] = jnp.asarray(np.random.default_rng(0).standard_normal((3, 10)), jnp.float32)
    coefficients = 0.1 * np.asarray(z).reshape(2, 256) @ np.asarray(basis.coefficients.effective_weight())
    np.testing.assert_allclose(basis(z), (coefficients @ np.asarray(basis.basis[...])).reshape(2, 5, 2), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(basis(jnp.zeros_like(z)), 0.0)
