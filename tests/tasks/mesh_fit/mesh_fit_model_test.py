"""The network by hand on tiny cases: rows, gate, blending, offsets, precisions, batches that are not full."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from mesh_fit_published import model_config

from ava_jax.core.types import Assets
from ava_jax.tasks.mesh_fit import layers
from ava_jax.tasks.mesh_fit.layers import Arithmetic, affine, blend, blended
from ava_jax.tasks.mesh_fit.model import MeshFitter, coordinates_of
from ava_jax.tasks.mesh_fit.rows import rows_of_frames, rows_of_neighbours, with_motion

FLOAT32, BFLOAT16 = Arithmetic.of("float32"), Arithmetic.of("bfloat16")
SIZES = {"hidden": 16, "latent": 4, "experts": 3}


@functools.partial(jax.jit, static_argnames="arithmetic")  # else each operation is compiled by itself
def predict(model, source, joints=None, arithmetic=None):
    return model(source, joints, arithmetic=arithmetic)


def fresh(**changes) -> MeshFitter:
    return MeshFitter(model_config(**SIZES | changes), Assets({"faces": np.array([[0, 1, 2]])}, {}), rngs=nnx.Rngs(0))


def randoms(seed, *shapes):
    rng = np.random.default_rng(seed)
    return [jnp.asarray(rng.standard_normal(shape), jnp.float32) for shape in shapes]


def test_a_row_of_frames_begins_with_the_oldest():
    source = np.arange(2 * 3 * 4 * 3).reshape(2, 3, 4, 3)
    rows = rows_of_frames(source)
    assert rows.shape == (2, 4, 9)
    np.testing.assert_array_equal(rows[1, 2], np.concatenate([source[1, 0, 2], source[1, 1, 2], source[1, 2, 2]]))


def test_a_row_of_neighbours_ends_with_the_vertex_that_it_stands_for():
    mesh = np.arange(5 * 3).reshape(1, 1, 5, 3)
    rows = rows_of_neighbours(mesh, 3)
    assert rows.shape == (1, 3, 9)  # 32,731 vertices: 32,729 rows
    np.testing.assert_array_equal(rows[0, 1], np.concatenate([mesh[0, 0, 1], mesh[0, 0, 2], mesh[0, 0, 3]]))
    with pytest.raises(ValueError, match="at least .* 6 vertices; got 5"):
        rows_of_neighbours(mesh, 6)


def test_motion_is_the_steps_between_positions():
    rows = np.float32([[[0, 0, 0, 1, 2, 3, 2, 2, 2]]])
    np.testing.assert_array_equal(with_motion(rows, 10.0), [[[10, 20, 30, 10, 0, -10, 2, 2, 2]]])
    np.testing.assert_array_equal(with_motion(rows[..., -3:], 10.0), rows[..., -3:])
    (source,) = randoms(0, (1, 3, 4, 3))
    moving, still = fresh(motion_gain=5.0), fresh()
    steps = with_motion(rows_of_frames(source), 5.0)
    np.testing.assert_allclose(predict(moving, source), predict(still, steps.reshape(1, 4, 3, 3).swapaxes(1, 2)), atol=1e-6)


def test_conditioned_on_vertices_the_first_ones_are_the_sources():
    model = fresh(condition_on="vertex")
    (source,) = randoms(0, (2, 1, 7, 3))
    fitted = jax.jit(lambda model, source: model.fit(source))(model, source)
    assert fitted.shape == (2, 5, 3)
    found = predict(model, source)
    np.testing.assert_array_equal(found[:, :2], source[:, 0, :2])
    np.testing.assert_array_equal(found[:, 2:], fitted)
    # Row 0 stands for vertex 2: it depends on vertices 0 to 2 and on none after.
    moved = source.at[:, :, 3:].add(1.0)
    other = predict(model, moved)
    np.testing.assert_allclose(other[:, 2], found[:, 2], atol=1e-6)
    assert np.abs(other[:, 3] - found[:, 3]).max() > 1e-6


def mixed_weights(model, rows, joints=None):
    """The published decoder's own way, row by row in float64: weights and biases blended first, then one layer."""

    def elu(x):
        return np.where(x > 0, x, np.expm1(np.minimum(x, 0)))

    def dense(layer, x):
        return x @ np.asarray(layer.weight[...], np.float64) + np.asarray(layer.bias[...], np.float64)

    out = []
    for c in np.asarray(rows, np.float64):
        given = c if joints is None else np.concatenate([c, np.ravel(joints)])
        encoder, decoder = model.encoder, model.decoder
        h = elu(dense(encoder.first, given))
        h = elu(dense(encoder.second, np.concatenate([given, h])))
        z = sum(dense(layer, np.concatenate([given, h])) for layer in (encoder.mean, encoder.logvar))
        g = np.concatenate([z, c])
        for layer, activation in zip(decoder.gates, (elu, elu, np.exp)):
            g = activation(dense(layer, g))
        a = g / g.sum()
        h = c
        for layer, activation in zip(decoder.experts, (elu, elu, lambda x: x)):
            weight, bias = (np.tensordot(a, np.asarray(v[...], np.float64), 1) for v in (layer.weight, layer.bias))
            h = activation(np.concatenate([z, h]) @ weight + bias)
        out.append(h)
    return np.stack(out)


def enlarged(model):
    """The same model with weights that are not near 0, so that all gates and activations differ."""
    params = nnx.state(model, nnx.Param)
    rng = np.random.default_rng(1)
    nnx.update(model, jax.tree.map(lambda x: x + jnp.asarray(0.4 * rng.standard_normal(x.shape), x.dtype), params))
    return model


@pytest.mark.parametrize("joints", [0, 2])
def test_experts_blended_are_weights_mixed(joints):
    model = enlarged(fresh(joints=joints))
    source, skeleton = randoms(2, (1, 3, 5, 3), (1, 2, 3))
    skeleton = skeleton if joints else None
    expected = mixed_weights(model, rows_of_frames(source)[0], skeleton)
    np.testing.assert_allclose(predict(model, source, skeleton)[0], expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


def test_the_gate_by_hand():
    """One latent value, one coordinate: with silent first layers the softmax of the last layer's biases."""
    model = fresh(experts=2)
    for layer in model.decoder.gates:
        layer.weight[...] = jnp.zeros_like(layer.weight[...])
    model.decoder.gates[2].bias[...] = jnp.log(jnp.array([1.0, 3.0]))
    source, code = randoms(0, (1, 3, 4, 3), (128, 4))
    gate = jax.jit(lambda model, source, code: model.decoder.gate(FLOAT32, coordinates_of(rows_of_frames(source), None), code))(
        model, source, code
    )
    np.testing.assert_allclose(gate, np.tile([0.25, 0.75], (128, 1)), rtol=1e-6)


def test_blending_by_hand():
    gate = jnp.array([[0.25, 0.75], [1.0, 0.0]])
    # Expert 0 gives 2 x + 1, expert 1 gives -4 x + 3.
    weight, bias = jnp.array([[[2.0]], [[-4.0]]]), jnp.array([[[1.0]], [[3.0]]])
    x, ones = jnp.array([[1.0], [5.0]]), jnp.ones((2, 1))
    expected = [[0.25 * 3 + 0.75 * -1], [11.0]]
    np.testing.assert_allclose(blended(FLOAT32, gate, x, None, ones, weight, bias), expected)
    np.testing.assert_allclose(blend(gate, jnp.array([[3.0, -1.0], [11.0, -17.0]])), expected)


def layer_arguments(seed=0):
    gate = jax.nn.softmax(randoms(seed, (10, 3))[0])
    return gate, randoms(seed + 1, (10, 4), (10, 8), (10, 3), (3, 12, 5), (3, 3, 5))


def plain(gate, code, before, fixed, weight, weight_fixed):
    hidden = jnp.concatenate([x for x in (code, None if before is None else jax.nn.elu(before)) if x is not None], axis=1)
    each = jnp.einsum("rc,ecm->rem", hidden, weight) + jnp.einsum("rf,efm->rem", fixed, weight_fixed)
    return jnp.einsum("re,rem->rm", gate, each)


@pytest.mark.parametrize("parts", ["both", "code", "before"])
@pytest.mark.parametrize("arithmetic, bound", [(FLOAT32, 2e-6), (BFLOAT16, 2e-2)], ids=["float32", "bfloat16"])
def test_layers_and_their_gradients_are_those_of_the_plain_equation(parts, arithmetic, bound):
    gate, (code, before, fixed, weight, weight_fixed) = layer_arguments()
    code, before = (None if parts == "before" else code), (None if parts == "code" else before)
    weight = weight[:, : {"both": 12, "code": 4, "before": 8}[parts]]
    (cotangent,) = randoms(9, (10, 5))
    moving = (gate, code, before, weight, weight_fixed)

    def values_and_gradients(function, *moving):
        def transposed(*moving):
            value, transpose = jax.vjp(function, *moving)
            return value, transpose(cotangent)

        return jax.jit(transposed)(*moving)

    def compare(found, expected):
        for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
            assert np.abs(a - b).max() <= bound * np.abs(b).max()

    ours, theirs = (
        lambda gate, code, before, weight, weight_fixed: blended(arithmetic, gate, code, before, fixed, weight, weight_fixed),
        lambda gate, code, before, weight, weight_fixed: plain(gate, code, before, fixed, weight, weight_fixed),
    )
    compare(*(values_and_gradients(f, *moving) for f in (ours, theirs)))
    one = (code, before, weight[0], weight_fixed[0])
    ours, theirs = (
        lambda code, before, weight, weight_fixed: affine(arithmetic, jnp.float32, code, before, fixed, weight, weight_fixed),
        lambda code, before, weight, weight_fixed: plain(jnp.ones((10, 1)), code, before, fixed, weight[None], weight_fixed[None]),
    )
    compare(*(values_and_gradients(f, *one) for f in (ours, theirs)))


def test_no_gradient_flows_to_what_a_layer_is_given():
    _, (code, before, fixed, weight, weight_fixed) = layer_arguments()
    gradient = jax.grad(lambda fixed: jnp.sum(affine(FLOAT32, jnp.float32, code, before, fixed, weight[0], weight_fixed[0])))(fixed)
    assert not gradient.any()


def test_coordinates_keep_their_digits_in_bfloat16():
    """A weight that bfloat16 holds: what is left is the coordinates' own rounding, 3.9 mm at 1.7 m were they read once."""
    rng = np.random.default_rng(0)
    fixed = np.concatenate([rng.uniform(1.0, 2.0, (1000, 3)), np.ones((1000, 1))], axis=1).astype(np.float32)
    weight = np.concatenate([np.eye(3), np.zeros((1, 3))]).astype(np.float32)
    out = affine(BFLOAT16, jnp.float32, None, None, jnp.asarray(fixed), jnp.zeros((0, 3)), jnp.asarray(weight))
    assert np.abs(out - fixed[:, :3]).max() < 2e-5
    assert np.abs(fixed[:, :3].astype(jnp.bfloat16).astype(np.float32) - fixed[:, :3]).max() > 3e-3


@pytest.mark.parametrize("compiled", [False, True])
def test_rounding_is_not_compiled_away(compiled):
    split = jax.jit(BFLOAT16.split) if compiled else BFLOAT16.split
    high, low = split(jnp.full((1, 1), 1.701, jnp.float32))
    assert low.dtype == jnp.bfloat16 and low[0, 0] != 0
    assert abs(float(high[0, 0]) + float(low[0, 0]) - 1.701) < 1e-5


def test_bfloat16_predicts_about_what_float32_does():
    model = enlarged(fresh())
    (source,) = randoms(3, (1, 3, 50, 3))
    exact, short = (predict(model, source, arithmetic=a) for a in (FLOAT32, BFLOAT16))
    assert 0 < np.abs(exact - short).max() < 0.03 * np.abs(exact).max()


@pytest.mark.parametrize("vertices", [1, 127, 128, 129])
def test_meshes_of_any_size_and_batches_of_any_size_alike(vertices):
    model = fresh(joints=2)
    source, joints = randoms(4, (3, 3, vertices, 3), (3, 2, 3))
    whole = predict(model, source, joints)
    assert whole.shape == (3, vertices, 3)
    for i in range(3):
        np.testing.assert_allclose(predict(model, source[i : i + 1], joints[i : i + 1])[0], whole[i], atol=1e-6)


def test_offsets_are_from_the_newest_frame():
    position, offset = fresh(), fresh(output="offset")
    (source,) = randoms(5, (1, 3, 6, 3))
    np.testing.assert_allclose(predict(offset, source), predict(position, source) + source[:, -1], atol=1e-6)
    neighbours = fresh(output="offset", condition_on="vertex"), fresh(condition_on="vertex")
    found, plain_ = (predict(model, source[:, :1]) for model in neighbours)
    np.testing.assert_allclose(found[:, 2:], plain_[:, 2:] + source[:, 0, 2:], atol=1e-6)


def test_initial_values_are_as_published():
    model = MeshFitter(model_config(), Assets({"faces": np.array([[0, 1, 2]])}, {}), rngs=nnx.Rngs(0))
    for layer, bound in zip(model.decoder.experts, (np.sqrt(6 / (41 * 256)), np.sqrt(6 / (288 * 256)), np.sqrt(6 / (288 * 3)))):
        assert 0.99 * bound < np.abs(layer.weight[...]).max() <= bound
        assert (layer.bias[...] == np.float32(0.01)).all()
    for layer, d_in in ((model.encoder.second, 265), (model.decoder.gates[1], 64)):
        for values in (layer.weight[...], layer.bias[...]):
            assert 0.8 / np.sqrt(d_in) < np.abs(values).max() <= 1 / np.sqrt(d_in)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"condition_on": "space"}, "condition_on must be one of time, vertex"),
        ({"output": "velocity"}, "output must be"),
        ({"precision": "float16"}, "precision must be one of auto, float32, tf32, bfloat16"),
        ({"experts": 0}, "config.model.experts must be at least 1; got 0"),
        ({"condition_frames": 0}, "condition_frames must be at least 1"),
        ({"motion_gain": -1.0}, "motion_gain must be at least 0"),
    ],
)
def test_wrong_values_of_the_config(changes, message):
    with pytest.raises(ValueError, match=message):
        fresh(**changes)


@pytest.mark.parametrize("shape", [(1, 2, 5, 3), (3, 5, 3), (1, 3, 5, 2)])
def test_wrong_inputs(shape):
    with pytest.raises(ValueError, match=r"source must be \[B, 3, V, 3\] when conditioned on time"):
        fresh()(np.zeros(shape, np.float32))
    with pytest.raises(ValueError, match=r"joints must be \(1, 2, 3\) .* got None"):
        fresh(joints=2)(np.zeros((1, 3, 5, 3), np.float32))


def test_by_itself_the_precision_is_that_of_the_platform():
    expected = "bfloat16" if jax.default_backend() == "gpu" else "float32"
    assert Arithmetic.of(layers.AUTO) == Arithmetic.of(expected)
