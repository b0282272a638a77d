// SPDX-License-Identifier: Apache-2.0
// The primitives below any engine: one thread stores a word, and the other one spins on it or sleeps on its
// futex.
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

// There and back: the least that submit to ready through another thread can cost.
class RoundTrip final : public Peer {
 public:
  std::string name() const override { return "bare words, there and back"; }
  void start(int) override {}
  std::string refuses(const std::string& workload, int threads) const override {
    if (!workload.starts_with("latency_")) return "is no engine";
    return threads == 1 ? "" : "is two threads";
  }
  void run(Job&) override {}

  void latency(Samples& samples) override {
    const bool sleep = !samples.spins();
    std::atomic<bool> stopping{false};
    Word there;
    Word back;
    std::thread worker([&] {
      for (std::uint32_t i = 1;; ++i) {
        there.wait_for(i, sleep);
        if (stopping.load(std::memory_order_relaxed)) return;
        back.store(i, sleep);
      }
    });
    std::uint32_t last = 0;
    while (samples.more()) {
      samples.start();
      there.store(++last, sleep);
      back.wait_for(last, sleep);
      samples.stop();
    }
    stopping.store(true, std::memory_order_relaxed);
    there.store(last + 1, true);
    worker.join();
  }
};

// From before the wake to the first instruction of the thread that slept, which reads the clock.
class OneWake final : public Peer {
 public:
  std::string name() const override { return "one futex wake"; }
  void start(int) override {}
  std::string refuses(const std::string& workload, int threads) const override {
    if (workload != "latency_park" && workload != "latency_idle_park") return "is no engine";
    return threads == 1 ? "" : "is two threads";
  }
  void run(Job&) override {}

  void latency(Samples& samples) override {
    std::atomic<bool> stopping{false};
    std::atomic<Clock::time_point> woken;
    Word there;
    Word about_to_sleep;
    std::thread worker([&] {
      for (std::uint32_t i = 1; !stopping.load(std::memory_order_relaxed); ++i) {
        about_to_sleep.store(i, false);
        there.wait_for(i, true);
        woken.store(Clock::now(), std::memory_order_relaxed);
      }
      about_to_sleep.store(~std::uint32_t{0}, false);
    });
    std::uint32_t last = 0;
    while (samples.more()) {
      about_to_sleep.wait_for(++last, false);
      // The other thread needs a while to fall asleep.
      const Clock::time_point from = Clock::now();
      while (ns_since(from) < 2e4) {
      }
      samples.start();
      there.store(last, true);
      about_to_sleep.wait_for(last + 1, false);
      samples.add(
          std::chrono::duration<double, std::nano>(woken.load(std::memory_order_relaxed) - samples.started())
              .count());
    }
    stopping.store(true, std::memory_order_relaxed);
    there.store(last + 1, true);
    worker.join();
  }
};

}  // namespace

std::vector<std::unique_ptr<Peer>> make_peers(const std::string&) {
  std::vector<std::unique_ptr<Peer>> peers;
  peers.push_back(std::make_unique<RoundTrip>());
  peers.push_back(std::make_unique<OneWake>());
  return peers;
}

}  // namespace bench_engine
