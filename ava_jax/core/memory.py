"""How the process's allocator treats memory that is freed."""

import ctypes
import glob
import os
import sys

# Of glibc's malloc.h.
_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8
_LARGEST = 2**31 - 1


def keep_freed_memory() -> bool:
    """Has glibc keep memory that is freed, for the next step, where there is no NVIDIA GPU. Call it before JAX starts its threads.

    XLA on CPUs allocates its buffers anew for each step, hundreds of MB. By default glibc returns those to the system when they are freed,
    and the system clears each page when it is touched again: a quarter of a small model's step. One arena for all threads: others than the
    first hand their memory back whatever the thresholds. What is set in the environment (MALLOC_..., GLIBC_TUNABLES) stays as it is.

    Returns:
      Whether anything was set.
    """
    chosen = any(name.startswith("MALLOC_") or name == "GLIBC_TUNABLES" for name in os.environ)
    if chosen or not sys.platform.startswith("linux") or glob.glob("/dev/nvidia[0-9]*"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # other C libraries have none, or one that does nothing
    if mallopt is None:
        return False
    return all([mallopt(option, value) for option, value in ((_ARENA_MAX, 1), (_MMAP_MAX, 0), (_TRIM_THRESHOLD, _LARGEST))])
