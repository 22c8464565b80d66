#!/usr/bin/env bash
# Feeds damaged, strange and hostile files to every reader for some minutes, new ones each time.
#
#   scripts/fuzz.sh MINUTES        # 10, say; one process
#
# Says how many examples each reader was given. What fails is shrunk, printed, and kept in .hypothesis for the next run: add it to
# its test in tests/fuzz as an @example, then mend the reader.
set -euo pipefail
minutes=${1:?usage: scripts/fuzz.sh MINUTES}
cd "$(dirname "$0")/.."
export AVA_FUZZ=long JAX_PLATFORMS=cpu
end=$((SECONDS + minutes * 60))
log=$(mktemp)
trap 'rm -f "$log"' EXIT
failed=0
while ((SECONDS < end)); do
  "${PYTHON:-python}" -m pytest tests/fuzz/*_fuzz_test.py -q -x --hypothesis-seed="$RANDOM$RANDOM" | tee -a "$log" || { failed=1; break; }
done
echo
awk '/^fuzzed / { name = $0; sub(/^fuzzed /, "", name); sub(/: [0-9]+ examples$/, "", name); n = $(NF - 1); count[name] += n; all += n }
  END { for (name in count) printf "%9d  %s\n", count[name], name; printf "%9d  in all\n", all }' "$log" | sort -k2
exit $failed
