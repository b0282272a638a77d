// SPDX-License-Identifier: Apache-2.0
// Runtime: a device or several, and the threads that run predictions there for all predictors that share them.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

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
  // affinity and its container's CPU quota. With several devices, for each of them.
  int threads = 0;
  LoadOptions load = {};  // where to look for a backend that is a plugin
};

// One device with the vendor's objects, the threads that launch and watch predictions, and the budget of what
// runs at once. Predictors of one runtime share it: together they never run more than its capacity, and if
// they have more work than it can do, each gets its part by weight. A value: copies are handles to the same
// runtime, which ends when the last handle and the last predictor have gone.
//
// It may have several devices: a predictor on it has slots on each of them. Each device has threads and a budget of
// its own, and is shared by weight. A device that is lost takes no more work, and the others go on.
//
//   Runtime cpu = *Runtime::open(Device::cpu());
//   Predictor detect = *Predictor::create(detector, {.runtime = cpu, .weight = 2});
//   Predictor classify = *Predictor::create(classifier, {.runtime = cpu});
//
//   thread   any; one handle object is like an int: no thread may assign to it while another one reads it
//   owns     for each device: if launches block (the CPU), one thread for each unit of capacity; else a launcher and
//            a poller; and a timekeeper, once a frame had a deadline
class Runtime {
 public:
  static constexpr std::size_t kDevicesMax = 16;

  Runtime() noexcept = default;  // none: only operator bool may be called

  // Opens a device.
  //   errors   kNoSuchDevice: there is none of that name, or no backend for it; kDeviceError: it cannot be
  //            used; kInvalidArgument: an option out of bounds; kOutOfMemory: no memory or no more threads
  static Result<Runtime> open(Device device, RuntimeOptions options = {});
  // Opens several, 1 to kDevicesMax. Predictions prefer the earlier ones.
  //   errors   as above; kInvalidArgument: none, too many, or one of them twice
  static Result<Runtime> open(const std::vector<Device>& devices, RuntimeOptions options = {});
  // The same over a backend of the caller, or several.
  //   errors   kInvalidArgument: null, none, too many, two for one device, or an option out of bounds; kOutOfMemory
  static Result<Runtime> over(std::shared_ptr<Backend> backend, RuntimeOptions options = {});
  static Result<Runtime> over(std::vector<std::shared_ptr<Backend>> backends, RuntimeOptions options = {});

  explicit operator bool() const noexcept { return static_cast<bool>(owner_); }
  // The first of devices().
  Device device() const;
  std::vector<Device> devices() const;
  // The device in words, such as "cpu (AMD EPYC, 2 threads)"; several with ", " between them.
  std::string device_description() const;
  // How many narrow predictions run at once, those of all predictors and on all devices together.
  int capacity() const noexcept;
  // Of the first device. Valid as long as a handle to this runtime lives.
  Backend& backend() const noexcept;

 private:
  friend class Predictor;
  explicit Runtime(std::shared_ptr<internal::RuntimeOwner> owner) noexcept : owner_(std::move(owner)) {}
  std::shared_ptr<internal::RuntimeOwner> owner_;
};

}  // namespace inflight
