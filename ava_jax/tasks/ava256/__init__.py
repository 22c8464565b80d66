"""The universal avatar codec of ava-256. Its commands are listed here; nothing else is imported."""

from ava_jax.tasks.command import Command

COMMANDS = (
    Command("download", "Fetches captures of ava-256, whole or in part; resumes and repairs.", "ava_jax.tasks.ava256.commands.download"),
    Command("render", "Renders an avatar: a segment beside the truth, or a turntable.", "ava_jax.tasks.ava256.commands.render", "render"),
    Command("synthesize", "Writes captures of procedural heads.", "ava_jax.tasks.ava256.commands.synthesize", "synth"),
    Command("import", "Makes a run of published weights, or of any state dict.", "ava_jax.tasks.ava256.commands.import_weights"),
    Command(
        "export", "Writes an avatar for other programs: weights, JAX, meshes, primitives.", "ava_jax.tasks.ava256.commands.export", "export"
    ),
)
