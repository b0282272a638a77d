// SPDX-License-Identifier: Apache-2.0
// The device "tunes": as null, but its compile() tunes for a second, and it says which operators it can compute, which
// is Relu alone. There is no other of its kind, such as "tunes:1".
#include <thread>
#include <utility>

#include "backends/null/null_backend.h"
#include "inflight/plugin.h"

namespace inflight {
namespace {

constexpr std::size_t kSteps = 40;

NullScript script() {
  NullScript script;
  script.tuning = Tuning{TuneLevel::kFast, 1.0, 0.25, false};
  return script;
}

class TuningBackend final : public Backend {
 public:
  std::string_view name() const noexcept override { return "tunes"; }
  Device device() const noexcept override { return Device::parse("tunes").value(); }
  std::string device_description() const override { return "tunes"; }
  int capacity() const noexcept override { return null_.capacity(); }
  bool launch_blocks() const noexcept override { return null_.launch_blocks(); }
  Status device_status() override { return null_.device_status(); }
  Result<std::shared_ptr<Program>> compile(const Model& model, const CompileOptions& options) override {
    for (std::size_t done = 1; done <= kSteps && options.tune != TuneLevel::kOff; ++done) {
      std::this_thread::sleep_for(std::chrono::milliseconds(25));
      if (options.progress) options.progress({true, done, kSteps, 0.25});
    }
    return null_.compile(model, options);
  }

 private:
  NullBackend null_{script()};
};

Result<std::shared_ptr<Backend>> make(Device device) {
  if (device.index() != 0) return Status(StatusCode::kNoSuchDevice, "there is one such device");
  return std::shared_ptr<Backend>(std::make_shared<TuningBackend>());
}

Result<Coverage> coverage(const Model* model) {
  Coverage coverage;
  if (model == nullptr) {
    coverage.operators.push_back({"Relu", "opset1", 0, 0, "", ""});
    return coverage;
  }
  for (const auto& [type, count] : model->summary().operators) {
    const bool covered = type == "Relu";
    coverage.operators.push_back({type, "opset1", count, covered ? 0 : count, covered ? "" : "some node",
                                  covered ? "" : "only Relu is known"});
  }
  return coverage;
}

}  // namespace
}  // namespace inflight

INFLIGHT_BACKEND_PLUGIN("tunes", inflight::make, inflight::coverage)
