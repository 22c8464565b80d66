"""Pages: links that lead somewhere. Docstrings: every public name has one, and those of arrays say their shapes."""

import ast
import pathlib
import re
from collections.abc import Iterator

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(p for p in (ROOT / "docs").rglob("*.md") if "_build" not in p.parts)])
SOURCES = sorted((ROOT / "ava_jax").rglob("*.py"))
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
_ARRAYS = ("Array", "ndarray")
# Works for arrays of any shape, or says whose arguments it takes over.
_SHAPE = re.compile(r"\[[^\]]*\]|any shape|own shape|[Aa]s for `")


def without_code(page: str) -> str:
    """The page with code, whose brackets are no links, left out."""
    return re.sub(r"`[^`\n]*`", "", re.sub(r"^```.*?^```", "", page, flags=re.M | re.S))


def anchors(page: str) -> set[str]:
    """Anchors that GitHub and MyST make of a page's headings."""
    headings = re.findall(r"^#{1,6} +(.+?) *$", re.sub(r"^```.*?^```", "", page, flags=re.M | re.S), re.M)
    found: set[str] = set()
    for heading in headings:
        text = re.sub(r"[^\w\- ]", "", re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()).replace(" ", "-")
        number = sum(text == one or re.fullmatch(re.escape(text) + r"-\d+", one) is not None for one in found)
        found.add(f"{text}-{number}" if number else text)
    return found


def dead_links(path: pathlib.Path, root: pathlib.Path) -> list[str]:
    """Links of the page at `path` to files that are not there, or to headings that no page has. Addresses on the web are not asked."""
    dead = []
    for link in _LINK.findall(without_code(path.read_text())):
        if re.match(r"[a-z]+:", link):
            continue
        file, _, anchor = link.partition("#")
        target = (path.parent / file).resolve() if file else path
        if "docs/api/" in target.as_posix():  # made from docstrings, when docs are built
            continue
        if not target.exists() or not target.is_relative_to(root):
            dead.append(f"{link}: no such file")
        elif anchor and anchor not in anchors(target.read_text()):
            dead.append(f"{link}: no such heading")
    return dead


@pytest.mark.parametrize("path", PAGES, ids=[str(p.relative_to(ROOT)) for p in PAGES])
def test_links_lead_somewhere(path):
    assert dead_links(path, ROOT) == []


def test_the_check_sees_dead_links(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "# A `b-c`: d\n\n# Twice\n\n# Twice\n\n[x](#a-b-c-d) [y](#nothing) [z](docs/nowhere.md) ![p](page.md#twice-1) [o](/etc/hosts) "
        "[w](https://example.org) `[no](link)`\n\n```\n# No heading\n[no](link)\n```\n"
    )
    assert anchors(page.read_text()) == {"a-b-c-d", "twice", "twice-1"}
    assert dead_links(page, tmp_path) == ["#nothing: no such heading", "docs/nowhere.md: no such file", "/etc/hosts: no such file"]


def public_names(path: pathlib.Path) -> Iterator[tuple[str, ast.AST]]:
    """Functions and classes of a module, and methods of its classes, whose names say that they are public."""

    def walk(node: ast.AST, prefix: str) -> Iterator[tuple[str, ast.AST]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef | ast.ClassDef) and not child.name.startswith("_"):
                yield prefix + child.name, child
                if isinstance(child, ast.ClassDef):
                    yield from walk(child, f"{prefix}{child.name}.")

    yield from walk(ast.parse(path.read_text()), "")


def implements_a_protocol(path: pathlib.Path, name: str) -> bool:
    """A task's methods are described where they are asked for: in tasks/base.py, or in the protocol that their docstring names."""
    return path.name == "task.py" and path.parent.parent.name == "tasks" and "." in name


@pytest.mark.parametrize("path", SOURCES, ids=[str(p.relative_to(ROOT)) for p in SOURCES])
def test_public_names_are_documented_with_shapes(path):
    missing, shapeless = [], []
    source = path.read_text()
    if source.strip() and not ast.get_docstring(ast.parse(source)):
        missing.append("the module")
    for name, node in public_names(path):
        if implements_a_protocol(path, name):
            continue
        text = ast.get_docstring(node)
        if not text:
            missing.append(name)
        elif isinstance(node, ast.FunctionDef):
            annotations = [arg.annotation for arg in (*node.args.args, *node.args.kwonlyargs)] + [node.returns]
            types = " ".join(ast.unparse(annotation) for annotation in annotations if annotation)
            if any(array in types for array in _ARRAYS) and not _SHAPE.search(text):
                shapeless.append(name)
    assert not missing, f"{path.name}: no docstring: {', '.join(missing)}"
    assert not shapeless, f"{path.name}: arrays whose shapes the docstring does not give: {', '.join(shapeless)}"
