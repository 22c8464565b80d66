"""Sphinx: the pages of this folder and a reference from the package's docstrings. Built by scripts/docs.sh."""

import collections
import importlib.metadata
import re

project = "ava_jax"
author = "the ava_jax authors"
release = importlib.metadata.version("ava-jax")

extensions = ["myst_parser", "sphinx.ext.apidoc", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"ava_jax {release}"
default_role = "code"  # docstrings write `name`, as Markdown does

myst_heading_anchors = 4
linkcheck_anchors = False  # GitHub makes its anchors in the browser

apidoc_modules = [
    {
        "path": "../ava_jax",
        "destination": "api",
        "exclude_patterns": [
            "**/configs/**",
            "**/bin/**",
            "**/commands/**",
        ],  # commands define flags of the same name; --help describes them
        "separate_modules": True,
        "automodule_options": ["members", "show-inheritance"],
        "module_first": True,
        "no_headings": False,
    }
]
autodoc_member_order = "bysource"
autodoc_default_options = {"special-members": "__call__"}
autoclass_content = "both"  # what a constructor takes is said in __init__
autodoc_typehints = "signature"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True  # attributes stand in the class's own text; autodoc would list them again

_FIELD = type(collections.namedtuple("_Named", "field").field)


def _skip(app, what, name, obj, skip, options):
    """Fields of named tuples are described by their class; "Alias for field number 0" adds nothing."""
    return True if isinstance(obj, _FIELD) else None


def _escape(app, what, name, obj, options, lines):
    """Docstrings are plain text: bars and stars are no markup, and a table of bars is shown as it stands."""
    shown, literal = [], False
    for line in lines:
        # Tables of bars; and in a module's text whatever is indented: commands, lists of files.
        verbatim = line.startswith("|") or (what == "module" and line.startswith("  ")) or (literal and not line.strip())
        if verbatim and not literal:
            shown += ["", "::", ""]
        elif literal and not verbatim:
            shown.append("")
        literal = verbatim
        shown.append("   " + line if verbatim else "`".join(_plain(part, code=i % 2 == 1) for i, part in enumerate(line.split("`"))))
    lines[:] = shown


def _plain(text, *, code):
    """`*args:` in a list of arguments is napoleon's."""
    return text if code else re.sub(r"(?<![\\:])([|*])(?!\*?\w+:)", r"\\\1", text)


def setup(app):
    app.connect("autodoc-process-docstring", _escape, priority=400)  # before napoleon, which writes markup of its own
    app.connect("autodoc-skip-member", _skip)
