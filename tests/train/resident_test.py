"""Training data held on the devices: the same batches, the same training, told and refused in a line."""

import os
import pathlib
import re
import subprocess
import sys
import types

import jax
import numpy as np
import pytest
import toy_task
from loop_test import _assert_same, _config, _final

from ava_jax.train import loop, resident
from ava_jax.train import step as steps
from ava_jax.train.checkpoint import Checkpoints


def _held(**train):
    config = _config(**{"steps": 12, "checkpoint_every": 12, "picture_every": 12, **train})
    config.data.on_device = True
    return config


def _read(**train):
    config = _held(**train)
    config.data.on_device = False
    return config


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run of 12 steps whose batches come from the host; read only."""
    folder = tmp_path_factory.mktemp("whole")
    loop.train(_read(), folder)
    return _final(folder)


@pytest.mark.parametrize("per_call", [1, 4])
def test_it_trains_as_from_the_host_bit_for_bit(tmp_path, whole, capsys, per_call):
    loop.train(_held(steps_per_call=per_call, log_every=12), tmp_path)
    _assert_same(_final(tmp_path), whole)
    out = capsys.readouterr().out
    assert re.search(r"^on the device: 1\.15 kB, 24 samples in .* s \(.* per second\); 3 cannot be read and are left out$", out, re.M)
    assert "data:    24 samples (2 colours), held on the device" in out
    assert "samples passed over: 3 missing, of 24" in out


def test_it_may_be_switched_on_and_off_between_resumptions(tmp_path, whole):
    for steps_, make in ((3, _read), (7, _held), (9, _read), (12, _held)):
        loop.train(make(steps=steps_), tmp_path)
    _assert_same(_final(tmp_path), whole)


@pytest.mark.parametrize("sampling", [{"shuffle": False}, {"per_visit": 4, "window": 2}])
def test_every_order_is_that_of_the_host(tmp_path, monkeypatch, sampling):
    monkeypatch.setattr(toy_task.Toy, "sampling", lambda self, split: toy_task.Sampling(4, **sampling))
    monkeypatch.setattr(toy_task.ToySource, "groups", [(4, 6)], raising=False)
    loop.train(_read(), tmp_path / "host")
    loop.train(_held(), tmp_path / "device")
    _assert_same(_final(tmp_path / "host"), _final(tmp_path / "device"))


def test_a_recovery_names_the_same_samples(tmp_path):
    for name, make in (("host", _read), ("device", _held)):
        config = make(steps=12, checkpoint_every=3, max_recoveries=9, steps_per_call=3, log_every=3)
        config.data.poison = 5
        loop.train(config, tmp_path / name)
    _assert_same(_final(tmp_path / "host"), _final(tmp_path / "device"))
    with Checkpoints(tmp_path / "host") as host, Checkpoints(tmp_path / "device") as device:
        assert host.recoveries(12) == device.recoveries(12) and len(host.recoveries(12)) >= 2
        assert {"index": "5"} in device.recoveries(12)[0]["samples"]


def test_over_two_devices_a_call_of_several_steps_from_the_device_is_steps_from_the_host(tmp_path):
    program = """
import sys, jax
from resident_test import _held, _read
from ava_jax.train import loop
loop.train(_read(steps=8), sys.argv[1] + "/host")
loop.train(_held(steps=8, steps_per_call=4, log_every=4), sys.argv[1] + "/device")
print(jax.device_count(), "devices")
"""
    env = os.environ | {"XLA_FLAGS": "--xla_force_host_platform_device_count=2", "JAX_PLATFORMS": "cpu"}
    env["PYTHONPATH"] = os.pathsep.join(filter(None, [str(pathlib.Path(__file__).parent), *sys.path]))
    ended = subprocess.run([sys.executable, "-c", program, str(tmp_path)], env=env, capture_output=True, text=True, timeout=600)
    assert ended.returncode == 0 and "2 devices" in ended.stdout and "up to 4 steps per call" in ended.stdout, ended.stderr
    _assert_same(_final(tmp_path / "host"), _final(tmp_path / "device"))


class Samples:
    """Two arrays per sample, nested; `sizes` gives one another length, `missing` cannot be read."""

    counts = {"listed": 6}

    def __init__(self, sizes=None, missing=(), faulty=()):
        self.sizes, self.missing, self.faulty = sizes or {}, missing, faulty

    def __len__(self):
        return 6

    def __repr__(self):
        return "Samples"

    def __getitem__(self, i):
        if i in self.faulty:
            raise OSError("disk on fire")
        if i in self.missing:
            return None
        return {"a": np.full(self.sizes.get(i, 3), i, np.float64), "b": {"c": np.uint8(i)}}


def _load(source):
    return resident.load(source, steps.replicated(steps.device_mesh(2)), threads=3)


def test_samples_are_rows_and_come_back_by_index():
    held = _load(Samples(missing=(0, 3)))
    assert held.readable.tolist() == [False, True, True, False, True, True]
    assert held.arrays["a"].shape == (6, 3) and held.arrays["a"].dtype == np.float32 and held.arrays["b"]["c"].dtype == np.uint8
    batch = held.batch(np.int32([4, 1]))
    np.testing.assert_array_equal(batch["a"], np.float32([[4] * 3, [1] * 3]))
    assert batch["b"]["c"].tolist() == [4, 1]
    gathered = jax.jit(lambda arrays, i: resident.gather(arrays, i, steps.device_mesh(2)))(held.arrays, np.int32([4, 1]))
    jax.tree.map(np.testing.assert_array_equal, gathered, batch)


def test_what_cannot_be_held_is_refused_in_a_line():
    with pytest.raises(
        ValueError, match=r"needs samples of one size; \['a'\] of sample 4 of Samples is \[5\], not \[3\]. config.data.on_de"
    ):
        _load(Samples(sizes={4: 5}))
    with pytest.raises(ValueError, match="sample 2 of Samples: disk on fire"):
        _load(Samples(faulty=(2,)))
    with pytest.raises(ValueError, match="none of the 6 samples of Samples can be read"):
        _load(Samples(missing=range(6)))


def _device(limit, platform="gpu"):
    return types.SimpleNamespace(memory_stats=lambda: limit and {"bytes_limit": limit, "bytes_in_use": 100}, platform=platform)


@pytest.mark.parametrize(
    "devices, host, refused",
    [
        ([_device(1178), _device(2000)], 10_000, "6 samples take 1.08 kB, and the device has 1.08 kB free"),
        ([_device(1180)], 10_000, None),
        ([_device(2000)], 1300, "6 samples take 1.08 kB of the host's memory, and 1.04 kB may be used"),
        ([_device(None, "cpu")], 2600, "6 samples take 1.08 kB 2 times of the host's memory, and 2.08 kB may be used"),
        ([_device(None, "cpu")], 2800, None),
    ],
)
def test_it_is_refused_where_memory_is_short(monkeypatch, devices, host, refused):
    monkeypatch.setattr(resident, "_available_host_memory", lambda: host)
    sharding = types.SimpleNamespace(addressable_devices=devices)
    if refused is None:
        resident._check_memory(1080, 6, sharding)
    else:
        with pytest.raises(ValueError, match=f"{refused}. config.data.on_device = False reads"):
            resident._check_memory(1080, 6, sharding)


def test_the_hosts_memory_is_known():
    assert 2**24 < resident._available_host_memory() < 2**50
