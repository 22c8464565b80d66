#!/usr/bin/env bash
# Fuzzes the CPU raymarcher under AddressSanitizer and UndefinedBehaviorSanitizer, then ThreadSanitizer, on every instruction set:
#   scripts/sanitize.sh [SCENES]     1,000 random scenes on each by default; 20,000 is a long run
# The scenes and what must hold are in tests/ops/raymarch_fuzz.cc. Needs cmake 3.20 and g++ or clang++; neither Python nor XLA.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
scenes="${1:-1000}"

fuzz() {  # name of the build, sanitizers, scenes
  local folder="build/sanitize-$1"
  cmake -S . -B "$folder" -DAVA_FUZZ=ON -DCMAKE_BUILD_TYPE=RelWithDebInfo \
    -DCMAKE_CXX_FLAGS="-fsanitize=$2 -fno-sanitize-recover=all -fno-omit-frame-pointer" >/dev/null
  cmake --build "$folder" -j 2 >/dev/null
  for set in portable avx2 avx512; do
    AVA_INSTRUCTION_SET=$set "$folder/raymarch_fuzz" 1 "$3"
  done
}

echo "address, undefined behaviour"
fuzz memory address,undefined,float-cast-overflow "$scenes"
echo "data races"
fuzz threads thread $((scenes / 10 + 1))
echo "clean"
