"""Trains the task that a config names; run again with the same --workdir, it resumes where it stopped.

  ava-train --config=ava256:tiny --config.data.root=CAPTURES --workdir=RUN
"""

from absl import flags

from ava_jax.bin import _main

_CONFIG = _main.define_config()
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run: checkpoints, TensorBoard events, pictures.")


def main() -> None:
    """Trains, as the flags say."""
    if _CONFIG.value is None:
        raise ValueError("--config is missing: which experiment? For example --config=ava256:tiny.")
    if not _WORKDIR.value:
        raise ValueError("--workdir is missing: a folder for checkpoints, logs and pictures, as in --workdir=runs/first.")
    from ava_jax.train import loop  # jax is imported here, so that --help stays quick

    loop.train(_CONFIG.value, _WORKDIR.value)


def run() -> None:
    """The command ava-train."""
    _main.run(main, doc=__doc__)


if __name__ == "__main__":
    run()
