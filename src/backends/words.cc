// SPDX-License-Identifier: Apache-2.0
// The words of widths and precisions, in one table each.
#include <fmt/format.h>

#include <array>
#include <span>

#include "base/check.h"
#include "inflight/backend.h"

namespace inflight {
namespace {

template <typename Value>
struct Row {
  Value value;
  std::string_view word;
};

constexpr std::array<Row<Width>, 2> kWidths = {{{Width::kWide, "wide"}, {Width::kNarrow, "narrow"}}};
constexpr std::array<Row<Precision>, 4> kPrecisions = {{{Precision::kAuto, "auto"},
                                                        {Precision::kF32, "f32"},
                                                        {Precision::kBF16, "bf16"},
                                                        {Precision::kF16, "f16"}}};

constexpr std::array<Row<TuneLevel>, 3> kTuneLevels = {
    {{TuneLevel::kOff, "off"}, {TuneLevel::kFast, "fast"}, {TuneLevel::kFull, "full"}}};

template <typename Value>
std::string_view name_of(Value value, std::span<const Row<Value>> rows) {
  for (const Row<Value>& row : rows) {
    if (row.value == value) return row.word;
  }
  internal::check_failed("a value of the enum", __FILE__, __LINE__);
}

template <typename Value>
Result<Value> parse(std::string_view what, std::string_view text, std::span<const Row<Value>> rows) {
  std::string want;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (rows[i].word == text) return rows[i].value;
    if (i > 0) want += i + 1 == rows.size() ? " or " : ", ";
    want += rows[i].word;
  }
  return Status(StatusCode::kInvalidArgument,
                fmt::format("{}: got {}, want {}", what, text.empty() ? "nothing" : text, want));
}

}  // namespace

std::string_view width_name(Width width) { return name_of<Width>(width, kWidths); }
Result<Width> parse_width(std::string_view text) { return parse<Width>("width", text, kWidths); }

std::string_view precision_name(Precision precision) { return name_of<Precision>(precision, kPrecisions); }
Result<Precision> parse_precision(std::string_view text) {
  return parse<Precision>("precision", text, kPrecisions);
}

std::string_view tune_level_name(TuneLevel level) { return name_of<TuneLevel>(level, kTuneLevels); }
Result<TuneLevel> parse_tune_level(std::string_view text) {
  return parse<TuneLevel>("tune", text, kTuneLevels);
}

}  // namespace inflight
