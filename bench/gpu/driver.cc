// SPDX-License-Identifier: Apache-2.0
#include "driver.h"

#include <dlfcn.h>
#include <fmt/format.h>

#include <atomic>
#include <chrono>
#include <memory>

namespace bench_gpu {
namespace {

using SteadyClock = std::chrono::steady_clock;
using Handle = void*;  // a context, stream, event, graph, module or function

constexpr unsigned kHostMapped = 2;      // CU_MEMHOSTALLOC_DEVICEMAP
constexpr unsigned kNonBlocking = 1;     // CU_STREAM_NON_BLOCKING
constexpr unsigned kNoTiming = 2;        // CU_EVENT_DISABLE_TIMING
constexpr int kCaptureRelaxed = 2;       // CU_STREAM_CAPTURE_MODE_RELAXED
constexpr unsigned kWaitForAtLeast = 0;  // CU_STREAM_WAIT_VALUE_GEQ
constexpr int kNotReady = 600;           // CUDA_ERROR_NOT_READY

constexpr const char* kNothing = R"(
.version 8.0
.target sm_80
.address_size 64
.visible .entry nothing() { ret; }
)";

double since(SteadyClock::time_point start) {
  return std::chrono::duration<double, std::nano>(SteadyClock::now() - start).count();
}

}  // namespace

// Named as the header of the driver's interface names them for the linker.
struct BareDevice::Functions {
  int (*cuInit)(unsigned) = nullptr;
  int (*cuDeviceGet)(int*, int) = nullptr;
  int (*cuDevicePrimaryCtxRetain)(Handle*, int) = nullptr;
  int (*cuCtxSetCurrent)(Handle) = nullptr;
  int (*cuMemGetInfo_v2)(std::size_t*, std::size_t*) = nullptr;
  int (*cuMemHostAlloc)(void**, std::size_t, unsigned) = nullptr;
  int (*cuStreamCreate)(Handle*, unsigned) = nullptr;
  int (*cuStreamSynchronize)(Handle) = nullptr;
  int (*cuStreamQuery)(Handle) = nullptr;
  int (*cuStreamWaitValue32_v2)(Handle, std::uint64_t, std::uint32_t, unsigned) = nullptr;
  int (*cuStreamBeginCapture_v2)(Handle, int) = nullptr;
  int (*cuStreamEndCapture)(Handle, Handle*) = nullptr;
  int (*cuEventCreate)(Handle*, unsigned) = nullptr;
  int (*cuEventRecord)(Handle, Handle) = nullptr;
  int (*cuEventQuery)(Handle) = nullptr;
  int (*cuModuleLoadData)(Handle*, const void*) = nullptr;
  int (*cuModuleGetFunction)(Handle*, Handle, const char*) = nullptr;
  int (*cuLaunchKernel)(Handle, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, Handle,
                        void**, void**) = nullptr;
  int (*cuGraphInstantiateWithFlags)(Handle*, Handle, unsigned long long) = nullptr;
  int (*cuGraphLaunch)(Handle, Handle) = nullptr;
  int (*cuGetErrorString)(int, const char**) = nullptr;
};

std::string BareDevice::check(int result, const char* call) const {
  if (result == 0) return "";
  const char* text = nullptr;
  if (f_->cuGetErrorString(result, &text) != 0 || text == nullptr) text = "unknown error";
  return fmt::format("{}: {} ({})", call, text, result);
}

// NOLINTBEGIN(cppcoreguidelines-macro-usage)
#define BENCH_GPU_TRY(function, ...) \
  if (std::string why = check(f_->function(__VA_ARGS__), #function); !why.empty()) return why

std::string BareDevice::open() {
  void* const library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);  // stays until the process ends
  if (library == nullptr) return "no driver: libcuda.so.1 is not found";
  auto functions = std::make_unique<Functions>();
  const char* missing = nullptr;
#define BENCH_GPU_LOAD(name)                                                            \
  functions->name = reinterpret_cast<decltype(functions->name)>(dlsym(library, #name)); \
  if (functions->name == nullptr) missing = #name
  BENCH_GPU_LOAD(cuInit);
  BENCH_GPU_LOAD(cuDeviceGet);
  BENCH_GPU_LOAD(cuDevicePrimaryCtxRetain);
  BENCH_GPU_LOAD(cuCtxSetCurrent);
  BENCH_GPU_LOAD(cuMemGetInfo_v2);
  BENCH_GPU_LOAD(cuMemHostAlloc);
  BENCH_GPU_LOAD(cuStreamCreate);
  BENCH_GPU_LOAD(cuStreamSynchronize);
  BENCH_GPU_LOAD(cuStreamQuery);
  BENCH_GPU_LOAD(cuStreamWaitValue32_v2);
  BENCH_GPU_LOAD(cuStreamBeginCapture_v2);
  BENCH_GPU_LOAD(cuStreamEndCapture);
  BENCH_GPU_LOAD(cuEventCreate);
  BENCH_GPU_LOAD(cuEventRecord);
  BENCH_GPU_LOAD(cuEventQuery);
  BENCH_GPU_LOAD(cuModuleLoadData);
  BENCH_GPU_LOAD(cuModuleGetFunction);
  BENCH_GPU_LOAD(cuLaunchKernel);
  BENCH_GPU_LOAD(cuGraphInstantiateWithFlags);
  BENCH_GPU_LOAD(cuGraphLaunch);
  BENCH_GPU_LOAD(cuGetErrorString);
#undef BENCH_GPU_LOAD
  if (missing != nullptr) return fmt::format("a driver without {}", missing);
  f_ = functions.release();
  BENCH_GPU_TRY(cuInit, 0);
  int device = 0;
  BENCH_GPU_TRY(cuDeviceGet, &device, 0);
  BENCH_GPU_TRY(cuDevicePrimaryCtxRetain, &context_, device);
  BENCH_GPU_TRY(cuCtxSetCurrent, context_);
  return "";
}

// Streams, events and graphs go with the context, at the end of the process.
BareDevice::~BareDevice() { delete f_; }

std::string BareDevice::time_event_queries(std::size_t repetitions, std::size_t queries,
                                           std::vector<double>& ns) {
  Handle stream = nullptr;
  Handle event = nullptr;
  void* memory = nullptr;
  BENCH_GPU_TRY(cuMemHostAlloc, &memory, sizeof(std::uint32_t), kHostMapped);
  auto& gate = *new (memory) std::atomic<std::uint32_t>(0);
  BENCH_GPU_TRY(cuStreamCreate, &stream, kNonBlocking);
  BENCH_GPU_TRY(cuEventCreate, &event, kNoTiming);
  BENCH_GPU_TRY(cuStreamWaitValue32_v2, stream, reinterpret_cast<std::uint64_t>(memory), 1, kWaitForAtLeast);
  std::string failed = check(f_->cuEventRecord(event, stream), "cuEventRecord");
  for (std::size_t i = 0; i < repetitions && failed.empty(); ++i) {
    int result = kNotReady;
    const auto start = SteadyClock::now();
    for (std::size_t k = 0; k < queries && result == kNotReady; ++k) result = f_->cuEventQuery(event);
    ns.push_back(since(start) / static_cast<double>(queries));
    if (result != kNotReady)
      failed = fmt::format("cuEventQuery of a pending event: got {}, want {}", result, kNotReady);
  }
  gate.store(1);
  const std::string ended = check(f_->cuStreamSynchronize(stream), "cuStreamSynchronize");
  return failed.empty() ? ended : failed;
}

std::string BareDevice::make_graph(std::size_t nodes, Handle* graph) {
  Handle stream = nullptr;
  Handle module = nullptr;
  Handle kernel = nullptr;
  Handle captured = nullptr;
  BENCH_GPU_TRY(cuModuleLoadData, &module, kNothing);
  BENCH_GPU_TRY(cuModuleGetFunction, &kernel, module, "nothing");
  BENCH_GPU_TRY(cuStreamCreate, &stream, kNonBlocking);
  BENCH_GPU_TRY(cuStreamBeginCapture_v2, stream, kCaptureRelaxed);
  for (std::size_t i = 0; i < nodes; ++i)
    BENCH_GPU_TRY(cuLaunchKernel, kernel, 1, 1, 1, 32, 1, 1, 0, stream, nullptr, nullptr);
  BENCH_GPU_TRY(cuStreamEndCapture, stream, &captured);
  BENCH_GPU_TRY(cuGraphInstantiateWithFlags, graph, captured, 0);
  return "";
}

std::string BareDevice::time_graph_launches(std::size_t nodes, std::size_t in_flight, std::size_t launches,
                                            std::vector<double>& us) {
  std::vector<Handle> streams(in_flight);
  std::vector<Handle> graphs(in_flight);
  for (std::size_t k = 0; k < in_flight; ++k) {
    BENCH_GPU_TRY(cuStreamCreate, &streams[k], kNonBlocking);
    if (std::string why = make_graph(nodes, &graphs[k]); !why.empty()) return why;
  }
  constexpr std::size_t kWarmUp = 100;
  for (std::size_t i = 0; i < kWarmUp + launches; ++i) {
    const std::size_t k = i % in_flight;
    BENCH_GPU_TRY(cuStreamSynchronize,
                  streams[k]);  // as a slot takes its next prediction when the last one has ended
    const auto start = SteadyClock::now();
    const int result = f_->cuGraphLaunch(graphs[k], streams[k]);
    if (i >= kWarmUp) us.push_back(since(start) / 1e3);
    if (std::string why = check(result, "cuGraphLaunch"); !why.empty()) return why;
  }
  for (const Handle stream : streams) BENCH_GPU_TRY(cuStreamSynchronize, stream);
  return "";
}

std::string BareDevice::memory_used(long& kib) {
  std::size_t available = 0;
  std::size_t total = 0;
  BENCH_GPU_TRY(cuMemGetInfo_v2, &available, &total);
  kib = static_cast<long>((total - available) / 1024);
  return "";
}

#undef BENCH_GPU_TRY
// NOLINTEND(cppcoreguidelines-macro-usage)

long device_memory_used_kib() {
  static BareDevice device;
  static const bool open = device.open().empty();
  long kib = -1;
  return open && device.memory_used(kib).empty() ? kib : -1;
}

}  // namespace bench_gpu
