# Sourced by scripts/examples/TASK.sh: reads their options and makes the environment. Then $BIN is the folder of the environment's commands, $DIR
# where the example writes, and $SHORT 1 or 0.

source "$(dirname "${BASH_SOURCE[0]}")/setup_env.sh"

# start TASK TEXT OPTION...: TEXT says what the example does, for --help.
start() {
  local task="$1" text="$2"
  shift 2
  SHORT=0
  DIR=""
  while [ $# -gt 0 ]; do
    case "$1" in
      --short) SHORT=1 ;;
      --dir) [ $# -ge 2 ] || { echo "error: --dir needs a folder" >&2; exit 2; }; DIR="$2"; shift ;;
      -h|--help) usage "$task" "$text"; exit 0 ;;
      *) echo "error: there is no option $1; see $0 --help" >&2; exit 2 ;;
    esac
    shift
  done
  # A relative --dir is meant from where the command was given.
  [ -z "$DIR" ] || { mkdir -p "$DIR"; DIR="$(cd "$DIR" && pwd)"; }
  setup_env
  cd "$ROOT"
  [ "$SHORT" = 0 ] || compile_quickly
  DIR="${DIR:-$ROOT/runs/$task$([ "$SHORT" = 0 ] || echo -short)}"
}

usage() {
  cat <<TEXT
usage: $0 [--short] [--dir DIR]

$2
Every stage is skipped when it is done already and training resumes where it stopped: run it again after an interruption.

  --short     the same path within a minute: shows that everything works; nothing is learned
  --dir DIR   where everything goes (default: runs/$1, or runs/$1-short)
TEXT
}

# Compiling takes longest where little is computed. What XLA does not know it refuses by ending the process: asked first.
compile_quickly() {
  local flags="--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false"
  if XLA_FLAGS="${XLA_FLAGS:-} $flags" "$BIN/python" -c 'import jax; jax.devices()' >/dev/null 2>&1; then
    export XLA_FLAGS="${XLA_FLAGS:-} $flags"
  fi
}

# stage TEXT FILE COMMAND...: runs a command, unless the file that it writes is there.
stage() {
  echo "== $1"
  if [ -e "$2" ]; then echo "done already"; else "${@:3}"; fi
}

# The step of a run's latest checkpoint.
latest_step() { ls "$1/checkpoints" | sort -n | tail -n 1; }

# What to look at: paths, from the repository's root where they lie in it.
finish() {
  echo
  echo "done. Look at"
  printf '  %s\n' "${@/#$ROOT\//}"
}
