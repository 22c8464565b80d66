"""What the GPUs here can run."""

import importlib.util

import jax
from jax.experimental import pallas  # noqa: F401  so that what follows finds its part

from ava_jax.core import tracing

# JAX 0.11 announces that this compiler of kernels will go. Without it plain JAX serves, slower.
HAS_COMPILER = importlib.util.find_spec("jax.experimental.pallas.triton") is not None
_OLDEST = 8  # compute capability's major number: older GPUs have neither bfloat16 products nor a compiler for the kernels


def compute_capability() -> str:
    """Of the device that JAX computes on by default, as in "9.0"; "" where it is no GPU."""
    device = jax.config.jax_default_device or jax.local_devices()[0]
    return str(getattr(device, "compute_capability", ""))


def takes_kernels() -> bool:
    """Whether programs may hold kernels for NVIDIA GPUs: JAX compiles them, and GPUs here, if any, have compute capability 8.0 or more.

    Exported programs hold none: they may come to any GPU.
    """
    if tracing.is_export():
        return False
    major = compute_capability().split(".")[0]
    return HAS_COMPILER and (not major.isdigit() or int(major) >= _OLDEST)
