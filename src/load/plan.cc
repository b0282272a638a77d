// SPDX-License-Identifier: Apache-2.0
#include "load/plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <fstream>
#include <iterator>
#include <optional>
#include <random>
#include <string_view>
#include <utility>

#include "base/text.h"

namespace inflight::load {
namespace {

constexpr int kCamerasMax = 10'000;
constexpr int kBurstMax = 100'000;
constexpr double kFpsMax = 1e6;
constexpr double kSecondsMax = 1e6;
constexpr int kStreamsMax = 1'000'000;
constexpr std::string_view kWant =
    "poisson, periodic[:JITTER], cameras:K@F[:JITTER], bursts:N@SECONDS or recorded:FILE";

// std's distributions differ between libraries; these do not.
class Random {
 public:
  explicit Random(std::uint64_t seed) : engine_(seed) {}
  // 0 to 1, without 1.
  double uniform() { return static_cast<double>(engine_() >> 11) * 0x1p-53; }
  double exponential(double rate) { return -std::log1p(-uniform()) / rate; }

 private:
  std::mt19937_64 engine_;
};

Duration from_seconds(double seconds) { return Duration(std::llround(seconds * 1e9)); }
double to_seconds(Duration duration) { return std::chrono::duration<double>(duration).count(); }

std::optional<double> parse_number(std::string_view word) {
  double value{};
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
  if (error != std::errc() || end != word.data() + word.size() || !std::isfinite(value)) return std::nullopt;
  return value;
}

std::optional<int> parse_count(std::string_view word, int most) {
  int value{};
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
  if (error != std::errc() || end != word.data() + word.size() || value < 1 || value > most)
    return std::nullopt;
  return value;
}

Status refused(std::string_view got, std::string_view want) {
  return {StatusCode::kInvalidArgument, fmt::format("got {}, want {}", got.empty() ? "nothing" : got, want)};
}

std::pair<std::string_view, std::string_view> cut(std::string_view text, char at) {
  const std::size_t found = text.find(at);
  if (found == std::string_view::npos) return {text, {}};
  return {text.substr(0, found), text.substr(found + 1)};
}

Status too_many(double arrivals) {
  return {StatusCode::kInvalidArgument,
          fmt::format("the plan has {:.0f} arrivals, want {} at most", arrivals, Plan::kArrivalsMax)};
}

void poisson(double rate, Random& random, Plan& plan) {
  for (double at = random.exponential(rate); at <= to_seconds(plan.length); at += random.exponential(rate)) {
    if (plan.arrivals.size() == Plan::kArrivalsMax) return;  // it was asked for nearly as many
    plan.arrivals.push_back({from_seconds(at)});
  }
}

// The k-th arrival is due at phase + k periods, and a random part of the jitter.
void periodic(double rate, double jitter, double phase, int stream, Random& random, Plan& plan) {
  const double period = 1 / rate;
  const double length = to_seconds(plan.length);
  for (std::int64_t k = 0;; ++k) {
    const double nominal = (phase + static_cast<double>(k)) * period;
    if (nominal >= length) return;
    const double shift = jitter > 0 ? jitter * (random.uniform() - 0.5) * period : 0;
    plan.arrivals.push_back({from_seconds(std::clamp(nominal + shift, 0.0, length)), stream});
  }
}

Result<Arrival> parse_arrival(std::string_view line) {
  const auto [due, stream] = cut(line, ' ');
  const std::optional<double> seconds = parse_number(due);
  if (!seconds || *seconds < 0 || *seconds > kSecondsMax)
    return refused(line, fmt::format("seconds, 0 to {}, and a stream", kSecondsMax));
  if (stream.empty()) return Arrival{from_seconds(*seconds)};
  // Streams count from 0.
  int number{};
  const auto [end, error] = std::from_chars(stream.data(), stream.data() + stream.size(), number);
  if (error != std::errc() || end != stream.data() + stream.size() || number < 0 || number >= kStreamsMax)
    return refused(line, fmt::format("seconds and a stream, 0 to {}", kStreamsMax - 1));
  return Arrival{from_seconds(*seconds), number};
}

Status read_recording(const std::string& path, Plan& plan) {
  std::ifstream file(path);
  if (!file) return {StatusCode::kNotFound, fmt::format("{}: cannot be read", path)};
  Duration last{0};
  std::int64_t number = 0;
  for (std::string text; std::getline(file, text);) {
    ++number;
    const std::string_view line = internal::trimmed(std::string_view(text).substr(0, text.find('#')));
    if (line.empty()) continue;
    const Result<Arrival> arrival = parse_arrival(line.substr(0, 100));
    if (!arrival.ok()) return arrival.status().with_context(fmt::format("{}: line {}", path, number));
    if (arrival->due > plan.length) continue;
    if (plan.arrivals.size() == Plan::kArrivalsMax) return too_many(static_cast<double>(number));
    plan.arrivals.push_back(*arrival);
    last = std::max(last, arrival->due);
  }
  if (file.bad()) return {StatusCode::kNotFound, fmt::format("{}: cannot be read to its end", path)};
  if (plan.arrivals.empty())
    return {StatusCode::kInvalidArgument, fmt::format("{}: no arrivals, want at least one", path)};
  plan.length = std::max(last, Duration(1));
  return {};
}

}  // namespace

double Plan::rate() const noexcept {
  return length > Duration(0) ? static_cast<double>(arrivals.size()) / to_seconds(length) : 0;
}

Result<PlanKind> parse_plan(const std::string& word) {
  PlanKind kind;
  kind.word = word;
  const auto [name, rest] = cut(word, ':');
  const std::string_view shown = std::string_view(word).substr(0, 100);
  const bool bare = word.find(':') == std::string::npos;
  if (name == "poisson" && bare) return kind;
  if (name == "periodic" || name == "cameras") {
    const bool cameras = name == "cameras";
    kind.arrivals = cameras ? Arrivals::kCameras : Arrivals::kPeriodic;
    kind.jitter = cameras ? 0.1 : 0;
    auto [numbers, jitter] = cameras ? cut(rest, ':') : std::pair(std::string_view(), rest);
    if (cameras ? numbers.size() < rest.size() : !bare) {
      const std::optional<double> share = parse_number(jitter);
      if (!share || *share < 0 || *share > 1)
        return refused(shown, "a jitter of 0 to 1, a share of the period");
      kind.jitter = *share;
    }
    if (!cameras) return kind;
    const auto [count, fps] = cut(numbers, '@');
    const std::optional<int> cameras_count = parse_count(count, kCamerasMax);
    const std::optional<double> rate = parse_number(fps);
    if (!cameras_count || !rate || *rate <= 0 || *rate > kFpsMax)
      return refused(shown,
                     "cameras:K@F, 1 to 10000 cameras of up to 1000000 frames a second, as in cameras:4@30");
    kind.count = *cameras_count;
    kind.fps = *rate;
    return kind;
  }
  if (name == "bursts") {
    kind.arrivals = Arrivals::kBursts;
    const auto [count, seconds] = cut(rest, '@');
    const std::optional<int> size = parse_count(count, kBurstMax);
    const std::optional<double> every = parse_number(seconds);
    if (!size || !every || *every < 1e-6 || *every > kSecondsMax)
      return refused(shown,
                     "bursts:N@SECONDS, 1 to 100000 frames each 0.000001 to 1000000 s, as in bursts:16@2");
    kind.count = *size;
    kind.every = from_seconds(*every);
    return kind;
  }
  if (name == "recorded" && !rest.empty()) {
    kind.arrivals = Arrivals::kRecorded;
    kind.path = rest;
    return kind;
  }
  return refused(shown, kWant);
}

Result<Plan> make_plan(const PlanKind& kind, double rate, Duration length, std::uint64_t seed) {
  Plan plan;
  plan.length = length;
  Random random(seed);
  const double seconds = to_seconds(length);
  double expected = rate * seconds;
  if (kind.arrivals == Arrivals::kCameras) expected = kind.count * kind.fps * seconds;
  if (kind.arrivals == Arrivals::kBursts) expected = kind.count * (seconds / to_seconds(kind.every) + 1);
  if (kind.arrivals != Arrivals::kRecorded && !(expected <= 0.99 * static_cast<double>(Plan::kArrivalsMax)))
    return too_many(expected);
  switch (kind.arrivals) {
    case Arrivals::kPoisson:
      poisson(rate, random, plan);
      break;
    case Arrivals::kPeriodic:
      periodic(rate, kind.jitter, 0, 0, random, plan);
      break;
    case Arrivals::kCameras:
      plan.streams = kind.count;
      for (int camera = 0; camera < kind.count; ++camera)
        periodic(kind.fps, kind.jitter, random.uniform(), camera, random, plan);
      break;
    case Arrivals::kBursts:
      for (Duration at{0}; at < length; at += kind.every)
        plan.arrivals.insert(plan.arrivals.end(), kind.count, {at});
      break;
    case Arrivals::kRecorded:
      INFLIGHT_TRY(read_recording(kind.path, plan));
      break;
  }
  std::stable_sort(plan.arrivals.begin(), plan.arrivals.end(),
                   [](const Arrival& a, const Arrival& b) { return a.due < b.due; });
  for (const Arrival& arrival : plan.arrivals) plan.streams = std::max(plan.streams, arrival.stream + 1);
  return plan;
}

std::string plan_text(const Plan& plan) {
  std::string text;
  for (const Arrival& arrival : plan.arrivals) {
    const std::int64_t ns = arrival.due.count();
    fmt::format_to(std::back_inserter(text), "{}.{:09}", ns / 1'000'000'000, ns % 1'000'000'000);
    if (arrival.stream != 0) fmt::format_to(std::back_inserter(text), " {}", arrival.stream);
    text += '\n';
  }
  return text;
}

}  // namespace inflight::load
