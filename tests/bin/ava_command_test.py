"""`ava`: the overview, how commands are found, and what every command that is listed must have."""

import inspect
import itertools
import json
import os
import pathlib
import re
import subprocess
import sys

import pytest

from ava_jax.bin import ava
from ava_jax.tasks.command import Command

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
KNOWN = ava.commands()
# What is run in a process of its own: flags of one name are defined by several commands.
_LOOK_AT = """
import importlib, inspect, sys
from absl import flags
before = set(flags.FLAGS)
module = importlib.import_module(sys.argv[1])
assert (module.__doc__ or "").strip(), "no docstring"
own = {flag.name for name, found in flags.FLAGS.flags_by_module_dict().items() if name.startswith("ava_jax.") for flag in found} - before
assert own, "no flags"
assert list(inspect.signature(module.main).parameters) in ([], ["context"]), "main() or main(context)"
assert "jax" not in sys.modules, "--help would import jax"
print(*sorted(own))
"""


def _python(*args, **options) -> subprocess.CompletedProcess:
    env = os.environ | {"PYTHONPATH": str(REPOSITORY), "JAX_PLATFORMS": "cpu"}
    return subprocess.run([sys.executable, *args], env=env, capture_output=True, text=True, timeout=900, **options)


def _ava(*words) -> subprocess.CompletedProcess:
    return _python("-m", "ava_jax.bin.ava", *words)


@pytest.mark.parametrize("words", [(), ("--help",), ("-h",)])
def test_the_overview_has_every_command_on_one_screen(words):
    done = _ava(*words)
    assert done.returncode == 0 and done.stderr == ""
    lines = done.stdout.splitlines()
    assert len(lines) < 30 and max(map(len, lines)) <= 120
    for name, command in KNOWN.items():
        task, _, own = name.rpartition(" ")
        (at,) = [i for i, line in enumerate(lines) if line.startswith(f"  ava {task or name} ")]
        said = " ".join([lines[at], *itertools.takewhile(lambda line: line.startswith("     "), lines[at + 1 :])])
        assert own in re.findall(r"\w+", said) if task else command.summary in said


def test_the_overview_is_quick():
    program = "import sys; from ava_jax.bin import ava; sys.argv = ['ava', '--help']; ava.run(); print(sorted(sys.modules))"
    done = _python("-c", program)
    loaded = set(re.findall(r"'([\w.]+)'", done.stdout.splitlines()[-1]))
    assert "ava_jax.tasks.command" in loaded and not loaded & {"jax", "flax", "numpy", "ml_collections"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["trian", "--config=x"], "there is no command 'trian'. Did you mean train? All there are: ava --help"),
        (["--config=x"], "there is no command '--config=x'. All there are: ava --help"),
        (["ava255"], "there is no command 'ava255'. Did you mean ava256?"),
        (["ava256", "rendr", "--workdir=x"], "there is no command 'ava256 rendr'. Did you mean ava256 render?"),
        (["nothing_like_it", "--help"], "there is no command 'nothing_like_it'. All there are: ava --help"),
    ],
)
def test_a_mistyped_command_is_one_line_with_the_nearest(words, message):
    done = _ava(*words)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith(f"ava: {message}") and len(done.stderr.splitlines()) == 1, done.stderr


def test_a_command_of_a_task_is_found_by_its_name_alone():
    with pytest.raises(ValueError, match=r"there is no command 'import'. Did you mean one import or two import\?"):
        ava.find(["import"], {f"{task} import": Command("import", "", task) for task in ("one", "two")})


@pytest.mark.parametrize("words", [["ava256"], ["ava256", "--help"]])
def test_a_task_alone_shows_its_commands(words):
    done = _ava(*words)
    assert done.returncode == 0 and done.stdout.startswith("The universal avatar codec of ava-256.\n") and "ava train" not in done.stdout
    for name, command in ((name, command) for name, command in KNOWN.items() if name.startswith("ava256 ")):
        assert re.search(rf"^  ava {name} +{re.escape(command.summary)}( Short: ava {command.short}\.)?$", done.stdout, flags=re.M)


def test_a_task_is_found_by_its_folder(tmp_path, monkeypatch):
    """One folder is all that a task with commands needs."""
    for name, short in (("one", "try"), ("two", ""), ("plain", None)):
        line = f"from ava_jax.tasks.command import Command\nCOMMANDS = (Command('show', 'Shows.', 'nowhere.{name}', {short!r}),)\n"
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("" if short is None else line)
    (tmp_path / "__init__.py").write_text("")
    monkeypatch.setattr(ava.tasks, "__file__", str(tmp_path / "__init__.py"))
    monkeypatch.setattr(ava.tasks, "__path__", [str(tmp_path)])
    for name in ("one", "two", "plain"):
        monkeypatch.delitem(sys.modules, f"ava_jax.tasks.{name}", raising=False)
    found = ava.commands()
    assert list(found) == [*(command.name for command in ava.GENERAL), "one show", "try", "two show"]
    assert ava.find(["two", "show", "--flag"], found) == (Command("show", "Shows.", "nowhere.two"), 2)
    assert ava.find(["try", "one"], found) == (found["one show"], 1)
    (tmp_path / "two" / "__init__.py").write_text((tmp_path / "one" / "__init__.py").read_text())
    monkeypatch.delitem(sys.modules, "ava_jax.tasks.two")
    with pytest.raises(ValueError, match="tasks/two/__init__.py: nowhere.one is called 'try' already"):
        ava.commands()


@pytest.mark.parametrize("name", [name for name, command in KNOWN.items() if name != command.short])
def test_a_listed_command_is_whole(name):
    command = KNOWN[name]
    assert re.fullmatch(r"[a-z][a-z0-9_]*", command.name) and command.summary.endswith(".") and "\n" not in command.summary
    done = _python("-c", _LOOK_AT, command.module)
    assert done.returncode == 0, done.stderr
    shown = _ava(*name.split(), "--help")
    assert shown.returncode == 0 and shown.stderr == ""
    listed = set(re.findall(r"^  (?:-\w,)?--(?:\[no\])?(\w+):", shown.stdout, flags=re.M))
    assert "\nFlags:\n  --" in shown.stdout and listed == {"debug", *done.stdout.split()}


@pytest.mark.parametrize(
    ("words", "script"), [("train", "train"), ("eval", "eval"), ("render", "ava256 render"), ("synth", "ava256 synthesize")]
)
def test_the_same_command_by_two_names_has_the_same_help(words, script):
    other = _python("-m", f"ava_jax.bin.{script}", "--help") if script in ("train", "eval") else _ava(*script.split(), "--help")
    assert _ava(words, "--help").stdout == other.stdout != ""


def test_a_reader_of_the_help_may_leave():
    """As `head` does."""
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as left:
        done = subprocess.run(
            [sys.executable, "-m", "ava_jax.bin.ava", "inspect", "--help"],
            env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
            stdout=left,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
        )
    assert (done.returncode, done.stderr) == (0, "")


def test_errors_name_the_command_as_it_was_typed():
    done = _ava("eval", "--stpe=3")
    assert len(done.stderr.splitlines()) == 1
    assert done.returncode == 1 and done.stderr.startswith("ava eval: Unknown command line flag 'stpe'. Did you mean: ")


def test_scripts_of_pyproject_exist():
    import tomllib

    scripts = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["scripts"]
    assert set(scripts) == {"ava", "ava-train", "ava-eval", "ava-render", "ava-synth"}
    for target in scripts.values():
        module, _, name = target.partition(":")
        source = (REPOSITORY / module.replace(".", "/")).with_suffix(".py").read_text()
        assert f"\ndef {name}() -> None:" in source, target


def test_the_editor_starts_commands_that_there_are():
    text = re.sub(r"^\s*//.*$", "", (REPOSITORY / ".vscode" / "launch.json").read_text(), flags=re.M)
    started = [entry["args"] for entry in json.loads(text)["configurations"] if entry["module"] == "ava_jax.bin.ava"]
    names = {" ".join(args[: ava.find(args, KNOWN)[1]]) for args in started}
    assert names >= {command.name for command in ava.GENERAL}  # a task may leave them as they are


def test_no_command_knows_a_task_by_name():
    """Not in code: docstrings and examples may."""
    tasks = [path.parent.name for path in (REPOSITORY / "ava_jax" / "tasks").glob("*/__init__.py")]
    for path in (REPOSITORY / "ava_jax" / "bin").glob("*.py"):
        code = re.sub(r'""".*?"""', "", path.read_text(), flags=re.S)
        assert not [task for task in tasks if task in code], path
    assert inspect.getsource(ava.commands).count("glob") == 1
