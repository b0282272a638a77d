// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "inflight/backend.h"

namespace inflight {
namespace {

TEST(Words, OfWidthsAreReadBack) {
  for (const Width width : {Width::kWide, Width::kMedium, Width::kNarrow})
    EXPECT_EQ(parse_width(width_name(width)).value(), width);
  EXPECT_EQ(width_name(Width::kNarrow), "narrow");
  EXPECT_EQ(parse_width("elastic").status().to_string(),
            "invalid argument: width: got elastic, want wide, medium or narrow");
}

TEST(Words, OfPrecisionsAreReadBack) {
  for (const Precision precision : {Precision::kAuto, Precision::kF32, Precision::kBF16, Precision::kF16}) {
    EXPECT_EQ(parse_precision(precision_name(precision)).value(), precision);
  }
  EXPECT_EQ(precision_name(Precision::kBF16), "bf16");
  EXPECT_EQ(parse_precision("").status().to_string(),
            "invalid argument: precision: got nothing, want auto, f32, bf16 or f16");
}

TEST(Words, OfTuneLevelsAreReadBack) {
  for (const TuneLevel level : {TuneLevel::kOff, TuneLevel::kFast, TuneLevel::kFull})
    EXPECT_EQ(parse_tune_level(tune_level_name(level)).value(), level);
  EXPECT_EQ(parse_tune_level("max").status().to_string(),
            "invalid argument: tune: got max, want off, fast or full");
}

}  // namespace
}  // namespace inflight
