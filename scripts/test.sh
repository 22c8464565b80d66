#!/usr/bin/env bash
# Runs the tests in the repository's own environment, a worker a core; with --slow, those too that take long and rarely break. Other
# arguments go to pytest: scripts/test.sh tests/ops -k saturation (-n 0: without workers, as a debugger needs it)
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/setup_env.sh"
setup_env
cd "$ROOT"
exec "$BIN/python" -m pytest -n auto --dist loadfile --no-loadscope-reorder "$@"
