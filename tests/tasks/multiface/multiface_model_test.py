"""The networks of multiface against a second way of computing them, gradients too; statistics, masks, the screen loss; weights as files."""

import functools
import pathlib
import runpy

import jax
import jax.numpy as jnp
import multiface_reference
import numpy as np
import pytest
from flax import nnx

from ava_jax.core.types import Assets
from ava_jax.data import torch_writer
from ava_jax.tasks.multiface import optimizer
from ava_jax.tasks.multiface.apps import weight_files
from ava_jax.tasks.multiface.evaluation import display, pictures, published
from ava_jax.tasks.multiface.model import avatar, weights
from ava_jax.tasks.multiface.model.avatar import Answer
from ava_jax.tasks.multiface.model.network import ColourCorrection, DeepAppearanceModel
from ava_jax.tasks.multiface.model.screen import Screen
from ava_jax.tasks.multiface.model.statistics import Statistics
from ava_jax.tasks.multiface.task import Multiface

CONFIGS = runpy.run_path(str(pathlib.Path(__file__).resolve().parents[3] / "configs" / "multiface.py"))
VERTICES, CAMERAS = 5, 3


def small(arch: str = "base"):
    config = CONFIGS["get_config"](arch)
    Multiface.test_config(config)
    return config


@functools.cache
def fresh(arch: str = "base", seed: int = 0) -> DeepAppearanceModel:
    """With noise on every parameter, so that biases, gains and the phases of kernels differ."""
    config = small(arch)
    model = DeepAppearanceModel(config.model, vertices=VERTICES, cameras=CAMERAS, rngs=nnx.Rngs(jax.random.key(seed, impl="rbg")))
    rng = np.random.default_rng(seed)
    for _, node in nnx.iter_graph(model):
        if isinstance(node, nnx.Param):
            node[...] = np.asarray(node[...]) + 0.2 * rng.standard_normal(node.shape).astype(np.float32)
    return model


@pytest.mark.parametrize(
    ("arch", "count"), {"base": 24_313_806, "res": 25_394_085, "non": 15_172_017, "bilinear": 23_684_478, "warp": 35_231_632}.items()
)
def test_the_published_models_have_as_many_parameters(arch, count):
    config = CONFIGS["get_config"](arch)
    model = nnx.eval_shape(lambda: DeepAppearanceModel(config.model, vertices=7306, cameras=38, rngs=nnx.Rngs(0)))
    ours = sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(nnx.state(model, nnx.Param)))
    assert ours + 6 + (2 * 1024**2 if arch == "warp" else 0) == count  # the anchors of colour, and the warp's grid, are constants here


@pytest.mark.parametrize("arch", ["res", "warp"])  # base is warp without the warp; the others differ in little
def test_losses_and_gradients_are_those_of_a_second_way(arch):
    config, model = small(arch), fresh(arch)
    inputs = multiface_reference.random_inputs(config.model, VERTICES, CAMERAS)
    last = lambda x: jnp.moveaxis(jnp.asarray(x), 1, -1)  # noqa: E731
    graph, params = nnx.split(model)

    def ours(params):
        model = nnx.merge(graph, params)
        mean, logstd = model.encoder(last(inputs["texture"]), inputs["mesh"].reshape(2, -1, 3))
        decoded = model.decode(mean, jnp.asarray(inputs["view"]))
        answer = Answer(decoded.vertices, model.colour(decoded.texture, jnp.asarray(inputs["camera"])), mean, logstd)
        found = {
            "vert": avatar.vertex_error(answer, inputs["target_mesh"].reshape(2, -1, 3)),
            "tex": avatar.texture_error(answer, last(inputs["target"]), last(inputs["mask"])),
            "kl": avatar.divergence(answer),
        }
        found = {name: jnp.mean(value) for name, value in found.items()}
        return sum(found.values()), found

    def theirs(state):
        found = multiface_reference.losses(state, arch, inputs, config.model)
        return sum(found.values()), found

    gradients, found = jax.jit(jax.grad(ours, has_aux=True))(params)
    state = {key: jnp.asarray(array) for key, array in weights.state_dict(model).items()}
    expected, expected_losses = jax.jit(jax.grad(theirs, has_aux=True))(state)
    for name, value in expected_losses.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-4, err_msg=name)
    for key, gradient in weights.state_dict(nnx.merge(graph, gradients)).items():
        if not key.endswith("_anchor") and key != "warp.normal_grid":
            scale = np.abs(expected[key]).max()
            assert scale > 0, key
            np.testing.assert_allclose(gradient, expected[key], atol=2e-4 * scale, err_msg=key)


def test_convolutions_in_bfloat16_give_float32():
    config = small("warp")
    config.model.precision = "bfloat16"

    def run():
        model = DeepAppearanceModel(config.model, vertices=VERTICES, cameras=CAMERAS, rngs=nnx.Rngs(0))
        mean, logstd = model.encoder(jnp.zeros((1, 8, 8, 3)), jnp.zeros((1, VERTICES, 3)))
        return model.decoder.ups[0](jnp.zeros((1, 2, 2, 4))), mean, logstd, *model.decode(mean, jnp.ones((1, 3)))

    inner, *outputs = nnx.eval_shape(run)
    assert inner.dtype == jnp.bfloat16 and all(output.dtype == jnp.float32 for output in outputs)


def assets(**more) -> Assets:
    """A square of two triangles 100 mm wide, textures of 4 x 4."""
    corners = np.array([[-50, -50, 0], [50, -50, 0], [50, 50, 0], [-50, 50, 0]], np.float32)
    arrays = {
        "texture_mean": np.full((4, 4, 3), 100, np.float32),
        "texture_std": np.float32(20),
        "vertices_mean": corners,
        "vertices_std": np.float32(5),
        "faces": np.array([[0, 1, 2], [0, 2, 3]], np.int32),
        "face_uvs": np.array([[0, 1, 2], [0, 2, 3]], np.int32),
        "uvs": np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32),
    }
    return Assets(arrays | more, {"cameras": ["1", "2"], "segments": ["a"], "identity": ["x"]})


def test_what_was_not_seen_is_0_and_masked_by_channel_before_resizing():
    raw = np.full((1, 4, 4, 3), 140, np.uint8)
    raw[0, 0, 0, 1] = 0
    texture, mask = map(np.asarray, Statistics(assets(), 4).texture(raw))
    assert texture[0, 0, 0].tolist() == [2, 0, 2] and mask[0, 0, 0].tolist() == [1, 0, 1] and mask.sum() == 47
    half = Statistics(assets(), 2)
    texture, mask = half.texture(raw)  # each of the four texels that a new one lies between counts a quarter
    np.testing.assert_allclose(texture[0, 0, 0], [2, 1.5, 2])
    np.testing.assert_allclose(mask[0, 0, 0], [1, 0.75, 1])
    np.testing.assert_allclose(half.raw_texture(texture)[0, 1, 1], [140] * 3)
    vertices = half.vertices(half.raw_vertices(np.ones((1, 4, 3), np.float32)))
    np.testing.assert_allclose(vertices, 1.0, rtol=1e-5)


def scene(photo: np.ndarray) -> dict[str, np.ndarray]:
    """A camera 400 mm in front of the square, which covers the middle 4 x 4 of 8 x 8 pixels."""
    return {
        "image": photo[None],
        "camera_rotation": np.eye(3, dtype=np.float32)[None],
        "camera_position": np.array([[0, 0, -400]], np.float32),
        "focal": np.array([[16, 16]], np.float32),
        "principal": np.array([[3.5, 3.5]], np.float32),
    }


def test_the_screen_loss_by_hand():
    """Texture of 100 on a photograph of 110, weights 1 and 0.5 on either half: the mean over all 64 pixels."""
    weights_ = np.ones((2, 2, 3), np.float32)
    weights_[:, 1] = 0.5
    halves = np.repeat(weights_, 64, 1)  # so that no pixel lies between them
    texture, photo = np.full((1, 4, 4, 3), 100, np.float32), np.full((8, 8, 3), 110, np.uint8)
    points = assets().arrays["vertices_mean"][None]
    for given, expected in ((assets(weight_mask=halves), 100 * (8 + 4) / 64), (assets(), 100 * 16 / 64)):
        error = jax.jit(Screen(given, outlines=False).error)(points, texture, scene(photo))
        np.testing.assert_allclose(error, [expected], rtol=1e-5)


def test_a_photograph_pulls_at_outlines():
    """The photograph has the square one pixel to the right: a step against the gradient goes there; without outlines nothing moves."""
    photo = np.full((8, 8, 3), 200, np.uint8)
    photo[2:6, 3:7] = 100
    texture = np.full((1, 4, 4, 3), 100, np.float32)
    points = jnp.asarray(assets().arrays["vertices_mean"][None])

    def pull(outlines):
        screen = Screen(assets(), outlines=outlines)
        return jax.jit(jax.grad(lambda x: screen.error(points + jnp.array([1.0, 0, 0]) * x, texture, scene(photo))[0]))(0.0)

    assert pull(True) < -1e-3 and pull(False) == 0


def test_colour_is_corrected_by_camera():
    colour = ColourCorrection(3)
    colour.gain[...], colour.offset[...] = jnp.array([[2.0, 1, 1], [1, 3, 1]]), jnp.array([[0.0, 0, 1], [0, 0, 0]])
    texture = jnp.ones((4, 1, 1, 3))
    found = np.asarray(colour(texture, jnp.array([0, 1, 2, -1])))[:, 0, 0]
    np.testing.assert_array_equal(found, [[1, 1, 1], [2, 1, 2], [1, 3, 1], [1, 1, 1]])  # -1, a camera of another rig, is left as it is


def test_the_rate_falls_by_epochs_and_colour_has_its_own():
    config = CONFIGS["get_config"]("base").optimizer
    rate = optimizer.model_rate(config, steps_per_epoch=10)
    np.testing.assert_allclose([rate(0), rate(9), rate(10), rate(25)], 3e-4 * np.array([1, 1, 0.95, 0.95**2]), rtol=1e-5)
    config.update({"lr_warmup_steps": 10, "lr_decay_steps": 30})
    rate = optimizer.model_rate(config, steps_per_epoch=10)
    np.testing.assert_allclose([rate(5), rate(10), rate(20), rate(30)], 3e-4 * np.array([0.5, 1, 0.5, 0]), rtol=1e-5, atol=1e-9)
    groups = {group.name: group.paths for group in optimizer.optimizer(config, 10).groups}
    assert groups == {"colour": ("colour/",), "model": ("",)}
    config.epoch_decay = 1.5
    with pytest.raises(ValueError, match="epoch_decay"):
        optimizer.optimizer(config, 10)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"arch": "bilinaer"}, "must be one of base, res, non, bilinear, warp; got 'bilinaer'. Did you mean bilinear"),
        ({"code": 0}, "code must be at least 1"),
        ({"texture_size": 22}, "texture_size must be a multiple of 4; got 22"),
    ],
)
def test_values_out_of_range_are_told(change, said):
    config = small()
    config.model.update(change)
    with pytest.raises(ValueError, match=said):
        DeepAppearanceModel(config.model, vertices=4, cameras=2, rngs=nnx.Rngs(0))


@pytest.mark.parametrize("arch", ["base", "res", "non", "bilinear", "warp"])
def test_weights_go_out_and_come_back_to_the_bit(arch, tmp_path):
    model, other = fresh(arch), fresh(arch, seed=1)
    weight_files.write(tmp_path / "a.pth", model)
    state = weights.state_dict(model)
    found = weights.sizes({f"module.{key}": array for key, array in state.items()})
    assert found == {"arch": arch, "cameras": CAMERAS, "vertices": VERTICES, "code": 4, "texture_size": 8}
    weights.load_state_dict(other, {f"module.{key}": array for key, array in state.items()})
    weight_files.write(tmp_path / "b.pth", other)
    assert (tmp_path / "a.pth").read_bytes() == (tmp_path / "b.pth").read_bytes()


def test_weights_that_do_not_fit_are_told(tmp_path):
    model = fresh()
    state = weights.state_dict(model)
    before = weights.state_dict(model)
    for change, said in (
        ({"dec.view_fc.g": None}, "lacks 1 keys: dec.view_fc.g"),
        ({"dec.view_fc.h": np.zeros(8, np.float32)}, r"has unknown 1 keys: dec.view_fc.h \(near dec.view_fc.g\)"),
        ({"dec.view_fc.g": np.zeros(9, np.float32)}, r"has other shapes at 1 keys: dec.view_fc.g \(\(9,\), not \(8,\)\)"),
        ({"dec.view_fc.g": np.full(8, np.nan, np.float32)}, "not finite numbers at 1 keys: dec.view_fc.g"),
        ({"cc.weight_anchor": np.full((1, 3, 1, 1), 2, np.float32)}, "has other constants at 1 keys: cc.weight_anchor"),
    ):
        given = {key: array for key, array in (state | change).items() if array is not None}
        with pytest.raises(ValueError, match=said):
            weights.load_state_dict(model, given)
    assert all(np.array_equal(array, before[key]) for key, array in weights.state_dict(model).items())
    torch_writer.write_state_dict(tmp_path / "other.pth", {"a": np.zeros(3, np.float32)})
    with pytest.raises(ValueError, match="no state dict of this model: it lacks cc.weight"):
        weights.sizes({"a": np.zeros(3)})


def test_pictures_are_shown_as_published():
    grey = np.array([[[3, 3, 3], [40, 40, 40], [255, 255, 255]]], np.float32)
    gains = np.array([1.4, 1.1, 1.6]) / 1.1
    x = np.clip(grey / 255 * gains - 3 / 255, 0, 2) * 0.95 / (1 - 3 / 255)
    expected = np.clip(np.rint(255 * np.clip(np.sqrt(x) - 15 / 255, 0, 2)), 0, 255)
    np.testing.assert_array_equal(display.shown(grey), expected.astype(np.uint8))
    np.testing.assert_array_equal(display.shown(grey, plain=True), grey.astype(np.uint8))


def test_differences_of_textures_are_shown_where_all_was_seen():
    truth = np.full((8, 8, 3), 200, np.uint8)
    truth[:4] = 0  # the lower half of the chart, which is the lower half of the picture, was not seen
    found = np.full((4, 4, 3), 200, np.float32)
    drawn = pictures.panels(found, truth)
    assert list(drawn)[:2] == ["truth", "prediction"] and not drawn[display.DIFFERENCE].any()
    assert drawn["truth"][0].all() and not drawn["truth"][-1].any()
    found[3] = 100  # its upper row
    assert pictures.panels(found, truth)[display.DIFFERENCE].any(-1).tolist() == [[True] * 4, *[[False] * 4] * 3]


def test_variants_of_the_config():
    get = CONFIGS["get_config"]
    assert get("002643814").data.held_out.segments == ("EXP_ROM07_Facial_Expressions",)
    both = get("5067077,warp")
    assert both.data.held_out.segments == ("EXP_free_face",) and both.model.arch == "warp"
    assert get("mini").loss_weights.screen == 1.0 and set(published.PUBLISHED) <= set(CONFIGS["PEOPLE"])
    with pytest.raises(ValueError, match="variant must be one of base, res"):
        get("002643815")
    lines = published.lines(get("002643814"), "002643814")
    assert lines == ["published for 002643814 (base, adapted on the test data): tex_255 20.848, vert 0.0386"]
    assert published.lines(get("base"), "SYN001") == [] and "honest" in published.how(get("base"))
    assert "screen 0.1541" in published.lines(get("mini"), "6795937")[0]
