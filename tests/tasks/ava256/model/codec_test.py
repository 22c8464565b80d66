"""The whole codec: sizes, parameter count, warm-up, losses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from small_head import assets, batch, compiled, config

from ava_jax.core.variables import Constant, Running
from ava_jax.tasks.ava256.kernels.voxels import template
from ava_jax.tasks.ava256.model import codec
from ava_jax.tasks.ava256.model.codec import AvatarCodec

FULL = dict(primitives_per_side=128, primitive_side=8, texture_size=1024, width=1.0)


def parameters(model) -> int:
    return sum(x.size for x in jax.tree.leaves(nnx.state(model, nnx.Param)))


@pytest.fixture(scope="module")
def model():
    return AvatarCodec(config(), assets(), rngs=nnx.Rngs(0))


@pytest.fixture(scope="module")
def losses_and_gradients(model):
    """Gradients of the summed means of the losses, the terms, and the running scale after: compiled once. The scale is 30 before."""
    model = nnx.clone(model)
    model.assembler.running_scale[...] = jnp.full(model.assembler.running_scale.shape, 30.0)
    graph, parameters, others = nnx.split(model, nnx.Param, ...)

    @jax.jit
    def run(parameters, others, batch, step):
        def loss(parameters):
            model = nnx.merge(graph, parameters, others, copy=True)
            terms = model.training_loss_terms(batch, step=step, key=jax.random.key(0))
            return sum(jnp.mean(values) for values, _ in terms.values()), (terms, model.assembler.running_scale[...])

        return jax.grad(loss, has_aux=True)(parameters)

    return lambda batch, step: run(parameters, others, batch, step)


def test_the_published_size_has_its_parameter_count():
    uv_maps = {1024: (np.zeros((1024, 1024, 3), np.int32), np.zeros((1024, 1024, 3), np.float32))}
    full = nnx.eval_shape(lambda: AvatarCodec(config(**FULL), assets(1024, 80, 4), uv_maps=uv_maps, rngs=nnx.Rngs(0)))
    assert parameters(full) == 46_871_903


@pytest.mark.parametrize(
    "changes",
    [
        dict(),
        dict(width=0.3, background=False),
        dict(texture_size=512),
        dict(primitives_per_side=64, primitive_side=8),
        dict(primitives_per_side=16, primitive_side=16),
        dict(primitives_per_side=16, primitive_side=32, texture_size=512, width=0.5),
        dict(primitives_per_side=64, primitive_side=4, template_dtype="bfloat16"),
        dict(precision="bfloat16"),  # a slab of 256, which the vertices' head reads too
        dict(primitives_per_side=64, precision="bfloat16", template_dtype="bfloat16"),  # whose voxels kernels make
    ],
)
def test_shapes_at_other_sizes(changes):
    sizes = config(**changes)
    n, d, t = sizes.primitives_per_side, sizes.primitive_side, sizes.texture_size

    def run(batch):
        model = AvatarCodec(sizes, assets(t), rngs=nnx.Rngs(0))
        identity = model.encode_identity(batch["neutral_texture"], batch["neutral_vertices"])
        code = model.encode_expression(*(batch[k] for k in ("texture", "vertices", "neutral_texture", "neutral_vertices")))
        decoded = model.decode(identity, code[0], batch["camera_position"])
        return identity, code, decoded, model.reconstruct(batch)

    sample = batch(texture_size=t)
    identity, (mean, logstd), decoded, image = jax.eval_shape(run, sample)
    assert mean.shape == logstd.shape == identity.z_geo.shape == identity.z_tex.shape == (2, 4, 4, 16)
    assert [m.shape[1] for m in identity.maps_geo] == [2**i for i in range(3, t.bit_length() - 1)]
    assert [m.shape for m in identity.maps_geo] == [m.shape for m in identity.maps_tex]
    assert decoded.primitives.rgba.shape == (2, n * n, d, d, d, 4)
    assert decoded.primitives.rgba.dtype == sizes.template_dtype
    assert decoded.primitives.rotation.shape == (2, n * n, 3, 3)
    assert decoded.primitives.position.shape == decoded.primitives.scale.shape == (2, n * n, 3)
    assert decoded.vertices.shape == sample["vertices"].shape
    assert image.shape == sample["image"].shape and image.dtype == jnp.float32


@pytest.mark.parametrize(
    "changes, message",
    [
        (dict(texture_size=300), "texture_size must be one of"),
        (dict(primitives_per_side=30), r"30 \* 8 = 240"),
        (dict(primitives_per_side=4, primitive_side=64), "at least 8"),
        (dict(primitives_per_side=128, primitive_side=2), "at least 4"),
        (dict(width=0.0), "width must be positive"),
        (dict(guided_steps=0), "guided_steps must be at least 1"),
        (dict(background_fraction=0.5), "background_fraction must be one of 1, 0.25, 0.0625; got 0.5"),
        (dict(texture_size=512), "texture_mean"),
        (dict(initial_density=0.0), "initial_density must be positive"),
        (dict(initial_density_outside=0.0), "initial_density_outside must be positive"),
        (dict(moved_weight=-1.0), "moved_weight at least 0; got 1.0 and -1.0"),
        (dict(from_neutral=True, initial_texture=True), "initial_texture must be False with from_neutral"),
        (dict(expression_basis=8), "expression_basis must be at least 0, and 0 without from_neutral"),
        (dict(expression_components=True), "expression_basis must be at least 1 with expression_components"),
        (dict(view_degree=2), "view_degree must be at least 0, and 0 without from_neutral"),
        (dict(primitive_placement="vertex"), "primitive_placement must be one of texel, patch; got 'vertex'"),
        (dict(view_noise=-0.1), "view_noise at least 0"),
        (dict(precision="fast"), "precision must be one of float32, bfloat16; got 'fast'"),
        (dict(template_dtype="float16"), "template_dtype must be one of float32, bfloat16; got 'float16'"),
    ],
)
def test_sizes_that_cannot_be(changes, message):
    with pytest.raises(ValueError, match=message):
        AvatarCodec(config(**changes), assets(), rngs=nnx.Rngs(0))


def test_variables_are_of_the_kinds_that_checkpoints_know(model):
    kinds = {type(v) for _, v in nnx.iter_graph(model) if isinstance(v, nnx.Variable)}
    assert kinds == {nnx.Param, Running, Constant}


def test_the_slabs_logits_are_not_the_features_of_the_vertices(model):
    """At a slab of 256 the vertices' head reads the last layer too: channels of its own beside the slab's 8."""
    assert model.geometry_decoder.ladder.last.weight.shape[-1] == 8 + 8
    assert model.geometry_decoder.vertices[0].weight.shape[0] == 8


@pytest.mark.slow
def test_losses_and_gradients_are_finite_and_reach_all_that_is_read(model, losses_and_gradients):
    gradients, (terms, _) = losses_and_gradients(batch(), 3)
    assert {name: values.shape for name, (values, _) in terms.items()} == {
        "image": (2, 12, 10, 3), "image_squared": (2, 12, 10, 3), "texture": (2, 32 * 32, 8, 8, 3),
        "vertices": (2, model.geometry_decoder.points.shape[0], 3), "kl": (2, 4, 16), "volume": (2,)
    }  # fmt: skip
    assert all(bool(jnp.all(jnp.isfinite(values))) for values, _ in terms.values())
    idle = set()
    for path, gradient in jax.tree_util.tree_leaves_with_path(gradients):
        assert bool(jnp.all(jnp.isfinite(gradient))), jax.tree_util.keystr(path)
        if not bool(jnp.any(gradient)):
            idle.add(jax.tree_util.keystr(path[:3]))
    finest = {"['identity_encoder']['combiners'][0]", "['identity_encoder']['geo']['taps']", "['identity_encoder']['tex']['taps']"}
    assert idle <= finest  # the finest maps feed nothing


@pytest.mark.slow
def test_templates_in_bfloat16_have_the_same_gradients(model, losses_and_gradients):
    """Gradients within a few roundings of a voxel and of its gradient, 2^-8 of them each."""
    narrow = nnx.clone(model)
    narrow.assembler.template_dtype = jnp.bfloat16
    narrow.assembler.running_scale[...] = jnp.full(narrow.assembler.running_scale.shape, 30.0)
    graph, parameters, others = nnx.split(narrow, nnx.Param, ...)

    @jax.jit
    def differentiate(parameters, others, batch):
        def loss(parameters):
            terms = nnx.merge(graph, parameters, others, copy=True).training_loss_terms(batch, step=3, key=jax.random.key(0))
            return sum(jnp.mean(values) for values, _ in terms.values())

        return jax.grad(loss)(parameters)

    ours, theirs = (jax.tree.leaves(g) for g in (differentiate(parameters, others, batch()), losses_and_gradients(batch(), 3)[0]))
    off = np.sqrt(sum(float(jnp.sum((a - b) ** 2)) for a, b in zip(ours, theirs)))
    norm = np.sqrt(sum(float(jnp.sum(b**2)) for b in theirs))
    assert 0 < off < 4 * 2.0**-8 * norm


@pytest.mark.slow
def test_a_fraction_of_the_pixels_weighs_as_much_as_all(model, monkeypatch):
    """The image term is that of all pixels times weights 0, 1 and 4, in values and gradients; the background's gradient has its own."""

    def run(fraction):
        def image(parameters, others, sample):
            drawn.clear()
            model = nnx.merge(graph, parameters, others, copy=True)
            model.background_fraction = fraction
            return model.training_loss_terms(sample, step=3, key=jax.random.key(5), terms=("image",))["image"][0], tuple(drawn)

        @jax.jit
        def values_and_gradient(parameters, others, sample, cotangent):
            values, transpose, weights = jax.vjp(lambda p: image(p, others, sample), parameters, has_aux=True)
            return values, transpose(cotangent)[0], weights

        return lambda cotangent: values_and_gradient(parameters, others, sample, cotangent)

    model = nnx.clone(model)
    model.assembler.running_scale[...] = jnp.full(model.assembler.running_scale.shape, 30.0)  # so that there is something beside the head
    graph, parameters, others = nnx.split(model, nnx.Param, ...)
    sample = batch(height=25, width=21)
    drawn, draw = [], codec.pixel_weights
    monkeypatch.setattr(codec, "pixel_weights", lambda *of: drawn.append(draw(*of)) or drawn[-1])
    every, some = run(1.0), run(0.25)
    ones = jnp.ones(sample["image"].shape)
    values, gradient, (weights,) = some(ones)
    loss, gradient_weight = (np.asarray(w)[..., None] for w in weights)
    assert set(np.unique(loss)) == {0.0, 1.0, 4.0} and set(np.unique(gradient_weight)) == {0.0, 1.0, 4.0}
    of_all, expected, _ = every(loss * ones)
    np.testing.assert_allclose(values, loss * of_all, rtol=1e-5, atol=1e-4)
    of_background = every(loss * gradient_weight * ones)[1]["background"]
    expected["background"] = of_background
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4 * float(jnp.abs(b).max() + 1)), gradient, expected)


def test_guiding_is_traced_and_ends_at_its_step(losses_and_gradients):
    for step, moves in ((0, True), (2, True), (3, False), (100, False)):
        _, (terms, after) = losses_and_gradients(batch(), step)
        assert bool(jnp.any(after != 30.0)) == moves
        assert bool(jnp.all(jnp.isfinite(terms["image"][0])))


def test_guided_primitives_follow_the_guide_not_the_residuals(model):
    def decode(model, batch, guide, guided):
        identity = model.encode_identity(batch["neutral_texture"], batch["neutral_vertices"])
        return model.decode(identity, jnp.ones((2, 4, 4, 16)), batch["camera_position"], guide_vertices=guide, guided=guided)

    model = nnx.clone(model)
    model.assembler.running_scale[...] = jnp.full(model.assembler.running_scale.shape, 30.0)
    run = compiled(model, decode)
    sample = batch()
    here, moved = (run(sample, sample["vertices"] + shift, True) for shift in (0.0, np.float32([25.6, 0, 0])))
    np.testing.assert_allclose(moved.primitives.position - here.primitives.position, np.broadcast_to([0.1, 0, 0], (2, 1024, 3)), atol=1e-5)
    np.testing.assert_allclose(moved.vertices, here.vertices, atol=1e-4)
    np.testing.assert_array_equal(here.primitives.scale[..., 0], here.primitives.scale[..., 1])
    later = run(sample, sample["vertices"], False)
    assert bool(jnp.any(later.primitives.scale[..., 0] != later.primitives.scale[..., 1]))
    own = compiled(model, lambda m, b: m.decode(
        m.encode_identity(b["neutral_texture"], b["neutral_vertices"]), jnp.ones((2, 4, 4, 16)), b["camera_position"]
    ))(sample)  # fmt: skip
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5), later, own)


def test_the_expression_is_the_difference_to_the_neutral(model):
    sample = batch()
    encode = compiled(model, lambda m, *args: m.encode_expression(*args))
    mean, logstd = encode(sample["texture"], sample["vertices"], sample["texture"], sample["vertices"])
    np.testing.assert_allclose(mean, 0, atol=1e-6)  # biases start at 0, so the neutral itself has code 0
    np.testing.assert_allclose(logstd, 0, atol=1e-6)


def test_the_finest_maps_are_computed_only_when_asked_for(model):
    image = jnp.zeros((1, 256, 256, 3))
    shapes = jax.eval_shape(lambda: model.identity_encoder(image, image, finest=True))
    assert shapes.maps_geo[-1].shape == (1, 256, 256, 3)
    assert jax.eval_shape(lambda: model.identity_encoder(image, image)).maps_geo[-1].shape[1] == 128


def test_a_head_may_start_opaque_and_in_the_mean_texture():
    """Voxels start with the density and the texel of the mean texture that stands at their row and column, whatever their depth."""
    texture = np.random.default_rng(0).uniform(30, 220, (256, 256, 3)).astype(np.float32)
    known = assets()
    known.arrays["texture_mean"] = texture
    model = AvatarCodec(config(initial_density=30.0, initial_texture=True), known, rngs=nnx.Rngs(0))
    colour, log_opacity = (decoder.bias[...][None] for decoder in (model.colour_decoder, model.geometry_decoder))
    voxels = template(colour, 0.1 * log_opacity, 8)
    np.testing.assert_allclose(voxels[..., 3], 30.0, rtol=1e-5)
    primitive = 5 * 32 + 7  # row 5, column 7 of the primitives
    tile = texture[5 * 8 : 6 * 8, 7 * 8 : 8 * 8]
    np.testing.assert_allclose(voxels[0, primitive, ..., :3], np.broadcast_to(tile, (8, 8, 8, 3)), atol=1e-3)


@pytest.mark.parametrize("noise", [0.0, 0.2])
def test_noise_on_the_view_reaches_colour_alone_and_in_training_alone(noise):
    """Two keys that draw the same code and other noise on the view: `view_noise` alone tells their renders apart."""
    model = AvatarCodec(config(view_noise=noise), assets(), rngs=nnx.Rngs(0))
    model.bottleneck.logstd.bias[...] = jnp.full(16, -1e4)  # codes without noise
    terms = compiled(model, lambda m, batch, key: m.training_loss_terms(batch, step=jnp.array(0), key=key))
    a, b = (terms(batch(), jax.random.key(seed)) for seed in (1, 2))
    assert bool(jnp.any(a["image"][0] != b["image"][0])) == (noise > 0)
    np.testing.assert_array_equal(a["vertices"][0], b["vertices"][0])
    np.testing.assert_array_equal(a["volume"][0], b["volume"][0])


def test_a_term_that_is_not_asked_for_costs_nothing(model, monkeypatch):
    """Nothing is rendered without the image, and the compiler leaves out what only it reads: colours."""
    monkeypatch.setattr(AvatarCodec, "render", lambda *args: pytest.fail("rendered"))

    def some(model, step):
        terms = model.training_loss_terms(batch(), step=step, key=jax.random.key(0), terms=("volume", "kl"))
        return terms, model.assembler.running_scale[...]

    graph, state = nnx.split(model)
    program = jax.jit(lambda state, step: some(nnx.merge(graph, state, copy=True), step)).lower(state, jnp.int32(0)).compile()
    assert set(program.out_tree.unflatten(range(program.out_tree.num_leaves))[0]) == {"volume", "kl"}
    text = program.as_text()
    assert "geometry_decoder/" in text and "colour_decoder/" not in text
