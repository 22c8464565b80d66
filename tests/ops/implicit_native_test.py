"""The compiled calls of implicit functions against the reference implementation and golden vectors."""

import functools
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ava_jax.ops import implicit, native
from ava_jax.ops.implicit import packed
from ava_jax.tasks.ldif.data import element_files, occnet_files

needs_native = pytest.mark.skipif(not native.serves_implicit(), reason="the compiled module is not built")
KINDS = ["sif", "axes", "cut", "ldif", "ldif cut"]


def elements_of(count=40, features=0, seed=0):
    rng = np.random.default_rng(seed)
    number = lambda *shape: rng.uniform(-1, 1, shape).astype(np.float32)  # noqa: E731
    radii = np.square(rng.uniform(0.01, 0.2, (count, 3))).astype(np.float32)
    return implicit.Elements(number(count), 0.6 * number(count, 3), radii, 3 * number(count, 3), number(count, features))


def decoder_of(width, seed=1):
    numbers = 0.3 * np.random.default_rng(seed).standard_normal(occnet_files._count(width))
    weights = occnet_files._from_numbers(numbers.astype(np.float32), width)
    positive = [norm._replace(variance=np.abs(norm.variance) + 0.1) for norm in (weights.norm1, weights.norm2, weights.norm3)]
    return weights._replace(norm1=positive[0], norm2=positive[1], norm3=positive[2])


def scene(kind, width=32):
    decoder = decoder_of(width) if "ldif" in kind else None
    return elements_of(features=width if decoder else 0), {"decoder": decoder, "rotated": kind != "axes", "cut": "cut" in kind}


def points_of(count, seed=3):
    return np.random.default_rng(seed).uniform(-0.8, 0.8, (count, 3)).astype(np.float32)


@functools.partial(jax.jit, static_argnames=("symmetric", "rotated", "cut", "implementation"))
def values_at(elements, points, **options):
    return implicit.values_at(elements, points, **options)


def scale_of(elements, options):
    """Rounding errors grow with what the decoder multiplies by."""
    return 4e-6 if options["decoder"] is None else 2e-5


@needs_native
@pytest.mark.parametrize("kind", KINDS)
def test_values_are_the_reference(kind):
    elements, options = scene(kind, 9 if kind == "ldif cut" else 32)
    points = points_of(1237)  # no multiple of a block's
    found, wanted = (values_at(elements, points, symmetric=7, implementation=i, **options) for i in ("native", "jax"))
    away = np.abs(np.asarray(found) - np.asarray(wanted))
    assert np.quantile(away, 0.995) <= scale_of(elements, options)
    if not options["cut"]:  # at the cut a rounding error may leave an element out of one of the two
        assert away.max() <= scale_of(elements, options)
    z, y, x = (np.linspace(-0.8, 0.7, n, dtype=np.float32) ** 2 - 0.3 for n in (5, 19, 23))
    grid = implicit.values_on_grid(elements, z, y, x, symmetric=7, implementation="native", **options)
    every = np.stack(np.meshgrid(z, y, x, indexing="ij")[::-1], -1).reshape(-1, 3)
    at = values_at(elements, every, symmetric=7, implementation="native", **options)
    np.testing.assert_allclose(np.asarray(grid).reshape(-1), at, atol=scale_of(elements, options))


@needs_native
@pytest.mark.data
@pytest.mark.parametrize("name", ["sif", "sifsym", "ldif"])
def test_values_are_golden(test_data, name):
    folder = test_data / "golden" / "ldif"
    file = {"sif": "test-sif.txt", "sifsym": "b831f60f211435df5bbc861d0124304c.txt", "ldif": "test-ldif.txt"}[name]
    elements, symmetric = element_files.read(folder / file)
    decoder = occnet_files.read(folder / "extracted.occnet") if name == "ldif" else None
    with np.load(test_data / "golden" / "ldif_modules.npz") as golden:
        for cut, key in ((False, "f"), (True, "f_kernel")):
            if f"{name}.{key}" in golden:
                found = values_at(
                    elements, golden[f"{name}.points"], symmetric=symmetric, decoder=decoder, cut=cut, implementation="native"
                )
                np.testing.assert_allclose(found, golden[f"{name}.{key}"], atol=4e-6 if decoder else 2e-7)


@needs_native
def test_gradients_and_vmap():
    elements, options = scene("ldif", 8)
    points = points_of(50)
    cotangent = np.random.default_rng(0).standard_normal(50).astype(np.float32)

    def total(implementation):
        return lambda e, p: jnp.sum(implicit.values_at(e, p, symmetric=3, implementation=implementation, **options) * cotangent)

    found, wanted = (jax.jit(jax.grad(total(i), (0, 1)))(elements, points) for i in ("native", "jax"))
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(wanted)):
        np.testing.assert_allclose(a, b, atol=1e-6 * np.abs(b).max())
    elements, options = scene("sif")
    two = jax.tree.map(lambda a: np.stack([a, a[::-1]]), elements)
    many = jax.vmap(lambda e: values_at(e, points, **options))(two)
    alone = values_at(jax.tree.map(lambda a: a[::-1], elements), points, **options)
    np.testing.assert_array_equal(many[1], alone)


@needs_native
def test_nothing_far_and_flat():
    """No points, no elements; radii of nothing, of kilometres; elements far away."""
    elements, options = scene("ldif", 8)
    assert implicit.values_at(elements, np.zeros((0, 3)), **options).shape == (0,)
    assert implicit.values_on_grid(elements, np.zeros(2), np.zeros(0), np.zeros(3), **options).shape == (2, 0, 3)
    none = jax.tree.map(lambda a: a[:0], elements)
    np.testing.assert_array_equal(implicit.values_at(none, points_of(5), **options), 0)
    odd = elements_of(4)
    odd.variance[:2] = [[0, 1e-12, 1e6], [1e6, 1e6, 1e6]]
    odd.center[3] = 1e4
    points = np.concatenate([points_of(60), odd.center[:1]])
    found, wanted = (values_at(odd, points, implementation=i) for i in ("native", "jax"))
    np.testing.assert_allclose(found, wanted, atol=2e-6)


@needs_native
def test_nan_is_not_lost():
    elements, options = scene("ldif", 8)
    points = points_of(40)
    points[7, 1] = np.nan
    assert np.flatnonzero(np.isnan(values_at(elements, points, **options))).tolist() == [7]
    grid = implicit.values_on_grid(elements, [0.0, np.nan], np.zeros(3), np.zeros(2), **options)
    assert np.isnan(grid[1]).all() and np.isfinite(grid[0]).all()
    elements.features[3, 2] = np.nan
    assert np.isnan(values_at(elements, points, **options)).all()


def test_what_is_left_out_adds_nothing():
    """The bound holds for elements whose decoder says much."""
    elements, options = scene("ldif")
    made = packed.pack(elements, 0, options["decoder"], True, None)
    limit = np.sqrt(np.asarray(made.head[:, 13], np.float64))
    assert (limit > 3).all() and (limit < 14.4).all()
    rng = np.random.default_rng(0)
    away = rng.standard_normal((40, 50, 3))
    away *= (limit[:, None] * rng.uniform(1, 1.3, (40, 50)) / np.linalg.norm(away, axis=-1))[..., None]
    matrix = np.asarray(made.head[:, 3:12], np.float64).reshape(-1, 3, 3)
    points = np.linalg.solve(matrix[:, None], away[..., None])[..., 0] + np.asarray(elements.center)[:, None]
    one = jax.tree.map(lambda a: np.asarray(a)[:, None], elements)  # 40 shapes of an element each
    detail = lambda features, local: implicit.decode(options["decoder"], features, local)  # noqa: E731
    assert np.abs(implicit.evaluate(one, points.astype(np.float32), detail=detail)).max() <= packed.NEGLIGIBLE


def test_weights_lie_as_tensor_cores_multiply_them():
    """A product by the registers of the lanes of mma.m16n8k16, as ffi/implicit/cuda/field.cu puts them together."""
    rng = np.random.default_rng(0)
    dense, hidden = rng.uniform(-1, 1, (1, 32, 32)).astype(np.float32), rng.uniform(0, 1, (16, 32)).astype(np.float32)
    weights = np.asarray(packed.fragments(jnp.asarray(dense)), np.float64)[0].reshape(2, 4, 32, 2, 4)
    out = np.zeros((16, 32))
    for step in range(2):
        for tile in range(4):
            a, b = np.zeros((16, 16)), np.zeros((16, 8))
            for lane in range(32):
                group, quarter = divmod(lane, 4)
                for register in range(2):
                    for half in range(2):
                        b[2 * quarter + 8 * register + half, group] = weights[step, tile, lane, :, 2 * register + half].sum()
                for register in range(4):  # row group + 8 (register & 1), column 2 quarter + 8 (register >> 1)
                    row, column = group + 8 * (register & 1), 2 * quarter + 8 * (register >> 1)
                    a[row, column : column + 2] = hidden[row, 16 * step + column : 16 * step + column + 2]
            out[:, 8 * tile : 8 * tile + 8] += a @ b
    np.testing.assert_allclose(out, hidden.astype(np.float64) @ dense[0], atol=1e-5)


@needs_native
@pytest.mark.slow
@pytest.mark.parametrize("instruction_set", ["portable", "avx2"])
def test_other_processors(instruction_set):
    here = "from tests.ops import implicit_native_test as t; [t.test_values_are_the_reference(k) for k in ('sif', 'ldif')]"
    done = subprocess.run(
        [sys.executable, "-c", here], env=os.environ | {"AVA_INSTRUCTION_SET": instruction_set}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"symmetric": 41}, "symmetric must be within 0..40"),
        ({"decoder": decoder_of(4), "rotated": False}, "rotated must be True"),
        ({"implementation": "cuda"}, "implementation must be"),
        ({"implementation": "native", "decoder": decoder_of(33)}, "at most 32 wide"),
    ],
)
def test_what_does_not_fit_is_told(change, said):
    with pytest.raises(ValueError, match=said):
        implicit.values_at(elements_of(), points_of(3), **change)


def test_shapes_that_do_not_fit_are_told():
    with pytest.raises(ValueError, match=r"points must be \[P, 3\]"):
        implicit.values_at(elements_of(), np.zeros((3, 2)))
    with pytest.raises(ValueError, match="no leading axes"):
        implicit.values_at(jax.tree.map(lambda a: a[None], elements_of()), points_of(3))
    with pytest.raises(ValueError, match="z, y and x"):
        implicit.values_on_grid(elements_of(), np.zeros((3, 2)), np.zeros(3), np.zeros(3))
