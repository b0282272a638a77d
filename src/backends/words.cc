// SPDX-License-Identifier: Apache-2.0
// The words of widths and precisions, in one table each.
#include <array>

#include "base/words.h"
#include "inflight/backend.h"

namespace inflight {
namespace {

using internal::parse_word;
using internal::Word;
using internal::word_of;

constexpr std::array<Word<Width>, kWidthCount> kWidthWords = {
    {{Width::kWide, "wide"}, {Width::kMedium, "medium"}, {Width::kNarrow, "narrow"}}};
constexpr std::array<Word<Precision>, 4> kPrecisions = {{{Precision::kAuto, "auto"},
                                                         {Precision::kF32, "f32"},
                                                         {Precision::kBF16, "bf16"},
                                                         {Precision::kF16, "f16"}}};

constexpr std::array<Word<TuneLevel>, 3> kTuneLevels = {
    {{TuneLevel::kOff, "off"}, {TuneLevel::kFast, "fast"}, {TuneLevel::kFull, "full"}}};

}  // namespace

std::string_view width_name(Width width) { return word_of<Width>(width, kWidthWords); }
Result<Width> parse_width(std::string_view text) { return parse_word<Width>("width", text, kWidthWords); }

std::string_view precision_name(Precision precision) { return word_of<Precision>(precision, kPrecisions); }
Result<Precision> parse_precision(std::string_view text) {
  return parse_word<Precision>("precision", text, kPrecisions);
}

std::string_view tune_level_name(TuneLevel level) { return word_of<TuneLevel>(level, kTuneLevels); }
Result<TuneLevel> parse_tune_level(std::string_view text) {
  return parse_word<TuneLevel>("tune", text, kTuneLevels);
}

}  // namespace inflight
