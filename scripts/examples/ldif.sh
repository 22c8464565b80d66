#!/usr/bin/env bash
# From a clean clone to reconstructed shapes on a CPU: environment, shapes, one fitted without a network, training, evaluation, pictures.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../setup_example.sh"
start ldif "Makes .venv, builds ava_jax, writes procedural shapes of six classes, fits the elements of one of them without a network, trains a
small SIF++ network, scores shapes that it never saw, and draws the best, the median and the worst beside the true meshes. About five minutes
on 2 cores." "$@"

SYNTH=(--train=24 --val=0 --test=3) FIT=(--features=32 --samples=512 --steps=400)
TRAIN=(--config.train.steps=2500 --config.optimizer.lr_decay_steps=2500) EVAL=(--resolution=64) SHEET_OPTIONS=()
if [ "$SHORT" = 1 ]; then
  SYNTH=(--train=1 --val=0 --test=1) FIT=(--elements=8 --samples=64 --steps=4 --resolution=32)
  TRAIN=(--config.train.steps=2 --config.train.batch_size=2 --config.model.code=16 --config.model.head_width=16 --config.model.views=1
    --config.model.elements=6 --config.model.symmetric=2 --config.data.samples=16)
  EVAL=(--resolution=16 --max_samples=2) SHEET_OPTIONS=(--resolution=16)
fi
DATA="$DIR/data"
RUN="$DIR/run"

echo "== shapes: procedural, of six classes, in ${DATA/#$ROOT\//}"
"$BIN/ava" ldif synthesize --out="$DATA" "${SYNTH[@]}"
CHAIR="$(ls "$DATA"/meshes/test/chair/*.ply | head -n 1)"
NAME="$(basename "$CHAIR" .ply)"
stage "a chair fitted without a network" "$DIR/fit/$NAME.ply" "$BIN/ava" ldif fit --mesh="$CHAIR" --out="$DIR/fit" "${FIT[@]}"
stage "its picture" "$DIR/fit.jpg" "$BIN/ava" ldif sheet --shapes="$DIR/fit" --meshes="$DATA/meshes/test" --out="$DIR/fit.jpg" \
  "${SHEET_OPTIONS[@]+"${SHEET_OPTIONS[@]}"}"
echo "== training: the tiny configuration in ${RUN/#$ROOT\//}"
"$BIN/ava" train --config=ldif:tiny --config.data.root="$DATA/examples" --workdir="$RUN" --config.train.validate_every=0 "${TRAIN[@]}"
STEP="$(latest_step "$RUN")"
SCORES="$RUN/eval/$STEP/scores.json"
stage "evaluation: shapes that were never seen in training" "$SCORES" "$BIN/ava" eval --workdir="$RUN" --splits=test "${EVAL[@]}"
SHEET="$RUN/eval/$STEP/best_median_worst.jpg"
stage "the best, the median and the worst" "$SHEET" "$BIN/ava" ldif sheet --workdir="$RUN" --split=test --columns=1 --out="$SHEET" \
  "${SHEET_OPTIONS[@]+"${SHEET_OPTIONS[@]}"}"
finish "$DIR/fit.jpg" "$SHEET" "$SCORES"
