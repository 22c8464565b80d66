#!/usr/bin/env bash
# What must hold on an NVIDIA GPU, in one go: the raymarcher's tests, compute-sanitizer, parity, and the benchmarks of docs/.
set -uo pipefail

usage() {
  cat <<'TEXT'
usage: scripts/check_gpu.sh [--golden DIR] [--out DIR] [--only LIST]

Runs, on the GPU of this machine, with the python of $PYTHON (default python3), which must have ava_jax installed with its CUDA module:
  tests       the raymarcher's tests, but for those that need no GPU; those of several GPUs where there are several
  rasterize   the tests of the rasteriser and all of its gradients, and with --golden scripts/parity_rasterize.py and scripts/bench_rasterize.py
  implicit    the tests of implicit functions and marching cubes, and with --golden scripts/bench_implicit.py
  networks    the tests of the networks' kernels
  commands    what a user does: captures, a short training, evaluation, pictures, a turntable; the library's tests, which
              run every block of docs/guide/python.md; on one GPU, and on all where there are several
  avatar      a trained avatar's figures at 1024 x 667: ava ava256 benchmark, ava view --benchmark, the evaluation, the exported CUDA program
  sanitizer   its kernels on small scenes under compute-sanitizer: memcheck, racecheck, initcheck (skipped where it is not on the PATH)
  parity      every stage against the golden vectors                        (with --golden)
  raymarch    scripts/bench_raymarch.py, the table and the growth           (with --golden)
  step        scripts/bench_step.py, the full model, a quarter of the background   (with --golden)
A line a check comes last; it exits 1 when one failed. Logs and JSON are in --out (default: runs/check_gpu). It takes minutes.

  --golden DIR   folder of golden vectors, with the assets in DIR/../assets
  --only LIST    some of the names above, with commas
TEXT
}

GOLDEN=""; OUT=""; ONLY="tests,rasterize,implicit,networks,commands,avatar,sanitizer,parity,raymarch,step"
while [ $# -gt 0 ]; do
  case "$1" in
    --golden|--out|--only) [ $# -ge 2 ] || { echo "error: $1 needs a value" >&2; exit 2; } ;;&
    --golden) GOLDEN="$(cd "$2" 2>/dev/null && pwd)" || { echo "error: there is no folder $2" >&2; exit 2; }; shift ;;
    --out) OUT="$2"; shift ;;
    --only) ONLY="$2"; shift ;;
    -h|--help) usage; exit 0 ;;
    *) echo "error: there is no option $1; see scripts/check_gpu.sh --help" >&2; exit 2 ;;
  esac
  shift
done
for name in ${ONLY//,/ }; do
  case "$name" in tests|rasterize|implicit|networks|commands|avatar|sanitizer|parity|raymarch|step) ;; *) echo "error: --only knows no $name; see scripts/check_gpu.sh --help" >&2; exit 2 ;; esac
done

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
OUT="${OUT:-$ROOT/runs/check_gpu}"
mkdir -p "$OUT" && OUT="$(cd "$OUT" && pwd)" || exit 2
PYTHON="${PYTHON:-python3}"
export XLA_PYTHON_CLIENT_PREALLOCATE=false PYTHONUNBUFFERED=1
[ -z "$GOLDEN" ] || export AVA_TEST_DATA="$(dirname "$GOLDEN")"
cd "$OUT" || exit 2  # not the repository: the installed package is what is checked

"$PYTHON" - <<'PY' || exit 2
import sys
try:
    import jax
    from ava_jax.ops import native
except ImportError as error:
    sys.exit(f"error: {sys.executable} cannot import ava_jax ({error}); install it there, or name another one: PYTHON=/path/to/python scripts/check_gpu.sh")
if jax.default_backend() != "gpu":
    sys.exit(f"error: jax computes on {jax.default_backend()} here; install jax[cuda13] or jax[cuda12], and look at nvidia-smi")
if not native.CUDA_BUILT:
    sys.exit("error: ava_jax was installed without its CUDA module; put nvcc on the PATH and install it again")
print(f"{jax.device_count()} x {jax.devices()[0].device_kind}, jax {jax.__version__}")
PY

REPORT=(); FAILED=0

check() {  # name of its log, command: logged, timed
  local name="$1" begin=$SECONDS verdict=passed
  shift
  echo "== $name"
  "$@" 2>&1 | tee "$OUT/$name.log" || { verdict=FAILED; FAILED=1; }
  REPORT+=("$(printf '%-20s %-7s %4d s   %s' "$name" "$verdict" $((SECONDS - begin)) "$OUT/$name.log")")
}

wanted() { [[ ",$ONLY," == *",$1,"* ]]; }

skip() { REPORT+=("$(printf '%-20s skipped          %s' "$1" "$2")"); }

PYTEST=("$PYTHON" -m pytest --slow -v --durations=5 -p no:cacheprovider --rootdir "$ROOT")  # -v: a log that breaks off says where
wanted tests && check tests "${PYTEST[@]}" "$ROOT"/tests/ops/raymarch_{cuda_,golden_,}test.py "$ROOT/tests/ops/rasterize_cuda_test.py"
if wanted rasterize; then
  export AVA_RASTERIZE_CUDA=1  # off by default, but for the forward pass, until this has passed on a GPU
  check rasterize "${PYTEST[@]}" "$ROOT"/tests/ops/rasterize_{cuda_,golden_,outline_,texture_,}test.py
  if [ -n "$GOLDEN" ]; then
    check rasterize_parity "$PYTHON" "$ROOT/scripts/parity_rasterize.py" --golden="$GOLDEN"
    check rasterize_bench "$PYTHON" "$ROOT/scripts/bench_rasterize.py" --golden="$GOLDEN" --table --json="$OUT/rasterize.json"
    check rasterize_parts "$PYTHON" "$ROOT/scripts/bench_rasterize.py" --golden="$GOLDEN" --views=16 --downsample=0.5
    check rasterize_plain env -u AVA_RASTERIZE_CUDA "$PYTHON" "$ROOT/scripts/bench_rasterize.py" --golden="$GOLDEN"
  fi
  if command -v compute-sanitizer >/dev/null; then
    for tool in memcheck racecheck initcheck; do  # 3ava: the kernels' namespace
      check "rasterize_$tool" compute-sanitizer --tool "$tool" --error-exitcode 1 --kernel-name kns=3ava "${PYTEST[@]}" \
        "$ROOT/tests/ops/rasterize_cuda_test.py" -k "7-5 or 65-31 or 23-31 or 1-17 or interpolation or finite or nothing or (textures and 16)"
    done
  else
    skip "rasterize, sanitizer" "compute-sanitizer is not on the PATH; it comes with CUDA's toolkit"
  fi
  unset AVA_RASTERIZE_CUDA
fi
if wanted implicit; then
  export AVA_IMPLICIT_CUDA=1  # off by default until this has passed on a GPU
  check implicit "${PYTEST[@]}" "$ROOT"/tests/ops/implicit_{native,marching,golden}_test.py "$ROOT/tests/tasks/ldif_shapes_test.py"
  [ -z "$GOLDEN" ] || check implicit_bench "$PYTHON" "$ROOT/scripts/bench_implicit.py" --golden="$GOLDEN" --reference --json="$OUT/implicit.json"
  unset AVA_IMPLICIT_CUDA
fi
wanted networks && check networks "${PYTEST[@]}" -m gpu "$ROOT/tests/nn" "$ROOT/tests/tasks"

ava() { "$PYTHON" -m ava_jax.bin.ava "$@"; }

# On the GPUs that CUDA_VISIBLE_DEVICES names: a run in the folder $1 from nothing to a video.
commands() {
  local folder="$1"
  rm -rf "$folder" && mkdir -p "$folder" &&
    ava synth --out="$folder/captures" --identities=2 --frames=6 --cameras=4 --height=1024 --texture_size=256 &&
    ava train --config="$ROOT/configs/ava256.py:quick" --config.data.root="$folder/captures" --config.data.downsample=32 --config.model.texture_size=256 \
      --config.data.read_processes=2 --config.train.steps=20 --config.train.log_every=10 --config.train.validate_every=10 \
      --config.train.validate_samples=2 --workdir="$folder/run" &&
    ava eval --workdir="$folder/run" --max_samples=4 &&
    ava render --workdir="$folder/run" &&
    ava render --workdir="$folder/run" --turntable --turntable_frames=8 &&
    "${PYTEST[@]}" "$ROOT/tests/library_test.py"
}

if wanted commands; then
  CUDA_VISIBLE_DEVICES=0 check commands_1 commands "$OUT/commands_1"
  GPUS="$("$PYTHON" -c 'import jax; print(jax.device_count())')"
  if [ "$GPUS" -gt 1 ]; then check "commands_$GPUS" commands "$OUT/commands_$GPUS"; else skip "commands, several" "there is one GPU"; fi
fi
# Of the avatar that `commands` trained: it has learned little, which costs the same time.
avatar() {
  local run="$OUT/commands_1/run" captures="$OUT/commands_1/captures"
  rm -rf "$OUT/exported" &&
    ava ava256 benchmark --workdir="$run" --height=1024 --width=667 --batch=1,4 &&
    ava view --workdir="$run" --port=0 --size=1024 --benchmark &&
    "$PYTHON" "$ROOT/scripts/bench_eval.py" --workdir="$run" --captures="$captures" --downsample=4 --batch=4 &&
    ava ava256 encode --workdir="$run" &&
    ava export --workdir="$run" --format=jax --out="$OUT/exported" --height=1024 --width=667 &&
    "$PYTHON" "$OUT/exported/avatar.py" "$OUT/exported.png" cuda
}

if wanted avatar; then
  if [ -d "$OUT/commands_1/run" ]; then CUDA_VISIBLE_DEVICES=0 check avatar avatar; else skip avatar "needs the run of commands, first"; fi
fi
if wanted sanitizer; then
  if command -v compute-sanitizer >/dev/null; then
    for tool in memcheck racecheck initcheck; do
      check "$tool" compute-sanitizer --tool "$tool" --error-exitcode 1 --kernel-name kns=raymarch "$PYTHON" "$ROOT/tests/ops/raymarch_cuda_scenes.py"
    done
  else
    skip sanitizer "compute-sanitizer is not on the PATH; it comes with CUDA's toolkit"
  fi
fi
for name in parity raymarch step; do
  wanted "$name" || continue
  [ -n "$GOLDEN" ] || { skip "$name" "needs --golden"; continue; }
  case "$name" in
    parity) check parity "$PYTHON" "$ROOT/scripts/parity.py" --golden="$GOLDEN" ;;
    raymarch)
      check raymarch_table "$PYTHON" "$ROOT/scripts/bench_raymarch.py" --golden="$GOLDEN" --table --json="$OUT/raymarch_table.json"
      check raymarch_growth "$PYTHON" "$ROOT/scripts/bench_raymarch.py" --golden="$GOLDEN" --growth --json="$OUT/raymarch_growth.json" ;;
    step) check step "$PYTHON" "$ROOT/scripts/bench_step.py" --golden="$GOLDEN" --config=ava256 --config.model.background_fraction=0.25 --out="$OUT/step.json" ;;
  esac
done

echo
printf '%s\n' "${REPORT[@]+"${REPORT[@]}"}"
exit "$FAILED"
