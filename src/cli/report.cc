// SPDX-License-Identifier: Apache-2.0
#include "cli/report.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "cli/text.h"
#include "cli/tuning.h"

namespace inflight::cli {
namespace {

using Json = nlohmann::ordered_json;

double us(std::int64_t ns) { return static_cast<double>(ns) / 1e3; }

double seconds(Duration duration) { return std::chrono::duration<double>(duration).count(); }

double completed_per_second(const RunReport& report, const Statistics& statistics) {
  const double wall_s = seconds(report.tally.wall);
  return wall_s > 0 ? static_cast<double>(statistics.completed) / wall_s : 0;
}

Json quantiles(const Histogram& ns) {
  return {{"p50", us(ns.quantile(0.5))},
          {"p90", us(ns.quantile(0.9))},
          {"p99", us(ns.quantile(0.99))},
          {"p999", us(ns.quantile(0.999))},
          {"max", us(ns.max())}};
}

// The first thing that went wrong.
const Status& first_error(const Tally& tally) {
  if (!tally.first_damage.ok()) return tally.first_damage;
  if (!tally.first_failure.ok()) return tally.first_failure;
  return tally.source_error.ok() ? tally.submit_error : tally.source_error;
}

std::string outcomes_text(const Statistics& s) {
  std::string text =
      fmt::format("{} submitted: {} completed, {} failed, {} rejected", with_commas(s.submitted),
                  with_commas(s.completed), with_commas(s.failed), with_commas(s.rejected));
  if (s.dropped > 0) text += fmt::format(", {} dropped", with_commas(s.dropped));
  if (s.expired > 0) text += fmt::format(", {} expired", with_commas(s.expired));
  if (s.cancelled > 0) text += fmt::format(", {} cancelled", with_commas(s.cancelled));
  if (s.in_flight > 0) text += fmt::format(", {} in flight", with_commas(s.in_flight));
  return text;
}

Json counts(const Statistics& s) {
  return {{"submitted", s.submitted}, {"completed", s.completed},
          {"failed", s.failed},       {"rejected", s.rejected},
          {"late", s.late},           {"dropped", s.dropped},
          {"expired", s.expired},     {"cancelled", s.cancelled},
          {"in_flight", s.in_flight}, {"in_flight_max", s.in_flight_max}};
}

std::string stream_text(const StreamReport& stream, double rate) {
  std::string text = fmt::format("{}; {:.1f} a second", outcomes_text(stream.statistics), rate);
  if (stream.latency_ns.count() > 0) {
    text += fmt::format(", p50 {}  p99 {} us", microseconds(stream.latency_ns.quantile(0.5)),
                        microseconds(stream.latency_ns.quantile(0.99)));
  }
  if (stream.age_ns.count() > 0)
    text += fmt::format(", age p99 {} us", microseconds(stream.age_ns.quantile(0.99)));
  return text + "; " + stream.source;
}

Json streams_json(const RunReport& report) {
  Json streams = Json::array();
  for (const StreamReport& stream : report.streams) {
    Json json = counts(stream.statistics);
    json["source"] = stream.source;
    json["fps"] = completed_per_second(report, stream.statistics);
    json["latency_us"] = quantiles(stream.latency_ns);
    json["age_us"] = quantiles(stream.age_ns);
    streams.push_back(std::move(json));
  }
  return streams;
}

std::string device_text(const DeviceStatistics& device) {
  std::string text = fmt::format("{} completed, {} failed; {} slots; {}", with_commas(device.completed),
                                 with_commas(device.failed), device.slots, device.description);
  if (!device.lost.ok()) text += "; lost: " + one_line(device.lost.to_string());
  return text;
}

Json devices_json(const RunReport& report) {
  Json devices = Json::array();
  for (const DeviceStatistics& device : report.devices) {
    devices.push_back({{"device", device.device.to_string()},
                       {"description", device.description},
                       {"slots", device.slots},
                       {"completed", device.completed},
                       {"failed", device.failed},
                       {"lost", device.lost.ok() ? Json(nullptr) : Json(one_line(device.lost.to_string()))}});
  }
  return devices;
}

}  // namespace

std::string summary_text(const RunReport& report) {
  const Statistics& s = report.statistics;
  const Tally& tally = report.tally;
  std::string text;
  const auto line = [&text](std::string_view name, std::string_view value) {
    text += fmt::format("{:<10} {}\n", name, value);
  };
  line("model", report.model);
  line("device", report.device);
  if (report.tuning) line("tuning", tuning_text(*report.tuning));
  line("source", report.source);
  line("frames", outcomes_text(s));
  line("rate", fmt::format("{:.1f} completed a second, over {:.2f} s", completed_per_second(report, s),
                           seconds(tally.wall)));
  line("in flight", fmt::format("{} at most, of {} allowed ({})", s.in_flight_max, s.in_flight_limit,
                                limit_reason_name(s.limit_reason)));
  if (tally.latencies.total.count() > 0) {
    const Histogram& ns = tally.latencies.total;
    line("latency", fmt::format("p50 {}  p90 {}  p99 {}  max {} us, from when a frame was due",
                                microseconds(ns.quantile(0.5)), microseconds(ns.quantile(0.9)),
                                microseconds(ns.quantile(0.99)), microseconds(ns.max())));
  }
  if (tally.latencies.age.count() > 0) {
    const Histogram& ns = tally.latencies.age;
    line("age", fmt::format("p50 {}  p99 {}  max {} us, of the newest result", microseconds(ns.quantile(0.5)),
                            microseconds(ns.quantile(0.99)), microseconds(ns.max())));
  }
  if (tally.submit_ns.count() > 0) {
    line("submit", fmt::format("p99 {}  max {} us", microseconds(tally.submit_ns.quantile(0.99)),
                               microseconds(tally.submit_ns.max())));
  }
  for (std::size_t i = 0; i < report.streams.size(); ++i) {
    const StreamReport& stream = report.streams[i];
    line(fmt::format("stream {}", i), stream_text(stream, completed_per_second(report, stream.statistics)));
  }
  for (std::size_t i = 0; i < report.devices.size(); ++i)
    line(fmt::format("device {}", i), device_text(report.devices[i]));
  if (!report.task.empty()) line("task", report.task);
  if (report.output) {
    line("output", fmt::format("{} frames written, {} left out because encoding was behind; {} \"{}\"",
                               with_commas(static_cast<std::uint64_t>(report.output->written)),
                               with_commas(static_cast<std::uint64_t>(report.output->dropped)),
                               report.output->description, one_line(report.output->path)));
  }
  if (report.judged && s.completed > 0) {
    line("accuracy",
         fmt::format("{:.2f}%, {} of {} right",
                     100.0 * static_cast<double>(tally.correct) / static_cast<double>(s.completed),
                     with_commas(tally.correct), with_commas(s.completed)));
  }
  return text;
}

std::string json_text(const RunReport& report) {
  const Statistics& s = report.statistics;
  const Tally& tally = report.tally;
  Json json = counts(s);
  json["latency_us"] = quantiles(tally.latencies.total);
  json["age_us"] = quantiles(tally.latencies.age);
  json["input_wait_us"] = quantiles(tally.latencies.input_wait);
  json["slot_wait_us"] = quantiles(tally.latencies.slot_wait);
  json["running_us"] = quantiles(tally.latencies.running);
  json["submit_us"] = quantiles(tally.submit_ns);
  json["fps"] = completed_per_second(report, s);
  json["device"] = report.device;
  if (!report.devices.empty()) json["devices"] = devices_json(report);
  json["width"] = {{"wide", s.wide}, {"medium", s.medium}, {"narrow", s.narrow}};
  if (report.judged) {
    json["accuracy"] = s.completed > 0
                           ? Json(static_cast<double>(tally.correct) / static_cast<double>(s.completed))
                           : Json(nullptr);
  }
  json["model"] = report.model;
  json["source"] = report.source;
  json["fps_wanted"] = report.fps ? Json(*report.fps) : Json(nullptr);
  json["frames"] = tally.frames;
  json["frames_skipped"] = tally.losses.skipped;
  json["ended_early"] = tally.losses.ended_early;
  json["duration_s"] = seconds(tally.wall);
  json["limit"] = s.in_flight_limit;
  json["limit_reason"] = limit_reason_name(s.limit_reason);
  json["slots"] = report.slots;
  json["tuning"] = tuning_json(report.tuning);
  if (report.deadline)
    json["deadline_ms"] = std::chrono::duration<double, std::milli>(*report.deadline).count();
  json["policy"] = report.policy;
  json["precision"] = report.precision;
  json["late_max_us"] = us(tally.late_max.count());
  if (!report.task.empty()) json["task"] = report.task;
  if (report.output) {
    json["output"] = {{"path", report.output->path},
                      {"frames", report.output->written},
                      {"dropped", report.output->dropped}};
  }
  if (!report.streams.empty()) json["streams"] = streams_json(report);
  json["exit_code"] = report.exit_code;
  if (!first_error(tally).ok()) json["error"] = one_line(first_error(tally).to_string());
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace inflight::cli
