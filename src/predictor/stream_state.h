// SPDX-License-Identifier: Apache-2.0
// What a Stream is inside.
#pragma once

#include <memory>
#include <optional>

#include "inflight/stream.h"
#include "predictor/job.h"
#include "runtime/doorbell.h"

namespace inflight::internal {

class PredictorCore;

// Held by the handles to it, by frames, by submitters that wait, and by the predictions of its frames; the last
// of them closes it. What it inherits is used under the core's mutex.
class StreamState final : public SchedulerStream {
 public:
  //   watched   it gets a line of its own in the arrival watch
  StreamState(std::shared_ptr<PredictorCore> its_core, StreamOptions its_options, int predictor_limit,
              bool watched);
  ~StreamState();
  StreamState(const StreamState&) = delete;
  StreamState& operator=(const StreamState&) = delete;

  const std::shared_ptr<PredictorCore> core;
  const StreamOptions options;
  std::optional<Doorbell::Line> line;
  bool opened = false;
};

}  // namespace inflight::internal
