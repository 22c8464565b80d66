"""Imports point down only, and the compiled module, NNX splitting and configs stay where they belong.

The rule (README, "How the code is laid out"): bin -> run -> train -> tasks.base; a task -> {data, nn, ops, losses, metrics} -> core.
"""

import ast
import pathlib

import pytest

PACKAGE = pathlib.Path(__file__).resolve().parents[1] / "ava_jax"

_MECHANISMS = {"data", "nn", "ops", "losses", "metrics", "captures", "synth", "viz"}
# Layer -> the layers that it may import. A task's own folder is added below; a task never imports another.
ALLOWED = {
    "core": {"core"},
    **{name: {name, "core"} for name in _MECHANISMS},
    "captures": {"captures", "data", "core"},
    "synth": {"synth", "captures", "data", "core"},
    "tasks.base": {"core"},
    "train": {"train", "data", "core", "tasks.base"},
    "run": {"run", "train", "data", "metrics", "core", "tasks.base"},
}
NATIVE = ("ava_jax._ffi", "ava_jax._ffi_cpu", "ava_jax._ffi_cuda", "ava_jax._native")
SPLITTERS = {("nnx", "split"), ("nnx", "merge"), ("nnx", "jit")}

FILES = sorted(PACKAGE.rglob("*.py"))


def layer(module: str) -> str:
    """'ava_jax.tasks.ava256.model.codec' -> 'tasks.ava256'; 'ava_jax.core.types' -> 'core'."""
    parts = module.split(".")[1:]
    if not parts:
        return ""
    return ".".join(parts[:2]) if parts[0] == "tasks" else parts[0]


def module_name(path: pathlib.Path) -> str:
    parts = ("ava_jax", *path.relative_to(PACKAGE).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def is_module(name: str) -> bool:
    path = PACKAGE.parent.joinpath(*name.split("."))
    return path.with_suffix(".py").is_file() or path.is_dir()


def imports(tree: ast.AST):
    """Absolute names of everything imported, at the top or inside functions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide the layer"
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield full if is_module(full) or node.module == "ava_jax" else node.module


@pytest.mark.parametrize("path", FILES, ids=[str(p.relative_to(PACKAGE)) for p in FILES])
def test_imports_point_down(path):
    module = module_name(path)
    own = layer(module)
    tree = ast.parse(path.read_text())
    for name in imports(tree):
        top = name.split(".")[0]
        assert top != "configs", f"{module} imports a config: nothing does"
        if top != "ava_jax":
            continue
        if name.startswith(NATIVE):
            assert own == "ops", f"{module} imports the compiled module: ops alone does"
            continue
        target = layer(name)
        if own in ("bin", "") or target == "":
            continue  # commands and the package's front door may use everything
        allowed = ALLOWED.get(own, _MECHANISMS | {"core", "tasks.base", own})  # own: a task's folder
        assert target in allowed, f"{module} ({own}) imports {name} ({target}): imports point down only"


@pytest.mark.parametrize("path", FILES, ids=[str(p.relative_to(PACKAGE)) for p in FILES])
def test_models_are_split_in_train_and_run_alone(path):
    if layer(module_name(path)) in ("train", "run"):
        return
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            assert (node.value.id, node.attr) not in SPLITTERS, f"{path.name}:{node.lineno}: nnx.{node.attr} outside train/ and run/"


def test_the_rule_sees_a_violation():
    """The scan itself is not blind: an upward import is found in a planted source."""
    names = list(imports(ast.parse("def f():\n    from ava_jax.train import loop\n")))
    assert [layer(n) for n in names] == ["train"] and "train" not in ALLOWED["core"]
