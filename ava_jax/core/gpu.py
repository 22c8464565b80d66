"""What the GPUs here can run."""

import jax

_OLDEST = 8  # compute capability's major number: older GPUs have neither bfloat16 products nor a compiler for the kernels


def takes_kernels() -> bool:
    """Whether programs may hold kernels for NVIDIA GPUs: those here, if there are any, are of compute capability 8.0 or later."""
    major = str(getattr(jax.local_devices()[0], "compute_capability", "")).split(".")[0]
    return not major.isdigit() or int(major) >= _OLDEST
