// SPDX-License-Identifier: Apache-2.0
// One system of `bench load` in a process of its own, which waits while another one is measured.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "inflight/status.h"
#include "load/target.h"

namespace bench_load {

struct Wanted {
  std::string model;      // a file
  std::string precision;  // "f32", "bf16"
  int limit = 256;        // frames in flight at most
  std::string config;     // the system's own word, such as "latency"
};

struct System {
  std::string name;
  int threads = 0;
  std::vector<float> scores;  // the first output for the example inputs
  std::unique_ptr<inflight::load::Target> target;
};

// Each program has its own.
inflight::Result<System> make_system(const Wanted& wanted);

}  // namespace bench_load
