"""The networks and losses of multiface written again from their description: channels first, by state-dict key, in plain `lax`."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

_NCHW = ("NCHW", "OIHW", "NCHW")


def _lrelu(x):
    return jnp.where(x > 0, x, 0.2 * x)


def _normed(w, key):
    weight = w[f"{key}.weight"]
    return weight / jnp.sqrt(jnp.sum(weight**2))


def _fc(w, key, x):
    return x @ (_normed(w, key) * w[f"{key}.g"][:, None]).T + w[f"{key}.bias"]


def _conv(w, key, x, stride=1):
    kernel = _normed(w, key) * w[f"{key}.g"][:, None, None, None]
    return lax.conv_general_dilated(x, kernel, (stride, stride), [(1, 1)] * 2, dimension_numbers=_NCHW) + w[f"{key}.bias"][:, None, None]


def _deconv(w, key, x):
    kernel = (_normed(w, key) * w[f"{key}.g"][:, None, None])[:, :, ::-1, ::-1].swapaxes(0, 1)  # [out, in, 4, 4]
    y = lax.conv_general_dilated(x, kernel, (1, 1), [(2, 2)] * 2, lhs_dilation=(2, 2), dimension_numbers=_NCHW)
    return y + w[f"{key}.bias"][:, None, None]


def _up(w, key, x, arch):
    if arch == "bilinear":
        return _conv(w, f"{key}.deconv", jnp.repeat(jnp.repeat(x, 2, 2), 2, 3)) + w[f"{key}.bias"]
    return _deconv(w, f"{key}.deconv", x) + w[f"{key}.bias"]


def _warped(w, code, texture, count):
    h = _lrelu(_fc(w, "warp.mlp.2", _lrelu(_fc(w, "warp.mlp.0", code)))).reshape(len(code), -1, 2, 2)
    for i in range(count):
        h = _lrelu(_up(w, f"warp.upsample.{i // 2}.conv{i % 2 + 1}", h, "warp"))
    size = texture.shape[-1]
    h = jax.image.resize(h, (*h.shape[:2], size, size), "bilinear", antialias=False)
    key = f"warp.upsample.{count // 2 + 1}"
    offset = lax.conv_general_dilated(h, w[f"{key}.weight"], (1, 1), [(1, 1)] * 2, dimension_numbers=_NCHW)
    offset = (offset + w[f"{key}.bias"][:, None, None]) / size
    line = jnp.linspace(-1, 1, size)
    at = (jnp.stack(jnp.meshgrid(line, line))[None] + offset + 1) * size / 2 - 0.5  # [B, (x, y), T, T], in texels
    low = jnp.floor(at)
    out = 0.0
    for dy in (0, 1):
        for dx in (0, 1):
            x, y = low[:, 0] + dx, low[:, 1] + dy
            share = (1 - jnp.abs(at[:, 0] - x)) * (1 - jnp.abs(at[:, 1] - y)) * ((x >= 0) & (x < size) & (y >= 0) & (y < size))
            column, row = (jnp.clip(i, 0, size - 1).astype(int) for i in (x, y))
            out = out + share[:, None] * jax.vmap(lambda t, r, c: t[:, r, c])(texture, row, column)
    return out


def losses(w, arch, inputs, config):
    """vert, tex and KL with the mean of the code; `inputs`: texture, mesh, view, camera, target, mask, in the published layout."""
    h, b = inputs["texture"], len(inputs["texture"])
    for i in range(len(config.encoder_channels)):
        h = _lrelu(_conv(w, f"enc.texture_encoder.downsample.{i // 2}.conv{i % 2 + 1}", h, 2))
        if arch == "res":
            h = _lrelu(_conv(w, f"enc.texture_encoder.downsample.{i // 2}.res{i % 2 + 1}", h) + h)
    h = jnp.concatenate([_lrelu(_fc(w, "enc.texture_fc", h.reshape(b, -1))), _lrelu(_fc(w, "enc.mesh_fc", inputs["mesh"]))], 1)
    mean, logstd = jnp.split(_fc(w, "enc.fc", h), 2, 1)
    mean, logstd = 0.1 * mean, 0.01 * logstd
    code = _lrelu(_fc(w, "dec.z_fc", mean))
    mesh = _fc(w, "dec.mesh_fc", code)
    count = len(config.decoder_channels) + 1
    side = config.texture_size >> count
    both = jnp.concatenate([_lrelu(_fc(w, "dec.view_fc", inputs["view"])), code], 1)
    t = _lrelu(_fc(w, "dec.texture_fc", both)).reshape(b, config.code, side, side)
    for i in range(count):
        key, last = f"dec.texture_decoder.upsample.{i // 2}", i == count - 1
        t = _up(w, f"{key}.conv{i % 2 + 1}", t, arch)
        t = t if last else _lrelu(t)
        if arch == "res":
            t = _conv(w, f"{key}.res{i % 2 + 1}", t) + t
            t = t if last else _lrelu(t)
    if arch == "warp":
        t = _warped(w, mean, t, len(config.warp_channels))
    gain = jnp.concatenate([jnp.ones((1, 3, 1, 1)), w["cc.weight"]])[inputs["camera"]]
    offset = jnp.concatenate([jnp.zeros((1, 3, 1, 1)), w["cc.bias"]])[inputs["camera"]]
    t = t * gain + offset
    return {
        "vert": jnp.mean((mesh - inputs["target_mesh"]) ** 2),
        "tex": jnp.mean((t * inputs["mask"] - inputs["target"] * inputs["mask"]) ** 2),
        "kl": jnp.mean((jnp.exp(2 * logstd) + mean**2 - 1 - 2 * logstd) / 2),
    }


def random_inputs(config, vertices, cameras, seed=0):
    """A batch of two, normalised, channels first."""
    rng = np.random.default_rng(seed)
    side = config.texture_size
    picture = lambda: rng.standard_normal((2, 3, side, side)).astype(np.float32)  # noqa: E731
    view = rng.standard_normal((2, 3)).astype(np.float32)
    return {
        "texture": picture(),
        "mesh": rng.standard_normal((2, 3 * vertices)).astype(np.float32),
        "target_mesh": rng.standard_normal((2, 3 * vertices)).astype(np.float32),
        "view": view / np.linalg.norm(view, axis=1, keepdims=True),
        "camera": np.array([0, cameras - 1]),
        "target": picture(),
        "mask": rng.uniform(size=(2, 3, side, side)).astype(np.float32),
    }
