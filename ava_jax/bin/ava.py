"""`ava`: every command by one name. `ava COMMAND` is of all tasks, `ava TASK COMMAND` of one; `ava --help` and `ava TASK` list them.

Tasks are found by their folders and list their commands in their `__init__.py` (`tasks.command`); no task is named here.
"""

import importlib
import pathlib
import sys
import textwrap
from collections.abc import Mapping, Sequence

from ava_jax import tasks
from ava_jax.core.interrupts import deferred, was_interrupted
from ava_jax.core.names import nearest
from ava_jax.tasks.command import Command

PURPOSES = {
    "Train, score, use a model, of every task:": (
        Command("train", "Trains what a config names; run again with the same --workdir, it resumes.", "ava_jax.bin.train"),
        Command("eval", "Scores a trained model on what was held out of its training.", "ava_jax.bin.eval"),
        Command("compare", "Compares runs on the samples that both were scored on.", "ava_jax.bin.compare"),
        Command("predict", "Writes a trained model's predictions, of data that need no targets.", "ava_jax.bin.predict"),
    ),
    "Captures of heads:": (
        Command("verify", "Says whether captures are whole, and what is wrong with those that are not.", "ava_jax.bin.verify"),
        Command(
            "inspect", "Draws captures: meshes over images, cameras in space, what is there; PNGs and a page.", "ava_jax.bin.inspection"
        ),
        Command("pack", "Packs captures into shards that are read as the zips are: fewer files, smaller images.", "ava_jax.bin.pack"),
        Command("convert", "Writes a capture from your own rig: cameras, images, tracked meshes.", "ava_jax.bin.convert"),
    ),
}
GENERAL = tuple(command for commands_ in PURPOSES.values() for command in commands_)
_WIDTH = 120  # columns of a screen
_HELP = ("--help", "-h", "-help")


def commands() -> dict[str, Command]:
    """Every command by what is typed after `ava`; imports the `__init__.py` of each task's folder, and nothing else of it.

    Raises:
      ValueError: two commands have one name.
    """
    found = {command.name: command for command in GENERAL}
    for task in sorted(path.parent.name for path in pathlib.Path(tasks.__file__).parent.glob("*/__init__.py")):
        for command in getattr(importlib.import_module(f"{tasks.__name__}.{task}"), "COMMANDS", ()):
            for name in (f"{task} {command.name}", command.short):
                if name in found:
                    raise ValueError(f"ava_jax/tasks/{task}/__init__.py: {found[name].module} is called {name!r} already.")
                found |= {name: command} if name else {}
    return found


def overview(known: Mapping[str, Command]) -> str:
    """What there is, by what one wants to do: a line for each command of all tasks or of a short name, and one for each task."""
    full = {command: name for name, command in known.items() if " " in name}
    width = max(len(name.partition(" ")[0]) for name in known)
    blocks = [[title, *(_line(command.name, width, command.summary) for command in commands_)] for title, commands_ in PURPOSES.items()]
    if short := [name for name, command in known.items() if full.get(command, name) != name]:
        blocks.append(["Avatars, short for commands of a task:", *(_line(name, width, known[name].summary) for name in short)])
    tasks_: dict[str, list[str]] = {}
    for name in full.values():
        tasks_.setdefault(name.partition(" ")[0], []).append(name.partition(" ")[2])
    if tasks_:
        blocks.append(["Tasks, with commands of their own (ava TASK lists them):"])
        blocks[-1] += [_line(task, width, ", ".join(names)) for task, names in tasks_.items()]
    text = "\n\n".join("\n".join(block) for block in blocks)
    return f"{text}\n\nWhat a command does, and its flags: ava COMMAND --help"


def overview_of_task(task: str, known: Mapping[str, Command]) -> str:
    """A line for each command of a task, below what the task is.

    Args:
      task: its name.
      known: its commands, by what is typed after `ava`.
    """
    doc = (sys.modules[f"{tasks.__name__}.{task}"].__doc__ or "").partition(". ")[0]
    said = {name: command.summary + (f" Short: ava {command.short}." if command.short else "") for name, command in known.items()}
    lines = [_line(name, max(map(len, known)), text) for name, text in said.items()]
    return "\n".join([f"{doc}.", "", *lines, "", f"What a command does, and its flags: ava {task} COMMAND --help"])


def _line(name: str, width: int, text: str) -> str:
    """A name and what is said of it, which goes on below itself where it is long."""
    indent = " " * (width + 8)
    return textwrap.fill(text, _WIDTH, initial_indent=f"  ava {name:{width}}  ", subsequent_indent=indent, break_on_hyphens=False)


def find(words: Sequence[str], known: Mapping[str, Command]) -> tuple[Command, int]:
    """The command that is meant, and how many of the words name it.

    Args:
      words: of the command line, after `ava`; one or more.
      known: all commands.

    Raises:
      ValueError: there is none of that name; the message gives the nearest.
    """
    for count in (2, 1):
        if (name := " ".join(words[:count])) in known:
            return known[name], count
    tasks_ = {name.partition(" ")[0] for name in known if " " in name}
    typed = " ".join(words[:2]) if words[0] in tasks_ else words[0]
    near = nearest(typed.replace(" ", "."), [name.replace(" ", ".") for name in [*known, *tasks_]]).replace(".", " ")
    raise ValueError(f"there is no command {typed!r}.{near} All there are: ava --help")


def run() -> None:
    """The command ava."""
    try:
        _run()
    except (KeyboardInterrupt, Exception) as e:  # while the command was being imported; later ones are answered in `_main`
        if not was_interrupted(e):
            raise
        print("ava: stopped by Ctrl-C.", file=sys.stderr)
        sys.exit(130)


def _run() -> None:
    words, known = sys.argv[1:], commands()
    if not words or words[0] in _HELP:
        print(overview(known))
        return
    of_task = {name: command for name, command in known.items() if name.startswith(f"{words[0]} ")}
    if of_task and (len(words) == 1 or words[1] in _HELP):
        print(overview_of_task(words[0], of_task))
        return
    try:
        command, count = find(words, known)
    except ValueError as e:
        print(f"ava: {e}", file=sys.stderr)
        sys.exit(2)
    _start(command, 1 + count)


def render() -> None:
    """The command ava-render, an older name of `ava render`."""
    _start(commands()["render"], 1)


def synth() -> None:
    """The command ava-synth, an older name of `ava synth`."""
    _start(commands()["synth"], 1)


def _start(command: Command, words: int) -> None:
    """Runs a command, which the process's first words name."""
    with deferred():
        from ava_jax.bin import _main

        module = importlib.import_module(command.module)
    _main.run(module.main, doc=module.__doc__, words=words)


if __name__ == "__main__":
    run()
