// SPDX-License-Identifier: Apache-2.0
// The few functions of NVIDIA's driver that this benchmark compares itself with, opened by name: nothing here is linked
// with CUDA or compiled with its headers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace bench_gpu {

// KiB in use on device 0, of all processes; -1 where there is no driver or no device.
long device_memory_used_kib();

// A stream of device 0 that waits until it is told to go on, so that what is behind it is pending for as long as
// wanted, and graphs of kernels that do nothing.
//   thread   the one that opened it
class BareDevice {
 public:
  // "" if it is open; else why not, in one line.
  std::string open();
  ~BareDevice();
  BareDevice() = default;
  BareDevice(const BareDevice&) = delete;
  BareDevice& operator=(const BareDevice&) = delete;

  // ns of one cuEventQuery of an event that is pending, for each repetition: the mean of `queries`. "" or why not.
  std::string time_event_queries(std::size_t repetitions, std::size_t queries, std::vector<double>& ns);
  // us of one cuGraphLaunch, `in_flight` streams at a time, of a chain of `nodes` kernels. "" or why not.
  std::string time_graph_launches(std::size_t nodes, std::size_t in_flight, std::size_t launches,
                                  std::vector<double>& us);
  // KiB in use, of all processes. "" or why not.
  std::string memory_used(long& kib);

 private:
  struct Functions;
  std::string check(int result, const char* call) const;
  std::string make_graph(std::size_t nodes, void** graph);
  Functions* f_ = nullptr;
  void* context_ = nullptr;
};

}  // namespace bench_gpu
