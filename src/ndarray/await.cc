// SPDX-License-Identifier: Apache-2.0
#include "inflight/await.h"

#include <cstdint>

#include "base/user_code.h"

namespace inflight::internal {
namespace {

// While it lives, this thread is inside an executor's execute() with the task of one resumption. A task that
// runs there does not resume the coroutine. The caller of execute() does, one stack frame further out, so
// that a loop over handles that are ready does not nest a call for each.
class HandingOver {
 public:
  HandingOver() noexcept : serial_(++serials_), outer_(innermost_) { innermost_ = this; }
  ~HandingOver() { innermost_ = outer_; }
  HandingOver(const HandingOver&) = delete;
  HandingOver& operator=(const HandingOver&) = delete;

  std::uint64_t serial() const noexcept { return serial_; }
  bool ran_inside() const noexcept { return ran_inside_; }
  // True: the caller of execute() resumes.
  static bool run_inside(const HandingOver* handing_over, std::uint64_t serial) noexcept {
    // A later object may have the same address; the serial number, which is the thread's, tells them apart.
    HandingOver* scope = innermost_;
    while (scope != nullptr && (scope != handing_over || scope->serial_ != serial)) scope = scope->outer_;
    if (scope != nullptr) scope->ran_inside_ = true;
    return scope != nullptr;
  }

 private:
  static thread_local HandingOver* innermost_;
  static thread_local std::uint64_t serials_;
  const std::uint64_t serial_;
  HandingOver* const outer_;
  bool ran_inside_ = false;
};

thread_local HandingOver* HandingOver::innermost_ = nullptr;
thread_local std::uint64_t HandingOver::serials_ = 0;

}  // namespace

bool Resumer::suspend(Completion& completion, std::coroutine_handle<> coroutine) noexcept {
  coroutine_ = coroutine;
  if (completion.add(*this)) return true;  // another thread may resume it meanwhile
  return !hand_over();
}

void Resumer::completed() noexcept {
  const std::coroutine_handle<> coroutine = coroutine_;
  if (hand_over()) static_cast<void>(call_user([coroutine] { coroutine.resume(); }));
}

// Gives the coroutine to the executor. True: the caller resumes it. False: the executor does, and this object
// may be gone.
bool Resumer::hand_over() noexcept {
  const HandingOver handing_over;
  const auto resume = [coroutine = coroutine_, scope = &handing_over, serial = handing_over.serial()] {
    // This task throws nothing, so what execute() throws comes from the executor.
    if (!HandingOver::run_inside(scope, serial)) {
      static_cast<void>(call_user([coroutine] { coroutine.resume(); }));
    }
  };
  Status taken = call_user([&] { return executor_.execute(resume); });
  if (handing_over.ran_inside()) return true;
  if (taken.ok()) return false;
  refused_ = std::move(taken);
  return true;
}

}  // namespace inflight::internal
