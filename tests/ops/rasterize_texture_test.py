"""`sample_texture`, `mipmaps` and derivatives: compiled against plain JAX, against NumPy, gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rasterize_scenes import soup
from scipy import ndimage

from ava_jax.ops import mesh, native

needs_native = pytest.mark.skipif(not native.serves_meshes(), reason="the compiled module does not serve this backend")
RNG = np.random.default_rng(0)
WRAPS = ["wrap", "clamp", "zero"]


def coordinates(images=2, height=6, width=7):
    return RNG.uniform(-1.5, 2.5, (images, height, width, 2)).astype(np.float32)


@pytest.mark.parametrize("wrap, mode", [("wrap", "grid-wrap"), ("clamp", "nearest"), ("zero", "grid-constant")])
def test_bilinear_reads_as_scipy_does(wrap, mode):
    texture = RNG.standard_normal((5, 9, 2)).astype(np.float32)
    uv = coordinates()
    ours = np.asarray(mesh.sample_texture(texture, uv, wrap=wrap))
    at = [uv[..., 1] * 5 - 0.5, uv[..., 0] * 9 - 0.5]
    for c in range(2):
        np.testing.assert_allclose(ours[..., c], ndimage.map_coordinates(texture[..., c], at, order=1, mode=mode), atol=2e-5)


def test_nearest_reads_the_texel_that_holds_the_point():
    texture = RNG.standard_normal((4, 3, 1)).astype(np.float32)
    uv = RNG.uniform(0.001, 0.999, (1, 20, 20, 2)).astype(np.float32)
    expected = texture[(uv[..., 1] * 4).astype(int), (uv[..., 0] * 3).astype(int)]
    np.testing.assert_array_equal(mesh.sample_texture(texture, uv, filtering="nearest"), expected)


@needs_native
@pytest.mark.parametrize("wrap", WRAPS)
@pytest.mark.parametrize("filtering", ["nearest", "bilinear", "trilinear"])
@pytest.mark.parametrize("common, channels", [(True, 3), (False, 4)])
def test_the_compiled_call_agrees_with_the_reference(wrap, filtering, common, channels):
    texture = RNG.standard_normal((12, 20, channels) if common else (2, 12, 20, channels)).astype(np.float32)
    uv, where = coordinates(), RNG.random((2, 6, 7)) < 0.8
    level = RNG.uniform(-1, 4, (2, 6, 7)).astype(np.float32)
    weight = RNG.standard_normal((2, 6, 7, channels)).astype(np.float32)

    def loss(texture, uv, level, implementation):
        mips = mesh.mipmaps(texture, 3) if filtering == "trilinear" else texture
        options = {"filtering": filtering, "wrap": wrap, "where": where, "implementation": implementation}
        out = mesh.sample_texture(mips, uv, level=level if filtering == "trilinear" else None, **options)
        return jnp.sum(out * weight), out

    (ours, mine), (theirs, other) = (
        jax.jit(jax.grad(lambda *x, i=i: loss(*x, i), (0, 1, 2), has_aux=True))(texture, uv, level) for i in ("native", "jax")
    )
    np.testing.assert_allclose(mine, other, atol=2e-5)
    assert not np.asarray(mine)[~where].any()
    for a, b in zip(ours, theirs):
        np.testing.assert_allclose(a, b, atol=1e-4 * max(np.abs(b).max(), 1e-3))


@needs_native
def test_gradients_repeat_to_the_bit_and_a_texture_of_all_images_sums_them():
    texture = RNG.standard_normal((70, 31, 3)).astype(np.float32)
    uv = RNG.uniform(0, 1, (3, 90, 80, 2)).astype(np.float32)
    weight = RNG.standard_normal((3, 90, 80, 3)).astype(np.float32)
    gradient = jax.jit(jax.grad(lambda t: jnp.sum(mesh.sample_texture(t, uv, wrap="wrap") * weight)))
    first = gradient(jnp.asarray(texture))
    np.testing.assert_array_equal(first, gradient(jnp.asarray(texture)))
    np.testing.assert_allclose(gradient(jnp.broadcast_to(texture, (3, 70, 31, 3))).sum(0), first, atol=1e-4)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 3e38])
@pytest.mark.parametrize("wrap", WRAPS)
def test_coordinates_that_are_not_finite_spoil_their_pixel_alone(bad, wrap):
    texture = np.ones((4, 4, 1), np.float32)
    uv = np.full((1, 3, 3, 2), 0.5, np.float32)
    uv[0, 1, 1, 0] = bad
    out, transpose = jax.vjp(lambda t, u: mesh.sample_texture(t, u, wrap=wrap), jnp.asarray(texture), jnp.asarray(uv))
    rest = np.ones((3, 3), bool)
    rest[1, 1] = False
    np.testing.assert_allclose(out[0][rest], 1.0)
    assert np.isfinite(np.asarray(transpose(out.at[0, 1, 1].set(0.0))[1])[0][rest]).all()


def test_mip_levels_are_means_and_the_last_rows_of_odd_sizes_are_left_out():
    texture = RNG.standard_normal((5, 8, 2)).astype(np.float32)
    levels = mesh.mipmaps(texture)
    assert [x.shape[:2] for x in levels] == [(5, 8), (2, 4), (1, 2)]
    np.testing.assert_allclose(levels[1][1, 2], texture[2:4, 4:6].mean((0, 1)), rtol=1e-6)
    with pytest.raises(ValueError, match="levels must be"):
        mesh.mipmaps(texture, 4)


def test_the_level_of_a_texture_seen_at_half_its_size_is_one():
    change = np.zeros((1, 1, 1, 2, 2), np.float32)
    change[..., 0, 0], change[..., 1, 1] = 2 / 64, 1 / 32
    np.testing.assert_allclose(mesh.texture_level(change, 32, 64), 1.0, atol=1e-6)
    assert np.isfinite(np.asarray(mesh.texture_level(0 * change, 32, 64))).all()


def test_derivatives_of_barycentrics_against_neighbouring_pixels():
    """A triangle seen at ten times the resolution: neighbours are a tenth of a pixel apart."""
    vertices = np.array([[[-60, -40, 2.0], [300, 20, 5.0], [30, 90, 3.0]]], np.float32)
    fine = vertices * [10, 10, 1]
    faces = np.array([[0, 1, 2]])
    near = mesh.rasterize(vertices, faces, 12, 14)
    far = mesh.rasterize(fine.astype(np.float32), faces, 121, 141)
    ours = np.asarray(mesh.barycentric_derivatives(vertices, faces, near))[0]
    b, index = np.asarray(far.barycentrics)[0], np.asarray(far.index)[0]
    checked = 0
    for row, column in np.argwhere(np.asarray(near.index)[0] >= 0):
        y, x = 10 * row, 10 * column
        if y == 0 or x == 0 or (index[y - 1 : y + 2, x - 1 : x + 2] < 0).any():
            continue
        expected = np.stack([b[y, x + 1] - b[y, x - 1], b[y + 1, x] - b[y - 1, x]], -1) / 0.2
        np.testing.assert_allclose(ours[row, column], expected, atol=2e-5)
        checked += 1
    assert checked > 20


def test_derivatives_of_coordinates_follow_from_those_of_barycentrics():
    vertices, faces = soup(np.random.default_rng(1), 2, 10, 12, 14)
    fragments = mesh.rasterize(vertices, faces, 12, 14)
    change = mesh.barycentric_derivatives(vertices, faces, fragments)
    np.testing.assert_allclose(change.sum(-2), 0.0, atol=1e-4 * float(jnp.abs(change).max()))
    uvs = np.random.default_rng(2).random((30, 2)).astype(np.float32)
    expected = (
        np.einsum("bhwkc,bhwkd->bhwcd", uvs[faces[np.asarray(fragments.index)]], change)
        * (np.asarray(fragments.index) >= 0)[..., None, None]
    )
    np.testing.assert_allclose(mesh.uv_derivatives(uvs, faces, fragments, change), expected, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    "change, said",
    [
        ({"uv": np.zeros((1, 2, 2, 3), np.float32)}, "uv must be"),
        ({"texture": np.zeros((2, 4, 4, 1), np.float32)}, "texture must be"),
        ({"filtering": "cubic"}, "filtering must be"),
        ({"wrap": "mirror"}, "wrap must be"),
        ({"filtering": "trilinear"}, "needs `level`"),
        ({"where": np.ones((1, 3, 3), bool)}, "where must be"),
    ],
)
def test_errors_name_the_argument(change, said):
    arguments = {"texture": np.zeros((4, 4, 1), np.float32), "uv": np.zeros((1, 2, 2, 2), np.float32)}
    with pytest.raises(ValueError, match=said):
        mesh.sample_texture(**{**arguments, **change})
