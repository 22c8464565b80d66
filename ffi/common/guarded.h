// What handlers on CPUs have in common: XLA's threads as a pool, and lack of memory as an error.
#pragma once

#include <functional>
#include <new>
#include <string>
#include <utility>

#include "parallel.h"
#include "xla/ffi/api/ffi.h"

namespace ava {

inline Pool MakePool(xla::ffi::ThreadPool& threads) {
  Pool pool;
  pool.threads = threads.num_threads() > 1 ? threads.num_threads() : 1;
  pool.schedule = [&threads](std::function<void()> task) { threads.Schedule(std::move(task)); };
  return pool;
}

template <class Run>
xla::ffi::Error Guarded(const char* who, const Run& run) {
  try {
    run();
  } catch (const std::bad_alloc&) {
    return xla::ffi::Error(xla::ffi::ErrorCode::kResourceExhausted, std::string(who) + ": out of host memory for its scratch arrays");
  }
  return xla::ffi::Error::Success();
}

}  // namespace ava
