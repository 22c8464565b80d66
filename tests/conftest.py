"""Fixtures shared by all tests."""

import fcntl
import inspect
import os
import pathlib
import runpy
import shutil
import signal
import tempfile
from collections.abc import Iterator

import jax
import pytest

HERE = pathlib.Path(__file__).resolve().parent
# Where whole models are compiled; and of these, what is told bit for bit or within float32's own errors, as users compile it.
QUICK = tuple("bin captures data end_to_end_test.py fuzz library_test.py notebook_test.py run synth tasks train viz".split())
AS_USERS_COMPILE = (
    "tasks/ava256/kernels",
    "tasks/ava256/parity_test.py",
    "tasks/ldif_golden_test.py",
    "tasks/ldif_packed_test.py",
    "tasks/mesh_fit/mesh_fit_golden_test.py",
    "train/calls_test.py",
    "train/resident_test.py",
)
QUICKLY = {"xla_backend_optimization_level": 0, "xla_cpu_use_fusion_emitters": False}  # as scripts/setup_example.sh
COMPILED = "JAX_COMPILATION_CACHE_DIR"

_options: dict[str, int | bool] = {}  # of XLA, for all that is compiled now

# The bounds of tests are those of float32; a GPU's products would round to TF32 unasked.
jax.config.update("jax_default_matmul_precision", "highest")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as nohup and a script's & leave it, to the commands that tests start as well
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    """The option `--slow`."""
    parser.addoption("--slow", action="store_true", help="run the tests marked `slow` too")


def pytest_configure(config: pytest.Config) -> None:
    """Programs are compiled once for the whole test run: by its workers, and by the commands that tests start."""
    if not hasattr(config, "workerinput"):  # xdist's workers inherit it
        folder = tempfile.TemporaryDirectory(prefix="ava_jax_compiled_", ignore_cleanup_errors=True)
        config.add_cleanup(folder.cleanup)
        os.environ |= {COMPILED: folder.name, "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    jax.config.update("jax_compilation_cache_dir", os.environ[COMPILED])
    _compile_with_options()
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)


def _compile_with_options() -> None:
    """From here on XLA compiles with `_options`. What jax offers are options of single jits, and most are in what is tested."""
    from jax._src import compiler

    plain = getattr(compiler, "get_compile_options", None)
    if plain is None or "env_options_overrides" not in inspect.signature(plain).parameters:
        return  # of another jax: compiled as users do, which takes longer and is as right

    def with_options(*args, env_options_overrides=None, **others):
        return plain(*args, env_options_overrides=_options | (env_options_overrides or {}), **others)

    compiler.get_compile_options = with_options


@pytest.hookimpl(optionalhook=True)  # xdist may be missing
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """What `-n auto` means: a worker a core, up to four, as each takes gigabytes."""
    return min(4, os.cpu_count() or 1)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skips what is slow and rarely breaks, unless it is asked for; files with such tests come first, so that workers end together."""
    slow = [item for item in items if item.get_closest_marker("slow")]
    if not config.getoption("--slow"):
        for item in slow:
            item.add_marker(pytest.mark.skip(reason="slow; --slow runs it"))
    elif config.pluginmanager.hasplugin("dsession") or hasattr(config, "workerinput"):
        paths = {item.path for item in slow}
        items.sort(key=lambda item: item.path not in paths)


@pytest.fixture(scope="session", autouse=True)
def cache_home(tmp_path_factory) -> None:
    """What is cached from run to run stays out of the user's own cache."""
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def compiling_quickly() -> dict[str, str]:
    """Environment for commands that compile in a quarter of the time and compute slowly; as it is where XLA has no such options."""
    return {"XLA_FLAGS": " ".join(f"--{name}={str(value).lower()}" for name, value in QUICKLY.items())} if _xla_knows(QUICKLY) else {}


def _xla_knows(options: dict[str, int | bool]) -> bool:
    """Whether the XLA that is installed has these options."""
    try:
        jax.jit(lambda: 0, compiler_options=options)()
    except Exception as error:
        if "No such compile option" not in str(error):
            raise
        return False
    return True


@pytest.fixture(scope="module", autouse=True)
def quick_programs(request, compiling_quickly) -> Iterator[None]:
    """Whole networks compile in a quarter of the time, and compute slowly. Ops, layers and kernels are tested as users compile them."""
    quick, plain = (any(request.path.is_relative_to(HERE / name) for name in names) for names in (QUICK, AS_USERS_COMPILE))
    options = QUICKLY if quick and not plain and compiling_quickly and jax.default_backend() == "cpu" else {}
    if options != _options:
        jax.clear_caches()  # a program of the files before may be compiled otherwise
        _options.clear()
        _options.update(options)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (compiling_quickly if options else {}).items():  # for commands: XLA has read this process's own by now
            patch.setenv(name, f"{os.environ.get(name, '')} {value}".strip())
        yield


@pytest.fixture(scope="session")
def test_data() -> pathlib.Path:
    """The folder named by AVA_TEST_DATA: `golden/`, `capture/`, `assets/` of the reference."""
    folder = os.environ.get("AVA_TEST_DATA", "")
    if not folder:
        pytest.skip("AVA_TEST_DATA names no folder of reference data")
    path = pathlib.Path(folder)
    if not path.is_dir():
        pytest.fail(f"AVA_TEST_DATA={folder!r} is not a folder")
    return path


@pytest.fixture(scope="session")
def made_once(tmp_path_factory):
    """`made_once(name, make)`: the folder that `make(folder)` fills, once for all workers."""
    base = tmp_path_factory.getbasetemp()
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def made(name, make) -> pathlib.Path:
        folder, done = base / f"once_{name}", base / f"once_{name}.done"
        with open(base / f"once_{name}.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # given back where a worker dies
            if not done.exists():
                shutil.rmtree(folder, ignore_errors=True)
                make(folder)
                done.touch()
        return folder

    return made


@pytest.fixture(scope="session")
def tiny_capture(tmp_path_factory) -> pathlib.Path:
    """Captures of 2 procedural heads, 6 frames, 3 of 4 cameras each, images 64 x 41: read only.

    A test that changes files copies it first.
    """
    from ava_jax.tasks.ava256.task import Ava256

    folder = tmp_path_factory.mktemp("tiny") / "captures"
    Ava256.synthesize(folder, small=True)
    return folder


@pytest.fixture(scope="session")
def tiny_multiface(tmp_path_factory) -> pathlib.Path:
    """The same heads as `tiny_capture`, in two captures of multiface: read only."""
    from ava_jax.synth import multiface_layout
    from ava_jax.tasks.ava256 import examples

    folder = tmp_path_factory.mktemp("tiny") / "multiface"
    multiface_layout.write(folder, examples.SMALL, jobs=1)
    return folder


@pytest.fixture(scope="session")
def small_run(tiny_capture, made_once, tmp_path_factory) -> pathlib.Path:
    """A run's folder with a checkpoint, of step 0, of the smallest avatar, which has learnt nothing: read only.

    Its config names a folder of captures that is gone; they have moved to `tiny_capture`.
    """
    made = made_once("run", lambda folder: _write_small_run(tiny_capture, folder))
    return shutil.copytree(made / "run", tmp_path_factory.mktemp("run") / "run")  # commands write beside the checkpoint


def _write_small_run(captures: pathlib.Path, folder: pathlib.Path) -> None:
    """Writes it to folder / "run"."""
    import numpy as np

    from ava_jax.bin._context import Context
    from ava_jax.tasks.base import load_task
    from ava_jax.train import state as states

    config = runpy.run_path(str(pathlib.Path(__file__).resolve().parents[1] / "configs" / "ava256.py"))["get_config"]("tiny")
    config.data.root = str(shutil.copytree(captures, folder / "captures"))
    config.data.downsample = 128
    config.model.width = 0.125
    config.model.step_size = 1 / 32
    config.model.initial_density = config.model.initial_density_outside = 1.0  # soft: rays an ulp apart give the same colours to 1e-3
    config.eval.batch_size = 2
    every = load_task(config).prepare()
    config.data.held_out.cameras = (every.names["cameras"][0],)
    task = load_task(config)
    assets = task.prepare()
    # Primitives of the size that warm-up would have measured, so that they do not fill the volume; noise, so that they differ.
    rng = np.random.default_rng(0)
    parts = states.split(task.model(assets, rngs=states.model_rngs(0)))
    params = jax.device_get(parts.params)
    parts = parts._replace(
        running=jax.tree.map(lambda x: jax.device_put(np.full_like(x, 40.0)), parts.running),
        params=jax.tree.map(lambda x: jax.device_put(x + x.dtype.type(0.05) * rng.standard_normal(x.shape).astype(x.dtype)), params),
    )
    Context().write_run(config, assets, states.merge(parts), folder / "run")
    shutil.rmtree(folder / "captures")
