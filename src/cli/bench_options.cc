// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <limits>
#include <string_view>
#include <utility>

#include "cli/bench.h"
#include "cli/input_shapes.h"
#include "cli/options.h"
#include "cli/text.h"

namespace inflight::cli {
namespace {

constexpr std::size_t kListMax = 1000;

Status refused(std::string_view option, std::string_view got, std::string_view want) {
  return {StatusCode::kInvalidArgument,
          fmt::format("{}: got {}, want {}", option, got.empty() ? "nothing" : one_line(clipped(got)), want)};
}

// A number from `least` to `most`.
template <typename T>
Status parse_between(std::string_view option, std::string_view word, T least, T most, std::string_view want,
                     T& value) {
  T parsed{};
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), parsed);
  if (error != std::errc() || end != word.data() + word.size() || !(parsed >= least) || !(parsed <= most))
    return refused(option, word, want);
  value = parsed;
  return {};
}

// Numbers with commas between them.
template <typename T>
Status parse_list(std::string_view option, const std::string& word, T least, T most, std::string_view want,
                  std::vector<T>& values) {
  values.clear();
  std::string_view rest = word;
  while (values.size() < kListMax) {
    const std::size_t comma = rest.find(',');
    T value{};
    INFLIGHT_TRY(parse_between(option, rest.substr(0, comma), least, most, want, value));
    values.push_back(value);
    if (comma == std::string_view::npos) return {};
    rest.remove_prefix(comma + 1);
  }
  return refused(option, word, fmt::format("{} numbers at most", kListMax));
}

Status parse_widths(const std::string& word, std::vector<WidthPolicy>& widths) {
  widths.clear();
  for (std::string_view rest = word;;) {
    const std::size_t comma = rest.find(',');
    const Result<WidthPolicy> width = parse_width_policy(clipped(rest.substr(0, comma)));
    if (!width.ok()) return {width.status().code(), "--" + one_line(width.status().message())};
    for (const WidthPolicy other : widths) {
      if (other == *width) return refused("--width", word, "each width once");
    }
    widths.push_back(*width);
    if (comma == std::string_view::npos) return {};
    rest.remove_prefix(comma + 1);
  }
}

Status parse_plans(const std::vector<std::string>& words, std::vector<load::PlanKind>& plans) {
  for (const std::string& word : words) {
    Result<load::PlanKind> plan = load::parse_plan(word);
    if (!plan.ok()) return {plan.status().code(), "--plan: " + one_line(plan.status().message())};
    for (const load::PlanKind& other : plans) {
      if (other.word == word) return refused("--plan", word, "each plan once");
    }
    plans.push_back(std::move(*plan));
  }
  if (plans.empty()) plans.push_back({.word = "poisson"});
  return {};
}

Status check_together(const BenchWords& words, const BenchOptions& options) {
  if (words.loads && words.rates) return {StatusCode::kInvalidArgument, "--loads and --rates: one of them"};
  bool wants_rate = false;
  for (const load::PlanKind& plan : options.plans) wants_rate |= plan.wants_rate();
  if ((words.loads || words.rates) && !wants_rate) {
    return {StatusCode::kInvalidArgument,
            fmt::format("{}: only for the plans poisson and periodic; others have their own rates",
                        words.loads ? "--loads" : "--rates")};
  }
  for (const int in_flight : options.in_flight) {
    if (in_flight > options.limit) {
      return {StatusCode::kInvalidArgument,
              fmt::format("--in-flight: got {}, want at most the --limit of {}", in_flight, options.limit)};
    }
  }
  if (!words.input_shapes.empty() && !words.model)
    return {StatusCode::kInvalidArgument, "--input-shape: the embedded model's shapes are fixed"};
  for (const auto& [option, word] : {std::pair("--json", &words.json), std::pair("--html", &words.html)}) {
    if (*word && (*word)->empty()) return refused(option, "", "a file to write");
  }
  return {};
}

}  // namespace

Result<BenchOptions> parse_bench(const BenchWords& words) {
  BenchOptions options;
  options.model = words.model;
  options.json = words.json;
  options.html = words.html;
  INFLIGHT_TRY(parse_plans(words.plans, options.plans));
  if (words.loads) {
    constexpr std::string_view kWant = "percents of the capacity, 0.1 to 1000, as in 10,50,90";
    INFLIGHT_TRY(parse_list("--loads", *words.loads, 0.1, 1000.0, kWant, options.loads));
    for (double& load : options.loads) load /= 100;
  }
  if (words.rates) {
    INFLIGHT_TRY(parse_list("--rates", *words.rates, 1e-3, 1e6,
                            "arrivals a second, 0.001 to 1000000, as in 30,60", options.rates));
  }
  if (words.limit) {
    INFLIGHT_TRY(parse_between("--limit", *words.limit, 1, Predictor::kInFlightLimitMax,
                               fmt::format("1 to {}", Predictor::kInFlightLimitMax), options.limit));
  }
  if (words.in_flight) {
    INFLIGHT_TRY(parse_list("--in-flight", *words.in_flight, 1, Predictor::kInFlightLimitMax,
                            fmt::format("1 to {}, as in 1,2,4", Predictor::kInFlightLimitMax),
                            options.in_flight));
  }
  if (words.duration) {
    double seconds = 0;
    INFLIGHT_TRY(
        parse_between("--duration", *words.duration, 0.01, 1e6, "seconds a run, 0.01 to 1000000", seconds));
    options.duration = Duration(std::llround(seconds * 1e9));
  }
  if (words.deadline_ms) {
    INFLIGHT_TRY_ASSIGN(options.deadline, parse_deadline(*words.deadline_ms));
  }
  if (words.refuse_late && !words.deadline_ms) return refuse_late_needs_a_deadline();
  options.refuse_late = words.refuse_late;
  if (words.seed) {
    constexpr std::uint64_t kMost = std::numeric_limits<std::uint64_t>::max();
    INFLIGHT_TRY(parse_between<std::uint64_t>("--seed", *words.seed, 0, kMost, fmt::format("0 to {}", kMost),
                                              options.seed));
  }
  if (words.widths) INFLIGHT_TRY(parse_widths(*words.widths, options.widths));
  if (words.precision) {
    INFLIGHT_TRY_ASSIGN(options.precision, parse_precision(*words.precision));
  }
  if (words.tune) {
    INFLIGHT_TRY_ASSIGN(options.tune, parse_tune(*words.tune));
  }
  INFLIGHT_TRY_ASSIGN(options.input_shapes, parse_input_shapes(words.input_shapes));
  INFLIGHT_TRY(check_together(words, options));
  // Last, so that a wrong word is told as such even where the device is missing.
  if (words.device) {
    INFLIGHT_TRY_ASSIGN(options.devices, parse_devices(*words.device));
  }
  return options;
}

}  // namespace inflight::cli
