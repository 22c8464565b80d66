"""Which GPUs get kernels."""

import subprocess
import sys
import types

import jax
import pytest

from ava_jax.core import gpu


@pytest.mark.parametrize("capability, expected", [("7.5", False), ("8.0", True), ("9.0", True), ("12.0", True), ("gfx942", True)])
def test_gpus_older_than_ampere_get_none(monkeypatch, capability, expected):
    monkeypatch.setattr(jax, "local_devices", lambda: [types.SimpleNamespace(compute_capability=capability)])
    assert gpu.takes_kernels() == expected


def test_without_a_gpu_programs_may_hold_kernels(monkeypatch):
    monkeypatch.setattr(jax, "local_devices", lambda: [types.SimpleNamespace()])
    assert gpu.takes_kernels()


def test_without_a_compiler_there_are_none(monkeypatch):
    monkeypatch.setattr(gpu, "HAS_COMPILER", False)
    assert not gpu.takes_kernels()


_HIDE = """
import importlib.util, sys
found = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name == "jax.experimental.pallas.triton" else found(name, *rest)
import ava_jax.tasks.ava256.model.codec
from ava_jax.core import gpu
from ava_jax.tasks.ava256.kernels import pixel_network
print(gpu.HAS_COMPILER, pixel_network.is_supported(128, "bfloat16"))
"""


def test_the_networks_import_without_a_compiler():
    done = subprocess.run([sys.executable, "-c", _HIDE], capture_output=True, text=True)
    assert done.stdout == "False False\n", done.stderr[-2000:]
