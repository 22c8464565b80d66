"""What a task says of its commands, without importing anything heavy: `ava --help` lists those of all tasks.

A task's folder lists them in its `__init__.py`:

  COMMANDS = (Command("synthesize", "Writes posed bodies with skin that slides.", "ava_jax.tasks.mesh_fit.commands.synthesize"),)
"""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Command:
    """A command of a task, started as `ava TASK NAME`.

    Attributes:
      name: as it is typed.
      summary: one line, for `ava --help`.
      module: has absl flags, a docstring for `--help` and `main() -> None`; imported when the command runs. ValueError and OSError
        raised by `main` are shown as one line.
    """

    name: str
    summary: str
    module: str
