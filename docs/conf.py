"""Sphinx: the pages of this folder and a reference from the package's docstrings. Built by scripts/docs.sh."""

import collections
import importlib.metadata

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
        "exclude_patterns": ["**/configs/**"],
        "separate_modules": True,
        "automodule_options": ["members", "show-inheritance"],
        "module_first": True,
        "no_headings": False,
    }
]
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True  # attributes stand in the class's own text; autodoc would list them again

_FIELD = type(collections.namedtuple("_Named", "field").field)


def _skip(app, what, name, obj, skip, options):
    """Fields of named tuples are described by their class; "Alias for field number 0" adds nothing."""
    return True if isinstance(obj, _FIELD) else None


def setup(app):
    app.connect("autodoc-skip-member", _skip)
