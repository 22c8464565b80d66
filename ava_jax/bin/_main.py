"""What the commands have in common: flags, `--config`, plain errors, the compilation cache. Imports no jax until a command runs."""

import functools
import inspect
import os
import pathlib
import sys
import traceback
from collections.abc import Callable
from typing import Any

from absl import app, flags

from ava_jax.bin import _configs
from ava_jax.core import memory
from ava_jax.core.names import nearest
from ava_jax.train.config import flatten

_DEBUG = flags.DEFINE_bool("debug", False, "Print the whole traceback of an error.")

USER_ERRORS = (ValueError, OSError)
HELP = ("--help", "-h", "-help", "--helpshort")


def run(main: Callable[..., Any], *, doc: str, words: int = 1) -> None:
    """Parses the process's command line, calls `main`, exits: status 0, or 1 with one line on a user's mistake.

    Args:
      main: the command, which takes nothing or a `tasks.command.Context`; its ValueError and OSError are taken as the user's mistakes,
        anything else is shown with its traceback.
      doc: the command's docstring, shown by --help.
      words: how many words of the command line name the command: 1 for `ava-train`, 2 for `ava train`.
    """
    argv = sys.argv
    program = " ".join([pathlib.Path(argv[0]).name.removesuffix(".py"), *argv[1:words]])
    fail = functools.partial(_fail, program)
    try:
        if any(arg in HELP for arg in argv[words:]):
            sys.exit(_print_help(main.__module__, doc, argv))
        config = None
        if (name := _configs.named_in(argv)) is not None:
            path = _configs.path_of(name)
            config = _configs.load(path)
            _configs.check_overrides(argv, config)
            sys.argv = _configs.with_path(argv, path)  # ml_collections reads the overrides from here itself
    except USER_ERRORS as e:
        sys.exit(fail(str(e)))
    keys = [] if config is None else list(flatten(config))
    arguments = [program, *sys.argv[words:]]
    app.run(lambda unused: _call(main, fail), argv=arguments, flags_parser=functools.partial(_parse_flags, keys=keys, fail=fail))


def _call(main: Callable[..., Any], fail: Callable[[str], int]) -> int:
    """Calls `main`; its exit status."""
    memory.keep_freed_memory()
    _enable_compilation_cache()
    if not _DEBUG.value:
        sys.unraisablehook = _unraisable
    try:
        if inspect.signature(main).parameters:
            from ava_jax.bin._context import Context  # imports jax

            main(Context())
        else:
            main()
    except USER_ERRORS as e:
        if _DEBUG.value:
            raise
        return fail(_message(e))
    return 0


def _message(error: BaseException) -> str:
    """What an error says; one of jax or numpy that is a ValueError too would be a riddle without the place where it came up."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if f"{os.sep}ava_jax{os.sep}" in frame.filename]
    if isinstance(error, OSError) or frames[-1] in ours:
        return str(error)
    at = f"{pathlib.Path(ours[-1].filename).name}:{ours[-1].lineno}"
    return f"{at}: {type(error).__name__}: {error}\n(--debug shows the whole traceback)"


def _unraisable(report: Any) -> None:
    """When one of Orbax's writes fails, the others find its event loop gone; what failed is raised all the same."""
    if not (isinstance(report.exc_value, RuntimeError) and str(report.exc_value) == "Event loop is closed"):
        sys.__unraisablehook__(report)


def _fail(program: str, message: str) -> int:
    print(f"{program}: {message}", file=sys.stderr)
    return 1


def _parse_flags(argv: list[str], *, keys: list[str], fail: Callable[[str], int]) -> list[str]:
    """Parses; exits with one line where a flag is none, or its value is of no use. `keys` are the config's."""
    try:
        rest = flags.FLAGS(argv)
        if len(rest) > 1:
            raise flags.Error(f"unexpected argument {rest[1]!r}: values are given by flags, as in --workdir=RUN.")
    except flags.UnrecognizedFlagError as e:
        key = "" if "Did you mean" in str(e) else nearest(e.flagname, keys)
        sys.exit(fail(str(e).strip() + (f". The config's values are given as --config.KEY=value.{key}" if key else "")))
    except flags.Error as e:
        sys.exit(fail(str(e).strip()))
    if flags.FLAGS["verbosity"].using_default_value:
        # Orbax logs what it raises too, traceback and all, from every thread that it failed in.
        flags.FLAGS.verbosity = -1 if _DEBUG.value else -3
    return rest


def _print_help(module: str, doc: str, argv: list[str]) -> int:
    """The command's docstring, its flags, and the keys of the config that is named, or which configs there are."""
    lines = [doc.strip(), "", "Flags:"]
    for name in (module, "ava_jax.tasks.command", __name__):
        lines += flags.FLAGS.module_help(name).strip().splitlines()[1:]
    if "config" in flags.FLAGS:
        lines += ["", *_config_help(_configs.named_in(argv))]
    print("\n".join(lines))
    return 0


def _config_help(name: str | None) -> list[str]:
    if name is None:
        known = _configs.summaries()
        width = max(map(len, known), default=0)
        return [
            "Installed configs (with --config=NAME, --help lists its keys too):",
            *(f"  {name:{width}}  {text}" for name, text in known.items()),
        ]
    config = _configs.load(_configs.path_of(name))
    return [f"Keys of the config {name} (--config.KEY=value):", *(f"  {key} = {value!r}" for key, value in flatten(config).items())]


def _enable_compilation_cache() -> None:
    """Keeps compiled programs in the user's cache folder, unless JAX_COMPILATION_CACHE_DIR names another."""
    if "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return
    import jax

    folder = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "ava_jax"
    jax.config.update("jax_compilation_cache_dir", str(folder / "compiled"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)  # a model's making is a hundred small programs
