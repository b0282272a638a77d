// SPDX-License-Identifier: Apache-2.0
// A device that computes nothing, takes a scripted time and fails on command. With it, tests and benchmarks
// check scheduling, faults and the library's own cost without a real device.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>

#include "inflight/backend.h"
#include "inflight/clock.h"

namespace inflight {

namespace internal {
class NullDevice;
}  // namespace internal

// What the null device does. Several threads may call the functions at once; `launch` counts the launches of
// the whole program from 0. If one throws, the call that it belongs to fails.
struct NullScript {
  // How long launch number `launch` takes at this width; null: no time at all.
  std::function<Duration(std::uint64_t launch, Width width)> service_time = {};
  // How the launch ends; null: ok. A failure here is the outcome after the word was stored.
  std::function<Status(std::uint64_t launch)> outcome = {};
  // Whether launch() itself refuses to start; null: never.
  std::function<Status(std::uint64_t launch)> launch_error = {};
  // True: launch() only enqueues, and a thread of the device stores the word later, as a GPU would. Launches
  // may then come after others.
  bool asynchronous = false;
  // True: a launch can be stopped, and then finishes at once. Not while one of these functions runs.
  bool stoppable = false;
  int index = 0;  // of the device: "null:1" has 1
  // True: outputs are in memory of the device, which the host cannot read.
  bool device_memory = false;
  int concurrency_wide = 1;
  int concurrency_medium = 0;  // 0: it has no such width
  int concurrency_narrow = 4;  // the largest of the three is the device's capacity
  // Whether an elastic program has the wide width and the medium one (CompileOptions::elastic).
  bool elastic = false;
  // What compile() says of its tuning, after it told of so many steps; nothing: it does not tune. The level is the one
  // that was asked for.
  std::optional<Tuning> tuning = {};
  std::size_t tuned_steps = 0;
  // The clock on which service times are slept; with a ManualClock no thread really sleeps.
  const Clock* clock = &steady_clock();
};

// The lowest byte of each element of an output is the first byte of the first input, and the others are zero,
// so a test can tell which frame a result belongs to. The device reads its input when it computes, not when
// it is launched.
class NullBackend : public Backend {
 public:
  explicit NullBackend(NullScript script);
  ~NullBackend() override;
  std::string_view name() const noexcept override { return "null"; }
  Device device() const noexcept override;
  std::string device_description() const override { return device().to_string(); }
  int capacity() const noexcept override;
  bool launch_blocks() const noexcept override;
  bool orders_launches() const noexcept override { return !launch_blocks(); }
  bool reads(Device memory) const noexcept override { return memory.is_host() || memory == device(); }
  std::shared_ptr<Allocator> output_allocator() override;
  std::shared_ptr<Allocator> device_allocator() override;
  Result<std::shared_ptr<Program>> compile(const Model& model, const CompileOptions& options) override;
  Status device_status() override;

  // Loses the device: from now on no launch of any of its programs completes, and device_status() returns
  // `why`.
  void lose_device(Status why);
  // How many launches the asynchronous device has finished.
  std::uint64_t finished() const noexcept;

 private:
  const std::shared_ptr<internal::NullDevice> device_;
};

}  // namespace inflight
