// SPDX-License-Identifier: Apache-2.0
// The contract between the workloads and the engines that run them. A workload is a list of tasks, each with
// the variables it reads and the one it writes. A peer pushes them, in order and from one thread, to an
// engine. The result must be the same as that of running them one after another.
#pragma once

#include <time.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace bench_engine {

using Clock = std::chrono::steady_clock;
inline double ns_since(Clock::time_point from) {
  return std::chrono::duration<double, std::nano>(Clock::now() - from).count();
}

constexpr std::uint32_t kNothing = ~std::uint32_t{0};

// Which tasks, by the variables that they name. None names a variable twice.
struct Graph {
  std::string workload;
  std::uint32_t variables = 0;
  std::vector<std::uint32_t> reads;       // of all tasks, one after another
  std::vector<std::uint32_t> first_read;  // one more than tasks
  std::vector<std::uint32_t> writes;      // kNothing where the task writes nothing

  std::size_t size() const { return writes.size(); }
  std::span<const std::uint32_t> reads_of(std::size_t task) const {
    return {reads.data() + first_read[task], reads.data() + first_read[task + 1]};
  }
};

// One run of a graph: what its tasks do, and when the last one was pushed. The work is the same for every
// peer: a few instructions, whose result depends on the order in which the tasks used each variable.
class Job {
 public:
  Job(const Graph& graph, bool gated);

  const Graph& graph() const { return graph_; }
  // The body of a task. Called once for each, on any thread.
  void run(std::size_t task);
  // The time counts from before Peer::run to its end, unless the peer narrows it to what the engine does:
  // start_clock() again once it has prepared, finished() before it tidies up.
  void start_clock();
  void finished();
  // Called by the peer after it has pushed every task, before it waits.
  void pushed();
  // A number of its own for each variable, and an address for it.
  std::uint64_t& cell(std::uint32_t variable) { return cells_[variable].value; }

  // Runs everything in order on the calling thread: the result that every peer has to reproduce.
  void run_in_order();
  // What differs; empty: both ended alike.
  std::string differs_from(const Job& oracle) const;
  double push_ns() const { return push_ns_; }
  double total_ns() const { return total_ns_; }
  double bytes() const { return bytes_; }

 private:
  // On a line of its own: the engine is measured, not how two cores share a line.
  struct alignas(64) Cell {
    std::uint64_t value = 0;
  };
  const Graph& graph_;
  std::vector<Cell> cells_;
  std::vector<std::uint64_t> seen_;  // what each task computed; 0: it did not run
  // A gated job's first task waits until all are pushed, and all others wait for it.
  std::atomic<bool> open_;
  Clock::time_point started_;
  double push_ns_ = 0;
  double total_ns_ = 0;
  double bytes_before_ = 0;
  double bytes_ = 0;
};

// How the thread that pushed an empty operation waits for it: it looks again and again, or it uses the peer's
// own way of waiting, which may be to run the operation itself (OpenMP, oneTBB). kParkIdle: the engine gets
// no work for a while before each operation, so that its workers are parked, too.
enum class Wait { kSpin, kPark, kParkIdle };

// How long each of a series of empty operations took, one at a time, from before its submission until the
// thread that submitted it has seen that it is done.
//   for (Samples samples(...); samples.more();) { samples.start(); submit(); wait(); samples.stop(); }
class Samples {
 public:
  Samples(Wait wait, std::size_t count) : wait_(wait), count_(count) {}
  Wait wait() const { return wait_; }
  bool spins() const { return wait_ == Wait::kSpin; }
  // As many as wanted, or as many as fit into two seconds: on a busy machine a spin can take milliseconds.
  bool more() const { return ns_.size() < count_ && ns_since(began_) < 2e9; }
  void start();
  void stop() { add(ns_since(start_)); }
  Clock::time_point started() const { return start_; }
  // Instead of stop(), if another thread measured the time.
  void add(double ns) { ns_.push_back(ns); }
  std::vector<double> take_sorted();

 private:
  const Wait wait_;
  const std::size_t count_;
  const Clock::time_point began_ = Clock::now();
  Clock::time_point start_;
  std::vector<double> ns_;
};

class Peer {
 public:
  virtual ~Peer() = default;
  virtual std::string name() const = 0;
  //   threads   how many run tasks; the engine decides whether the thread that pushes is one of them
  virtual void start(int threads) = 0;

  // Why it cannot run such a graph; empty: it can.
  virtual std::string refuses(const std::string& workload, int threads) const = 0;
  // More would take minutes, or all memory.
  virtual std::size_t tasks_max(const std::string&) const { return 1'000'000; }
  // Pushes every task, calls job.pushed(), and waits until all have run.
  virtual void run(Job& job) = 0;

  // Submit to ready of empty operations, with one worker.
  virtual void latency(Samples&) {}
  // Nanoseconds (of CPU) of one look at an operation that is not ready, while `pending` others are not ready
  // either. Called only for peers that do not refuse.
  virtual double poll_ns(std::size_t) { return 0; }
};

// What the peer of this program is; one of them links with the driver. `library`: from the command line.
std::vector<std::unique_ptr<Peer>> make_peers(const std::string& library);

// Keeps the compiler from dropping a value that no code reads.
template <typename T>
inline void keep(const T& value) {
  asm volatile("" : : "r,m"(value) : "memory");
}

// The processor time that the calling thread has used.
inline double cpu_ns() {
  timespec used{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
  return static_cast<double>(used.tv_sec) * 1e9 + static_cast<double>(used.tv_nsec);
}

// The mean of looking for about 50 ms.
template <typename Look>
double time_looks(Look look) {
  constexpr int kLooks = 10'000;
  int rounds = 0;
  const double start = cpu_ns();
  double elapsed = 0;
  do {
    for (int i = 0; i < kLooks; ++i) keep(look());
    ++rounds;
    elapsed = cpu_ns() - start;
  } while (elapsed < 5e7);
  return elapsed / (static_cast<double>(rounds) * kLooks);
}

}  // namespace bench_engine
