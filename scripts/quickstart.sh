#!/usr/bin/env bash
# From a clean clone to a trained, rendered avatar on a CPU: environment, capture, training, evaluation, pictures.
# Every stage is skipped when it is done already and training resumes where it stopped: run it again after an interruption.
set -euo pipefail

usage() {
  cat <<'TEXT'
usage: scripts/quickstart.sh [--short] [--dir DIR]

Makes .venv, builds ava_jax, writes a small capture of procedural heads, trains the universal avatar on it, evaluates
frames that it never saw and renders a contact sheet and a turntable video. About 10 minutes on 2 cores.

  --short     the same path in about 3 minutes: a smaller capture, fewer steps; the pictures are rough
  --dir DIR   where everything goes (default: runs/quickstart, or runs/quickstart-short)
TEXT
}

SHORT=0
DIR=""
while [ $# -gt 0 ]; do
  case "$1" in
    --short) SHORT=1 ;;
    --dir) [ $# -ge 2 ] || { echo "error: --dir needs a folder" >&2; exit 2; }; DIR="$2"; shift ;;
    -h|--help) usage; exit 0 ;;
    *) echo "error: there is no option $1; see scripts/quickstart.sh --help" >&2; exit 2 ;;
  esac
  shift
done

# A relative --dir is meant from where the command was given.
[ -z "$DIR" ] || { mkdir -p "$DIR"; DIR="$(cd "$DIR" && pwd)"; }
source "$(dirname "${BASH_SOURCE[0]}")/setup_env.sh"
setup_env
cd "$ROOT"

if [ "$SHORT" = 1 ]; then
  DIR="${DIR:-$ROOT/runs/quickstart-short}"
  SYNTH=(--identities=2 --frames=10 --cameras=6)
  TRAIN=(--config.train.steps=40 --config.train.picture_every=20 --config.train.checkpoint_every=20)
  EVAL=(--max_samples=8)
  RENDER=(--turntable_frames=12)
else
  DIR="${DIR:-$ROOT/runs/quickstart}"
  SYNTH=()
  TRAIN=()
  EVAL=()
  RENDER=()
fi
CAPTURES="$DIR/captures"
RUN="$DIR/avatar"

echo "== capture: procedural heads in ${CAPTURES/#$ROOT\//}"
"$BIN/ava-synth" --out="$CAPTURES" --exist_ok "${SYNTH[@]+"${SYNTH[@]}"}"

echo "== training: the tiny configuration in ${RUN/#$ROOT\//}"
"$BIN/ava-train" --config=ava256:tiny --config.data.root="$CAPTURES" --workdir="$RUN" "${TRAIN[@]+"${TRAIN[@]}"}"

STEP="$(ls "$RUN/checkpoints" | sort -n | tail -n 1)"
SHEET="$RUN/eval/$STEP/contact_sheet.jpg"
VIDEO="$RUN/render/$STEP/turntable.mp4"

echo "== evaluation: frames that were never seen in training"
if [ -f "$SHEET" ]; then echo "done already"; else "$BIN/ava-eval" --workdir="$RUN" "${EVAL[@]+"${EVAL[@]}"}"; fi

echo "== rendering: a turntable"
if [ -f "$VIDEO" ]; then echo "done already"; else "$BIN/ava-render" --workdir="$RUN" --turntable "${RENDER[@]+"${RENDER[@]}"}"; fi

echo
echo "done. Look at"
printf '  %s\n' "${SHEET/#$ROOT\//}" "${VIDEO/#$ROOT\//}" "${RUN/#$ROOT\//}/eval/$STEP/scores.json"
