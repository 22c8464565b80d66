#!/usr/bin/env bash
# From a clean clone to a trained, rendered avatar on a CPU: environment, captures, training, evaluation, pictures.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../setup_example.sh"
start ava256 "Makes .venv, builds ava_jax, writes a small capture of procedural heads, trains the universal avatar on it, evaluates
frames that it never saw and renders a contact sheet and a turntable video. Ten to twelve minutes on 2 cores." "$@"

SYNTH=() TRAIN=() EVAL=() RENDER=()
if [ "$SHORT" = 1 ]; then
  SYNTH=(--identities=2 --frames=6 --cameras=4 --height=64 --texture_size=64)
  TRAIN=(--config.data.downsample=64 --config.model.width=0.0625 --config.model.step_size=0.03125 --config.train.steps=6
    --config.train.log_every=3 --config.train.validate_every=0)
  EVAL=(--max_samples=2)
  RENDER=(--turntable_frames=6 --downsample=64)
fi
CAPTURES="$DIR/captures"
RUN="$DIR/avatar"

echo "== captures: procedural heads in ${CAPTURES/#$ROOT\//}"
"$BIN/ava" synth --out="$CAPTURES" --exist_ok "${SYNTH[@]+"${SYNTH[@]}"}"
echo "== training: the tiny configuration in ${RUN/#$ROOT\//}"
"$BIN/ava" train --config=ava256:tiny --config.data.root="$CAPTURES" --workdir="$RUN" "${TRAIN[@]+"${TRAIN[@]}"}"
STEP="$(latest_step "$RUN")"
SHEET="$RUN/eval/$STEP/contact_sheet.jpg"
VIDEO="$RUN/render/$STEP/turntable.mp4"
stage "evaluation: frames that were never seen in training" "$SHEET" "$BIN/ava" eval --workdir="$RUN" "${EVAL[@]+"${EVAL[@]}"}"
stage "rendering: a turntable" "$VIDEO" "$BIN/ava" render --workdir="$RUN" --turntable "${RENDER[@]+"${RENDER[@]}"}"
finish "$SHEET" "$VIDEO" "$RUN/eval/$STEP/scores.json"
