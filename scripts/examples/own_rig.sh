#!/usr/bin/env bash
# From somebody's own rig to a rendered avatar on a CPU: a recording, converted to a capture, trained on, evaluated, rendered.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../setup_example.sh"
start own_rig "Makes .venv, builds ava_jax, writes the recording of a procedural head as a rig of one's own has it (COLMAP cameras whose
lenses distort, masks, tracked meshes in metres), converts it, trains a universal avatar on the capture, evaluates frames that it never saw
and renders a turntable. Ten minutes on 2 cores." "$@"

SYNTH=() CONVERT=(--texture_size=256)
TRAIN=(--config.data.downsample=2 --config.train.steps=1000 --config.optimizer.lr_decay_steps=1000
  --config.train.checkpoint_every=500 --config.train.validate_every=0)
EVAL=() RENDER=(--turntable_frames=24 --downsample=1)
if [ "$SHORT" = 1 ]; then
  SYNTH=(--frames=4 --cameras=4 --height=64 --texture_size=64)
  CONVERT=(--texture_size=64)
  TRAIN=(--config.data.downsample=1 --config.model.width=0.0625 --config.model.step_size=0.03125 --config.train.steps=4
    --config.train.log_every=2 --config.train.validate_every=0)
  EVAL=(--max_samples=2)
  RENDER=(--turntable_frames=4 --downsample=1)
fi
RIG="$DIR/rig"
CAPTURES="$DIR/captures"
RUN="$DIR/avatar"

echo "== a rig's recording in ${RIG/#$ROOT\//}"
"$BIN/ava" synth --rig --out="$RIG" --exist_ok "${SYNTH[@]+"${SYNTH[@]}"}"
echo "== conversion to a capture in ${CAPTURES/#$ROOT\//}"
"$BIN/ava" convert --rig="$RIG" --meshes="$RIG/meshes" --topology="$RIG/topology.obj" --template="$RIG/topology.obj" --scale=1000 \
  --segments="$RIG/segments.csv" --out="$CAPTURES" --subject=SYN001 "${CONVERT[@]}"
PICTURES="$(ls -d "$CAPTURES"/*--SYN001/pictures/index.html)"
echo "== training: the tiny configuration in ${RUN/#$ROOT\//}"
"$BIN/ava" train --config=ava256:tiny --config.data.root="$CAPTURES" --workdir="$RUN" "${TRAIN[@]}"
STEP="$(latest_step "$RUN")"
SHEET="$RUN/eval/$STEP/contact_sheet.jpg"
VIDEO="$RUN/render/$STEP/turntable.mp4"
stage "evaluation: frames that were never seen in training" "$SHEET" "$BIN/ava" eval --workdir="$RUN" "${EVAL[@]+"${EVAL[@]}"}"
stage "rendering: a turntable" "$VIDEO" "$BIN/ava" render --workdir="$RUN" --turntable "${RENDER[@]}"
finish "$PICTURES" "$SHEET" "$VIDEO" "$RUN/eval/$STEP/scores.json"
