// SPDX-License-Identifier: Apache-2.0
#include "cli/annotator.h"

#include <fmt/format.h>
#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <bit>
#include <utility>

#include "base/futex.h"
#include "base/scheduling.h"
#include "cli/classify.h"

namespace inflight::cli {
namespace {

// From now on the calling thread runs when nothing else wants the processor. It is preempted at once by
// whatever does, where a merely nice one would finish its slice first and hold an inference up for
// milliseconds.
void give_way() {
  const sched_param parameters{};
  pthread_setschedparam(pthread_self(), SCHED_IDLE, &parameters);
}

}  // namespace

Annotator::Annotator(std::unique_ptr<VideoWriter> writer, const Interpretation& meaning, int top,
                     std::size_t frame_bytes, OutputPace pace)
    : writer_(std::move(writer)),
      meaning_(meaning),
      top_(static_cast<std::size_t>(top)),
      waiting_max_(
          std::clamp<std::size_t>(kBytesMax / std::max<std::size_t>(frame_bytes, 1), 2, kWaitingMax)),
      pace_(pace),
      slots_(std::bit_ceil(waiting_max_)) {
  thread_ = std::thread([this] { write_loop(); });
}

Annotator::~Annotator() {
  if (thread_.joinable()) static_cast<void>(finish());
}

bool Annotator::has_room() const {
  const std::uint32_t handed_over =
      pushed_.load(std::memory_order_relaxed) - done_.load(std::memory_order_acquire);
  return ended_ + handed_over < waiting_max_;
}

void Annotator::begin(std::int64_t number, const VideoFrame& frame, Duration time) {
  hand_over();
  if (!has_room()) {
    ++dropped_;
    return;
  }
  entries_.push_back({number, frame, time, false, std::nullopt});
}

void Annotator::end(std::int64_t number, std::optional<Prediction> prediction) {
  const auto entry = std::lower_bound(entries_.begin(), entries_.end(), number,
                                      [](const Entry& e, std::int64_t n) { return e.number < n; });
  if (entry == entries_.end() || entry->number != number) return;  // it was left out
  entry->prediction = std::move(prediction);
  entry->ended = true;
  ++ended_;
  hand_over();
}

// Gives the thread what has ended and comes next, as far as it has slots.
void Annotator::hand_over() {
  const std::uint32_t before = pushed_.load(std::memory_order_relaxed);
  std::uint32_t next = before;
  while (!entries_.empty() && entries_.front().ended &&
         next - done_.load(std::memory_order_acquire) < slots_.size()) {
    slots_[next % slots_.size()] = std::move(entries_.front());
    entries_.pop_front();
    --ended_;
    pushed_.store(++next, std::memory_order_release);
  }
  if (next == before) return;
  // In one order with the thread's: either it sees this, or this sees that it sleeps.
  news_.fetch_add(1);
  if (asleep_.load()) internal::futex_wake_one(news_);
}

void Annotator::wait_room_until(TimePoint when) {
  for (hand_over(); !has_room(); hand_over()) {
    const std::uint32_t done = done_.load(std::memory_order_acquire);
    if (has_room() || !internal::futex_wait(done_, done, &when)) return;
  }
}

Status Annotator::finish() {
  ending_.store(true);
  news_.fetch_add(1);
  internal::futex_wake_one(news_);
  thread_.join();
  // What is left is written here, with this thread's part of the processor. A frame without its end has been
  // given up by a run that was cut short, and is written without a result.
  for (Entry& entry : entries_) {
    ended_ += entry.ended ? 0 : 1;
    entry.ended = true;
  }
  for (hand_over(); done_.load() != pushed_.load(); hand_over()) write_next(done_.load());
  const Status finished = writer_->finish();
  return status_.ok() ? finished : status_;
}

void Annotator::write_loop() {
  const internal::BatchScheduling batch_thread;  // it is woken by the thread that submits
  internal::name_thread("inflight-draw");
  if (pace_ == OutputPace::kGivesWay) give_way();
  for (std::uint32_t next = 0;; ++next) {
    while (true) {
      const std::uint32_t news = news_.load();
      if (ending_.load()) return;
      if (pushed_.load(std::memory_order_acquire) != next) break;
      asleep_.store(true);
      if (news_.load() == news) internal::futex_wait(news_, news, nullptr);
      asleep_.store(false);
    }
    write_next(next);
  }
}

void Annotator::write_next(std::uint32_t number) {
  {
    const Entry entry = std::move(slots_[number % slots_.size()]);
    slots_[number % slots_.size()] = Entry();
    // After a full disk the rest is released, so that the run goes on and says so at its end.
    if (status_.ok()) {
      status_ = write(entry);
      if (status_.ok()) ++written_;
    }
  }
  done_.store(number + 1, std::memory_order_release);
  if (pace_ == OutputPace::kKeepsPace) internal::futex_wake_one(done_);
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
