"""Weight-normalised layers: the formula, and how they start."""

import math

import jax
import numpy as np
import pytest
from flax import nnx
from jax import lax

from ava_jax.nn.layers import Dense, WNConv3x3, WNConvDown, WNConvUp, WNDense

NHWC = ("NHWC", "HWIO", "NHWC")


def direct(layer, x, weight):
    if isinstance(layer, WNDense):
        return np.einsum("bhwc,co->bhwo", x, weight)
    if isinstance(layer, WNConv3x3):
        return lax.conv_general_dilated(x, weight, (1, 1), "SAME", dimension_numbers=NHWC)
    if isinstance(layer, WNConvDown):
        return lax.conv_general_dilated(x, weight, (2, 2), [(1, 1), (1, 1)], dimension_numbers=NHWC)
    return lax.conv_general_dilated(x, weight[::-1, ::-1], (1, 1), [(2, 2), (2, 2)], lhs_dilation=(2, 2), dimension_numbers=NHWC)


@pytest.mark.parametrize("activate", [True, False])
@pytest.mark.parametrize("kind", [WNDense, WNConv3x3, WNConvDown, WNConvUp])
def test_one_norm_over_the_whole_tensor(kind, activate):
    rng = np.random.default_rng(0)
    layer = kind(6, 5, activate=activate, rngs=nnx.Rngs(0))
    magnitude, bias = rng.standard_normal((2, 5)).astype(np.float32)
    layer.magnitude[...], layer.bias[...] = magnitude, bias
    layer.weight[...] = rng.standard_normal(layer.weight.shape).astype(np.float32)
    x = rng.standard_normal((2, 4, 6, 6)).astype(np.float32)
    weight = np.asarray(layer.weight[...])
    expected = np.asarray(direct(layer, x, weight * magnitude / np.sqrt((weight**2).sum()))) + bias
    np.testing.assert_allclose(layer(x, activate=False), expected, rtol=1e-4, atol=1e-5)
    if activate:
        expected = np.where(expected > 0, expected, 0.2 * expected)
    np.testing.assert_allclose(layer(x), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind, area, activate", [(WNDense, 1, True), (WNConv3x3, 9, True), (WNConvDown, 16, False), (WNConvUp, 4, True)])
def test_starts_with_the_stated_deviation_and_as_if_unnormalised(kind, area, activate):
    layer = kind(96, 160, activate=activate, rngs=nnx.Rngs(3))
    weight = np.asarray(layer.weight[...])
    gain = math.sqrt(2 / 1.04) if activate else 1.0
    deviation = gain * math.sqrt(2 / ((96 + 160) * area))
    independent = weight.size / (4 if kind is WNConvUp else 1)
    assert abs(weight.std() / deviation - 1) < 4 * 0.45 / math.sqrt(independent)  # sd of a uniform's deviation: 0.45 / sqrt(n)
    assert np.abs(weight).max() <= deviation * math.sqrt(3) * 1.0001
    assert np.abs(weight).max() > deviation * math.sqrt(3) * 0.99  # uniform, not normal
    np.testing.assert_allclose(layer.magnitude[...], np.linalg.norm(weight), rtol=1e-5)
    assert not np.any(layer.bias[...])


def test_the_phases_of_a_transposed_convolution_start_equal():
    weight = np.asarray(WNConvUp(8, 8, rngs=nnx.Rngs(0)).weight[...])
    phases = [weight[r::2, c::2] for r in (0, 1) for c in (0, 1)]
    for phase in phases[1:]:
        np.testing.assert_array_equal(phase, phases[0])
    assert np.unique(phases[0]).size == phases[0].size


def test_layers_drawn_from_other_keys_differ_even_when_small():
    rngs = nnx.Rngs(0)
    first, second = WNDense(4, 4, rngs=rngs), WNDense(4, 4, rngs=rngs)
    assert not np.any(np.asarray(first.weight[...]) == np.asarray(second.weight[...]))


def test_a_large_layer_has_no_repeated_piece():
    weight = np.asarray(Dense(512, 400, rngs=nnx.Rngs(0)).weight[...]).ravel()
    assert np.unique(weight).size > 0.98 * weight.size  # a repeated piece would leave two thirds at most


def test_constructs_abstractly():
    layer = nnx.eval_shape(lambda: WNConvUp(8, 16, rngs=nnx.Rngs(0)))
    assert layer.weight.shape == (4, 4, 8, 16)
    assert jax.tree.leaves(nnx.state(layer, nnx.Param))
