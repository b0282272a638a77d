// SPDX-License-Identifier: Apache-2.0
// The primitives below any engine: one thread tells another through a word, and is told back. Whoever waits
// spins, or sleeps on the futex. The three ways to wait cost no wake, one wake (of the one who waits: the
// worker spins), and two (of the worker, then of the one who waits).
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <climits>
#include <thread>

#include "workload.h"

namespace bench_engine {
namespace {

class Word {
 public:
  std::uint32_t load() const { return value_.load(std::memory_order_acquire); }
  void store(std::uint32_t value, bool wake) {
    value_.store(value, std::memory_order_release);
    if (wake) call(FUTEX_WAKE_PRIVATE, INT_MAX);
  }
  void wait_for(std::uint32_t value, bool sleep) {
    for (std::uint32_t now = load(); now != value; now = load()) {
      if (sleep) call(FUTEX_WAIT_PRIVATE, now);
    }
  }

 private:
  void call(int operation, std::uint32_t value) {
    syscall(SYS_futex, reinterpret_cast<std::uint32_t*>(&value_), operation, value, nullptr, nullptr, 0);
  }
  alignas(64) std::atomic<std::uint32_t> value_{0};
};

class Futex final : public Peer {
 public:
  std::string name() const override { return "bare words and futexes"; }
  void start(int) override {}
  std::string refuses(const std::string& workload, int threads) const override {
    if (!workload.starts_with("latency_")) return "is no engine";
    return threads == 1 ? "" : "is two threads";
  }
  void run(Job&) override {}

  void latency(Samples& samples) override {
    const bool waiter_sleeps = !samples.spins();
    const bool worker_sleeps = samples.wait() == Wait::kParkIdle;
    std::atomic<bool> stopping{false};
    Word there;
    Word back;
    std::thread worker([&] {
      for (std::uint32_t i = 1;; ++i) {
        there.wait_for(i, worker_sleeps);
        if (stopping.load(std::memory_order_relaxed)) return;
        back.store(i, waiter_sleeps);
      }
    });
    std::uint32_t last = 0;
    while (samples.more()) {
      samples.start();
      there.store(++last, worker_sleeps);
      back.wait_for(last, waiter_sleeps);
      samples.stop();
    }
    stopping.store(true, std::memory_order_relaxed);
    there.store(last + 1, worker_sleeps);
    worker.join();
  }
};

}  // namespace

std::vector<std::unique_ptr<Peer>> make_peers(const std::string&) {
  std::vector<std::unique_ptr<Peer>> peers;
  peers.push_back(std::make_unique<Futex>());
  return peers;
}

}  // namespace bench_engine
