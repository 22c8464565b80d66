"""Imports point down only (contracts of `pyproject.toml`); the compiled module, NNX splitting and configs stay where they belong."""

import ast
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "ava_jax"
NATIVE = ("ava_jax._ffi", "ava_jax._ffi_cpu", "ava_jax._ffi_cuda", "ava_jax._native")
SPLITTERS = {("nnx", "split"), ("nnx", "merge"), ("nnx", "jit")}
FILES = sorted(PACKAGE.rglob("*.py"))


def lint_imports(folder: pathlib.Path) -> subprocess.CompletedProcess:
    """Runs import-linter on the package that lies in `folder`."""
    command = [sys.executable, str(ROOT / "scripts" / "lint_imports.py")]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=900)


def test_imports_point_down():
    pytest.importorskip("importlinter", reason="import-linter comes with the extra `test`")
    found = lint_imports(ROOT)
    assert found.returncode == 0, found.stdout[-3000:] + found.stderr[-3000:]
    assert "3 kept, 0 broken" in found.stdout
    assert f"Analyzed {len(FILES)} files" in found.stdout  # these sources and no others


@pytest.mark.parametrize(
    "place, line, contract",
    [
        ("core/planted.py", "from ava_jax.train import loop\n", "Layers"),
        ("train/planted.py", "def f():\n    from ava_jax.tasks.ava256 import task\n", "The loop knows tasks by tasks.base alone"),
        ("tasks/other/planted.py", "from ava_jax.tasks.ava256 import task\n", "Tasks do not import tasks"),
    ],
)
def test_the_contracts_see_a_violation(tmp_path, place, line, contract):
    """They are not blind: an import that points up, planted into empty modules of the same names, is found, inside functions too."""
    pytest.importorskip("importlinter", reason="import-linter comes with the extra `test`")
    for path in FILES:
        copy = tmp_path / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text("")
    planted = tmp_path / "ava_jax" / place
    planted.parent.mkdir(parents=True, exist_ok=True)
    (planted.parent / "__init__.py").write_text("")
    planted.write_text(line)
    (tmp_path / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text())
    found = lint_imports(tmp_path)
    assert found.returncode == 1, found.stdout[-2000:] + found.stderr[-2000:]
    assert f"{contract} BROKEN" in found.stdout


def imports(tree: ast.AST):
    """Absolute names of everything imported, at the top or inside functions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide the layer"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", FILES, ids=[str(p.relative_to(PACKAGE)) for p in FILES])
def test_the_compiled_module_and_configs_are_imported_where_they_belong(path):
    room = path.relative_to(PACKAGE).parts[0]
    for name in imports(ast.parse(path.read_text())):
        assert name.split(".")[0] != "configs", f"{path} imports a config: nothing does"
        assert room == "ops" or not name.startswith(NATIVE), f"{path} imports the compiled module: ops alone does"


@pytest.mark.parametrize("path", FILES, ids=[str(p.relative_to(PACKAGE)) for p in FILES])
def test_models_are_split_in_train_and_run_alone(path):
    if path.relative_to(PACKAGE).parts[0] in ("train", "run"):
        return
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            assert (node.value.id, node.attr) not in SPLITTERS, f"{path.name}:{node.lineno}: nnx.{node.attr} outside train/ and run/"
