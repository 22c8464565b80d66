"""Shapes as local deep implicit functions: LDIF, SIF++, SIF. Its commands are listed here; nothing else is imported."""

from ava_jax.tasks.command import Command

COMMANDS = (
    Command("synthesize", "Writes procedural shapes of six classes, and examples of them.", "ava_jax.tasks.ldif.commands.synthesize"),
    Command("prepare", "Makes examples to learn from of a folder of meshes.", "ava_jax.tasks.ldif.commands.prepare"),
    Command("pack", "Packs examples into few large files that training reads piece by piece.", "ava_jax.tasks.ldif.commands.pack"),
    Command("extract", "Writes meshes of shapes that are stored as implicit functions.", "ava_jax.tasks.ldif.commands.extract"),
    Command("view", "Shows shapes live in a browser: elements are moved, the surface follows.", "ava_jax.tasks.ldif.commands.view"),
    Command("fit", "Fits the elements of one shape to a mesh, without a network.", "ava_jax.tasks.ldif.commands.fit"),
    Command("score", "Scores a mesh against the true one.", "ava_jax.tasks.ldif.commands.score"),
    Command("sheet", "Draws shapes: the true mesh, the elements, their surface.", "ava_jax.tasks.ldif.commands.sheet"),
    Command("grid", "Turns meshes into grids of signed distances, and back.", "ava_jax.tasks.ldif.commands.grid"),
)
