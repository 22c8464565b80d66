"""What is timed of calls, and how it is told."""

import types

import pytest

from ava_jax.tasks.ava256.evaluation import speed


def test_the_first_call_is_not_in_the_times(monkeypatch):
    """By a clock that the calls move on: 200 ms, then 10, 20, 30, 40 and 50."""
    clock, calls = [0.0], []
    monkeypatch.setattr(speed, "time", types.SimpleNamespace(perf_counter=lambda: clock[0]))

    def call():
        clock[0] += 0.01 * len(calls) if calls else 0.2
        calls.append(clock[0])
        return len(calls)

    timing, result = speed.time_calls("decode", 4, call, 5)
    assert result == 1 and len(calls) == 6
    assert (timing.first_s, timing.ms, timing.spread_ms) == pytest.approx((0.2, 30.0, 20.0))
    assert timing.frames_per_s == pytest.approx(4 / 0.03)
    assert speed.time_calls("decode", 1, call, 1)[0].spread_ms == 0


def test_the_table_tells_batch_and_rate():
    table = speed.text([speed.Timing("render", 4, 43.21, 1.234, 92.57, 3.0), speed.Timing("whole", 1, 1234.5, 0.0, 0.81, 3.0)])
    assert [line.split() for line in table.splitlines()[-2:]] == [
        ["render", "4", "43.2", "1.23", "92.6"],
        ["whole", "1", "1234", "0", "0.81"],
    ]
