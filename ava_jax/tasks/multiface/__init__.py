"""The deep appearance model of multiface. Its commands are listed here; nothing else is imported."""

from ava_jax.tasks.command import Command

COMMANDS = (
    Command(
        "download", "Fetches captures of multiface, whole or in part; resumes and repairs.", "ava_jax.tasks.multiface.commands.download"
    ),
    Command("synthesize", "Writes captures of procedural heads as multiface's.", "ava_jax.tasks.multiface.commands.synthesize"),
)
