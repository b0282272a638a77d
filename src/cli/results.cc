// SPDX-License-Identifier: Apache-2.0
#include "cli/results.h"

#include <utility>

#include "base/scheduling.h"

namespace inflight::cli {
namespace {

// Written in pieces of about this size, and at the end of each batch, so that who follows the file sees
// results soon.
constexpr std::size_t kWriteBytes = 1 << 18;

}  // namespace

ResultsWriter::ResultsWriter(OutputFile file, ResultsFormat format, std::size_t predictions_max)
    : predictions_max_(predictions_max), file_(std::move(file)), line_(std::move(format)) {
  thread_ = std::thread([this] { write_loop(); });
}

ResultsWriter::~ResultsWriter() {
  if (thread_.joinable()) static_cast<void>(finish());
}

bool ResultsWriter::put(FrameResult& result) {
  {
    const internal::MutexLock lock(mutex_);
    std::size_t& count = result.prediction ? predictions_ : refusals_;
    if (count >= (result.prediction ? predictions_max_ : kRefusalsMax)) return false;
    ++count;
    queue_.push_back(std::move(result));
    if (queue_.size() > 1) return true;  // the thread has been told, or is at work
  }
  some_.notify_one();
  return true;
}

bool ResultsWriter::has_room_for_refusal() {
  const internal::MutexLock lock(mutex_);
  return refusals_ < kRefusalsMax;
}

bool ResultsWriter::has_room_locked() const {
  return predictions_ < predictions_max_ && refusals_ < kRefusalsMax;
}

void ResultsWriter::wait_room_until(TimePoint when) {
  internal::MutexLock lock(mutex_);
  while (!has_room_locked() && room_.wait_until(lock, when)) {
  }
}

Status ResultsWriter::finish() {
  {
    const internal::MutexLock lock(mutex_);
    ending_ = true;
  }
  some_.notify_one();
  thread_.join();
  return status_;
}

void ResultsWriter::write_loop() {
  const internal::BatchScheduling batch_thread;  // it is woken by the thread that submits
  // The file exists from now on, even if no frame comes.
  status_ = file_.write("");
  std::vector<FrameResult> batch;  // changes places with queue_, so neither allocates once both have grown
  while (true) {
    {
      internal::MutexLock lock(mutex_);
      while (!ending_ && queue_.empty()) some_.wait(lock);
      if (queue_.empty()) break;
      batch.swap(queue_);
    }
    write_batch(batch);
    batch.clear();
  }
  const Status closed = file_.close();
  if (status_.ok()) status_ = closed;
}

void ResultsWriter::write_batch(std::vector<FrameResult>& batch) {
  for (FrameResult& result : batch) {
    // After a full disk the rest is let go of, so that the run goes on and says so at its end.
    if (status_.ok()) line_.append(result, start_, text_);
    ++(result.prediction ? text_predictions_ : text_refusals_);
    result.prediction.reset();  // its outputs go back to the pool
    if (text_.size() >= kWriteBytes) flush();
  }
  flush();
}

void ResultsWriter::flush() {
  if (status_.ok()) status_ = file_.write({text_.data(), text_.size()});
  text_.clear();
  {
    const internal::MutexLock lock(mutex_);
    predictions_ -= std::exchange(text_predictions_, 0);
    refusals_ -= std::exchange(text_refusals_, 0);
  }
  room_.notify_all();
}

}  // namespace inflight::cli
