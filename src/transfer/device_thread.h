// SPDX-License-Identifier: Apache-2.0
// DeviceThread: gives a device work and looks when it is done, so that no other thread waits for the device.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <thread>

#include "inflight/internal/list.h"
#include "inflight/internal/mutex.h"
#include "inflight/status.h"

namespace inflight::internal {

// Something that a device does. All calls come from the device's thread, but for the end() of work that is refused.
class DeviceWork : public ListLink<DeviceWork> {
 public:
  // Whether the device may still use the memory of work that has ended.
  enum class Fate : std::uint8_t { kDone, kLost };

  // Gives it to the device, without waiting for that.
  //   returns  not ok: nothing was started; end() follows with that status
  virtual Status start() noexcept = 0;
  // Whether the device is done with it. Not ok: it is lost.
  virtual Result<bool> done() noexcept = 0;
  // Asked now and then while it is out. Not ok: the device is lost.
  virtual Status look() noexcept { return Status(); }
  // The end, exactly once. The work may be gone when it returns.
  virtual void end(Status status, Fate fate) noexcept = 0;

 protected:
  ~DeviceWork() = default;
};

// Starts work in the order in which it comes; it may end in any order.
//   thread   any
class DeviceThread {
 public:
  //   errors   kOutOfMemory: no more threads
  static Result<std::unique_ptr<DeviceThread>> start();
  // As stop().
  ~DeviceThread();
  DeviceThread(const DeviceThread&) = delete;
  DeviceThread& operator=(const DeviceThread&) = delete;

  // Allocates nothing and never blocks. Once the thread ends, the work ends at once with kShuttingDown.
  void push(DeviceWork& work) noexcept;
  // Ends what has not started with kShuttingDown, waits for what is out, and ends the thread. Idempotent. On the thread
  // itself it does not wait.
  void stop() noexcept;

 private:
  // It outlives the object if that ends on the thread.
  struct State;
  explicit DeviceThread(std::shared_ptr<State> state) noexcept : state_(std::move(state)) {}
  static void run(State& state) noexcept;

  const std::shared_ptr<State> state_;
  std::thread thread_;
};

}  // namespace inflight::internal
