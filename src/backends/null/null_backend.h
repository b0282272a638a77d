// SPDX-License-Identifier: Apache-2.0
// A device that computes nothing, takes a scripted time and fails on command: scheduling, faults and the
// engine's own cost are tested and measured without a real one.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "inflight/backend.h"
#include "inflight/clock.h"

namespace inflight {

// What the null device does. The functions may be called from several threads at once; `launch` counts the
// launches of the whole program from 0.
struct NullScript {
  // How long launch number `launch` takes at this width; null: no time at all.
  std::function<Duration(std::uint64_t launch, Width width)> service_time;
  // How it ends; null: ok. A failure here is the outcome after the word was stored.
  std::function<Status(std::uint64_t launch)> outcome;
  // Whether launch() itself refuses to start; null: never.
  std::function<Status(std::uint64_t launch)> launch_error;
  // True: launch() only enqueues, and a thread of the device's own stores the word later, as a GPU would.
  bool asynchronous = false;
  int concurrency_wide = 1;
  int concurrency_narrow = 4;
  // What time is taken from and slept on; with a ManualClock nothing really sleeps.
  const Clock* clock = &steady_clock();
};

// Outputs: each element of output i is set to the first byte of the first input (as a sign of whose frame it
// was) in its lowest byte, and zero elsewhere, so that a result can be told from another's.
class NullBackend final : public Backend {
 public:
  explicit NullBackend(NullScript script);
  std::string_view name() const noexcept override { return "null"; }
  std::string device_description() const override { return "null"; }
  Result<std::shared_ptr<Program>> compile(const Model& model, const CompileOptions& options) override;

  // Takes the device away: from now on no launch of any of its programs completes, and device_status() says
  // so.
  void lose_device(Status why);

 private:
  struct Shared;
  friend class NullProgram;  // for Shared
  std::shared_ptr<Shared> shared_;
};

}  // namespace inflight
