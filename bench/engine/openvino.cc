// SPDX-License-Identifier: Apache-2.0
// OpenVINO's start_async of the smallest network: the cost of submit to ready without our library. It orders
// nothing, so it has only those rows and that of one look.
#include <openvino/openvino.hpp>
#include <openvino/opsets/opset13.hpp>

#include "workload.h"

namespace bench_engine {
namespace {

class OpenVino final : public Peer {
 public:
  std::string name() const override { return "OpenVINO start_async"; }
  void start(int threads) override {
    namespace ops = ov::opset13;
    const auto input = std::make_shared<ops::Parameter>(ov::element::f32, ov::PartialShape{1});
    const auto one = ops::Constant::create(ov::element::f32, {}, {1.F});
    const auto sum = std::make_shared<ops::Add>(input, one);
    const auto model =
        std::make_shared<ov::Model>(ov::OutputVector{sum->output(0)}, ov::ParameterVector{input});
    compiled_ = core_.compile_model(model, "CPU", ov::num_streams(1), ov::inference_num_threads(threads));
  }
  std::string refuses(const std::string& workload, int threads) const override {
    if (!workload.starts_with("latency_") && !workload.starts_with("poll_")) return "orders no tasks";
    if (workload == "poll_10000_pending") return "has one inference a request";
    return threads == 1 ? "" : "is one inference at a time";
  }
  void run(Job&) override {}

  void latency(Samples& samples) override {
    ov::InferRequest request = compiled_.create_infer_request();
    request.infer();
    std::atomic<bool> done{false};
    if (samples.spins()) {
      request.set_callback([&done](std::exception_ptr) { done.store(true, std::memory_order_release); });
    }
    while (samples.more()) {
      done.store(false, std::memory_order_relaxed);
      samples.start();
      request.start_async();
      if (samples.spins()) {
        while (!done.load(std::memory_order_acquire)) {
        }
        samples.stop();
        request.wait();
      } else {
        request.wait();
        samples.stop();
      }
    }
  }

  // It looks at a request that is done, because a request cannot be held up. That is less work than a look at
  // one that is pending.
  double poll_ns(std::size_t) override {
    ov::InferRequest request = compiled_.create_infer_request();
    request.start_async();
    request.wait();
    return time_looks([&] { return request.wait_for(std::chrono::milliseconds(0)); });
  }

 private:
  ov::Core core_;
  ov::CompiledModel compiled_;
};

}  // namespace

std::vector<std::unique_ptr<Peer>> make_peers(const std::string&) {
  std::vector<std::unique_ptr<Peer>> peers;
  peers.push_back(std::make_unique<OpenVino>());
  return peers;
}

}  // namespace bench_engine
