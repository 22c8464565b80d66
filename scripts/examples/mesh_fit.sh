#!/usr/bin/env bash
# From a clean clone to fitted meshes on a CPU: environment, posed bodies, training, evaluation, pictures.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../setup_example.sh"
start mesh_fit "Makes .venv, builds ava_jax, writes bodies in motion whose targets deform beyond linear blending, trains two small networks
on them, and scores and draws frames and a motion that they never saw. About 3 minutes on 2 cores." "$@"

MORE=()
if [ "$SHORT" = 1 ]; then MORE=(--short); fi
"$BIN/ava" mesh_fit example --out="$DIR" "${MORE[@]+"${MORE[@]}"}"
finish "$DIR/comparison.md" "$DIR/comparison.jpg" "$DIR/curves.png"
