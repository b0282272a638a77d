// SPDX-License-Identifier: Apache-2.0
// The device "null" for the tests of the Python package: it takes INFLIGHT_TEST_NULL_MS milliseconds for each
// prediction, runs INFLIGHT_TEST_NULL_LANES at once, one after the other where that is not said, and fails
// each whose number is a multiple of INFLIGHT_TEST_NULL_FAILS. There are any number of them. All but the first are
// lost at launch number INFLIGHT_TEST_NULL_LOST_AT. With INFLIGHT_TEST_NULL_TUNES it says that it has tuned.
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <memory>
#include <string>
#include <utility>

#include "backends/null/null_backend.h"
#include "backends/null/null_memory.h"
#include "inflight/plugin.h"

namespace inflight {
namespace {

std::uint64_t setting(const char* name, std::uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

class MortalBackend final : public NullBackend {
 public:
  MortalBackend(NullScript script, std::shared_ptr<std::atomic<bool>> dead)
      : NullBackend(std::move(script)), dead_(std::move(dead)) {}
  Status device_status() override { return *dead_ ? cause(device()) : Status(); }
  static Status cause(Device device) {
    return Status(StatusCode::kDeviceError, device.to_string() + " fell off the bus");
  }

 private:
  const std::shared_ptr<std::atomic<bool>> dead_;
};

Result<std::shared_ptr<Backend>> make_slow_backend(Device device) {
  const auto time = std::chrono::milliseconds(setting("INFLIGHT_TEST_NULL_MS", 5));
  const std::uint64_t fails = setting("INFLIGHT_TEST_NULL_FAILS", 0);
  NullScript script;
  script.service_time = [time](std::uint64_t, Width) { return Duration(time); };
  if (fails > 0) {
    script.outcome = [fails](std::uint64_t launch) {
      if (launch % fails != 0) return Status();
      return Status(StatusCode::kDeviceError, "fails on command");
    };
  }
  script.concurrency_narrow = static_cast<int>(setting("INFLIGHT_TEST_NULL_LANES", 1));
  if (setting("INFLIGHT_TEST_NULL_TUNES", 0) > 0) script.tuning = Tuning{TuneLevel::kFast, 1.5, 0.25, false};
  script.index = device.index();
  const auto dead = std::make_shared<std::atomic<bool>>(false);
  const std::uint64_t lost_at = device.index() == 0 ? 0 : setting("INFLIGHT_TEST_NULL_LOST_AT", 0);
  if (lost_at > 0) {
    script.launch_error = [=](std::uint64_t launch) {
      if (launch + 1 >= lost_at) *dead = true;
      return *dead ? MortalBackend::cause(device) : Status();
    };
  }
  return std::shared_ptr<Backend>(std::make_shared<MortalBackend>(std::move(script), dead));
}

Result<std::shared_ptr<DeviceMemory>> make_memory(Device device) {
  return std::shared_ptr<DeviceMemory>(std::make_shared<NullMemory>(device));
}

Result<int> count() { return 2; }

}  // namespace
}  // namespace inflight

INFLIGHT_BACKEND_PLUGIN("null", inflight::make_slow_backend, nullptr, inflight::make_memory, inflight::count)
