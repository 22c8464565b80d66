"""What the commands have in common: flags, `--config`, plain errors, the compilation cache. Imports no jax until a command runs."""

import _thread
import errno
import functools
import inspect
import os
import pathlib
import re
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Mapping
from typing import Any

from absl import app, flags

from ava_jax.bin import _configs
from ava_jax.core import memory
from ava_jax.core.interrupts import deferred, was_interrupted
from ava_jax.core.names import nearest
from ava_jax.data import files
from ava_jax.train.config import flatten, override

_DEBUG = flags.DEFINE_bool("debug", False, "Print the whole traceback of an error.")

USER_ERRORS = (ValueError, OSError)
INTERRUPTED = 130  # the status that shells give a command that SIGINT ended
_OF_WRITING = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EPIPE)
_AGAIN = 0.05  # seconds
HELP = ("--help", "-h", "-help", "--helpshort")


def run(main: Callable[..., Any], *, doc: str, words: int = 1) -> None:
    """Parses the process's command line, calls `main`, exits: 0, or 1 with one line on a user's mistake, or 130 with one on Ctrl-C.

    Args:
      main: the command, which takes nothing or a `tasks.command.Context`; its ValueError and OSError are taken as the user's mistakes,
        anything else is shown with its traceback.
      doc: the command's docstring, shown by --help.
      words: how many words of the command line name the command: 1 for `ava-train`, 2 for `ava train`.
    """
    program = " ".join([pathlib.Path(sys.argv[0]).name.removesuffix(".py"), *sys.argv[1:words]])
    fail = functools.partial(_fail, program)
    try:
        _run(main, doc, words, program, fail)
    except (KeyboardInterrupt, Exception) as e:
        if not was_interrupted(e):
            raise
        sys.exit(interrupted(fail))


def _run(main: Callable[..., Any], doc: str, words: int, program: str, fail: Callable[[str], int]) -> None:
    argv = sys.argv
    config, lists = None, {}
    try:
        if any(arg in HELP for arg in argv[words:]):
            sys.exit(_print_help(main.__module__, doc, argv))
        if (name := _configs.named_in(argv)) is not None:
            path = _configs.path_of(name)
            config = _configs.load(path)
            _configs.check_overrides(argv, config)
            rest, lists = _configs.take_lists(argv, config)
            sys.argv = _configs.with_path(rest, path)  # ml_collections reads the overrides from here itself
    except USER_ERRORS as e:
        sys.exit(fail(str(e)))
    keys = [] if config is None else list(flatten(config))
    arguments = [program, *sys.argv[words:]]
    positional = getattr(sys.modules[main.__module__], "POSITIONAL", "")
    parse = functools.partial(_parse_flags, keys=keys, fail=fail, positional=positional)
    app.run(lambda unused: _call(main, fail, command=[*argv], lists=lists), argv=arguments, flags_parser=parse)


def _call(main: Callable[..., Any], fail: Callable[[str], int], *, command: list[str], lists: Mapping[str, Any]) -> int:
    """Calls `main`; its exit status. Of the command line, `lists` are those of the config that were given."""
    sys.argv = command  # as it was typed, for the record of a run
    memory.keep_freed_memory()
    if not _DEBUG.value:
        sys.unraisablehook = _unraisable
    try:
        if lists:
            config = flags.FLAGS["config"].value
            with config.ignore_type():
                override(config, lists)
        with deferred():
            _enable_compilation_cache()
        if inspect.signature(main).parameters:
            from ava_jax.bin._context import Context  # imports jax

            main(Context())
        else:
            main()
    except (KeyboardInterrupt, Exception) as e:
        if was_interrupted(e):
            return interrupted(fail)
        if _DEBUG.value or not (message := _told(e)):
            raise
        return fail(message)
    return 0


def interrupted(fail: Callable[[str], int]) -> int:
    """Says so, in a line; the status of a command that Ctrl-C ended, 130."""
    fail("stopped by Ctrl-C.")
    return INTERRUPTED


def _told(error: Exception) -> str:
    """What a user is told of an error, in place of its traceback; "" of one that is no user's mistake."""
    if isinstance(error, USER_ERRORS):
        return _message(error)
    return (_no_device(error) or _no_home(error)) if isinstance(error, (RuntimeError, AssertionError)) else ""


def _no_home(error: BaseException) -> str:
    """A line where a path begins with ~ and there is no home; "" of any other error."""
    return "a path begins with ~, and there is no home here (HOME is not set): write it out." if "home directory" in str(error) else ""


def _no_device(error: BaseException) -> str:
    """A line on the devices that jax was told to use and does not find; "" of any other error."""
    if pathlib.Path(traceback.extract_tb(error.__traceback__)[-1].filename).name != "xla_bridge.py":  # where jax looks for them
        return ""
    asked = os.environ.get("JAX_PLATFORMS", "")
    told = f"JAX_PLATFORMS={asked}: " if asked else ""
    text = " ".join(str(error).split())[:200]
    why = f" ({text})" if text else ""
    return f"{told}jax finds no such device here{why}. Unset JAX_PLATFORMS to take what there is, or JAX_PLATFORMS=cpu."


def _message(error: BaseException) -> str:
    """What an error says; one of jax or numpy that is a ValueError too would be a riddle without the place where it came up."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if f"{os.sep}ava_jax{os.sep}" in frame.filename]
    if isinstance(error, OSError) and error.filename is None and error.errno in _OF_WRITING:
        return f"{_written_to()}: {error.strerror or error}"  # a write's error names no file
    if isinstance(error, OSError) or frames[-1] in ours:
        return str(error)
    at = f"{pathlib.Path(ours[-1].filename).name}:{ours[-1].lineno}"
    return f"{at}: {type(error).__name__}: {error}\n(--debug shows the whole traceback)"


def _written_to() -> str:
    """The folder that the command writes to, as its flags say."""
    given = [flags.FLAGS[name].value for name in ("out", "workdir", "json") if name in flags.FLAGS]
    return next(filter(None, given), "writing")


def _unraisable(report: Any) -> None:
    """Of errors that Python cannot raise.

    When one of Orbax's writes fails, the others find its event loop gone; what failed is raised all the same. A Ctrl-C that came while
    an object was taken away would be lost: it comes once more.
    """
    if isinstance(report.exc_value, KeyboardInterrupt):
        threading.Timer(_AGAIN, _thread.interrupt_main).start()
    elif not (isinstance(report.exc_value, RuntimeError) and str(report.exc_value) == "Event loop is closed"):
        sys.__unraisablehook__(report)


def _fail(program: str, message: str) -> int:
    print(f"{program}: {message}", file=sys.stderr)
    # What a failed write of a checkpoint leaves of Orbax's, dropped as the interpreter ends: the line above has said it.
    warnings.filterwarnings("ignore", r"coroutine '.*' was never awaited", RuntimeWarning)
    return 1


def _parse_flags(argv: list[str], *, keys: list[str], fail: Callable[[str], int], positional: str = "") -> list[str]:
    """Parses; exits with one line where a flag is none, or its value is of no use. `keys` are the config's.

    `positional` names the flag of several values that words which are no flags are added to; "" refuses them.
    """
    try:
        rest = flags.FLAGS(argv)
        if positional and len(rest) > 1:
            flags.FLAGS[positional].value = [*(flags.FLAGS[positional].value or ()), *rest[1:]]
            rest = rest[:1]
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
    try:
        print("\n".join(lines), flush=True)
    except BrokenPipeError:  # whoever reads has seen enough, as `head` has; nothing may be written as the interpreter ends either
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
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
    """Keeps compiled programs in the user's cache folder, unless JAX_COMPILATION_CACHE_DIR names another, or there is none."""
    warnings.showwarning = functools.partial(_warn, warnings.showwarning, told=[])
    import jax

    folder = files.cache_folder()
    if "JAX_COMPILATION_CACHE_DIR" in os.environ or folder is None:
        return
    jax.config.update("jax_compilation_cache_dir", str(folder / "compiled"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)  # a model's making is a hundred small programs


def _warn(show: Callable[..., None], message: Warning | str, *where: Any, told: list[str], **more: Any) -> None:
    """Shows a warning; of jax's that a compiled program cannot be kept or read, one for each program, the first alone, in a line."""
    found = re.match(r"Error (?:writing|reading) persistent compilation cache entry[^:]*: (?:\S+Error: )?(.*)", str(message), re.DOTALL)
    if not found:
        show(message, *where, **more)
    elif not told:
        told.append(str(message))
        import jax

        folder, why = jax.config.jax_compilation_cache_dir, " ".join(found[1].split())[:200]
        print(f"{folder}: compiled programs cannot be kept there ({why}): the next start compiles anew", file=sys.stderr)
