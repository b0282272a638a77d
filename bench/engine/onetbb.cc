// SPDX-License-Identifier: Apache-2.0
// oneTBB: task_group, which knows no dependencies, and the flow graph, where the thread that pushes names the
// predecessors of each task. This peer computes them from the variables; other engines do that themselves, so
// the time counts. The thread that pushes is one of those that run tasks.
#include <oneapi/tbb/flow_graph.h>
#include <oneapi/tbb/global_control.h>
#include <oneapi/tbb/task_arena.h>
#include <oneapi/tbb/task_group.h>

#include <deque>

#include "workload.h"

namespace bench_engine {
namespace {

using oneapi::tbb::flow::continue_msg;
using Node = oneapi::tbb::flow::continue_node<continue_msg>;

class OneTbb : public Peer {
 public:
  void start(int threads) override { threads_ = threads; }

  // One thread more than workers: the one that pushes spins.
  void latency(Samples& samples) override {
    in_arena(threads_ + 1, [&] { collect(samples); });
  }

 protected:
  template <typename Work>
  static void in_arena(int threads, Work work) {
    const oneapi::tbb::global_control control(oneapi::tbb::global_control::max_allowed_parallelism,
                                              static_cast<std::size_t>(threads));
    oneapi::tbb::task_arena arena(threads);
    arena.execute(work);
  }
  virtual void collect(Samples& samples) = 0;
  int threads_ = 1;
};

class TaskGroup final : public OneTbb {
 public:
  std::string name() const override { return "oneTBB task_group"; }
  std::string refuses(const std::string& workload, int) const override {
    if (workload == "independent" || workload == "idle" || workload.starts_with("latency_")) return "";
    return workload.starts_with("poll_") ? "cannot look without waiting" : "has no dependencies";
  }

  void run(Job& job) override {
    in_arena(threads_, [&job] {
      oneapi::tbb::task_group group;
      job.start_clock();
      for (std::size_t task = 0; task < job.graph().size(); ++task) {
        group.run([&job, task] { job.run(task); });
      }
      job.pushed();
      group.wait();
    });
  }

 protected:
  void collect(Samples& samples) override {
    oneapi::tbb::task_group group;
    while (samples.more()) {
      std::atomic<bool> done{false};
      samples.start();
      group.run([&done] { done.store(true, std::memory_order_release); });
      if (samples.spins()) {
        while (!done.load(std::memory_order_acquire)) {
        }
        samples.stop();
        group.wait();
      } else {
        group.wait();
        samples.stop();
      }
    }
  }
};

// Which tasks a task comes after, from the variables that it names.
class Predecessors {
 public:
  explicit Predecessors(std::uint32_t variables) : last_(variables) {}
  template <typename Tell>
  void add(const Graph& graph, std::size_t index, Tell tell) {
    const auto task = static_cast<std::uint32_t>(index);
    for (const std::uint32_t read : graph.reads_of(index)) {
      if (last_[read].writer != kNothing) tell(last_[read].writer);
      last_[read].readers.push_back(task);
    }
    if (graph.writes[index] == kNothing) return;
    Last& last = last_[graph.writes[index]];
    for (const std::uint32_t reader : last.readers) tell(reader);
    if (last.readers.empty() && last.writer != kNothing) tell(last.writer);
    last.readers.clear();
    last.writer = task;
  }

 private:
  struct Last {
    std::uint32_t writer = kNothing;
    std::vector<std::uint32_t> readers;  // since then
  };
  std::vector<Last> last_;
};

// A finished node takes no new successors, so the graph is built before it starts, and push_ns is the time of
// building. `prebuilt_`: that time is not counted, as if the same graph ran again and again.
class FlowGraph final : public OneTbb {
 public:
  explicit FlowGraph(bool prebuilt) : prebuilt_(prebuilt) {}
  std::string name() const override {
    return prebuilt_ ? "oneTBB flow graph, built before" : "oneTBB flow graph";
  }
  std::string refuses(const std::string& workload, int) const override {
    if (workload.starts_with("poll_")) return "cannot look without waiting";
    return prebuilt_ && (workload == "pending" || workload == "idle" || workload.starts_with("latency_"))
               ? "is the same"
               : "";
  }

  void run(Job& job) override {
    in_arena(threads_ + (job.graph().workload == "pending" ? 1 : 0), [this, &job] {
      oneapi::tbb::flow::graph graph;
      std::deque<Node> nodes;
      std::vector<std::size_t> first;
      job.start_clock();
      build(job, graph, nodes, first);
      if (prebuilt_) job.start_clock();
      for (const std::size_t task : first) nodes[task].try_put(continue_msg());
      job.pushed();
      graph.wait_for_all();
      job.finished();
    });
  }

 protected:
  void collect(Samples& samples) override {
    oneapi::tbb::flow::graph graph;
    std::atomic<bool> done{false};
    Node node(graph, [&done](const continue_msg&) {
      done.store(true, std::memory_order_release);
      return continue_msg();
    });
    while (samples.more()) {
      done.store(false, std::memory_order_relaxed);
      samples.start();
      node.try_put(continue_msg());
      if (samples.spins()) {
        while (!done.load(std::memory_order_acquire)) {
        }
        samples.stop();
        graph.wait_for_all();
      } else {
        graph.wait_for_all();
        samples.stop();
      }
    }
  }

 private:
  static void build(Job& job, oneapi::tbb::flow::graph& graph, std::deque<Node>& nodes,
                    std::vector<std::size_t>& first) {
    Predecessors predecessors(job.graph().variables);
    for (std::size_t task = 0; task < job.graph().size(); ++task) {
      nodes.emplace_back(graph, [&job, task](const continue_msg&) {
        job.run(task);
        return continue_msg();
      });
      bool starts = true;
      predecessors.add(job.graph(), task, [&](std::uint32_t before) {
        oneapi::tbb::flow::make_edge(nodes[before], nodes[task]);
        starts = false;
      });
      if (starts) first.push_back(task);
    }
  }

  const bool prebuilt_;
};

}  // namespace

std::vector<std::unique_ptr<Peer>> make_peers(const std::string&) {
  std::vector<std::unique_ptr<Peer>> peers;
  peers.push_back(std::make_unique<TaskGroup>());
  peers.push_back(std::make_unique<FlowGraph>(false));
  peers.push_back(std::make_unique<FlowGraph>(true));
  return peers;
}

}  // namespace bench_engine
