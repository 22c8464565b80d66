"""The deep appearance model of multiface. Its commands are listed here; nothing else is imported."""

from ava_jax.tasks.command import Command

COMMANDS = (
    Command("download", "Fetches captures of multiface, whole or in part; resumes, repairs.", "ava_jax.tasks.multiface.commands.download"),
    Command("pack", "Decodes a capture's pictures once, into arrays that training maps.", "ava_jax.tasks.multiface.commands.pack"),
    Command("synthesize", "Writes captures of procedural heads as multiface's.", "ava_jax.tasks.multiface.commands.synthesize"),
    Command("import", "Makes a run of published weights.", "ava_jax.tasks.multiface.commands.import_weights"),
    Command("export", "Writes a run's weights as the published ones.", "ava_jax.tasks.multiface.commands.export_weights"),
    Command("adapt", "The published test protocol, which learns on the test data.", "ava_jax.tasks.multiface.commands.adapt"),
    Command("visualise", "Draws GT | PRED | DIFF over time, as PNGs and videos.", "ava_jax.tasks.multiface.commands.visualise"),
)
