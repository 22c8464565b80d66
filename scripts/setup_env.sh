# Sourced by the other scripts: makes .venv beside the repository and installs ava_jax into it, once.
# Leaves the folder of the environment's commands in $BIN. Needs Python 3.11 to 3.13; a C++17 compiler makes the raymarcher fast.

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
VENV="${AVA_VENV:-$ROOT/.venv}"
BIN="$VENV/bin"

die() { printf 'error: %s\n' "$*" >&2; exit 1; }

find_python() {
  local candidate
  for candidate in "${PYTHON:-}" python3.12 python3.13 python3.11 python3 python; do
    [ -n "$candidate" ] && command -v "$candidate" >/dev/null 2>&1 || continue
    "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && { echo "$candidate"; return; }
  done
  return 1
}

# What the installation was made from: when it changes, it is made again.
# The names of the Python files count too, as an editable installation knows each by its path.
fingerprint() {
  (cd "$ROOT" && { find pyproject.toml CMakeLists.txt ffi -type f | LC_ALL=C sort | xargs cat; find ava_jax configs -name '*.py' | LC_ALL=C sort; } | cksum)
}

setup_env() {
  if [ -x "$BIN/ava" ] && [ "$(cat "$VENV/.ava_jax" 2>/dev/null)" = "$(fingerprint)" ]; then return; fi
  local python
  python="$(find_python)" || die "ava_jax needs Python 3.11, 3.12 or 3.13 and found none; install one, or name it: PYTHON=/path/to/python3.12 $0"
  echo "== environment: $("$python" --version) in ${VENV/#$ROOT\//}, packages from the index pip is set up for (about a minute)"
  [ -x "$BIN/python" ] || "$python" -m venv "$VENV" || die "$python cannot make a virtual environment (on Debian and Ubuntu: apt install python3-venv)"
  "$BIN/python" -m pip install --quiet --disable-pip-version-check --upgrade pip || die "pip could not be updated: is the package index reachable?"
  "$BIN/python" -m pip install --disable-pip-version-check --progress-bar off --quiet -e "$ROOT[test]" \
    || die "the installation failed; the lines above say why. Without a network, install the dependencies of pyproject.toml by hand"
  fingerprint > "$VENV/.ava_jax"
}
