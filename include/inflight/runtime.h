// SPDX-License-Identifier: Apache-2.0
// Runtime: a device, and the threads that run predictions on it for all who share it.
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

struct RuntimeOptions {
  // CPU threads for inference; 0: as many as the process may use, by its affinity and its container's CPU quota.
  int threads = 0;
  LoadOptions load = {};  // where to look for a backend that is a plugin
};

// One device with the vendor's objects, the threads that launch and watch predictions, and the budget of what runs
// at once. Predictors of one runtime share it: they never run more than it carries, and where there is too much
// for all, each gets its share by weight. A value: copies are handles to the same runtime, which ends with the
// last handle and the last predictor.
//
//   Runtime cpu = *Runtime::open(Device::cpu());
//   Predictor detect = *Predictor::create(detector, {.runtime = cpu, .weight = 2});
//   Predictor classify = *Predictor::create(classifier, {.runtime = cpu});
//
//   thread   any; one handle object is like an int: no writing it while another thread reads it
//   owns     where launches block (the CPU), one thread a unit of capacity; else a launcher and a poller; and, once
//            a frame has a deadline, a timekeeper
class Runtime {
 public:
  Runtime() noexcept = default;  // none: only operator bool may be called

  // Opens a device.
  //   errors   kNoSuchDevice: there is none of that name, or no backend for it; kDeviceError: it cannot be used;
  //            kInvalidArgument: an option out of bounds; kOutOfMemory: no memory or no more threads
  static Result<Runtime> open(Device device, RuntimeOptions options = {});
  // The same over a backend of the caller's.
  //   errors   kInvalidArgument: null, or an option out of bounds; kOutOfMemory
  static Result<Runtime> over(std::shared_ptr<Backend> backend, RuntimeOptions options = {});

  explicit operator bool() const noexcept { return static_cast<bool>(owner_); }
  Device device() const;
  // The device in words, such as "cpu (AMD EPYC, 2 threads)".
  std::string device_description() const;
  // How many narrow predictions run at once, those of all predictors together.
  int capacity() const noexcept;
  Backend& backend() const noexcept;

 private:
  friend class Predictor;
  explicit Runtime(std::shared_ptr<internal::RuntimeOwner> owner) noexcept : owner_(std::move(owner)) {}
  std::shared_ptr<internal::RuntimeOwner> owner_;
};

}  // namespace inflight
