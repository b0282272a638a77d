// SPDX-License-Identifier: Apache-2.0
// Ours: the threaded engine, and the naive one, which runs everything inside push.
#include <latch>
#include <thread>

#include "inflight/engine.h"
#include "inflight/ndarray.h"
#include "workload.h"

namespace bench_engine {
namespace {

using namespace inflight;  // NOLINT: a benchmark

NDArray one_float() {
  const float value = 0;
  return NDArray::copy_of({&value, DType::kF32, Shape{1}}).value();
}

Result<NDArray> write_nothing(MutableNDArray& array) {
  return array.write({}, [](std::span<const TensorView>, const MutableTensorView&) { return Status(); });
}

class Inflight final : public Peer {
 public:
  explicit Inflight(bool naive) : naive_(naive) {}
  std::string name() const override { return naive_ ? "inflight, naive" : "inflight"; }
  void start(int threads) override {
    engine_ = naive_ ? *make_naive_engine() : *make_threaded_engine({.threads = threads});
  }
  std::string refuses(const std::string& workload, int threads) const override {
    if (!naive_) return "";
    if (threads > 1) return "has no threads";
    return workload == "pending" || workload.starts_with("poll_") ? "nothing is ever pending"
           : workload == "idle"                                   ? "has no threads"
                                                                  : "";
  }

  void run(Job& job) override {
    const Graph& graph = job.graph();
    std::vector<Var> vars;
    for (std::uint32_t i = 0; i < graph.variables; ++i) vars.push_back(Var::make());
    job.start_clock();
    for (std::size_t task = 0; task < graph.size(); ++task) {
      OpOptions options;
      const auto reads = graph.reads_of(task);
      for (const std::uint32_t read : reads) options.reads.push_back(vars[read]);
      if (graph.writes[task] != kNothing) options.writes.push_back(vars[graph.writes[task]]);
      const Status status = engine_->push(
          [&job, task] {
            job.run(task);
            return Status();
          },
          std::move(options));
      if (!status.ok()) std::abort();
    }
    job.pushed();
    engine_->drain();
    job.finished();
  }

  void latency(Samples& samples) override {
    MutableNDArray array(*engine_, one_float());
    while (samples.more()) {
      samples.start();
      const NDArray version = write_nothing(array).value();
      if (samples.spins()) {
        while (!version.can_read()) {
        }
      } else {
        static_cast<void>(version.wait());
      }
      samples.stop();
    }
    engine_->drain();
  }

  double poll_ns(std::size_t pending) override {
    std::latch open(1);
    MutableNDArray first(*engine_, one_float());
    const NDArray gate = first
                             .write({},
                                    [&](std::span<const TensorView>, const MutableTensorView&) {
                                      open.wait();
                                      return Status();
                                    })
                             .value();
    std::vector<std::unique_ptr<MutableNDArray>> names;
    std::vector<NDArray> arrays;
    for (std::size_t i = 0; i <= pending; ++i) {
      names.push_back(std::make_unique<MutableNDArray>(*engine_, one_float()));
      arrays.push_back(
          names.back()
              ->write({gate}, [](std::span<const TensorView>, const MutableTensorView&) { return Status(); })
              .value());
    }
    const double ns = time_looks([&] { return arrays.back().can_read(); });
    open.count_down();
    engine_->drain();
    return ns;
  }

 private:
  const bool naive_;
  std::unique_ptr<Engine> engine_;
};

}  // namespace

std::vector<std::unique_ptr<Peer>> make_peers(const std::string&) {
  std::vector<std::unique_ptr<Peer>> peers;
  peers.push_back(std::make_unique<Inflight>(false));
  peers.push_back(std::make_unique<Inflight>(true));
  return peers;
}

}  // namespace bench_engine
