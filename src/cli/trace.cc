// SPDX-License-Identifier: Apache-2.0
#include "cli/trace.h"

#include <fmt/compile.h>

#include <algorithm>
#include <utility>

#include "base/scheduling.h"
#include "cli/text.h"

namespace inflight::cli {
namespace {

// Written in pieces of about this size. Nobody follows a trace while it grows, so less would only cost calls.
constexpr std::size_t kWriteBytes = 1 << 16;
// How long records may wait for more of them: a thread that is woken for each frame costs more than its text.
constexpr Duration kGather = std::chrono::milliseconds(50);

// Identifiers of processes in the file. Those of streams follow one another; so do those of sizes.
constexpr std::int64_t kSlotsProcess = 1;
constexpr std::int64_t kStreamsProcess = 1000;
// Frames of one stream have smaller numbers.
constexpr std::int64_t kFramesMax = std::int64_t{1} << 40;

void append_us(fmt::memory_buffer& out, Duration time) {
  std::int64_t ns = time.count();
  if (ns < 0) {
    out.push_back('-');
    ns = -ns;
  }
  fmt::format_to(fmt::appender(out), FMT_COMPILE("{}.{:03}"), ns / 1000, ns % 1000);
}

void append_name(fmt::memory_buffer& out, std::string_view kind, std::int64_t process, int thread,
                 std::string_view name) {
  fmt::format_to(fmt::appender(out),
                 ",\n{{\"ph\":\"M\",\"name\":\"{}\",\"pid\":{},\"tid\":{},\"args\":{{\"name\":{}}}}}", kind,
                 process, thread, json_string(name));
}

void append_order(fmt::memory_buffer& out, std::int64_t process, int order) {
  fmt::format_to(fmt::appender(out),
                 ",\n{{\"ph\":\"M\",\"name\":\"process_sort_index\",\"pid\":{},\"tid\":0,\"args\":{{\"sort_"
                 "index\":{}}}}}",
                 process, order);
}

}  // namespace

void TraceText::append_head(fmt::memory_buffer& out) {
  constexpr std::string_view kHead =
      "{\"displayTimeUnit\":\"ms\",\"traceEvents\":[\n"
      "{\"ph\":\"M\",\"name\":\"trace_config\",\"pid\":0,\"tid\":0,\"args\":{\"writer\":\"inflight\"}}";
  out.append(kHead);
  append_name(out, "process_name", kSlotsProcess, 0, "slots: " + names_.device);
  append_order(out, kSlotsProcess, 0);
  for (std::size_t i = 0; i < names_.streams.size(); ++i) {
    const std::int64_t process = kStreamsProcess + static_cast<std::int64_t>(i);
    append_name(out, "process_name", process, 0, names_.streams[i]);
    append_order(out, process, static_cast<int>(i) + 1);
  }
}

// A slot has its name before its first slice.
void TraceText::name_slot(const TraceRecord& record, std::int64_t process, fmt::memory_buffer& out) {
  const std::size_t size = static_cast<std::size_t>(process - kSlotsProcess);
  if (!slots_.emplace(size, record.slot).second) return;
  append_name(out, "thread_name", process, record.slot, fmt::format("slot {}", record.slot));
  if (size == 0 || std::count_if(slots_.begin(), slots_.end(),
                                 [size](const auto& named) { return named.first == size; }) > 1)
    return;
  append_name(out, "process_name", process, 0,
              fmt::format("slots for frames of {}x{}", record.width, record.height));
  append_order(out, process, 0);
}

void TraceText::append(const TraceRecord& record, TimePoint start, fmt::memory_buffer& out) {
  const std::int64_t stream = kStreamsProcess + record.stream;
  const std::string_view outcome = outcome_name(record.outcome);
  // Readers look for the end of a slice in the whole file, not in its process.
  const std::int64_t id = record.frame + record.stream * kFramesMax;
  const bool ran = record.slot >= 0;
  const std::string_view width = ran ? width_name(record.ran_at) : "";
  // Formats that the compiler has read: this runs for each frame.
  const auto put = [&out](const auto& format, const auto&... values) {
    fmt::format_to(fmt::appender(out), format, values...);
  };
  // The name decides the colour and the row.
  put(FMT_COMPILE(
          ",\n{{\"ph\":\"b\",\"cat\":\"frame\",\"name\":\"{}\",\"id\":{},\"pid\":{},\"tid\":0,\"ts\":"),
      outcome, id, stream);
  append_us(out, record.due - start);
  put(FMT_COMPILE(",\"args\":{{\"frame\":{},\"stream\":{},\"outcome\":\"{}\""), record.frame, record.stream,
      outcome);
  if (ran) {
    put(FMT_COMPILE(",\"width\":\"{}\",\"slot\":{},\"wait_us\":"), width, record.slot);
    append_us(out, record.launched - record.due);
    out.append(std::string_view(",\"run_us\":"));
    append_us(out, record.finished - record.launched);
    out.append(std::string_view(",\"delivery_us\":"));
    append_us(out, record.delivered - record.finished);
  }
  put(FMT_COMPILE(
          "}}}},\n{{\"ph\":\"e\",\"cat\":\"frame\",\"name\":\"{}\",\"id\":{},\"pid\":{},\"tid\":0,\"ts\":"),
      outcome, id, stream);
  append_us(out, record.delivered - start);
  out.push_back('}');
  if (ran) append_slot(record, start, out);
}

void TraceText::append_slot(const TraceRecord& record, TimePoint start, fmt::memory_buffer& out) {
  const std::pair size(record.height, record.width);
  auto found = std::find(sizes_.begin(), sizes_.end(), size);
  if (found == sizes_.end()) found = sizes_.insert(found, size);
  const std::int64_t process = kSlotsProcess + (found - sizes_.begin());
  name_slot(record, process, out);
  const std::string_view width = width_name(record.ran_at);
  fmt::format_to(
      fmt::appender(out),
      FMT_COMPILE(",\n{{\"ph\":\"X\",\"cat\":\"slot\",\"name\":\"{}\",\"pid\":{},\"tid\":{},\"ts\":"), width,
      process, record.slot);
  append_us(out, record.launched - start);
  out.append(std::string_view(",\"dur\":"));
  append_us(out, record.finished - record.launched);
  fmt::format_to(
      fmt::appender(out),
      FMT_COMPILE(",\"args\":{{\"frame\":{},\"stream\":{},\"outcome\":\"{}\",\"width\":\"{}\"}}}}"),
      record.frame, record.stream, outcome_name(record.outcome), width);
}

void TraceText::append_end(fmt::memory_buffer& out) { out.append(std::string_view("\n]}\n")); }

TraceWriter::TraceWriter(OutputFile file, TraceNames names)
    : file_(std::move(file)), format_(std::move(names)) {
  thread_ = std::thread([this] { write_loop(); });
}

TraceWriter::~TraceWriter() {
  if (thread_.joinable()) static_cast<void>(finish());
}

// The thread looks by itself every kGather, so that a frame wakes nobody.
void TraceWriter::put(const TraceRecord& record) {
  const internal::MutexLock lock(mutex_);
  ++waiting_;
  queue_.push_back(record);
}

bool TraceWriter::has_room() {
  const internal::MutexLock lock(mutex_);
  return waiting_ < kWaitingMax;
}

void TraceWriter::wait_room_until(TimePoint when) {
  internal::MutexLock lock(mutex_);
  while (waiting_ >= kWaitingMax && room_.wait_until(lock, when)) {
  }
}

Status TraceWriter::finish() {
  {
    const internal::MutexLock lock(mutex_);
    ending_ = true;
  }
  some_.notify_one();
  thread_.join();
  return status_;
}

void TraceWriter::write_loop() {
  const internal::BatchScheduling batch_thread;
  format_.append_head(text_);
  flush();
  std::vector<TraceRecord> batch;  // changes places with queue_, so neither allocates once both have grown
  for (bool ending = false; !ending;) {
    {
      internal::MutexLock lock(mutex_);
      const TimePoint until = steady_clock().now() + kGather;
      while (!ending_ && some_.wait_until(lock, until)) {
      }
      ending = ending_;
      batch.swap(queue_);
    }
    for (const TraceRecord& record : batch) {
      // After a full disk the rest is let go of, so that the run goes on and says so at its end.
      if (status_.ok()) format_.append(record, start_, text_);
      if (text_.size() >= kWriteBytes) flush();
    }
    {
      const internal::MutexLock lock(mutex_);
      waiting_ -= batch.size();
    }
    if (!batch.empty()) room_.notify_all();
    batch.clear();
  }
  TraceText::append_end(text_);
  flush();
  const Status closed = file_.close();
  if (status_.ok()) status_ = closed;
}

void TraceWriter::flush() {
  if (status_.ok()) status_ = file_.write({text_.data(), text_.size()});
  text_.clear();
}

}  // namespace inflight::cli
