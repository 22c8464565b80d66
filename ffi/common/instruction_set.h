// Which instruction set the CPU kernels use: the best that the processor has, or what AVA_INSTRUCTION_SET in the environment limits it to.
#pragma once

#include <cstdlib>
#include <string>

namespace ava {

enum class InstructionSet { kPortable, kAvx2, kAvx512 };

inline InstructionSet BestInstructionSet() {
#if defined(AVA_X86)
  const char* limit = std::getenv("AVA_INSTRUCTION_SET");
  const std::string named = limit == nullptr ? "" : limit;
  if (named == "portable") return InstructionSet::kPortable;
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw");
  if (avx512 && named != "avx2") return InstructionSet::kAvx512;
  if (avx2) return InstructionSet::kAvx2;
#endif
  return InstructionSet::kPortable;
}

// Of three builds of the same kernels, that for the best instruction set.
template <class Kernels>
const Kernels& OfBest(const Kernels& portable, const Kernels& avx2, const Kernels& avx512) {
  const InstructionSet best = BestInstructionSet();
  return best == InstructionSet::kAvx512 ? avx512 : best == InstructionSet::kAvx2 ? avx2 : portable;
}

}  // namespace ava

// The kernels of the namespace that it stands in; elsewhere than on x86 there are only the portable ones to name.
#if defined(AVA_X86)
#define AVA_BEST_KERNELS ava::OfBest(kPortableKernels, kAvx2Kernels, kAvx512Kernels)
#else
#define AVA_BEST_KERNELS kPortableKernels
#endif
