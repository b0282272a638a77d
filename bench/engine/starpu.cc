// SPDX-License-Identifier: Apache-2.0
// StarPU: tasks name data handles and how they use them, and run in an order that the submissions imply.
#include <starpu.h>

#include <cstdlib>
#include <filesystem>

#include "workload.h"

namespace bench_engine {
namespace {

struct Task {
  Job* job;
  std::size_t index;
};

void run_task(void**, void* argument) {
  const Task& task = *static_cast<Task*>(argument);
  task.job->run(task.index);
}

void set_flag(void**, void* argument) {
  static_cast<std::atomic<bool>*>(argument)->store(true, std::memory_order_release);
}

class StarPu final : public Peer {
 public:
  ~StarPu() override {
    if (started_) starpu_shutdown();
  }
  std::string name() const override { return "StarPU"; }

  void start(int threads) override {
    setenv("STARPU_SILENT", "1", 1);
    // Otherwise it writes its measurements to the home folder.
    setenv("STARPU_HOME", std::filesystem::temp_directory_path().c_str(), 0);
    starpu_conf conf;
    starpu_conf_init(&conf);
    conf.ncpus = threads;
    conf.ncuda = 0;
    conf.nopencl = 0;
    conf.sched_policy_name = "eager";
    if (starpu_init(&conf) != 0) std::abort();
    started_ = true;
    for (starpu_codelet* codelet : {&run_, &flag_}) {
      starpu_codelet_init(codelet);
      codelet->where = STARPU_CPU;
      codelet->nbuffers = STARPU_VARIABLE_NBUFFERS;
    }
    run_.cpu_funcs[0] = run_task;
    flag_.cpu_funcs[0] = set_flag;
  }
  std::string refuses(const std::string& workload, int) const override {
    return workload.starts_with("poll_") ? "is not measured here" : "";
  }
  std::size_t tasks_max(const std::string&) const override { return 50'000; }

  void run(Job& job) override {
    const Graph& graph = job.graph();
    std::vector<starpu_data_handle_t> handles(graph.variables);
    for (std::uint32_t i = 0; i < graph.variables; ++i) {
      starpu_variable_data_register(&handles[i], STARPU_MAIN_RAM,
                                    reinterpret_cast<std::uintptr_t>(&job.cell(i)), sizeof(std::uint64_t));
    }
    // The argument is one pointer: what it points to is made outside the engine, and not counted.
    std::vector<Task> tasks;
    for (std::size_t task = 0; task < graph.size(); ++task) tasks.push_back({&job, task});
    job.start_clock();
    for (Task& argument : tasks) {
      starpu_task* const task = starpu_task_create();
      task->cl = &run_;
      task->cl_arg = &argument;
      unsigned named = 0;
      for (const std::uint32_t read : graph.reads_of(argument.index)) {
        task->handles[named] = handles[read];
        task->modes[named++] = STARPU_R;
      }
      if (const std::uint32_t write = graph.writes[argument.index]; write != kNothing) {
        task->handles[named] = handles[write];
        task->modes[named++] = STARPU_RW;
      }
      task->nbuffers = static_cast<int>(named);
      if (starpu_task_submit(task) != 0) std::abort();
    }
    job.pushed();
    starpu_task_wait_for_all();
    job.finished();
    for (starpu_data_handle_t handle : handles) starpu_data_unregister(handle);
  }

  void latency(Samples& samples) override {
    while (samples.more()) {
      std::atomic<bool> done{false};
      samples.start();
      starpu_task* const task = starpu_task_create();
      task->cl = &flag_;
      task->cl_arg = &done;
      task->nbuffers = 0;
      if (starpu_task_submit(task) != 0) std::abort();
      if (samples.spins()) {
        while (!done.load(std::memory_order_acquire)) {
        }
        samples.stop();
        starpu_task_wait_for_all();
      } else {
        starpu_task_wait_for_all();
        samples.stop();
      }
    }
  }

 private:
  bool started_ = false;
  starpu_codelet run_;
  starpu_codelet flag_;
};

}  // namespace

std::vector<std::unique_ptr<Peer>> make_peers(const std::string&) {
  std::vector<std::unique_ptr<Peer>> peers;
  peers.push_back(std::make_unique<StarPu>());
  return peers;
}

}  // namespace bench_engine
