"""Networks of implicit functions: sizes, what they look at, what they learn; procedural shapes."""

import functools
import pathlib
import runpy

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from ava_jax.ops import implicit
from ava_jax.tasks.ldif import shapes
from ava_jax.tasks.ldif.data import mean_shape
from ava_jax.tasks.ldif.model import decoder, encoders, pointnet, smallest
from ava_jax.tasks.ldif.model.network import ShapeNetwork
from ava_jax.tasks.ldif.task import Ldif

CONFIGS = runpy.run_path(str(pathlib.Path(__file__).resolve().parents[2] / "configs" / "ldif.py"))


def test_the_published_model_has_37_million_parameters():
    config = CONFIGS["get_config"]("ldif")
    model = nnx.eval_shape(lambda: ShapeNetwork(config.model, rngs=nnx.Rngs(0)))
    count = sum(np.prod(leaf.shape) for leaf in jax.tree.leaves(nnx.state(model, nnx.Param)))
    assert round(count / 1e6, 1) == 37.3


@pytest.mark.parametrize("variant", ["ldif", "sifpp", "sif", "depth1", "image", "tiny"])
def test_shapes_of_every_variant(variant):
    config = CONFIGS["get_config"](variant)
    batch = {"points": jnp.ones((1, 2000, 6))}
    batch |= {"image": jnp.zeros((1, 137, 137, 3))} if variant == "image" else {"depth": jnp.zeros((1, 137, 137, 20))}

    def run():
        model = ShapeNetwork(config.model, image=config.data.image, rngs=nnx.Rngs(0))
        elements = model.elements(batch, jax.random.key(0), train=True)
        return elements, model.values(elements, jnp.zeros((1, 5, 3)), train=True)

    elements, values = nnx.eval_shape(run)
    count = {"sif": 100}.get(variant, 32)
    assert elements.center.shape == (1, count, 3) and values.shape == (1, 5)
    assert elements.features.shape == (1, count, 0 if variant in ("sif", "sifpp", "tiny") else 32)


class Boxes:
    """Two examples with places inside two boxes, one at z and one at -z, and one place outside."""

    def __len__(self):
        return 2

    def __getitem__(self, index):
        rng = np.random.default_rng(index)
        inside = rng.uniform(-0.05, 0.05, (300, 3)) + rng.choice([[0.4, 0.0, 0.3], [-0.4, 0.2, -0.3]], 300)
        rows = np.concatenate([inside, [[0.6, 0.6, 0.6]]])
        return {"near": np.concatenate([rows, [[-1.0]] * 300 + [[1.0]]], axis=1).astype(np.float32)}


def test_elements_begin_where_shapes_are():
    config = CONFIGS["get_config"]("tiny").model
    config.update({"elements": 6, "symmetric": 2, "code": 8, "head_width": 8})
    raw = mean_shape.initial_elements(Boxes(), config)
    assert raw.shape == (6, 10)

    @jax.jit
    def first():
        batch = {"depth": jnp.zeros((1, 137, 137, 20)), "points": jnp.ones((1, 2000, 6))}
        return ShapeNetwork(config, initial=raw, rngs=nnx.Rngs(0)).elements(batch, jax.random.key(0), train=True)

    found = jax.device_get(first())
    centers = found.center[0]
    boxes = np.array([[0.4, 0.0, 0.3], [-0.4, 0.2, -0.3]])
    assert np.abs(centers[2:, None] - boxes).max(-1).min(1).max() < 0.06  # each in one of the boxes
    folded = np.array([[0.4, 0.0, 0.3], [-0.4, 0.2, 0.3]])
    assert np.abs(centers[:2, None] - folded).max(-1).min(1).max() < 0.06  # reflected ones: the places laid over each other
    assert np.ptp(centers[2:, 0]) > 0.7
    np.testing.assert_allclose(found.variance[0], 0.07**2, rtol=1e-5)


def test_resizing_keeps_corners_and_planes():
    rows, columns = np.meshgrid(np.arange(224.0), np.arange(224.0), indexing="ij")
    plane = (2 * rows + 3 * columns)[None].astype(np.float32)
    small = encoders.resized(plane)[..., 0]
    at = np.arange(137) * 223 / 136
    np.testing.assert_allclose(small, 2 * at[:, None] + 3 * at, rtol=1e-5)
    assert small[0, 0] == plane[0, 0, 0] and small[-1, -1] == plane[0, -1, -1]


def test_points_in_frames_by_hand():
    quarter = np.pi / 2
    elements = implicit.Elements(
        *(np.float32(part)[None, None] for part in (-1.0, [1, 0, 0], [0.04, 0.01, 0.01], [0, 0, quarter], np.zeros(0)))
    )
    points = np.float32([[[1, 0.2, 0, 0, 1, 0]]])  # along the element's first axis, which a quarter turn about z lays on y
    local = pointnet.in_frames(elements, points[:, None])
    np.testing.assert_allclose(local[0, 0, 0], [1, 0, 0, 1, 0, 0], atol=1e-5)
    slanted = pointnet.in_frames(elements, np.float32([[[[1, 0, 0, -(0.5**0.5), 0.5**0.5, 0]]]]))
    np.testing.assert_allclose(slanted[0, 0, 0, 3:], np.array([2, 1, 0]) / 5**0.5, atol=1e-5)
    np.testing.assert_allclose(pointnet.distances(elements, np.float32([[[1.3, 0.8, 0, 0, 1, 0]]])), [[[5]]], rtol=1e-5)


def test_what_an_element_looks_at():
    """Those within reach at random; where they are fewer than wanted, the nearest others."""
    distance = np.r_[np.full(30, 1.0), np.linspace(4, 9, 70)].astype(np.float32)[None, None]
    keys = jax.random.split(jax.random.key(0), 1)
    ten = np.asarray(pointnet.chosen(distance, 10, keys))[0, 0]
    assert len(set(ten)) == 10 and ten.max() < 30 and set(ten) != set(range(10))
    forty = np.asarray(pointnet.chosen(distance, 40, keys))[0, 0]
    assert set(forty) == set(range(40))
    other = np.asarray(pointnet.chosen(distance, 10, jax.random.split(jax.random.key(1), 1)))[0, 0]
    assert set(other) != set(ten)


@pytest.mark.parametrize("count", [1, 7, 99])
def test_the_smallest_by_counting_are_those_of_a_sort(count):
    rng = np.random.default_rng(count)
    x = np.float32(rng.choice([0, 1e-30, 0.1, 0.25, 0.3, 1, 8, 1e9, np.inf], (3, 2, 100)))  # many are equal
    x[0] = rng.uniform(size=(2, 100)) * 100
    found = np.sort(smallest.by_counting(x, count), axis=-1)
    np.testing.assert_array_equal(found, np.sort(np.argsort(x, axis=-1, kind="stable")[..., :count], axis=-1))


def test_features_of_many_points_have_the_plain_gradients(monkeypatch):
    """What is differentiated is only the largest values' points; a network of so few channels that they are fewer than the points."""
    monkeypatch.setattr(pointnet, "_WIDTHS", (6, 8, 8, 20))
    rng = np.random.default_rng(0)
    net = nnx.jit(lambda: pointnet.PointNet(4, rngs=nnx.Rngs(0)))()
    elements = implicit.from_network(jnp.asarray(rng.standard_normal((2, 3, 10)), jnp.float32))
    points = jnp.asarray(rng.uniform(-0.5, 0.5, (2, 3, 40, 6)), jnp.float32)
    cotangent = rng.standard_normal((2, 3, 4)).astype(np.float32)
    graph, state = nnx.split(net)

    def total(state, elements):
        return jnp.sum(nnx.merge(graph, state)(elements, points) * cotangent)

    found = jax.jit(jax.value_and_grad(total, (0, 1)))(state, elements)
    monkeypatch.setattr(pointnet, "_WIDTHS", (6, 8, 8, 40))  # as many as points: all at once
    plain = jax.jit(jax.value_and_grad(lambda *args: total(*args), (0, 1)))(state, elements)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-6), found, plain)
    assert np.abs(found[1][1].center).max() > 1e-3


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"encoder": "vgg"}, "encoder must be one of"),
        ({"symmetric": 33}, "symmetric must be within"),
        ({"rotated": False, "features": 4}, "rotated must be True"),
        ({"views": 0}, "views must be within"),
        ({"features_from": "depth"}, "features_from must be one of"),
        ({"precision": "float16"}, "precision must be one of"),
    ],
)
def test_values_out_of_range_are_told(values, said):
    config = CONFIGS["get_config"]("tiny")
    config.model.update(values)
    with pytest.raises(ValueError, match=said):
        ShapeNetwork(config.model, rngs=nnx.Rngs(0))


@pytest.mark.parametrize("kind", shapes.CLASSES)
def test_shapes_are_watertight_and_differ(kind):
    one, other = (shapes.shape(kind, np.random.default_rng(seed)) for seed in (0, 1))
    assert one.is_watertight and one.volume > 0.003 and one.body_count == 1
    assert 0.7 < one.extents.max() < 1.6 and one.extents[1] > 0.1
    assert one.volume != pytest.approx(other.volume, rel=1e-3)


@pytest.mark.slow
def test_the_fused_decoder_is_the_plain_one():
    """Values, gradients, statistics; two calls, as in a step."""
    rng = np.random.default_rng(0)
    features, cotangent = (rng.standard_normal(shape).astype(np.float32) for shape in ((2, 3, 16), (2, 3, 128)))
    places = [2 * rng.standard_normal((2, 3, 128, 3)).astype(np.float32) for _ in range(2)]
    graph, params, running = nnx.split(nnx.jit(lambda: decoder.Decoder(16, rngs=nnx.Rngs(0)))(), nnx.Param, ...)

    def total(fused, params, features, places):
        model = nnx.merge(graph, params, running, copy=True)
        call = functools.partial(model.fused, interpret=True) if fused else functools.partial(model, train=True)
        found = [call(features, own) for own in places]
        return sum(jnp.sum(own * cotangent) for own in found), (found, nnx.state(model).split(nnx.Param, ...)[1])

    run = jax.jit(jax.value_and_grad(total, (1, 2, 3), has_aux=True), static_argnums=0)
    fused, plain = (run(fused, params, features, places) for fused in (True, False))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=2e-5 * float(np.abs(b).max())), fused, plain)


def _need_gpu():
    if jax.default_backend() != "gpu":
        pytest.skip("needs an NVIDIA GPU")


@pytest.mark.gpu
def test_the_fused_decoder_on_a_gpu():
    """Within what products in TF32 lose, as the plain decoder with these is."""
    _need_gpu()
    rng = np.random.default_rng(0)
    features, places = rng.standard_normal((4, 48, 32)).astype(np.float32), rng.standard_normal((4, 48, 1024, 3)).astype(np.float32)
    cotangent = rng.standard_normal((4, 48, 1024)).astype(np.float32)
    graph, params, running = nnx.split(decoder.Decoder(32, rngs=nnx.Rngs(0)), nnx.Param, ...)

    def total(fused, params, features, places):
        model = nnx.merge(graph, params, running, copy=True)
        found = model.fused(features, places) if fused else model(features, places, train=True)
        return jnp.sum(found * cotangent), (found, nnx.state(model).split(nnx.Param, ...)[1])

    run = jax.jit(jax.value_and_grad(total, (1, 2, 3), has_aux=True), static_argnums=0)
    fused = run(True, params, features, places)
    with jax.default_matmul_precision("highest"):
        exact = run(False, params, features, places)
    for a, b in zip(jax.tree.leaves((fused[0][1], fused[1])), jax.tree.leaves((exact[0][1], exact[1])), strict=True):
        assert np.linalg.norm(a - b) <= 5e-3 * np.linalg.norm(b)


@pytest.mark.gpu
def test_points_are_chosen_on_a_gpu_as_on_a_cpu():
    _need_gpu()
    x = jnp.asarray(np.random.default_rng(0).uniform(size=(3, 5, 10_000)), jnp.float32)
    found = np.sort(jax.jit(lambda x: smallest.smallest(x, 1024))(x), axis=-1)
    np.testing.assert_array_equal(found, np.sort(np.argsort(x, axis=-1)[..., :1024], axis=-1))


def test_iou_by_hand():
    task = Ldif(CONFIGS["get_config"]("tiny"))
    uniform = np.zeros((2, 4, 4), np.float32)
    uniform[..., 3] = [[-1, -1, 1, 1], [1, 1, 1, 1]]
    values = np.float32([[-0.1, 0.0, -0.08, 0.0], [0, 0, 0, 0]])
    found = task.score({"values": values}, {"uniform": uniform}, None)["iou"]
    np.testing.assert_allclose(found, [100 / 3, 0], rtol=1e-4)


def test_a_root_without_examples_is_one_line(tmp_path):
    config = CONFIGS["get_config"]("tiny")
    config.data.root = str(tmp_path)
    with pytest.raises(ValueError, match="holds no SPLIT.txt; ava ldif prepare"):
        Ldif(config).prepare()
