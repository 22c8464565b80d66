"""Transformations and processes: vmap, shard_map on two devices, thread counts, instruction sets, memory."""

import hashlib
import json
import os
import pathlib
import subprocess
import sys

import jax
import numpy as np
import pytest

import ava_jax
from ava_jax.ops import native

needs_native = pytest.mark.skipif(not native.serves_default_backend(), reason="the compiled raymarcher is not built for this platform")
HERE = pathlib.Path(__file__).parent


def run(script, *args, **environment):
    """Runs a script beside this file in a process of its own; its output."""
    command = [sys.executable, str(HERE / script), *map(str, args)]
    path = os.pathsep.join([str(pathlib.Path(ava_jax.__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": path, **environment}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout


FEW = ("replicated primitives",)  # the reference takes long to compile
ALL = (*FEW, "vmap", "voxels in bfloat16", "grad of shard_map", "grad in shard_map", "grad in shard_map, unchecked")


@pytest.mark.parametrize("implementation, names", [pytest.param("native", ALL, marks=needs_native), ("jax", FEW)])
def test_transformations_on_two_devices(implementation, names):
    flags = "--xla_force_host_platform_device_count=2 --xla_backend_optimization_level=0"
    errors = json.loads(run("raymarch_transformations.py", implementation, *names, XLA_FLAGS=flags, JAX_PLATFORMS="cpu"))
    assert set(errors) == set(names)
    for name, error in errors.items():
        assert error < 1e-5, (name, error)


@needs_native
@pytest.mark.skipif(not hasattr(os, "sched_setaffinity") or len(os.sched_getaffinity(0)) < 2, reason="needs two processors")
def test_bits_do_not_depend_on_the_number_of_threads(tmp_path):
    digests = set()
    for cpus in (1, 2, 2):
        used = run("raymarch_process.py", tmp_path / "out.npz", cpus)
        assert f"{cpus} threads" in used
        digests.add(hashlib.sha256((tmp_path / "out.npz").read_bytes()).hexdigest())
    assert len(digests) == 1


@pytest.mark.skipif(
    not native.BUILT or jax.default_backend() != "cpu" or not os.path.exists("/proc/self/clear_refs"),
    reason="measures the CPU kernel's memory by Linux's /proc",
)
def test_memory_grows_by_no_more_than_stated():
    for name, memory in json.loads(run("raymarch_memory.py")).items():
        assert 0.25 * memory["planned"] < memory["used"] < memory["planned"] + memory["scratch"] + 2**20, (name, memory)


@needs_native
def test_instruction_sets_agree(tmp_path):
    results = {}
    for name in ("portable", "avx2", "avx512"):
        used = run("raymarch_process.py", tmp_path / f"{name}.npz", AVA_INSTRUCTION_SET=name)
        if f"{name}," in used:  # else this processor has none
            results[name] = np.load(tmp_path / f"{name}.npz")
    for name, result in results.items():
        for key in result.files:
            expected = results["portable"][key]
            np.testing.assert_allclose(result[key], expected, rtol=0, atol=5e-5 * np.abs(expected).max(), err_msg=f"{name} {key}")
