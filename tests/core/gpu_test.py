"""Which GPUs get kernels."""

import types

import jax
import pytest

from ava_jax.core import gpu


@pytest.mark.parametrize("capability, wanted", [("7.5", False), ("8.0", True), ("9.0", True), ("12.0", True), ("gfx942", True)])
def test_gpus_older_than_ampere_get_none(monkeypatch, capability, wanted):
    monkeypatch.setattr(jax, "local_devices", lambda: [types.SimpleNamespace(compute_capability=capability)])
    assert gpu.takes_kernels() == wanted


def test_without_a_gpu_programs_may_hold_kernels(monkeypatch):
    monkeypatch.setattr(jax, "local_devices", lambda: [types.SimpleNamespace()])
    assert gpu.takes_kernels()
