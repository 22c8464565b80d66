#!/usr/bin/env bash
# From a clean clone to a person's avatar on a CPU: environment, a captured head, training, evaluation, pictures and videos.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../setup_example.sh"
start multiface "Makes .venv, builds ava_jax, writes a capture of a procedural head in the layout of the multiface data set, trains a small deep
appearance model on it, scores a segment that it never saw beside the constant answer, and draws photograph, prediction and difference. About
5 minutes on 2 cores." "$@"

SYNTH=() TRAIN=() EVAL=() DRAW=()
if [ "$SHORT" = 1 ]; then
  SYNTH=(--frames=6 --cameras=3 --height=64 --texture_size=64)
  TRAIN=(--config.model.texture_size=64 --config.data.downsample=32 --config.train.steps=6 --config.train.log_every=3
    --config.train.picture_every=6 --config.train.validate_every=0)
  EVAL=(--max_samples=2)
  DRAW=(--max_frames=2)
fi
CAPTURES="$DIR/captures"
RUN="$DIR/avatar"

echo "== capture: a procedural head in ${CAPTURES/#$ROOT\//}"
"$BIN/ava" multiface synthesize --out="$CAPTURES" --exist_ok "${SYNTH[@]+"${SYNTH[@]}"}"
echo "== training: the tiny configuration in ${RUN/#$ROOT\//}"
"$BIN/ava" train --config=multiface:tiny --config.data.root="$CAPTURES" --workdir="$RUN" "${TRAIN[@]+"${TRAIN[@]}"}"
STEP="$(latest_step "$RUN")"
SCORES="$RUN/eval/$STEP/scores.json"
SHEET="$RUN/visualise/$STEP/unseen_segments/frames.jpg"
stage "evaluation: a segment that was never seen in training" "$SCORES" "$BIN/ava" eval --workdir="$RUN" "${EVAL[@]+"${EVAL[@]}"}"
stage "pictures: photograph, prediction, difference" "$SHEET" "$BIN/ava" multiface visualise --workdir="$RUN" --display=plain \
  "${DRAW[@]+"${DRAW[@]}"}"
finish "$SCORES" "$RUN/eval/$STEP/best_and_worst_unseen_segments.jpg" "$SHEET"
