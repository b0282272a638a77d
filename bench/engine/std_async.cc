// SPDX-License-Identifier: Apache-2.0
// std::async: libstdc++ starts a thread for each task, so at most 64 tasks are out at once, and the number of
// threads cannot be chosen.
#include <deque>
#include <future>

#include "workload.h"

namespace bench_engine {
namespace {

class StdAsync final : public Peer {
 public:
  std::string name() const override { return "std::async"; }
  void start(int) override {}
  std::string refuses(const std::string& workload, int threads) const override {
    if (threads != 1) return "starts a thread a task";
    if (workload.starts_with("latency_") || workload.starts_with("poll_") || workload == "independent")
      return "";
    return workload == "idle" ? "has no threads" : "has no dependencies";
  }
  std::size_t tasks_max(const std::string&) const override { return 5'000; }

  void run(Job& job) override {
    std::deque<std::future<void>> out;
    for (std::size_t task = 0; task < job.graph().size(); ++task) {
      if (out.size() == 64) {
        out.front().get();
        out.pop_front();
      }
      out.push_back(std::async(std::launch::async, [&job, task] { job.run(task); }));
    }
    job.pushed();
    for (std::future<void>& future : out) future.get();
  }

  void latency(Samples& samples) override {
    while (samples.more()) {
      samples.start();
      const std::future<void> future = std::async(std::launch::async, [] {});
      if (samples.spins()) {
        while (future.wait_for(std::chrono::seconds(0)) != std::future_status::ready) {
        }
      } else {
        future.wait();
      }
      samples.stop();
    }
  }

  double poll_ns(std::size_t pending) override {
    std::vector<std::promise<void>> promises(pending + 1);
    std::vector<std::future<void>> futures;
    for (std::promise<void>& promise : promises) futures.push_back(promise.get_future());
    return time_looks(
        [&] { return futures.back().wait_for(std::chrono::seconds(0)) == std::future_status::ready; });
  }
};

}  // namespace

std::vector<std::unique_ptr<Peer>> make_peers(const std::string&) {
  std::vector<std::unique_ptr<Peer>> peers;
  peers.push_back(std::make_unique<StdAsync>());
  return peers;
}

}  // namespace bench_engine
