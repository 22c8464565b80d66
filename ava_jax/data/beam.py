"""Apache Beam, for work that a cluster does: an extra, `pip install "ava-jax[beam]"`; nothing else of the package needs it."""

from collections.abc import Sequence
from typing import Any


def module() -> Any:
    """The module `apache_beam`.

    Raises:
      ValueError: it is not installed.
    """
    try:
        import apache_beam
    except ImportError as e:
        raise ValueError(
            f'--runner needs Apache Beam, which is not installed ({e}): pip install "ava-jax[beam]", or leave --runner out.'
        ) from e
    return apache_beam


def pipeline(runner: str, options: Sequence[str] = ()) -> Any:
    """A pipeline of a runner; it runs when its `with` ends.

    Args:
      runner: as Beam names it: DirectRunner, FlinkRunner, SparkRunner, DataflowRunner, ...
      options: of the pipeline, as in "--flink_master=host:8081".

    Raises:
      ValueError: Beam is not installed or knows no such runner.
    """
    beam = module()
    from apache_beam.options.pipeline_options import PipelineOptions

    try:
        return beam.Pipeline(options=PipelineOptions([f"--runner={runner}", *options]))
    except (ValueError, TypeError) as e:
        raise ValueError(f"--runner={runner}: Beam cannot start it ({' '.join(str(e).split())[:200]}).") from e
