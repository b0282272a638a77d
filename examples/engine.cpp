// SPDX-License-Identifier: Apache-2.0
// The dependency engine alone: closures run in any order that respects what they read and write; a priority;
// an operation that is stopped; a failure that flows.
#include <cstdio>
#include <stop_token>

#include "inflight/engine.h"

using namespace inflight;

int main() {
  int camera = 0, features = 0, map = 0;  // what the variables stand for
  const Var camera_var = Var::make(), features_var = Var::make(), map_var = Var::make();
  std::stop_source stop;
  Status stopped;
  const auto engine = *make_threaded_engine({.threads = 2});

  bool pushed = true;
  const auto push = [&](Engine::Closure closure, OpOptions options) {
    pushed = pushed && engine->push(std::move(closure), std::move(options)).ok();
  };
  push([&] { return camera = 7, Status(); }, {.writes = {camera_var}});
  push([&] { return features = 2 * camera, Status(); }, {.reads = {camera_var}, .writes = {features_var}});
  // It may run beside the one above, because both only read the camera. Its higher priority lets it start
  // first.
  push([&] { return std::printf("frame %d\n", camera), Status(); }, {.reads = {camera_var}, .priority = 1});
  push([&] { return map += features, Status(); }, {.reads = {features_var, map_var}, .writes = {map_var}});
  engine->drain();
  std::printf("map %d\n", map);

  // The map of a frame that is no longer wanted.
  stop.request_stop();
  push([&] { return map = -1, Status(); },
       {.writes = {map_var}, .stop = stop.get_token(), .on_finish = [&](const Status& s) { stopped = s; }});
  // A camera that fails: the operations that depend on it do not run, and end with its error.
  push([] { return Status(StatusCode::kDeviceError, "camera unplugged"); }, {.writes = {camera_var}});
  push([&] { return features = -1, Status(); }, {.reads = {camera_var}, .writes = {features_var}});
  engine->drain();
  std::printf("%s\n%s\n", stopped.to_string().c_str(), features_var.status().to_string().c_str());

  const bool right = pushed && map == 14 && features == 14 && stopped.code() == StatusCode::kCancelled &&
                     features_var.status().message() == "camera unplugged";
  return right ? 0 : 1;
}
