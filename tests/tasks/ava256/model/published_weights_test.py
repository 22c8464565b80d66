"""Published keys and layouts to our parameters and back."""

import jax
import numpy as np
import pytest
from flax import nnx
from small_head import assets, config

from ava_jax.tasks.ava256.model import weights as published
from ava_jax.tasks.ava256.model.codec import AvatarCodec

BUFFERS = ("uv_tidx", "uv_bary", "warpidentity", "coords", "cam_ident", "id_ident")


@pytest.fixture(scope="module")
def weights():
    """Random weights, in the published layout, of the smallest model."""
    weights = published.state_dict(AvatarCodec(config(), assets(), rngs=nnx.Rngs(0)))
    rng = np.random.default_rng(0)
    return {k: x if k.endswith(BUFFERS) else rng.standard_normal(x.shape).astype(np.float32) for k, x in weights.items()}


@pytest.fixture
def model():
    return AvatarCodec(config(), assets(), rngs=nnx.Rngs(1))


def test_round_trip_reaches_every_parameter(model, weights):
    before = jax.device_get(nnx.state(model, nnx.Param))
    published.load_state_dict(model, weights)
    after = published.state_dict(model)
    assert after.keys() == weights.keys()
    for key, array in weights.items():
        np.testing.assert_array_equal(after[key], array, err_msg=key)
    unmoved = jax.tree.map(lambda a, b: bool(np.array_equal(a, b)), before, jax.device_get(nnx.state(model, nnx.Param)))
    assert not any(jax.tree.leaves(unmoved))


def test_layouts(model, weights):
    published.load_state_dict(model, {f"module.{key}": array for key, array in weights.items()})
    for key, ours, order in (
        ("id_encoder.tex.layers.e1.0.weight", model.identity_encoder.tex.halvings[1], "oihw"),
        ("expr_encoder.comb.8.weight", model.expression_encoder.head[0], "oihw"),
        ("decoder_assembler.rgbdec.layers.t0.0.weight", model.colour_decoder.ladder.doublings[0], "iohw"),
        ("bgmodel.cammod.2.weight", model.background.camera.second, "oi"),
    ):
        array = weights[key]
        for at in np.random.default_rng(2).integers(0, array.shape, (20, array.ndim)):
            index = dict(zip(order, at))
            assert ours.weight[...][tuple(index[axis] for axis in "hwio" if axis in index)] == array[tuple(at)], key
    bias = weights["decoder_assembler.geodec.bias"]
    assert model.geometry_decoder.bias[...][3, 5, 7] == bias[7, 3, 5]
    assert model.identity_encoder.warp[...][3, 5, 1] == weights["id_encoder.bias"][0, 1, 3, 5]
    coarsest = model.identity_encoder.combiners[-1]
    np.testing.assert_array_equal(coarsest.to_geo.bias[...], weights["id_encoder.comb.layers.t2g0.0.bias"])


def test_fixed_buffers_may_be_left_out(model, weights):
    published.load_state_dict(model, {k: x for k, x in weights.items() if not k.endswith(BUFFERS)})
    np.testing.assert_array_equal(model.calibration.camera_gain[...], weights["colorcal.wcam"])


def test_lookups_are_taken_from_the_state_dict(model, weights):
    moved = weights["expr_encoder.uv_tidx"][:, ::-1].copy()
    published.load_state_dict(model, weights | {f"{owner}.uv_tidx": moved for owner in ("id_encoder", "expr_encoder")})
    np.testing.assert_array_equal(model.uv_index[...], np.moveaxis(moved, 0, -1))
    assert model.uv_index.dtype == np.int32


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda w: w.pop("colorcal.wcam"), "lacks 1 .*colorcal.wcam"),
        (lambda w: w.update(extra=np.zeros(3)), "has unknown 1 .*extra"),
        (lambda w: w.update({"colorcal.wcam": np.zeros((5, 3))}), r"wrong shapes at 1 .*colorcal.wcam \(\(5, 3\), not \(3, 3\)\)"),
        (lambda w: [w.pop(k) for k in list(w) if k.startswith("bgmodel")], r"lacks \d\d .*\.\.\."),
    ],
)
def test_state_dicts_that_do_not_fit_leave_the_model_alone(model, weights, change, message):
    changed = dict(weights)
    change(changed)
    before = published.state_dict(model)
    with pytest.raises(ValueError, match=message):
        published.load_state_dict(model, changed)
    for key, array in published.state_dict(model).items():
        np.testing.assert_array_equal(array, before[key])
