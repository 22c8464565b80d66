"""The universal avatar codec of ava-256. Its commands are listed here; nothing else is imported."""

from ava_jax.tasks.command import Command

COMMANDS = (
    Command("download", "Fetches captures of ava-256, whole or in part; resumes and repairs.", "ava_jax.tasks.ava256.commands.download"),
    Command("render", "Renders an avatar: a segment beside the truth, or a turntable.", "ava_jax.tasks.ava256.commands.render", "render"),
    Command("enrol", "Fine-tunes a trained model on a new person, from few pictures.", "ava_jax.tasks.ava256.commands.enrol"),
    Command("synthesize", "Writes captures of procedural heads.", "ava_jax.tasks.ava256.commands.synthesize", "synth"),
    Command("import", "Makes a run of published weights, or of any state dict.", "ava_jax.tasks.ava256.commands.import_weights"),
    Command("export", "Writes a run's weights for PyTorch or as safetensors.", "ava_jax.tasks.ava256.commands.export_weights"),
)
