// SPDX-License-Identifier: Apache-2.0
// OpenVINO's own asynchronous requests, as its documentation uses them; CONFIG is the performance hint, "latency" or
// "throughput". There is a request for each frame in flight, so what waits is in OpenVINO's own queue.
#include <openvino/openvino.hpp>

#include <condition_variable>
#include <deque>
#include <exception>
#include <mutex>
#include <thread>
#include <utility>

#include "load/predictor_target.h"
#include "worker.h"

namespace bench_load {
namespace {

using namespace inflight;
using inflight::load::End;

class OpenvinoTarget final : public load::Target {
 public:
  OpenvinoTarget(const std::string& model, const std::string& precision, const std::string& hint, int limit) {
    ov::AnyMap config = {
        ov::hint::performance_mode(hint == "latency" ? ov::hint::PerformanceMode::LATENCY
                                                     : ov::hint::PerformanceMode::THROUGHPUT),
        ov::hint::inference_precision(precision == "bf16" ? ov::element::bf16 : ov::element::f32)};
    compiled_ = core_.compile_model(core_.read_model(model), "CPU", config);
    const ov::Output<const ov::Node> input = compiled_.input();
    input_ = ov::Tensor(input.get_element_type(), input.get_shape());
    for (std::size_t k = 0; k < input_.get_size(); ++k)
      input_.data<float>()[k] = static_cast<float>(k * 7919 % 1000) / 1000;
    slots_.resize(static_cast<std::size_t>(limit));
    for (std::size_t i = 0; i < slots_.size(); ++i) {
      slots_[i].request = compiled_.create_infer_request();
      slots_[i].request.set_input_tensor(input_);
      slots_[i].request.set_callback(
          [this, i](const std::exception_ptr& error) { ended(i, error != nullptr); });
      free_.push_back(i);
    }
  }

  ~OpenvinoTarget() override {
    for (Slot& slot : slots_) slot.request.wait();
  }

  Result<bool> start(std::uint64_t index, int /*stream*/, TimePoint /*due*/) override {
    std::size_t i = 0;
    {
      const std::lock_guard lock(mutex_);
      if (free_.empty()) return false;
      i = free_.front();
      free_.pop_front();
    }
    slots_[i].index = index;
    try {
      // The callback comes before the request is idle.
      slots_[i].request.wait();
      slots_[i].request.start_async();
    } catch (const std::exception& error) {
      return Status(StatusCode::kException, error.what());
    }
    return true;
  }

  void take(std::vector<End>& ends) override {
    const std::lock_guard lock(mutex_);
    ends.insert(ends.end(), ended_.begin(), ended_.end());
    ended_.clear();
  }

  void wait_until(TimePoint when) override {
    std::unique_lock lock(mutex_);
    waits_ = true;
    some_.wait_until(lock, when, [this] { return !ended_.empty(); });
    waits_ = false;
  }

  std::vector<float> scores() {
    ov::InferRequest request = compiled_.create_infer_request();
    request.set_input_tensor(input_);
    request.infer();
    const ov::Tensor output = request.get_output_tensor(0);
    const auto* const values = output.data<const float>();
    return {values, values + output.get_size()};
  }
  int threads() const { return compiled_.get_property(ov::inference_num_threads); }

 private:
  struct Slot {
    ov::InferRequest request;
    std::uint64_t index = 0;
  };

  void ended(std::size_t i, bool failed) {
    const TimePoint now = steady_clock().now();
    const std::lock_guard lock(mutex_);
    ended_.push_back({.index = slots_[i].index,
                      .outcome = failed ? Outcome::kFailed : Outcome::kCompleted,
                      .finished = now});
    free_.push_back(i);
    if (waits_) some_.notify_one();
  }

  ov::Core core_;
  ov::CompiledModel compiled_;
  ov::Tensor input_;
  std::mutex mutex_;
  std::condition_variable some_;
  bool waits_ = false;
  std::deque<std::size_t> free_;  // the one that has been idle for longest first
  std::vector<End> ended_;
  std::vector<Slot> slots_;  // last: its requests end before what their callbacks use
};

}  // namespace

Result<System> make_system(const Wanted& wanted) {
  if (wanted.config != "latency" && wanted.config != "throughput")
    return Status(StatusCode::kInvalidArgument, "got " + wanted.config + ", want latency or throughput");
  try {
    auto target =
        std::make_unique<OpenvinoTarget>(wanted.model, wanted.precision, wanted.config, wanted.limit);
    const int threads = target->threads();
    std::vector<float> scores = target->scores();
    return System{"openvino " + wanted.config, threads, std::move(scores), std::move(target)};
  } catch (const std::exception& error) {
    return Status(StatusCode::kException, error.what());
  }
}

}  // namespace bench_load
