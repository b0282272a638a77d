// SPDX-License-Identifier: Apache-2.0
// The program around the peers. It makes a workload, checks the peer on it, then times the peer on it, and
// prints one JSON object. One process measures one peer on one workload, so that no two runtimes share
// threads, and engine.py can let all of them take turns.
#include <malloc.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <random>
#include <thread>

#include "workload.h"

namespace bench_engine {
namespace {

std::uint64_t mix(std::uint64_t a, std::uint64_t b) {
  return (a ^ b) * 0x9E3779B97F4A7C15U + 0x7F4A7C15U;  // does not commute: order shows
}

double resident_bytes() {
  std::ifstream statm("/proc/self/statm");
  double total = 0;
  double resident = 0;
  statm >> total >> resident;
  return resident * static_cast<double>(sysconf(_SC_PAGESIZE));
}

void add(Graph& graph, std::initializer_list<std::uint32_t> reads, std::uint32_t write) {
  graph.reads.insert(graph.reads.end(), reads);
  graph.first_read.push_back(static_cast<std::uint32_t>(graph.reads.size()));
  graph.writes.push_back(write);
}

// Up to three reads and one write each, of 256 variables; the same graph in every process.
void add_random(Graph& graph, std::size_t tasks) {
  std::mt19937 random(1);
  for (std::size_t i = 0; i < tasks; ++i) {
    const std::uint32_t write = random() % graph.variables;
    std::vector<std::uint32_t> named{write};
    for (std::uint32_t left = random() % 4; left > 0; --left) {
      const std::uint32_t read = random() % graph.variables;
      if (std::find(named.begin(), named.end(), read) == named.end()) named.push_back(read);
    }
    graph.reads.insert(graph.reads.end(), named.begin() + 1, named.end());
    graph.first_read.push_back(static_cast<std::uint32_t>(graph.reads.size()));
    graph.writes.push_back(write);
  }
}

Graph make_graph(const std::string& workload, std::size_t tasks) {
  Graph graph;
  graph.workload = workload;
  graph.first_read.push_back(0);
  if (workload == "independent") {
    for (std::size_t i = 0; i < tasks; ++i) add(graph, {}, kNothing);
  } else if (workload == "chain") {
    graph.variables = 1;
    for (std::size_t i = 0; i < tasks; ++i) add(graph, {}, 0);
  } else if (workload == "64_variables") {
    graph.variables = 64;
    for (std::size_t i = 0; i < tasks; ++i) add(graph, {}, static_cast<std::uint32_t>(i % 64));
  } else if (workload == "1_writer_8_readers") {
    graph.variables = 1;
    for (std::size_t i = 0; i < tasks; ++i) {
      if (i % 9 == 0)
        add(graph, {}, 0);
      else
        add(graph, {0}, kNothing);
    }
  } else if (workload == "random_dag") {
    graph.variables = 256;
    add_random(graph, tasks);
  } else if (workload == "pending") {
    graph.variables = 1;
    add(graph, {}, 0);
    for (std::size_t i = 0; i < tasks; ++i) add(graph, {0}, kNothing);
  } else {
    std::fprintf(stderr, "no workload %s\n", workload.c_str());
    std::exit(2);
  }
  return graph;
}

double quantile(const std::vector<double>& sorted, double share) {
  return sorted[static_cast<std::size_t>(share * static_cast<double>(sorted.size() - 1))];
}

void print_null_or(const char* key, double value) {
  if (value < 0)
    std::printf(", \"%s\": null", key);
  else
    std::printf(", \"%s\": %.3f", key, value);
}

struct Row {
  double ns_per_task = -1, push_ns = -1, p50_ns = -1, p99_ns = -1, bytes_per_task = -1, idle_percent = -1;
  std::size_t tasks = 0;
};

void print_row(const std::string& workload, const std::string& peer, int threads, const Row& row) {
  std::printf("{\"workload\": \"%s\", \"peer\": \"%s\", \"threads\": %d", workload.c_str(), peer.c_str(),
              threads);
  print_null_or("ns_per_task", row.ns_per_task);
  print_null_or("push_ns", row.push_ns);
  print_null_or("p50_ns", row.p50_ns);
  print_null_or("p99_ns", row.p99_ns);
  print_null_or("bytes_per_task", row.bytes_per_task);
  print_null_or("idle_percent", row.idle_percent);
  std::printf(", \"tasks\": %zu}\n", row.tasks);
}

void skip(const std::string& workload, const std::string& peer, const std::string& why) {
  std::printf("{\"workload\": \"%s\", \"peer\": \"%s\", \"skipped\": \"%s\"}\n", workload.c_str(),
              peer.c_str(), why.c_str());
}

void require_same(const Job& job, const Job& oracle, const std::string& peer) {
  const std::string difference = job.differs_from(oracle);
  if (difference.empty()) return;
  std::fprintf(stderr, "%s is wrong on %s: %s\n", peer.c_str(), job.graph().workload.c_str(),
               difference.c_str());
  std::exit(1);
}

Row run_graph(Peer& peer, const std::string& workload, std::size_t tasks) {
  tasks = std::min(tasks, peer.tasks_max(workload));
  const bool gated = workload == "pending";
  const Graph graph = make_graph(workload, tasks);
  Job oracle(graph, false);
  oracle.run_in_order();
  if (gated) {
    // A small graph is enough to check, and leaves little memory that the timed run could reuse.
    const Graph small = make_graph(workload, 1'000);
    Job small_oracle(small, false);
    small_oracle.run_in_order();
    Job check(small, true);
    check.start_clock();
    peer.run(check);
    require_same(check, small_oracle, peer.name());
    malloc_trim(0);
  } else {
    Job check(graph, false);
    check.start_clock();
    peer.run(check);
    require_same(check, oracle, peer.name());
  }
  Job job(graph, gated);
  job.start_clock();
  peer.run(job);
  job.finished();
  require_same(job, oracle, peer.name());
  const auto count = static_cast<double>(graph.size());
  Row row{.ns_per_task = job.total_ns() / count, .push_ns = job.push_ns() / count, .tasks = graph.size()};
  if (gated) row.bytes_per_task = job.bytes() / count;
  return row;
}

Row run_latency(Peer& peer, Wait wait, std::size_t count) {
  Samples warm_up(wait, 20);  // threads start, pools grow
  peer.latency(warm_up);
  Samples samples(wait, count);
  peer.latency(samples);
  const std::vector<double> ns = samples.take_sorted();
  Row row;
  row.tasks = ns.size();
  row.p50_ns = quantile(ns, 0.5);
  row.p99_ns = quantile(ns, 0.99);
  return row;
}

// Of all threads of the process. The calling thread sleeps between two calls.
double process_cpu_ns() {
  timespec used{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
  return static_cast<double>(used.tv_sec) * 1e9 + static_cast<double>(used.tv_nsec);
}

// The share of one core that an engine takes after it has worked and has nothing left to do.
Row run_idle(Peer& peer, std::chrono::milliseconds time) {
  const Graph graph = make_graph("independent", 1'000);
  Job job(graph, false);
  peer.run(job);
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  const double cpu = process_cpu_ns();
  const Clock::time_point start = Clock::now();
  std::this_thread::sleep_for(time);
  return {.idle_percent = 100 * (process_cpu_ns() - cpu) / ns_since(start)};
}

void measure(Peer& peer, const std::string& workload, int threads, std::size_t tasks) {
  const bool latency = workload.starts_with("latency_");
  const bool poll = workload.starts_with("poll_");
  const std::string why = peer.refuses(workload, threads);
  if (!why.empty()) return skip(workload, peer.name(), why);
  peer.start(threads);
  Row row;
  if (latency) {
    const Wait wait = workload == "latency_spin"   ? Wait::kSpin
                      : workload == "latency_park" ? Wait::kPark
                                                   : Wait::kParkIdle;
    row = run_latency(peer, wait, tasks);
  } else if (poll) {
    row.tasks = workload == "poll_10000_pending" ? 10'000 : 0;
    row.ns_per_task = peer.poll_ns(row.tasks);
  } else if (workload == "idle") {
    row = run_idle(peer, std::chrono::milliseconds(tasks));
  } else {
    row = run_graph(peer, workload, tasks);
  }
  print_row(workload, peer.name(), threads, row);
}

}  // namespace

Job::Job(const Graph& graph, bool gated)
    : graph_(graph), cells_(graph.variables), seen_(graph.size()), open_(!gated) {}

void Job::start_clock() {
  bytes_before_ = resident_bytes();
  started_ = Clock::now();
}

void Job::finished() {
  if (total_ns_ == 0) total_ns_ = ns_since(started_);
}

void Job::run(std::size_t task) {
  if (task == 0) {
    while (!open_.load(std::memory_order_acquire)) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  std::uint64_t value = mix(seen_[task], task + 1);  // a second run would show
  for (const std::uint32_t read : graph_.reads_of(task)) value = mix(value, cells_[read].value);
  if (const std::uint32_t write = graph_.writes[task]; write != kNothing) {
    value = mix(cells_[write].value, value);
    cells_[write].value = value;
  }
  seen_[task] = value;
}

void Job::pushed() {
  push_ns_ = ns_since(started_);
  if (open_.load(std::memory_order_relaxed)) return;
  bytes_ = resident_bytes() - bytes_before_;
  open_.store(true, std::memory_order_release);
}

void Job::run_in_order() {
  for (std::size_t task = 0; task < graph_.size(); ++task) run(task);
}

std::string Job::differs_from(const Job& oracle) const {
  for (std::size_t task = 0; task < graph_.size(); ++task) {
    if (seen_[task] != oracle.seen_[task]) return "task " + std::to_string(task) + " saw another order";
  }
  for (std::uint32_t i = 0; i < graph_.variables; ++i) {
    if (cells_[i].value != oracle.cells_[i].value)
      return "variable " + std::to_string(i) + " ended otherwise";
  }
  return "";
}

void Samples::start() {
  // Longer than the workers of any peer spin that parks them at all.
  if (wait_ == Wait::kParkIdle) std::this_thread::sleep_for(std::chrono::milliseconds(2));
  start_ = Clock::now();
}

std::vector<double> Samples::take_sorted() {
  std::sort(ns_.begin(), ns_.end());
  return std::move(ns_);
}

}  // namespace bench_engine

// bench_engine_PEER list | NAME WORKLOAD THREADS TASKS [LIBRARY]; for `idle`, TASKS are milliseconds.
int main(int count, char** words) {
  const std::string library = count > 5 ? words[5] : count == 3 ? words[2] : "";
  const auto peers = bench_engine::make_peers(library);
  if (count >= 2 && std::strcmp(words[1], "list") == 0) {
    for (const auto& peer : peers) std::printf("%s\n", peer->name().c_str());
    return 0;
  }
  if (count < 5) return 2;
  for (const auto& peer : peers) {
    if (peer->name() != words[1]) continue;
    bench_engine::measure(*peer, words[2], std::atoi(words[3]), std::strtoull(words[4], nullptr, 10));
    std::fflush(stdout);
    return 0;
  }
  std::fprintf(stderr, "no peer %s\n", words[1]);
  return 2;
}
