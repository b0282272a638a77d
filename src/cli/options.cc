// SPDX-License-Identifier: Apache-2.0
#include "cli/options.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <limits>
#include <span>
#include <string_view>
#include <utility>

#include "cli/input_shapes.h"
#include "cli/text.h"

namespace inflight::cli {
namespace {

constexpr std::int64_t kFramesMax = std::int64_t{1} << 53;  // exact in any reader of JSON
constexpr double kDurationMaxS = 1e9;                       // above 30 years
constexpr double kDeadlineMaxMs = 1e9;                      // eleven days
constexpr int kTopMax = 1000;

Status invalid(std::string_view option, std::string_view got, std::string_view want) {
  return {StatusCode::kInvalidArgument,
          fmt::format("{}: got {}, want {}", option, got.empty() ? "nothing" : one_line(clipped(got)), want)};
}

template <typename T>
std::optional<T> parse_number(std::string_view word) {
  T value{};
  const char* const last = word.data() + word.size();
  const auto [end, error] = std::from_chars(word.data(), last, value);
  if (error != std::errc() || end != last) return std::nullopt;
  if constexpr (std::is_floating_point_v<T>) {
    if (!std::isfinite(value)) return std::nullopt;
  }
  return value;
}

template <typename T>
Result<T> parse_between(std::string_view option, const std::string& word, T least, T most) {
  const std::optional<T> value = parse_number<T>(word);
  if (value && *value >= least && *value <= most) return *value;
  return invalid(option, word, fmt::format("{} to {}", least, most));
}

template <typename T>
struct Choice {
  std::string_view word;
  T value;
};

template <typename T>
Result<T> parse_choice(std::string_view option, const std::string& word, std::span<const Choice<T>> choices) {
  std::string want;
  for (std::size_t i = 0; i < choices.size(); ++i) {
    if (choices[i].word == word) return choices[i].value;
    if (i > 0) want += i + 1 == choices.size() ? " or " : ", ";
    want += choices[i].word;
  }
  return invalid(option, word, want);
}

// What the library made of an option's word: it names the value as the option is called, but for the dashes.
template <typename T>
Result<T> as_option(Result<T> parsed) {
  if (parsed.ok()) return parsed;
  return Status(parsed.status().code(), "--" + one_line(parsed.status().message()));
}

constexpr std::array<Choice<OverloadPolicy>, 4> kPolicies = {{{"reject", OverloadPolicy::kReject},
                                                              {"block", OverloadPolicy::kBlock},
                                                              {"drop-oldest", OverloadPolicy::kDropOldest},
                                                              {"keep-latest", OverloadPolicy::kKeepLatest}}};
constexpr std::array<Choice<ColorOrder>, 2> kColors = {
    {{"rgb", ColorOrder::kRgb}, {"bgr", ColorOrder::kBgr}}};

constexpr std::array<Choice<Fit>, 3> kFits = {
    {{"stretch", Fit::kStretch}, {"letterbox", Fit::kLetterbox}, {"crop", Fit::kCrop}}};

constexpr std::array<Choice<Task>, 2> kTasks = {{{"detect", Task::kDetect}, {"classify", Task::kClassify}}};

Result<vision::Head> parse_head(const std::string& word) {
  const std::optional<vision::Head> head = vision::parse_head(word);
  if (head) return *head;
  return invalid("--head", word, vision::head_names());
}

Result<FrameRate> parse_fps(const std::string& word) {
  constexpr std::string_view kWant = "0 (as fast as accepted) or 0.000001 to 1000000";
  const std::optional<double> fps = parse_number<double>(word);
  if (!fps) return invalid("--fps", word, kWant);
  Result<FrameRate> rate = FrameRate::from_double(*fps);
  if (!rate.ok()) return invalid("--fps", word, kWant);
  return rate;
}

Result<Duration> parse_duration(const std::string& word) {
  const std::optional<double> seconds = parse_number<double>(word);
  if (seconds && *seconds >= 1e-9 && *seconds <= kDurationMaxS) return Duration(std::llround(*seconds * 1e9));
  return invalid("--duration", word, "seconds, above 0 and up to 1000000000");
}

Result<Duration> parse_stall_timeout(const std::string& word) {
  const std::optional<double> seconds = parse_number<double>(word);
  if (seconds && *seconds >= 0.1 && *seconds <= 3600) return Duration(std::llround(*seconds * 1e9));
  return invalid("--stall-timeout", word, "seconds, 0.1 to 3600");
}

// One value, or one a channel.
Result<std::vector<float>> parse_channels(std::string_view option, const std::string& word,
                                          bool zero_allowed) {
  const Status error = invalid(option, word,
                               zero_allowed ? "one number or three, as in 127.5 or 123.7,116.3,103.5"
                                            : "one number or three, none of them 0");
  std::vector<float> values;
  for (std::string_view rest = word;;) {
    const std::size_t comma = rest.find(',');
    const std::optional<float> value = parse_number<float>(rest.substr(0, comma));
    if (!value || (!zero_allowed && *value == 0.0F)) return error;
    values.push_back(*value);
    if (comma == std::string_view::npos) break;
    rest.remove_prefix(comma + 1);
  }
  if (values.size() != 1 && values.size() != 3) return error;
  return values;
}

// Sets `target` to what `parse` makes of the word, where there is one.
template <typename Target, typename Parse>
Status set(Target& target, const std::optional<std::string>& word, Parse parse) {
  if (!word) return {};
  INFLIGHT_TRY_ASSIGN(target, parse(*word));
  return {};
}

Status set_path(std::optional<std::string>& target, std::string_view option,
                const std::optional<std::string>& word) {
  if (word && word->empty()) return invalid(option, *word, "a file to write");
  target = word;
  return {};
}

// The options that say what outputs mean.
Status check_vision(const RunWords& words, const RunOptions& options) {
  const std::array<std::pair<std::string_view, const std::optional<std::string>*>, 5> meanings = {
      {{"--task", &words.task},
       {"--head", &words.head},
       {"--labels", &words.labels},
       {"--score", &words.score},
       {"--iou", &words.iou}}};
  for (const auto& [option, word] : meanings) {
    if (!*word || words.results || words.output) continue;
    return {StatusCode::kInvalidArgument,
            fmt::format("{}: only for --results and --output, neither of which is given", option)};
  }
  if (options.task == Task::kClassify) {
    for (const auto& [option, word] : meanings) {
      if (*word && (option == "--head" || option == "--score" || option == "--iou"))
        return {StatusCode::kInvalidArgument, fmt::format("{}: only for --task detect", option)};
    }
  }
  return {};
}

Status set_sources(RunOptions& options, const RunWords& words) {
  if (!words.sources.empty()) options.sources = words.sources;
  for (const std::string& source : options.sources) {
    if (source.empty())
      return invalid("--source", "", "synthetic, a file, a directory of pictures, an address or a device");
  }
  constexpr auto kMost = static_cast<int>(RunOptions::kSourcesMax);
  if (options.sources.size() > RunOptions::kSourcesMax)
    return invalid("--source", fmt::format("{} sources", options.sources.size()),
                   fmt::format("{} at most", kMost));
  if (words.streams) {
    INFLIGHT_TRY_ASSIGN(const int streams, parse_between("--streams", *words.streams, 1, kMost));
    if (options.sources.size() > 1)
      return {StatusCode::kInvalidArgument, "--streams: copies of one source, and there are several"};
    if (streams > 1 && options.sources.front() == "-")
      return {StatusCode::kInvalidArgument, "--streams: standard input can be read only once"};
    options.copies = true;
    options.sources.resize(static_cast<std::size_t>(streams), options.sources.front());
  }
  options.limit =
      std::max(options.limit, options.sources.size() > 1 ? 2 * static_cast<int>(options.sources.size()) : 0);
  return {};
}

bool any_source(const RunOptions& options, bool (*is)(const std::string&)) {
  return std::any_of(options.sources.begin(), options.sources.end(), is);
}

// What would be accepted and ignored is refused.
Status check_together(const RunWords& words, const RunOptions& options) {
  if (words.seed && !has_synthetic(options)) {
    return {StatusCode::kInvalidArgument, "--seed: only the synthetic source has one"};
  }
  if (words.stall_timeout &&
      !any_source(options, [](const std::string& source) { return is_live(source); })) {
    return {StatusCode::kInvalidArgument,
            "--stall-timeout: only for a live source: a camera, rtsp:// or udp://"};
  }
  if (words.no_rotate && !has_other_than_synthetic(options)) {
    return {StatusCode::kInvalidArgument, "--no-rotate: the synthetic source is not turned"};
  }
  if (words.strict && !has_other_than_synthetic(options)) {
    return {StatusCode::kInvalidArgument, "--strict: the synthetic source has no damage"};
  }
  if (words.refuse_late && !words.deadline_ms) return refuse_late_needs_a_deadline();
  if (words.top && !words.results && !words.output) {
    return {StatusCode::kInvalidArgument,
            "--top: only for --results and --output, neither of which is given"};
  }
  if (!words.input_shapes.empty() && !words.model) {
    return {StatusCode::kInvalidArgument, "--input-shape: the embedded model's shapes are fixed"};
  }
  if (words.output && options.sources.size() > 1) {
    return {StatusCode::kInvalidArgument, "--output: only for one source, and there are several"};
  }
  INFLIGHT_TRY(check_vision(words, options));
  return {};
}

}  // namespace

namespace {

Result<Device> parse_one_device(std::string_view word) {
  Result<Device> device = Device::parse(clipped(word));
  // What cannot be a device's name is none here either: the same exit code.
  if (!device.ok()) return Status(StatusCode::kNoSuchDevice, "--" + std::string(device.status().message()));
  return device;
}

}  // namespace

Result<Device> parse_device(const std::string& word) {
  if (word.find(',') != std::string::npos) return invalid("--device", word, "one device: this takes no more");
  return parse_one_device(word);
}

Result<std::vector<Device>> parse_devices(const std::string& word) {
  const auto count = static_cast<std::size_t>(std::count(word.begin(), word.end(), ',')) + 1;
  if (count > Runtime::kDevicesMax)
    return invalid("--device", fmt::format("{} devices", count),
                   fmt::format("1 to {}", Runtime::kDevicesMax));
  std::vector<Device> devices;
  for (std::string_view rest = word; devices.size() < count;) {
    const std::size_t comma = rest.find(',');
    INFLIGHT_TRY_ASSIGN(const Device device, parse_one_device(rest.substr(0, comma)));
    if (std::find(devices.begin(), devices.end(), device) != devices.end())
      return invalid("--device", device.to_string() + " twice", "each device once");
    devices.push_back(device);
    if (comma != std::string_view::npos) rest.remove_prefix(comma + 1);
  }
  return devices;
}

Result<Precision> parse_precision(const std::string& word) {
  return as_option(inflight::parse_precision(clipped(word)));
}

Result<TuneLevel> parse_tune(const std::string& word) {
  return as_option(inflight::parse_tune_level(clipped(word)));
}

Result<RunOptions> parse_run(const RunWords& words) {
  RunOptions options;
  options.model = words.model;
  INFLIGHT_TRY(set_sources(options, words));
  INFLIGHT_TRY(set(options.fps, words.fps, parse_fps));
  INFLIGHT_TRY(set(options.limit, words.limit, [](const std::string& word) {
    if (word == "auto") return Result<int>(Predictor::kInFlightLimitAuto);
    const std::optional<int> limit = parse_number<int>(word);
    if (limit && *limit >= 1 && *limit <= Predictor::kInFlightLimitMax) return Result<int>(*limit);
    return Result<int>(
        invalid("--limit", word, fmt::format("auto or 1 to {}", Predictor::kInFlightLimitMax)));
  }));
  INFLIGHT_TRY(set(options.policy, words.policy, [](const std::string& word) {
    return parse_choice<OverloadPolicy>("--policy", word, kPolicies);
  }));
  INFLIGHT_TRY(set(options.precision, words.precision, parse_precision));
  INFLIGHT_TRY(set(options.width, words.width,
                   [](const std::string& word) { return as_option(parse_width_policy(clipped(word))); }));
  INFLIGHT_TRY(set(options.tune, words.tune, parse_tune));
  INFLIGHT_TRY(set(options.color, words.color, [](const std::string& word) {
    return parse_choice<ColorOrder>("--color", word, kColors);
  }));
  INFLIGHT_TRY(set(options.fit, words.fit,
                   [](const std::string& word) { return parse_choice<Fit>("--fit", word, kFits); }));
  INFLIGHT_TRY_ASSIGN(options.input_shapes, parse_input_shapes(words.input_shapes));
  INFLIGHT_TRY(set(options.mean, words.mean,
                   [](const std::string& word) { return parse_channels("--mean", word, true); }));
  INFLIGHT_TRY(set(options.scale, words.scale,
                   [](const std::string& word) { return parse_channels("--scale", word, false); }));
  INFLIGHT_TRY(set(options.frames, words.frames, [](const std::string& word) {
    return parse_between<std::int64_t>("--frames", word, 1, kFramesMax);
  }));
  INFLIGHT_TRY(set(options.duration, words.duration, parse_duration));
  INFLIGHT_TRY(set(options.deadline, words.deadline_ms, parse_deadline));
  INFLIGHT_TRY(set(options.source_options.seed, words.seed, [](const std::string& word) {
    return parse_between<std::uint64_t>("--seed", word, 0, std::numeric_limits<std::uint64_t>::max());
  }));
  INFLIGHT_TRY(set(options.source_options.stall_timeout, words.stall_timeout, parse_stall_timeout));
  options.source_options.rotate = !words.no_rotate;
  options.strict = words.strict;
  options.refuse_late = words.refuse_late;
  INFLIGHT_TRY(set(options.top, words.top,
                   [](const std::string& word) { return parse_between("--top", word, 1, kTopMax); }));
  INFLIGHT_TRY(set_path(options.json, "--json", words.json));
  INFLIGHT_TRY(set_path(options.results, "--results", words.results));
  INFLIGHT_TRY(set_path(options.trace, "--trace", words.trace));
  INFLIGHT_TRY(set_path(options.output, "--output", words.output));
  INFLIGHT_TRY(set(options.task, words.task,
                   [](const std::string& word) { return parse_choice<Task>("--task", word, kTasks); }));
  INFLIGHT_TRY(set(options.head, words.head, parse_head));
  if (words.labels && words.labels->empty()) return invalid("--labels", "", "a file of class names");
  options.labels = words.labels;
  INFLIGHT_TRY(set(options.score, words.score,
                   [](const std::string& word) { return parse_between("--score", word, 0.0F, 1.0F); }));
  INFLIGHT_TRY(set(options.iou, words.iou,
                   [](const std::string& word) { return parse_between("--iou", word, 0.0F, 1.0F); }));
  INFLIGHT_TRY(check_together(words, options));
  // Last, so that a wrong word is told as such even where the device is missing.
  INFLIGHT_TRY(set(options.devices, words.device, parse_devices));
  return options;
}

bool has_synthetic(const RunOptions& options) {
  return any_source(options, [](const std::string& source) { return source == kSynthetic; });
}

bool has_other_than_synthetic(const RunOptions& options) {
  return any_source(options, [](const std::string& source) { return source != kSynthetic; });
}

Result<Duration> parse_deadline(const std::string& word) {
  const std::optional<double> ms = parse_number<double>(word);
  if (ms && *ms >= 1e-3 && *ms <= kDeadlineMaxMs) return Duration(std::llround(*ms * 1e6));
  return invalid("--deadline-ms", word, "milliseconds, 0.001 to 1000000000");
}

Status refuse_late_needs_a_deadline() {
  return {StatusCode::kInvalidArgument, "--refuse-late: needs --deadline-ms"};
}

}  // namespace inflight::cli
