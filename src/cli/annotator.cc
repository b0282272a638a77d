// SPDX-License-Identifier: Apache-2.0
#include "cli/annotator.h"

#include <fmt/format.h>
#include <sys/resource.h>

#include <algorithm>
#include <utility>

#include "base/scheduling.h"
#include "cli/classify.h"

namespace inflight::cli {
namespace {

// Encoding takes the processor time that predictions leave: the nicest that there is. A share remains, so the output
// goes on even where predictions could use all of it.
void give_way() {
  constexpr int kNicest = 19;
  // Linux takes this for the calling thread and those that it starts. Failing does no harm.
  static_cast<void>(setpriority(PRIO_PROCESS, 0, kNicest));
}

}  // namespace

Annotator::Annotator(std::unique_ptr<VideoWriter> writer, const Interpretation& meaning, int top,
                     std::size_t frame_bytes)
    : writer_(std::move(writer)),
      meaning_(meaning),
      top_(static_cast<std::size_t>(top)),
      waiting_max_(
          std::clamp<std::size_t>(kBytesMax / std::max<std::size_t>(frame_bytes, 1), 2, kWaitingMax)) {
  thread_ = std::thread([this] { write_loop(); });
}

Annotator::~Annotator() {
  if (thread_.joinable()) static_cast<void>(finish());
}

void Annotator::begin(std::int64_t number, const VideoFrame& frame, Duration time) {
  const internal::MutexLock lock(mutex_);
  if (!has_room_locked()) {
    ++dropped_;
    return;
  }
  entries_.push_back({number, frame, time, false, std::nullopt});
}

void Annotator::end(std::int64_t number, std::optional<Prediction> prediction) {
  {
    const internal::MutexLock lock(mutex_);
    const auto entry = std::lower_bound(entries_.begin(), entries_.end(), number,
                                        [](const Entry& e, std::int64_t n) { return e.number < n; });
    if (entry == entries_.end() || entry->number != number) return;  // it was left out
    entry->prediction = std::move(prediction);
    entry->ended = true;
    ++waiting_;
    if (!entries_.front().ended) return;
  }
  some_.notify_one();
}

bool Annotator::has_room() {
  const internal::MutexLock lock(mutex_);
  return has_room_locked();
}

void Annotator::wait_room_until(TimePoint when) {
  internal::MutexLock lock(mutex_);
  while (!has_room_locked() && room_.wait_until(lock, when)) {
  }
}

Status Annotator::finish() {
  {
    const internal::MutexLock lock(mutex_);
    ending_ = true;
  }
  some_.notify_one();
  thread_.join();
  return status_;
}

// The first entry, once it has ended; nothing at the end.
std::optional<Annotator::Entry> Annotator::take_next() {
  internal::MutexLock lock(mutex_);
  while (!ending_ && (entries_.empty() || !entries_.front().ended)) some_.wait(lock);
  if (entries_.empty()) return std::nullopt;
  std::optional<Entry> entry(std::move(entries_.front()));
  entries_.pop_front();
  // Without an end it has been given up by a run that was cut short; it counts as it would with one.
  if (!entry->ended) ++waiting_;
  return entry;
}

void Annotator::write_loop() {
  const internal::BatchScheduling batch_thread;  // it is woken by the thread that submits
  internal::name_thread("inflight-draw");
  give_way();
  while (std::optional<Entry> entry = take_next()) {
    // After a full disk the rest is released, so that the run goes on and says so at its end.
    if (status_.ok()) {
      status_ = write(*entry);
      if (status_.ok()) ++written_;
    }
    entry.reset();
    {
      const internal::MutexLock lock(mutex_);
      --waiting_;
    }
    room_.notify_one();
  }
  const Status finished = writer_->finish();
  if (status_.ok()) status_ = finished;
}

Status Annotator::write(const Entry& entry) {
  const VideoFrame& frame = entry.frame;
  INFLIGHT_TRY(canvas_.load(frame.pixels.bytes(), frame.height, frame.width));
  if (entry.prediction && entry.prediction->outcome() == Outcome::kCompleted) INFLIGHT_TRY(draw(entry));
  WriterPicture picture;
  picture.pixels = canvas_.pixels();
  picture.stride = canvas_.stride();
  picture.height = frame.height;
  picture.width = frame.width;
  picture.time = entry.time;
  picture.frame = entry.number;
  if (frame.file != nullptr) picture.file = *frame.file;
  return writer_->write(picture);
}

Status Annotator::draw(const Entry& entry) {
  if (meaning_.task == Task::kDetect) {
    INFLIGHT_TRY_ASSIGN(const std::vector<vision::Box> boxes,
                        meaning_.boxes_of(*entry.prediction, entry.frame.height, entry.frame.width));
    // The best last, so that nothing covers it.
    for (auto box = boxes.rbegin(); box != boxes.rend(); ++box) {
      canvas_.draw({*box, fmt::format("{} {:.2f}", meaning_.class_text(box->category), box->score)});
    }
    return {};
  }
  INFLIGHT_TRY_ASSIGN(const TensorView scores, entry.prediction->output(std::size_t{0}).read());
  if (!are_scores(scores)) return {};
  best_classes(scores, top_, classes_);
  std::vector<std::string> lines;
  for (const std::size_t category : classes_) {
    lines.push_back(fmt::format("{} {:.2f}", meaning_.class_text(static_cast<std::int64_t>(category)),
                                element(scores, category)));
  }
  canvas_.draw_lines(lines);
  return {};
}

}  // namespace inflight::cli
