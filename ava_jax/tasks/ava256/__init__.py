"""The universal avatar codec of ava-256. Its commands are listed here; nothing else is imported."""

from ava_jax.tasks.command import Command

COMMANDS = (
    Command("download", "Fetches captures of ava-256, whole or in part; resumes and repairs.", "ava_jax.tasks.ava256.commands.download"),
    Command("render", "Renders avatars: any expressions on any people, from any side.", "ava_jax.tasks.ava256.commands.render", "render"),
    Command("encode", "Writes the expression codes of captures, to be played on anybody.", "ava_jax.tasks.ava256.commands.encode"),
    Command(
        "driving_scores", "Scores driving: codes that come back, neutral faces, mouths.", "ava_jax.tasks.ava256.commands.driving_scores"
    ),
    Command("benchmark", "Times an avatar: encode, decode, render, whole.", "ava_jax.tasks.ava256.commands.benchmark"),
    Command(
        "fit_coefficients",
        "Fits expression codes to a tracker's coefficients, and drives by them.",
        "ava_jax.tasks.ava256.commands.fit_coefficients",
    ),
    Command("view", "Serves a page that shows an avatar live, in a browser.", "ava_jax.tasks.ava256.commands.view", "view"),
    Command("enrol", "Fine-tunes a trained model on a new person, from few pictures.", "ava_jax.tasks.ava256.commands.enrol"),
    Command("synthesize", "Writes captures of procedural heads.", "ava_jax.tasks.ava256.commands.synthesize", "synth"),
    Command("import", "Makes a run of published weights, or of any state dict.", "ava_jax.tasks.ava256.commands.import_weights"),
    Command("webpage", "Bakes a segment of an avatar into one web page with a free camera.", "ava_jax.tasks.ava256.commands.webpage"),
    Command(
        "export", "Writes an avatar for other programs: weights, JAX, meshes, primitives.", "ava_jax.tasks.ava256.commands.export", "export"
    ),
)
