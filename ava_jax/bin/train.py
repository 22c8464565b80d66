"""Trains the task that a config names; run again with the same --workdir, it resumes where it stopped.

  ava-train --config=ava256:tiny --config.data.root=CAPTURES --workdir=RUN
  ava-train --config=ava256:tiny --config.data.root=CAPTURES --workdir=RUN --check
"""

from absl import flags

from ava_jax.bin import _main

_CONFIG = _main.define_config()
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run: checkpoints, TensorBoard events, pictures.")
_CHECK = flags.DEFINE_bool(
    "check", False, "Try one step, one save and one restore, print sizes, times, memory and disk, leave nothing behind, and stop."
)


def main() -> None:
    if _CONFIG.value is None:
        raise ValueError("--config is missing: which experiment? For example --config=ava256:tiny.")
    if not _WORKDIR.value:
        raise ValueError("--workdir is missing: a folder for checkpoints, logs and pictures, as in --workdir=runs/first.")
    from ava_jax.train import check, loop  # jax is imported here, so that --help stays quick

    (check.check if _CHECK.value else loop.train)(_CONFIG.value, _WORKDIR.value)


def run() -> None:
    _main.run(main, doc=__doc__)


if __name__ == "__main__":
    run()
