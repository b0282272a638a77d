// SPDX-License-Identifier: Apache-2.0
// OpenMP tasks with depend(), of the compiler's own runtime. The thread that pushes is one of the team. With
// more than 64 outstanding tasks for each thread, libgomp makes that thread run (or wait for) a task before
// it goes on.
#include <omp.h>

#include "workload.h"

namespace bench_engine {
namespace {

class OpenMp final : public Peer {
 public:
  std::string name() const override { return "OpenMP"; }
  void start(int threads) override { threads_ = threads; }
  std::string refuses(const std::string& workload, int) const override {
    if (workload == "pending") return "holds back whoever pushes past 64 tasks a thread";
    return workload.starts_with("poll_") ? "cannot look without waiting" : "";
  }

  // For each further reader of a variable, libgomp walks the list of its outstanding readers: quadratic time.
  std::size_t tasks_max(const std::string& workload) const override {
    if (workload == "1_writer_8_readers") return 2'000;
    return workload == "random_dag" ? 10'000 : 1'000'000;
  }

  void run(Job& job) override {
#pragma omp parallel num_threads(threads_)
#pragma omp single
    {
      job.start_clock();
      for (std::size_t task = 0; task < job.graph().size(); ++task) push(job, task);
      job.pushed();
#pragma omp taskwait
      job.finished();
    }
  }

  void latency(Samples& samples) override {
#pragma omp parallel num_threads(threads_ + 1)
#pragma omp single
    while (samples.more()) {
      std::atomic<bool> done{false};
      samples.start();
#pragma omp task shared(done)
      done.store(true, std::memory_order_release);
      if (samples.spins()) {
        while (!done.load(std::memory_order_acquire)) {
        }
        samples.stop();
#pragma omp taskwait
      } else {
#pragma omp taskwait
        samples.stop();
      }
    }
  }

 private:
  // Its clauses are fixed when the program is compiled, except for how many variables they name.
  static void push(Job& job, std::size_t task) {
    const auto reads = job.graph().reads_of(task);
    const std::uint32_t write = job.graph().writes[task];
    Job* const the_job = &job;
    std::uint64_t* const none = nullptr;
    std::uint64_t* const out = write == kNothing ? none : &job.cell(write);
    const int count = static_cast<int>(reads.size());
    if (count == 0 && out == nullptr) {
#pragma omp task firstprivate(the_job, task)
      the_job->run(task);
    } else if (count == 0) {
#pragma omp task firstprivate(the_job, task) depend(inout : out[0])
      the_job->run(task);
    } else {
      std::uint64_t* in[8];
      for (int i = 0; i < count; ++i) in[i] = &job.cell(reads[static_cast<std::size_t>(i)]);
      if (out == nullptr) {
#pragma omp task firstprivate(the_job, task) depend(iterator(int i = 0 : count), in : in[i][0])
        the_job->run(task);
      } else {
#pragma omp task firstprivate(the_job, task) depend(iterator(int i = 0       \
                                                             : count),       \
                                                    in                       \
                                                    : in[i][0]) depend(inout \
                                                                       : out[0])
        the_job->run(task);
      }
    }
  }

  int threads_ = 1;
};

}  // namespace

std::vector<std::unique_ptr<Peer>> make_peers(const std::string&) {
  std::vector<std::unique_ptr<Peer>> peers;
  peers.push_back(std::make_unique<OpenMp>());
  return peers;
}

}  // namespace bench_engine
