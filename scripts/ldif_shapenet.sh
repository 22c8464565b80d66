#!/usr/bin/env bash
# The published auto-encoder experiment (Genova et al., Local Deep Implicit Functions for 3D Shape, 2020, table 1), for those who have
# ShapeNet: thirteen classes, watertight meshes in the unit cube, in the splits of 3D-R2N2, as Occupancy Networks prepares them.
#
#   scripts/ldif_shapenet.sh MESHES WORK [ldif|sifpp|sif]
#
# MESHES holds SPLIT/CLASS/NAME.ply for train, val and test. WORK gets examples, run, scores and meshes; run again, it goes on where it was.
# TRAIN_FLAGS are given to ava train too, as in TRAIN_FLAGS="--config.train.steps=200000"; EVAL_FLAGS to ava eval.
# Published means of the thirteen classes: LDIF IoU 90.0, F-score 92.2, Chamfer 0.4. It took 3.5 million steps of 24 shapes.
set -euo pipefail
meshes=${1:?MESHES: folder of SPLIT/CLASS/NAME.ply} work=${2:?WORK: folder of the results} type=${3:-ldif}
case $type in
  ldif) config=(--config=ldif:shapenet) ;;
  sifpp | sif) config=(--config="ldif:$type" --config.train.steps=700000) ;;
  *) echo "the type must be ldif, sifpp or sif; got $type" >&2; exit 2 ;;
esac
# Meshes that cannot be used are named, and the rest goes on.
ava ldif prepare --meshes="$meshes" --out="$work/examples" || test -s "$work/examples/train.txt"
# shellcheck disable=SC2086  # several flags in one word
ava train "${config[@]}" --config.data.root="$work/examples" --workdir="$work/$type" ${TRAIN_FLAGS:-}
# shellcheck disable=SC2086
ava eval --workdir="$work/$type" --splits=test --save_meshes ${EVAL_FLAGS:-}
