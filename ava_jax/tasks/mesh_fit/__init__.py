"""Mesh fitting: skin interpolations to the meshes of scans. Its commands are listed here; nothing else is imported."""

from ava_jax.tasks.command import Command

COMMANDS = (
    Command("synthesize", "Writes posed bodies with skin that slides.", "ava_jax.tasks.mesh_fit.commands.synthesize"),
    Command("import", "Makes a run of a published checkpoint.", "ava_jax.tasks.mesh_fit.commands.import_weights"),
    Command("benchmark", "Times training steps and compares how precisions learn.", "ava_jax.tasks.mesh_fit.commands.benchmark"),
    Command("compare", "Trains the published experiment's variants and tabulates them.", "ava_jax.tasks.mesh_fit.commands.compare"),
    Command("example", "From nothing to fitted meshes on two CPU cores, in minutes.", "ava_jax.tasks.mesh_fit.commands.example"),
)
