"""The arithmetic of `scripts/bench_scaling.py`: time that is covered, efficiency."""

import os
import pathlib
import subprocess
import sys

SCRIPTS = pathlib.Path(__file__).resolve().parents[1] / "scripts"

_CHECKS = """
import bench_scaling as b
assert b.union([(5, 6), (0, 2), (1, 3), (3, 4)]) == [(0, 4), (5, 6)]
assert b.union([]) == [] and b.length([]) == 0
assert b.overlap([(0, 4), (5, 6)], [(1, 2), (3, 5.5)]) == [(1, 2), (3, 4), (5, 5.5)]
assert b.length(b.overlap([(0, 4)], [(4, 8)])) == 0
one, two = ({"devices": n, "samples_per_s": s} for n, s in ((1, 100.0), (2, 180.0)))
assert b.efficiency(one, one) == 1 and b.efficiency(one, two) == 0.9
"""


def test_spans_and_efficiency():
    """In a process of its own: the script defines the flags that commands do."""
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(SCRIPTS), *filter(None, sys.path)])}
    ended = subprocess.run([sys.executable, "-c", _CHECKS], env=env, capture_output=True, text=True, timeout=600)
    assert ended.returncode == 0, ended.stderr[-2000:]
