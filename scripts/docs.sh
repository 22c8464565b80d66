#!/usr/bin/env bash
# Builds docs/ into docs/_build/html, warnings as errors; links between pages and into the repository are checked on the way.
# --external also asks every address on the web.
set -euo pipefail
case "${1:-}" in "" | --external) ;; *) echo "usage: scripts/docs.sh [--external]" >&2; exit 2 ;; esac
source "$(dirname "${BASH_SOURCE[0]}")/setup_env.sh"
setup_env
cd "$ROOT"
"$BIN/python" -c 'import furo, myst_parser, sphinx' 2>/dev/null \
  || "$BIN/python" -m pip install --disable-pip-version-check --progress-bar off --quiet -e "$ROOT[docs]" \
  || die "the packages of the extra 'docs' could not be installed"
rm -rf docs/_build docs/api
JAX_PLATFORMS=cpu "$BIN/python" -m sphinx --fail-on-warning --keep-going --quiet -b html docs docs/_build/html
"$BIN/python" -m pytest -q tests/docs_test.py
if [ "${1:-}" = --external ]; then "$BIN/python" -m sphinx --fail-on-warning --keep-going --quiet -b linkcheck docs docs/_build/linkcheck; fi
echo "docs/_build/html/index.html"
