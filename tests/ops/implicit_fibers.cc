// The CUDA kernels of implicit functions and marching cubes compiled for a CPU with fibers/cuda_runtime.h, as a library that
// implicit_fibers_test.py loads.
#include <cmath>
#include <cstring>

#include "cuda_runtime.h"

// What the other kernels do without.
constexpr cudaError_t cudaErrorInvalidConfiguration = 9;
inline cudaError_t cudaMemsetAsync(void* to, int byte, size_t bytes, cudaStream_t) {
  std::memset(to, byte, bytes);
  return cudaSuccess;
}
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fsub_rn(float a, float b) { return a - b; }
inline float __fdiv_rn(float a, float b) { return a / b; }

#include "../../ffi/implicit/cuda/field.cu"
#include "../../ffi/marching/cuda/marching.cu"

extern "C" {

void set_order(int order) { fibers::SetSchedule({static_cast<fibers::Schedule::Order>(order), 1u}); }

int values(int64_t elements, const float* head, const float* first, const float* second, const void* dense, const float* points, int64_t count,
           float* out) {
  const ava::implicit::Places places = {points, nullptr, nullptr, nullptr, count, 0, 0, 0};
  return ava::implicit::CudaEvaluate({elements, head, first, second, dense}, places, out, nullptr);
}

int grid(int64_t elements, const float* head, const float* first, const float* second, const void* dense, const float* z, const float* y,
         const float* x, const int64_t* sizes, float* out) {
  const ava::implicit::Places places = {nullptr, x, y, z, sizes[0] * sizes[1] * sizes[2], sizes[2], sizes[1], sizes[0]};
  return ava::implicit::CudaEvaluate({elements, head, first, second, dense}, places, out, nullptr);
}

int64_t marching_scratch(int64_t places) { return ava::marching::CudaScratch(places); }

int marching(const float* values, const int64_t* sizes, float level, const int8_t* table, float* vertices, int64_t vertex_capacity,
             int32_t* faces, int64_t face_capacity, int32_t* counts, int32_t* scratch) {
  return ava::marching::CudaExtract({values, table, sizes[2], sizes[1], sizes[0], level},
                                    {vertices, faces, counts, vertex_capacity, face_capacity}, scratch, nullptr);
}
}
