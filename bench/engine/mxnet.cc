// SPDX-License-Identifier: Apache-2.0
// MXNet 1.9.1's engine, through its C API: the library comes as a wheel without headers, so the functions are
// declared here as its c_api.h does. A variable is that of an array of one element.
#include <dlfcn.h>

#include <cstdio>
#include <cstdlib>

#include "workload.h"

namespace bench_engine {
namespace {

using Handle = void*;
using SyncFunction = void (*)(void* run_context, void* parameter);
using Deleter = void (*)(void* parameter);

struct Context {
  std::int32_t device_type = 1;  // the CPU
  std::int32_t device_id = 0;
};

class MxNet final : public Peer {
 public:
  explicit MxNet(std::string library) : library_(std::move(library)) {}
  std::string name() const override { return "MXNet 1.9.1"; }

  void start(int threads) override {
    setenv("MXNET_CPU_WORKER_NTHREADS", std::to_string(threads).c_str(), 1);
    setenv("OMP_NUM_THREADS", "1", 1);
    void* const library = dlopen(library_.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr) {
      std::fprintf(stderr, "%s\n", dlerror());
      std::exit(1);
    }
    find(library, "MXEnginePushSyncND", push_);
    find(library, "MXNDArrayCreate", create_);
    find(library, "MXNDArrayFree", free_);
    find(library, "MXNDArrayWaitAll", wait_all_);
    find(library, "MXNDArrayWaitToRead", wait_to_read_);
  }
  std::string refuses(const std::string& workload, int) const override {
    const bool looks = workload.starts_with("poll_") || workload == "latency_spin";
    return looks ? "cannot look without waiting" : "";
  }

  void run(Job& job) override {
    const Graph& graph = job.graph();
    std::vector<Handle> arrays;
    for (std::uint32_t i = 0; i < graph.variables; ++i) arrays.push_back(make_array());
    // The parameter is one pointer: what it points to is made outside the engine, and not counted.
    std::vector<Task> tasks;
    for (std::size_t task = 0; task < graph.size(); ++task) tasks.push_back({&job, task});
    job.start_clock();
    for (Task& task : tasks) {
      const auto reads = graph.reads_of(task.index);
      Handle in[8];
      for (std::size_t i = 0; i < reads.size(); ++i) in[i] = arrays[reads[i]];
      const std::uint32_t write = graph.writes[task.index];
      Handle out = write == kNothing ? nullptr : arrays[write];
      push([](void*, void* it) { static_cast<Task*>(it)->job->run(static_cast<Task*>(it)->index); }, &task,
           in, static_cast<int>(reads.size()), &out, write == kNothing ? 0 : 1);
    }
    job.pushed();
    require(wait_all_());
    job.finished();
    for (Handle array : arrays) require(free_(array));
  }

  void latency(Samples& samples) override {
    Handle array = make_array();
    while (samples.more()) {
      samples.start();
      push([](void*, void*) {}, nullptr, nullptr, 0, &array, 1);
      require(wait_to_read_(array));
      samples.stop();
    }
    require(free_(array));
  }

 private:
  struct Task {
    Job* job;
    std::size_t index;
  };

  template <typename Function>
  static void find(void* library, const char* name, Function& function) {
    function = reinterpret_cast<Function>(dlsym(library, name));
    if (function != nullptr) return;
    std::fprintf(stderr, "no %s\n", name);
    std::exit(1);
  }
  static void require(int failed) {
    if (failed != 0) std::abort();
  }
  Handle make_array() {
    const std::uint32_t shape = 1;
    Handle array = nullptr;
    require(create_(&shape, 1, 1, 0, 0, &array));
    return array;
  }
  void push(SyncFunction function, void* parameter, Handle* reads, int read_count, Handle* writes,
            int write_count) {
    require(push_(function, parameter, nullptr, &context_, reads, read_count, writes, write_count, nullptr, 0,
                  "task"));
  }

  const std::string library_;
  Context context_;
  int (*push_)(SyncFunction, void*, Deleter, Handle, Handle*, int, Handle*, int, Handle, int,
               const char*) = nullptr;
  int (*create_)(const std::uint32_t*, std::uint32_t, int, int, int, Handle*) = nullptr;
  int (*free_)(Handle) = nullptr;
  int (*wait_all_)() = nullptr;
  int (*wait_to_read_)(Handle) = nullptr;
};

}  // namespace

std::vector<std::unique_ptr<Peer>> make_peers(const std::string& library) {
  std::vector<std::unique_ptr<Peer>> peers;
  peers.push_back(std::make_unique<MxNet>(library));
  return peers;
}

}  // namespace bench_engine
