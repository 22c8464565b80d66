// Random scenes for the CPU raymarcher, without XLA or Python: scripts/sanitize.sh builds this with sanitizers and runs it.
//
//   raymarch_fuzz FIRST_SEED SEEDS
//
// Each seed is a scene of raymarch_random.h, of which what raymarch_checks.h says must hold, for any number of threads.

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <random>

#include "raymarch_checks.h"

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: raymarch_fuzz FIRST_SEED SEEDS\n");
    return 2;
  }
  const uint32_t begin = std::strtoul(argv[1], nullptr, 10), count = std::strtoul(argv[2], nullptr, 10);
  int faults = 0;
  for (uint32_t seed = begin; seed < begin + count; ++seed) {
    Random random = {std::mt19937(seed)};
    Shape shape;
    MakeSizes(&random, &shape);
    const Inputs in = Fill(&random, shape);
    const char* fault = CheckScene(&random, in, Run(in, 1), {Run});
    if (fault == nullptr) continue;
    ++faults;
    std::printf("seed %u (%s): %s\n", seed, Describe(in.shape).c_str(), fault);
  }
  std::printf("%s: %u scenes, %d faults\n", ava::raymarch::InstructionSetName(), count, faults);
  return faults == 0 ? 0 : 1;
}
