#!/usr/bin/env bash
# Runs the whole test suite in the repository's own environment. Arguments go to pytest: scripts/test.sh tests/ops -k saturation
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/setup_env.sh"
setup_env
cd "$ROOT"
exec "$BIN/python" -m pytest "$@"
