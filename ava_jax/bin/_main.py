"""What the commands share: flags, `--config`, plain errors, the compilation cache. Imports no jax until a command runs."""

import difflib
import os
import pathlib
import runpy
import sys
import traceback
from collections.abc import Callable
from typing import Any

import ml_collections
from absl import app, flags
from ml_collections import config_flags

from ava_jax.train.config import flatten, missing_key, nearest

_DEBUG = flags.DEFINE_bool("debug", False, "Print the whole traceback of an error.")

USER_ERRORS = (ValueError, OSError)


def define_config() -> flags.FlagHolder[ml_collections.ConfigDict]:
    """The flag `--config=NAME[:variant]` or `--config=FILE.py[:variant]`, with overrides as `--config.a.b=value`."""
    return config_flags.DEFINE_config_file(
        "config",
        help_string="Experiment: an installed name or a Python file, with a variant, as in ava256:tiny or my/ava256.py:full. "
        "Override its values with --config.train.steps=1000.",
    )


def define_step() -> flags.FlagHolder[str | None]:
    """The flag `--step=NUMBER` or `--step=best`; see `parse_step`."""
    return flags.DEFINE_string("step", None, "Which checkpoint: a number, or best, that of the highest validation; by default the latest.")


def parse_step(text: str | None) -> int | str | None:
    """What `--step` names, as `train.checkpoint` takes it.

    Raises:
      ValueError: it is neither a number nor "best".
    """
    if text is None or text == "best":
        return text
    if not text.isdecimal():
        raise ValueError(f"--step must be a checkpoint's number, as in --step=1000, or best; got {text!r}.")
    return int(text)


def run(main: Callable[[], Any], *, doc: str, argv: list[str] | None = None) -> None:
    """Parses the command line, calls `main`, exits: status 0, or 1 with one line on a user's mistake.

    Args:
      main: the command; ValueError and missing files are taken as the user's mistakes, anything else is shown with its traceback.
      doc: the command's docstring, shown by --help.
      argv: the command line; by default, the process's.
    """
    # ml_collections reads the overrides from sys.argv itself, so the resolved name has to stand there.
    argv = list(sys.argv if argv is None else argv)
    if any(arg in ("--help", "-h", "-help", "--helpshort") for arg in argv[1:]):
        sys.exit(_print_help(main.__module__, doc, argv))
    try:
        sys.argv = _resolve_config(argv)
    except USER_ERRORS as e:
        sys.exit(_fail(str(e)))
    app.run(lambda unused: _guarded(main), argv=sys.argv, flags_parser=_parse_flags)


def _guarded(main: Callable[[], Any]) -> int:
    """Calls `main`; its exit status."""
    _enable_compilation_cache()
    if not _DEBUG.value:
        sys.unraisablehook = _unraisable
    try:
        main()
    except USER_ERRORS as e:
        if _DEBUG.value:
            raise
        # An error of jax or numpy that is a ValueError too would be a riddle without the place where it was raised.
        ours = _is_raised_here(e)
        return _fail(str(e) if ours else f"{_place(e)}: {type(e).__name__}: {e}\n(--debug shows the whole traceback)")
    return 0


def _unraisable(report: Any) -> None:
    """When one of Orbax's writes fails, the others find its event loop gone; what failed is raised all the same."""
    if not (isinstance(report.exc_value, RuntimeError) and str(report.exc_value) == "Event loop is closed"):
        sys.__unraisablehook__(report)


def _is_raised_here(error: BaseException) -> bool:
    if isinstance(error, OSError):
        return True
    return f"{os.sep}ava_jax{os.sep}" in traceback.extract_tb(error.__traceback__)[-1].filename


def _place(error: BaseException) -> str:
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f"{os.sep}ava_jax{os.sep}" in f.filename]
    return f"{pathlib.Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "error"


def _fail(message: str) -> int:
    print(f"{pathlib.Path(sys.argv[0]).name}: {message}", file=sys.stderr)
    return 1


def _parse_flags(argv: list[str]) -> list[str]:
    try:
        rest = flags.FLAGS(argv)
        if len(rest) > 1:
            raise flags.Error(f"unexpected argument {rest[1]!r}: values are given by flags, as in --workdir=RUN.")
        if flags.FLAGS["verbosity"].using_default_value:
            # Orbax logs what it raises too, traceback and all, from every thread that it failed in.
            flags.FLAGS.verbosity = -1 if _DEBUG.value else -3
        return rest
    except flags.UnrecognizedFlagError as e:
        key = "" if "Did you mean" in str(e) else nearest(e.flagname, _keys(argv))
        sys.exit(_fail(str(e).strip() + (f". The config's values are given as --config.KEY=value.{key}" if key else "")))
    except flags.Error as e:
        # ml_collections passes on a config file's own error as a printed traceback.
        message = str(e).strip()
        sys.exit(_fail(message.splitlines()[-1].removeprefix("ValueError: ") if "Traceback" in message else message))
    except (KeyError, AttributeError) as e:  # an override of a key that the config lacks
        if missing_key(e) is None:
            raise
        keys = _keys(argv)
        given = [arg.lstrip("-").removeprefix("config.").partition("=")[0] for arg in argv[1:] if arg.lstrip("-").startswith("config.")]
        wrong = next(name for name in given if not any(key == name or key.startswith(f"{name}.") for key in keys))
        sys.exit(_fail(f"the config has no key {wrong!r}.{_renamed(wrong, argv) or nearest(wrong, keys)}"))


def _keys(argv: list[str]) -> list[str]:
    """Dotted names of the config that a command line names; none where it names none."""
    config = _named_config(argv)
    return [] if config is None else list(flatten(config))


def _named_config(argv: list[str]) -> ml_collections.ConfigDict | None:
    """The config that a command line names, without its overrides."""
    for i, arg in enumerate(argv):
        if arg.lstrip("-").startswith("config=") or arg in ("--config", "-config"):
            path, _, variant = (arg.partition("=")[2] or argv[i + 1]).partition(":")
            return runpy.run_path(path)["get_config"](*filter(None, [variant]))
    return None


def _renamed(key: str, argv: list[str]) -> str:
    """' Did you mean ...?' of what the config's task calls now a key that older versions had; '' of any other key."""
    from ava_jax.tasks.base import task_class  # imports jax

    config = _named_config(argv)
    if config is None or "task" not in config:
        return ""
    old = ml_collections.ConfigDict()
    group = old
    *path, last = key.split(".")
    for part in path:
        group[part] = ml_collections.ConfigDict()
        group = group[part]
    group[last] = None
    try:
        task_class(config).migrate(old)
    except ValueError as e:  # the config names no task that there is
        sys.exit(_fail(str(e)))
    (now,) = flatten(old)
    return f" Did you mean {now}?" if now != key else ""


def config_folders() -> list[pathlib.Path]:
    """Where named configs are looked for: inside the installed package, or beside it in a checkout."""
    package = pathlib.Path(__file__).resolve().parents[1]
    return [package / "configs", package.parent / "configs"]


def config_path(name: str) -> str:
    """Path of a config named by an installed name or a file, either with `:variant`, which is kept.

    Raises:
      FileNotFoundError: there is none; the message lists what there is.
    """
    stem, colon, variant = name.partition(":")
    if pathlib.Path(stem).is_file():
        return name
    if not stem.endswith(".py") and os.sep not in stem:
        for folder in config_folders():
            if (folder / f"{stem}.py").is_file():
                return f"{folder / stem}.py{colon}{variant}"
    known = sorted({p.stem for folder in config_folders() for p in folder.glob("*.py") if not p.stem.startswith("_")})
    near = difflib.get_close_matches(stem, known, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise FileNotFoundError(f"--config={name}: no such file and no installed config of that name ({', '.join(known)}).{hint}")


def _resolve_config(argv: list[str]) -> list[str]:
    """Replaces the value of `--config` by the path of the file it names."""
    resolved = list(argv)
    for i, arg in enumerate(argv):
        if arg.startswith(("--config=", "-config=")):
            resolved[i] = f"--config={config_path(arg.partition('=')[2])}"
        elif arg in ("--config", "-config") and i + 1 < len(argv):
            resolved[i + 1] = config_path(argv[i + 1])
    return resolved


def _print_help(module: str, doc: str, argv: list[str]) -> int:
    """The command's docstring, its flags and the keys of the config that is named, or of the first there is."""
    lines = [doc.strip(), "", "Flags:"]
    for name in (module, __name__):
        lines += flags.FLAGS.module_help(name).strip().splitlines()[1:]
    if "config" in flags.FLAGS:
        named = [a.partition("=")[2] for a in argv if a.startswith("--config=")] or ["ava256"]
        path, _, variant = config_path(named[0]).partition(":")
        get_config = runpy.run_path(path)["get_config"]
        lines += ["", f"Keys of the config {named[0]} (--config.KEY=value):"]
        lines += [f"  {key} = {value!r}" for key, value in flatten(get_config(*filter(None, [variant]))).items()]
    print("\n".join(lines))
    return 0


def _enable_compilation_cache() -> None:
    """Keeps compiled programs in the user's cache folder, unless JAX_COMPILATION_CACHE_DIR names another."""
    if "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return
    import jax

    folder = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "ava_jax"
    jax.config.update("jax_compilation_cache_dir", str(folder / "compiled"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)  # a model's making is a hundred small programs
