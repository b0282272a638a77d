// SPDX-License-Identifier: Apache-2.0
#include "cli/result_line.h"

#include <cmath>
#include <cstdint>
#include <iterator>
#include <limits>
#include <string_view>

#include "cli/classify.h"
#include "cli/text.h"

namespace inflight::cli {
namespace {

using Out = fmt::memory_buffer;

template <typename... Args>
void print(Out& out, fmt::format_string<Args...> text, Args&&... args) {
  fmt::format_to(std::back_inserter(out), text, std::forward<Args>(args)...);
}

void append_text(Out& out, std::string_view text) { out.append(text.data(), text.data() + text.size()); }

double us(Duration duration) { return static_cast<double>(duration.count()) / 1e3; }

// JSON has no NaN and no infinity: those become strings.
template <typename Float>
void append_float(Out& out, Float value) {
  if (std::isfinite(value))
    print(out, "{}", value);
  else if (std::isnan(value))
    append_text(out, "\"nan\"");
  else
    append_text(out, value > 0 ? "\"inf\"" : "\"-inf\"");
}

template <typename T>
void append_value(Out& out, T value) {
  if constexpr (std::is_floating_point_v<T>)
    append_float(out, value);
  else
    print(out, "{}", value);
}

template <typename T>
void append_each(Out& out, const TensorView& view) {
  const T* const values = static_cast<const T*>(view.data);
  const std::size_t count = view.shape.elements();
  for (std::size_t i = 0; i < count; ++i) {
    if (i > 0) out.push_back(',');
    append_value(out, values[i]);
  }
}

// f16 and bf16 fit a float exactly, so the shortest float that reads back as theirs is written.
void append_each_half(Out& out, const TensorView& view) {
  const std::size_t count = view.shape.elements();
  for (std::size_t i = 0; i < count; ++i) {
    if (i > 0) out.push_back(',');
    append_float(out, static_cast<float>(element(view, i)));
  }
}

void append_values(Out& out, const TensorView& view) {
  switch (view.dtype) {
    case DType::kBool:
      return append_each<bool>(out, view);
    case DType::kU8:
      return append_each<std::uint8_t>(out, view);
    case DType::kI8:
      return append_each<std::int8_t>(out, view);
    case DType::kU16:
      return append_each<std::uint16_t>(out, view);
    case DType::kI16:
      return append_each<std::int16_t>(out, view);
    case DType::kU32:
      return append_each<std::uint32_t>(out, view);
    case DType::kI32:
      return append_each<std::int32_t>(out, view);
    case DType::kU64:
      return append_each<std::uint64_t>(out, view);
    case DType::kI64:
      return append_each<std::int64_t>(out, view);
    case DType::kF16:
    case DType::kBF16:
      return append_each_half(out, view);
    case DType::kF32:
      return append_each<float>(out, view);
    case DType::kF64:
      return append_each<double>(out, view);
  }
}

// NaN is in the count and in nothing else: one of them must not hide what the others are.
void append_summary(Out& out, const TensorView& view) {
  const std::size_t count = view.shape.elements();
  double low = std::numeric_limits<double>::quiet_NaN();
  double high = low;
  double sum = 0;
  std::size_t numbers = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const double value = element(view, i);
    if (std::isnan(value)) continue;
    low = numbers == 0 ? value : std::min(low, value);
    high = numbers == 0 ? value : std::max(high, value);
    sum += value;
    ++numbers;
  }
  append_text(out, "\"min\":");
  append_float(out, low);
  append_text(out, ",\"max\":");
  append_float(out, high);
  append_text(out, ",\"mean\":");
  append_float(out, sum / static_cast<double>(numbers));
  print(out, ",\"count\":{}", count);
}

void append_tensor(Out& out, const TensorView& view) {
  print(out, "{{\"dtype\":\"{}\",\"shape\":[", dtype_name(view.dtype));
  for (std::size_t axis = 0; axis < view.shape.rank(); ++axis) {
    print(out, "{}{}", axis > 0 ? "," : "", view.shape[axis]);
  }
  append_text(out, "],");
  if (view.shape.elements() <= ResultLine::kValuesMax) {
    append_text(out, "\"values\":[");
    append_values(out, view);
    out.push_back(']');
  } else {
    append_summary(out, view);
  }
  out.push_back('}');
}

void append_error(Out& out, const Status& status) {
  print(out, ",\"error\":{}", json_string(status.to_string()));
}

}  // namespace

void ResultLine::append_top(const TensorView& scores, Out& out) {
  best_classes(scores, static_cast<std::size_t>(format_.top), classes_);
  append_text(out, ",\"top\":[");
  for (std::size_t i = 0; i < classes_.size(); ++i) {
    const std::size_t index = classes_[i];
    print(out, "{}{{\"class\":{}", i > 0 ? "," : "", index);
    if (const auto name = format_.meaning.labels.name(static_cast<std::int64_t>(index)))
      print(out, ",\"label\":{}", json_string(*name));
    append_text(out, ",\"score\":");
    if (scores.dtype == DType::kF64)
      append_float(out, element(scores, index));
    else
      append_float(out, static_cast<float>(element(scores, index)));
    out.push_back('}');
  }
  out.push_back(']');
}

void ResultLine::append_boxes(const FrameResult& result, Out& out) {
  const Result<std::vector<vision::Box>> boxes =
      format_.meaning.boxes_of(*result.prediction, result.height, result.width);
  if (!boxes.ok()) return append_error(out, boxes.status());
  append_text(out, ",\"boxes\":[");
  for (std::size_t i = 0; i < boxes->size(); ++i) {
    const vision::Box& box = (*boxes)[i];
    print(out, "{}{{\"class\":{}", i > 0 ? "," : "", box.category);
    if (const auto name = format_.meaning.labels.name(box.category))
      print(out, ",\"label\":{}", json_string(*name));
    // A thousandth of a pixel is more than a detector knows.
    print(out, ",\"score\":{},\"x\":{:.3f},\"y\":{:.3f},\"width\":{:.3f},\"height\":{:.3f}}}", box.score,
          box.x, box.y, box.width, box.height);
  }
  out.push_back(']');
}

void ResultLine::append_outputs(const FrameResult& result, Out& out) {
  const Prediction& prediction = *result.prediction;
  if (format_.meaning.task == Task::kDetect) {
    append_boxes(result, out);
  } else if (prediction.output_count() == 1) {
    const Result<TensorView> only = prediction.output(std::size_t{0}).read();
    if (only.ok() && are_scores(*only)) append_top(*only, out);
  }
  append_text(out, ",\"outputs\":{");
  for (std::size_t i = 0; i < prediction.output_count(); ++i) {
    const Result<TensorView> view = prediction.output(i).read();
    if (!view.ok()) continue;
    print(out, "{}{}:", i > 0 ? "," : "", json_string(format_.outputs[i].name));
    append_tensor(out, *view);
  }
  out.push_back('}');
}

void ResultLine::append(const FrameResult& result, TimePoint start, Out& out) {
  const std::optional<Prediction>& prediction = result.prediction;
  const Outcome outcome = prediction ? prediction->outcome() : result.outcome;
  print(out, "{{\"frame\":{},\"outcome\":\"{}\",\"due_us\":{:.3f}", result.frame, outcome_name(outcome),
        us(result.due - start));
  if (result.stream) print(out, ",\"stream\":{}", *result.stream);
  if (result.pts) print(out, ",\"pts_us\":{:.3f}", us(*result.pts));
  if (result.file != nullptr) print(out, ",\"source\":{}", json_string(*result.file));
  if (prediction) {
    const PredictionTimes times = prediction->times();
    print(out, ",\"latency_us\":{:.3f}", us(times.finished - result.due));
    if (times.launched != TimePoint()) print(out, ",\"width\":\"{}\"", width_name(prediction->width()));
  }
  if (result.truth && *result.truth >= 0) {
    const auto truth = static_cast<std::size_t>(*result.truth);
    if (truth < format_.truths.size()) print(out, ",\"label\":{}", json_string(format_.truths[truth]));
  }
  if (outcome == Outcome::kCompleted)
    append_outputs(result, out);
  else
    append_error(out, prediction ? prediction->status() : result.refusal);
  append_text(out, "}\n");
}

}  // namespace inflight::cli
