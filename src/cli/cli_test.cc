// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cli/classify.h"
#include "cli/coverage.h"
#include "cli/loop.h"
#include "cli/options.h"
#include "cli/report.h"
#include "cli/text.h"
#include "cli/tuning.h"

namespace inflight::cli {
namespace {

TEST(ParseRun, HasTheStatedDefaults) {
  const Result<RunOptions> options = parse_run({});
  ASSERT_TRUE(options.ok());
  EXPECT_EQ(options->sources, std::vector<std::string>{"synthetic"});
  EXPECT_EQ(options->limit, 8);
  EXPECT_EQ(options->policy, OverloadPolicy::kReject);
  EXPECT_EQ(options->devices, std::vector{Device::cpu()});
  EXPECT_FALSE(options->fps || options->frames || options->duration || options->model);
}

std::string refusal(const RunWords& words) {
  const Result<RunOptions> options = parse_run(words);
  return options.ok() ? "" : std::string(options.status().message());
}

TEST(ParseRun, DevicesAreNamedOnceEach) {
  RunWords words;
  words.device = "cuda:1,null,cpu";
  EXPECT_EQ(parse_run(words)->devices, (std::vector{Device::cuda(1), Device::null(), Device::cpu()}));
  words.device = "cuda,cpu,cuda:0";
  EXPECT_EQ(refusal(words), "--device: got cuda:0 twice, want each device once");
  words.device = "cpu,";
  EXPECT_EQ(refusal(words), "--device: got \"\", want NAME or NAME:INDEX, such as cpu or cuda:1");
  words.device = "cuda:0";
  for (int i = 1; i < 17; ++i) *words.device += ",cuda:" + std::to_string(i);
  EXPECT_EQ(refusal(words), "--device: got 17 devices, want 1 to 16");
  EXPECT_EQ(parse_device("cuda:0,cuda:1").status().message(),
            "--device: got cuda:0,cuda:1, want one device: this takes no more");
}

TEST(Report, TellsOfEachDeviceWhereThereAreSeveral) {
  RunReport report;
  EXPECT_EQ(json_text(report).find("\"devices\""), std::string::npos);
  report.devices.push_back({Device::cuda(0), "cuda:0 (H100)", 4, 1200, 0, Status()});
  report.devices.push_back(
      {Device::cuda(1), "cuda:1 (H100)", 4, 10, 3, Status(StatusCode::kDeviceError, "cuda:1: off\nthe bus")});
  const std::string text = summary_text(report);
  EXPECT_NE(text.find("device 0   1,200 completed, 0 failed; 4 slots; cuda:0 (H100)\n"), std::string::npos)
      << text;
  EXPECT_NE(
      text.find(
          "device 1   10 completed, 3 failed; 4 slots; cuda:1 (H100); lost: device error: cuda:1: off the "
          "bus\n"),
      std::string::npos)
      << text;
  const std::string json = json_text(report);
  EXPECT_NE(json.find("\"lost\": null"), std::string::npos) << json;
  EXPECT_NE(json.find("\"lost\": \"device error: cuda:1: off the bus\""), std::string::npos) << json;
  EXPECT_NE(json.find("\"completed\": 1200"), std::string::npos) << json;
}

TEST(ParseRun, LimitIsExact) {
  RunWords words;
  for (const char* const good : {"1", "65536", "auto"}) {
    words.limit = good;
    EXPECT_EQ(refusal(words), "");
  }
  for (const char* const bad : {"0", "-1", "65537", "99999999999999999999", "1.5", "8x"}) {
    words.limit = bad;
    EXPECT_EQ(refusal(words), fmt::format("--limit: got {}, want auto or 1 to 65536", bad));
  }
  words.limit = "";
  EXPECT_EQ(refusal(words), "--limit: got nothing, want auto or 1 to 65536");
}

TEST(ParseRun, MessagesShowTheBeginningOfALongWord) {
  const std::string word(5000, 'x');
  RunWords words;
  words.model = "m.onnx";
  words.input_shapes = {word};
  EXPECT_EQ(refusal(words), "--input-shape: got " + word.substr(0, 100) +
                                "..., want extents of at least 1 as in 1,3,640,640 or NAME=1,3,640,640");
  words.input_shapes = {word + "=1", word + "=1"};
  EXPECT_EQ(refusal(words), "--input-shape: input \"" + word.substr(0, 100) + "...\" stands twice");
}

TEST(ParseRun, NothingIsAcceptedAndIgnored) {
  RunWords words;
  words.sources = {"film.mp4"};
  words.seed = "1";
  EXPECT_EQ(refusal(words), "--seed: only the synthetic source has one");
  words = {};
  words.top = "3";
  EXPECT_EQ(refusal(words), "--top: only for --results and --output, neither of which is given");
}

TEST(ParseRun, SeveralSourcesAreStreams) {
  RunWords words;
  words.sources = {"a.mp4", "b.mp4"};
  EXPECT_EQ(parse_run(words)->sources.size(), 2U);
  EXPECT_EQ(parse_run(words)->limit, 8);
  words.streams = "2";
  EXPECT_EQ(refusal(words), "--streams: copies of one source, and there are several");
  words.sources = {"-"};
  EXPECT_EQ(refusal(words), "--streams: standard input can be read only once");
  words.sources = {};
  words.streams = "60";
  EXPECT_EQ(parse_run(words)->sources, std::vector<std::string>(60, "synthetic"));
  EXPECT_EQ(parse_run(words)->limit, 120);
  words.limit = "8";
  EXPECT_EQ(parse_run(words)->limit, 8);
  words.output = "out.mp4";
  EXPECT_EQ(refusal(words), "--output: only for one source, and there are several");
  words.output = std::nullopt;
  words.streams = "257";
  EXPECT_EQ(refusal(words), "--streams: got 257, want 1 to 256");
  words.streams = std::nullopt;
  words.sources.assign(257, "a.mp4");
  EXPECT_EQ(refusal(words), "--source: got 257 sources, want 256 at most");
}

TEST(ParseRun, KnowsTheFourPolicies) {
  RunWords words;
  for (const OverloadPolicy policy : {OverloadPolicy::kReject, OverloadPolicy::kBlock,
                                      OverloadPolicy::kDropOldest, OverloadPolicy::kKeepLatest}) {
    words.policy = policy_name(policy);
    EXPECT_EQ(parse_run(words)->policy, policy);
  }
  words.policy = "drop";
  EXPECT_EQ(refusal(words), "--policy: got drop, want reject, block, drop-oldest or keep-latest");
}

TEST(ParseRun, DeadlineIsInMilliseconds) {
  RunWords words;
  words.deadline_ms = "0.5";
  const Result<RunOptions> options = parse_run(words);
  ASSERT_TRUE(options.ok());
  EXPECT_EQ(options->deadline, std::chrono::microseconds(500));
  for (const char* const bad : {"", "0", "-1", "0.0009", "1000000001", "nan", "inf", "1e400", "5ms"}) {
    words.deadline_ms = bad;
    EXPECT_NE(refusal(words), "") << bad;
  }
}

// Any bytes in any word: a value or one line that is not long, and nothing else.
TEST(ParseRun, TakesAnyBytes) {
  using Word = std::optional<std::string> RunWords::*;
  constexpr std::array<Word, 19> kWords = {
      &RunWords::model,  &RunWords::streams,   &RunWords::fps,         &RunWords::limit, &RunWords::policy,
      &RunWords::device, &RunWords::precision, &RunWords::width,       &RunWords::color, &RunWords::mean,
      &RunWords::scale,  &RunWords::frames,    &RunWords::duration,    &RunWords::seed,  &RunWords::top,
      &RunWords::json,   &RunWords::results,   &RunWords::deadline_ms, &RunWords::tune};
  constexpr std::string_view kNumberLike = "0123456789.,-+eExXinfaNp: \n";
  std::mt19937_64 random(1);
  for (int round = 0; round < 20'000; ++round) {
    const std::size_t size = random() % (round % 100 == 0 ? 100'000 : 24);
    std::string bytes(size, '\0');
    for (char& byte : bytes) {
      byte = round % 2 == 0 ? static_cast<char>(random()) : kNumberLike[random() % kNumberLike.size()];
    }
    RunWords words;
    words.*kWords.at(random() % kWords.size()) = bytes;
    if (round % 16 == 0) words.sources = {bytes};
    const std::string message = one_line(refusal(words));
    EXPECT_LT(message.size(), 300U) << message;
    EXPECT_EQ(message.find('\n'), std::string::npos);
  }
}

TEST(ParseRun, ReadsTheLevelOfTuning) {
  EXPECT_EQ(parse_run({})->tune, TuneLevel::kFast);
  RunWords words;
  words.tune = "off";
  EXPECT_EQ(parse_run(words)->tune, TuneLevel::kOff);
  words.tune = "max";
  EXPECT_EQ(refusal(words), "--tune: got max, want off, fast or full");
}

TEST(Tuning, TextSaysWhatItGained) {
  EXPECT_EQ(tuning_text({TuneLevel::kFull, 12.34, 0.18, false}), "full, 18% faster, in 12.3 s");
  EXPECT_EQ(tuning_text({TuneLevel::kFast, 0.1, 0.004, true}), "fast, known from an earlier load");
  EXPECT_EQ(tuning_text({TuneLevel::kOff, 0, 0, false}), "off");
  EXPECT_EQ(tuning_json(std::nullopt), nullptr);
  EXPECT_EQ(tuning_json(Tuning{TuneLevel::kFull, 12.5, 0.25, true}).dump(),
            R"({"level":"full","seconds":12.5,"gain":0.25,"cached":true})");
}

TEST(Tuning, LineSaysHowFarItIs) {
  EXPECT_EQ(tuning_line({false, 0, 53, 0}), "[....................] tuning: prepared 0 of 53 steps");
  EXPECT_EQ(tuning_line({true, 31, 53, 0.18}), "[###########.........] tuned 31 of 53 steps, 18% faster");
  EXPECT_EQ(tuning_line({true, 53, 53, 0}), "[####################] tuned 53 of 53 steps");
  EXPECT_EQ(tuning_line({true, 0, 0, 0}), "[....................] tuned 0 of 0 steps");
}

TEST(TuningBar, ReplacesItsLineAndTakesItAway) {
  ManualClock clock;
  std::vector<std::string> printed;
  {
    TuningBar bar(
        30, [&](std::string_view text) { printed.emplace_back(text); }, clock);
    const auto tell = bar.callback();
    tell({true, 1, 53, 0});
    EXPECT_TRUE(printed.empty()) << "what is over soon is not shown";
    clock.advance(TuningBar::kAfter);
    tell({true, 2, 53, 0});
    tell({true, 3, 53, 0});
    ASSERT_EQ(printed.size(), 1U) << "not more often than the eye can follow";
    clock.advance(TuningBar::kRefresh);
    tell({true, 53, 53, 0.2});
    ASSERT_EQ(printed.size(), 2U);
    EXPECT_EQ(printed[1], "\r\x1b[K[####################] tuned ") << "as wide as the terminal, less one";
  }
  ASSERT_EQ(printed.size(), 3U);
  EXPECT_EQ(printed[2], "\r\x1b[K");
}

TEST(TuningBar, IsSilentWithoutATerminal) {
  ManualClock clock;
  TuningBar bar(
      0, [](std::string_view) { FAIL(); }, clock);
  EXPECT_EQ(bar.callback(), nullptr);
}

TEST(Coverage, LinesTellWhatIsMissing) {
  Coverage coverage;
  coverage.operators = {{"Add", "opset1", 12, 0, "", ""},
                        {"Resize", "opset4", 3, 2, "up\n1", "not with these axes"},
                        {"Twist", "opset9", 2, 2, "t", "no kernel computes this operator"}};
  using Lines = std::vector<std::pair<std::string, std::string>>;
  EXPECT_EQ(coverage_lines(coverage),
            (Lines{{"covered", "12 Add (opset1)"},
                   {"missing", "2 of 3 Resize (opset4), the first \"up 1\": not with these axes"},
                   {"missing", "2 Twist (opset9), the first \"t\": no kernel computes this operator"}}));
  const Status status = coverage_status(coverage, Device::cuda());
  EXPECT_EQ(exit_code(status.code()), 3);
  EXPECT_EQ(status.message(),
            "device \"cuda:0\" cannot compute 4 of 17 operators: Resize \"up 1\": not with these axes");
  coverage.operators.resize(1);
  EXPECT_TRUE(coverage_status(coverage, Device::cuda()).ok());
}

TEST(ParseRun, ReadsChannels) {
  RunWords words;
  words.mean = "123.7,116,-103.5";
  words.scale = "2";
  const Result<RunOptions> options = parse_run(words);
  ASSERT_TRUE(options.ok());
  EXPECT_EQ(*options->mean, (std::vector<float>{123.7F, 116.0F, -103.5F}));
  EXPECT_EQ(*options->scale, (std::vector<float>{2.0F}));
  for (const char* const bad : {"", ",", "1,2", "1,2,3,4", "1,2,", "nan", "1,inf,2", "1;2;3"}) {
    words.mean = bad;
    EXPECT_NE(refusal(words), "") << bad;
  }
  words.mean = "0";
  words.scale = "1,0,1";
  EXPECT_NE(refusal(words), "");
}

TEST(ParseLabels, TakesListsAndLines) {
  const std::vector<std::string> want = {"cat", "dog", "hot dog"};
  EXPECT_EQ(parse_labels("cat,dog, hot dog"), want);
  EXPECT_EQ(parse_labels("cat\ndog\r\nhot dog\n"), want);
  EXPECT_EQ(parse_labels(R"(["cat", "dog", "hot dog"])"), want);
  EXPECT_TRUE(parse_labels("[1, 2").empty());
  EXPECT_TRUE(parse_labels("").empty());
}

TEST(BestClasses, PutsNanLastAndLowIndexFirst) {
  const std::array<float, 5> scores = {NAN, 0.25F, 0.5F, 0.5F, -1.0F};
  const TensorView view{scores.data(), DType::kF32, {1, 5}};
  EXPECT_EQ(best_class(view), 2U);
  std::vector<std::size_t> classes;
  best_classes(view, 3, classes);
  EXPECT_EQ(classes, (std::vector<std::size_t>{2, 3, 1}));
  best_classes(view, 9, classes);
  EXPECT_EQ(classes, (std::vector<std::size_t>{2, 3, 1, 4, 0}));
}

TEST(Element, ReadsHalves) {
  const std::array<std::uint16_t, 6> f16 = {0x3C00, 0xC000, 0x0001, 0x7BFF, 0x7C00, 0x3555};
  const TensorView view{f16.data(), DType::kF16, {6}};
  EXPECT_EQ(element(view, 0), 1.0);
  EXPECT_EQ(element(view, 1), -2.0);
  EXPECT_EQ(element(view, 2), 0x1p-24);
  EXPECT_EQ(element(view, 3), 65504.0);
  EXPECT_TRUE(std::isinf(element(view, 4)));
  EXPECT_EQ(element(view, 5), 0.333251953125);
  const std::array<std::uint16_t, 2> bf16 = {0x3F80, 0xC040};
  EXPECT_EQ(element({bf16.data(), DType::kBF16, {2}}, 0), 1.0);
  EXPECT_EQ(element({bf16.data(), DType::kBF16, {2}}, 1), -3.0);
}

TEST(AreScores, NeedsTwoClassesAndFloats) {
  EXPECT_TRUE(are_scores({nullptr, DType::kF32, {6}}));
  EXPECT_TRUE(are_scores({nullptr, DType::kF16, {1, 2}}));
  EXPECT_TRUE(are_scores({nullptr, DType::kF32, {1, 1000, 1, 1}}));
  EXPECT_FALSE(are_scores({nullptr, DType::kF32, {1, 1}}));
  EXPECT_FALSE(are_scores({nullptr, DType::kF32, {2, 6}}));
  EXPECT_FALSE(are_scores({nullptr, DType::kI64, {6}}));
  EXPECT_FALSE(are_scores({nullptr, DType::kF32, {1, 4420, 2}}));
}

TEST(Text, StaysOnItsLineAndInItsEncoding) {
  EXPECT_EQ(one_line("  two\n\tlines \n"), "two lines");
  EXPECT_EQ(json_string("a\"b\\\n\x01"), "\"a\\\"b\\\\\\u000a\\u0001\"");
  EXPECT_EQ(json_string("\xC3\xA9\xFF\xED\xA0\x80"),
            "\"\xC3\xA9\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\"");
  EXPECT_EQ(clipped(std::string(100, 'a')), std::string(100, 'a'));
  EXPECT_EQ(clipped(std::string(101, 'a')), std::string(100, 'a') + "...");
  EXPECT_EQ(clipped(std::string(99, 'a') + "\xC3\xA9"), std::string(99, 'a') + "...");
  EXPECT_EQ(clipped(std::string(200, '\x80')), "...");
  EXPECT_EQ(with_commas(0), "0");
  EXPECT_EQ(with_commas(999), "999");
  EXPECT_EQ(with_commas(1234567), "1,234,567");
  EXPECT_EQ(microseconds(1'234), "1.2");
  EXPECT_EQ(microseconds(1'234'567), "1,235");
}

}  // namespace
}  // namespace inflight::cli
