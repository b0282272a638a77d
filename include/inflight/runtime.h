// SPDX-License-Identifier: Apache-2.0
// Runtime: a device, and the threads that run predictions on it for all predictors that share it.
#pragma once

#include <memory>
#include <string>

#include "inflight/backend.h"
#include "inflight/status.h"
#include "inflight/tensor.h"

namespace inflight {

namespace internal {
class RuntimeCore;
class RuntimeOwner;
}  // namespace internal

// How a runtime is made.
struct RuntimeOptions {
  // CPU threads for inference, at most those that the process may use; 0: all that it may use, by its
  // affinity and its container's CPU quota.
  int threads = 0;
  LoadOptions load = {};  // where to look for a backend that is a plugin
};

// One device with the vendor's objects, the threads that launch and watch predictions, and the budget of what
// runs at once. Predictors of one runtime share it: together they never run more than its capacity, and if
// they have more work than it can do, each gets its part by weight. A value: copies are handles to the same
// runtime, which ends when the last handle and the last predictor have gone.
//
//   Runtime cpu = *Runtime::open(Device::cpu());
//   Predictor detect = *Predictor::create(detector, {.runtime = cpu, .weight = 2});
//   Predictor classify = *Predictor::create(classifier, {.runtime = cpu});
//
//   thread   any; one handle object is like an int: no thread may assign to it while another one reads it
//   owns     if launches block (the CPU), one thread for each unit of capacity; else a launcher and a poller;
//            and a timekeeper, once a frame had a deadline
class Runtime {
 public:
  Runtime() noexcept = default;  // none: only operator bool may be called

  // Opens a device.
  //   errors   kNoSuchDevice: there is none of that name, or no backend for it; kDeviceError: it cannot be
  //            used; kInvalidArgument: an option out of bounds; kOutOfMemory: no memory or no more threads
  static Result<Runtime> open(Device device, RuntimeOptions options = {});
  // The same over a backend of the caller.
  //   errors   kInvalidArgument: null, or an option out of bounds; kOutOfMemory
  static Result<Runtime> over(std::shared_ptr<Backend> backend, RuntimeOptions options = {});

  explicit operator bool() const noexcept { return static_cast<bool>(owner_); }
  Device device() const;
  // The device in words, such as "cpu (AMD EPYC, 2 threads)".
  std::string device_description() const;
  // How many narrow predictions run at once, those of all predictors together.
  int capacity() const noexcept;
  // Valid as long as a handle to this runtime lives.
  Backend& backend() const noexcept;

 private:
  friend class Predictor;
  explicit Runtime(std::shared_ptr<internal::RuntimeOwner> owner) noexcept : owner_(std::move(owner)) {}
  std::shared_ptr<internal::RuntimeOwner> owner_;
};

}  // namespace inflight
