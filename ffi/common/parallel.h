// A parallel loop on XLA's own threads. The caller takes part, so it makes progress whatever else the pool is doing.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>

namespace ava {

// Runs tasks on some pool: `schedule` may run its argument at any time on any thread, or after the loop is over.
struct Pool {
  int64_t threads = 1;  // that a loop may use, the caller among them
  std::function<void(std::function<void()>)> schedule;
};

namespace internal {

struct LoopState {
  std::atomic<int64_t> next{0};
  std::atomic<int> workers{1};  // 0 is the caller
  std::mutex mutex;
  std::condition_variable finished;
  int64_t done = 0;
  std::exception_ptr error;
};

template <class Body>
void TakeChunks(LoopState& state, int64_t chunks, int worker, const Body& body) {
  for (int64_t chunk; (chunk = state.next.fetch_add(1)) < chunks;) {
    std::exception_ptr error;
    try {
      body(chunk, worker);
    } catch (...) {
      error = std::current_exception();
    }
    std::lock_guard<std::mutex> lock(state.mutex);
    if (error && !state.error) state.error = error;
    if (++state.done == chunks) state.finished.notify_one();
  }
}

}  // namespace internal

// Calls body(chunk, worker) for each chunk in [0, chunks), 0 <= worker < pool.threads; rethrows the first exception.
template <class Body>
void ParallelFor(const Pool& pool, int64_t chunks, const Body& body) {
  auto state = std::make_shared<internal::LoopState>();
  const int64_t helpers = chunks - 1 < pool.threads - 1 ? chunks - 1 : pool.threads - 1;
  for (int64_t i = 0; i < helpers; ++i) {
    // A helper that starts after the loop is over finds no chunk left and never touches `body`.
    pool.schedule([state, chunks, &body] {
      const int worker = state->workers.fetch_add(1);
      internal::TakeChunks(*state, chunks, worker, body);
    });
  }
  internal::TakeChunks(*state, chunks, 0, body);
  std::unique_lock<std::mutex> lock(state->mutex);
  state->finished.wait(lock, [&] { return state->done == chunks; });
  if (state->error) std::rethrow_exception(state->error);
}

}  // namespace ava
