// SPDX-License-Identifier: Apache-2.0
#include "cli/frame_bell.h"

namespace inflight::cli {

using internal::MutexLock;

FrameBell::~FrameBell() {
  for (PrefetchedSource* const source : sources_) source->on_available({});
}

void FrameBell::listen(PrefetchedSource& source) {
  if (sources_.empty()) {
    const MutexLock lock(mutex_);
    const Result<int> opened = event_fd_.open(false);
    descriptor_ = opened.ok() ? *opened : -1;
  }
  sources_.push_back(&source);
  source.on_available([this] { ring(); });
}

void FrameBell::ring() noexcept {
  const MutexLock lock(mutex_);
  if (rung_) return;
  rung_ = true;
  event_fd_.raise();
}

void FrameBell::silence() noexcept {
  const MutexLock lock(mutex_);
  if (!rung_) return;
  rung_ = false;
  event_fd_.lower();
}

}  // namespace inflight::cli
