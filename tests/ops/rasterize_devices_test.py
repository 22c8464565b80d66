"""The rasteriser on eight simulated devices, and under vmap: what one device gives, and no picture is gathered before a compiled call."""

import json

import pytest
from raymarch_devices_test import run

from ava_jax.ops import native

OFTEN = ("divided images", "vmap", "grad in shard_map")
RARELY = ("grad of shard_map", "grad in shard_map, unchecked", "divided images, explicit axes")  # the last one sets the process's mesh


@pytest.mark.skipif(not native.BUILT, reason="the compiled module is not built")
@pytest.mark.parametrize("names", [OFTEN, pytest.param(RARELY, marks=pytest.mark.slow)], ids=["often", "rarely"])
def test_eight_devices_give_what_one_does(names):
    flags = "--xla_force_host_platform_device_count=8 --xla_backend_optimization_level=0"
    found = json.loads(run("rasterize_transformations.py", *names, XLA_FLAGS=flags, JAX_PLATFORMS="cpu"))
    assert set(found) == set(names)
    for name, check in found.items():
        assert check["error"] < 1e-5 and check["gathers"] == 0, (name, check)
