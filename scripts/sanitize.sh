#!/usr/bin/env bash
# Fuzzes the CPU raymarcher and rasteriser under AddressSanitizer and UndefinedBehaviorSanitizer, then ThreadSanitizer, on every instruction
# set; and the raymarcher's CUDA kernels, compiled for the CPU:
#   scripts/sanitize.sh [SCENES]     1,000 random scenes on each by default, a fiftieth for the CUDA kernels; 20,000 is a long run
# The scenes and what must hold are in tests/ops/raymarch_fuzz.cc, rasterize_fuzz.cc and raymarch_fibers.cc. Needs cmake 3.20 and g++ or
# clang++, for the CUDA kernels g++; neither Python nor XLA.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
scenes="${1:-1000}"

fuzz() {  # name of the build, sanitizers, scenes, targets
  local folder="build/sanitize-$1"
  cmake -S . -B "$folder" -DAVA_FUZZ=ON -DCMAKE_BUILD_TYPE=RelWithDebInfo \
    -DCMAKE_CXX_FLAGS="-fsanitize=$2 -fno-sanitize-recover=all -fno-omit-frame-pointer" >/dev/null
  cmake --build "$folder" -j 2 --target "${@:4}" >/dev/null
  for set in portable avx2 avx512; do
    AVA_INSTRUCTION_SET=$set "$folder/raymarch_fuzz" 1 "$3"
    AVA_INSTRUCTION_SET=$set "$folder/rasterize_fuzz" 1 "$3"
  done
}

echo "address, undefined behaviour"
fuzz memory address,undefined,float-cast-overflow "$scenes" raymarch_fuzz rasterize_fuzz raymarch_fibers_small raymarch_fibers
for limits in fibers_small fibers; do
  "build/sanitize-memory/raymarch_$limits" 1 $((scenes / 50 + 1))
done
echo "data races"
fuzz threads thread $((scenes / 10 + 1)) raymarch_fuzz rasterize_fuzz raymarch_fibers_small raymarch_queue
build/sanitize-threads/raymarch_fibers_small 1 $((scenes / 50 + 1))
build/sanitize-threads/raymarch_queue $((scenes / 10 + 1))
echo "clean"
