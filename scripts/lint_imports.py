"""Holds the package's imports against the contracts in pyproject.toml: import-linter on the sources in the current folder.

  python scripts/lint_imports.py

Its own command would ask an editable installation where the package lies, and be led elsewhere.
"""

import os
import sys

sys.meta_path = [finder for finder in sys.meta_path if isinstance(finder, type)]  # an editable installation's is an object
sys.path.insert(0, os.getcwd())

from importlinter.cli import lint_imports_command  # noqa: E402  after the paths are set

if __name__ == "__main__":
    sys.exit(lint_imports_command(["--no-cache"]))
