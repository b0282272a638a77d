// SPDX-License-Identifier: Apache-2.0
// One operation that several threads compute, a piece each.
#pragma once

#include <atomic>
#include <cstddef>
#include <functional>
#include <memory>

#include "inflight/internal/completion.h"
#include "inflight/internal/mutex.h"
#include "inflight/status.h"
#include "mx/program.h"

namespace inflight::mx::detail {

// How many pieces an operator is computed in, if each element depends only on those in the same place.
//   elements   of each array
//   bytes      of all arrays together
//   threads    that may compute
//   returns    a divisor of `elements`: 1, or up to one for each thread
std::size_t count_pieces(std::size_t elements, std::size_t bytes, int threads);

// The pieces of one operation. Whoever is free takes the next: the thread that runs the operation, a thread
// that waits for its result, or, if none waits and nothing else is pending, threads of the engine as soon as
// they are awake. Nobody waits for a helper before it has taken a piece, so one that comes late, or never,
// costs its help and nothing more.
//   thread   any
class Pieces : public std::enable_shared_from_this<Pieces> {
 public:
  explicit Pieces(std::size_t count) : count_(count), left_(count) {}

  // Calls piece(0) to piece(count - 1), each once, and returns when all have ended. Once.
  //   piece     several threads call it at a time
  //   thread    the one that runs the operation
  //   returns   the first failure, if any
  Status run(Environment& environment, const std::function<Status(std::size_t)>& piece);
  // Takes pieces until none is left. False: there was none to take at this moment.
  bool help();
  // Helps until `done`, for some time at most: about what it takes to wake the thread that runs the operation.
  void help_until(const inflight::internal::Completion& done);

 private:
  static constexpr std::size_t kNotStarted = ~std::size_t{0} / 2;

  const std::size_t count_;
  const std::function<Status(std::size_t)>* piece_ =
      nullptr;  // written before next_ is 0; there while left_ > 0
  std::atomic<std::size_t> next_{kNotStarted};
  std::atomic<std::size_t> left_;
  std::atomic<std::size_t> waiting_{0};  // threads in help_until()
  inflight::internal::Completion all_;
  inflight::internal::Mutex mutex_;
  Status failure_ INFLIGHT_GUARDED_BY(mutex_);
};

}  // namespace inflight::mx::detail
