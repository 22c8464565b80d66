"""multiface: a person's deep appearance model. Its commands are listed here; nothing else is imported."""

from ava_jax.tasks.command import Command

COMMANDS: tuple[Command, ...] = ()
