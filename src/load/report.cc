// SPDX-License-Identifier: Apache-2.0
#include "load/report.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <iterator>

namespace inflight::load {
namespace {

constexpr std::array kOutcomes = {Outcome::kCompleted, Outcome::kRejected, Outcome::kExpired,
                                  Outcome::kDropped,   Outcome::kFailed,   Outcome::kCancelled};

double ms(Duration duration) { return std::chrono::duration<double, std::milli>(duration).count(); }

// To a microsecond, which is what the clocks are worth.
double rounded(double value) { return std::round(value * 1e3) / 1e3; }

Json number_or_null(const std::optional<double>& value) {
  return value ? Json(rounded(*value)) : Json(nullptr);
}

// The nearest rank among `planned` latencies, of which those known are sorted and the others never end.
std::optional<double> quantile(const std::vector<double>& sorted, std::size_t planned, double fraction) {
  if (planned == 0) return std::nullopt;
  const auto rank = static_cast<std::size_t>(std::ceil(fraction * static_cast<double>(planned)));
  const std::size_t index = std::max<std::size_t>(rank, 1) - 1;
  if (index >= sorted.size()) return std::nullopt;
  return sorted[index];
}

void count(Row& row, const Sample& sample) {
  switch (sample.outcome) {
    case Outcome::kCompleted:
      ++row.completed;
      return;
    case Outcome::kRejected:
      ++row.rejected;
      return;
    case Outcome::kDropped:
      ++row.dropped;
      return;
    case Outcome::kExpired:
      ++row.expired;
      return;
    case Outcome::kCancelled:
      ++row.cancelled;
      return;
    case Outcome::kPending:
    case Outcome::kFailed:
      ++row.failed;
      return;
  }
}

std::string cell(const std::optional<double>& value) {
  if (!value) return "-";
  return fmt::format("{:.{}f}", *value, *value < 10 ? 2 : *value < 100 ? 1 : 0);
}

}  // namespace

Row summarise(const Subject& subject, const std::string& plan, std::optional<double> load,
              const LoadRun& run) {
  Row row;
  row.subject = subject;
  row.plan = plan;
  row.load = load;
  row.in_flight = run.in_flight;
  row.planned = run.samples.size();
  if (run.deadline) row.in_time = 0;
  std::vector<double> latencies;
  std::vector<double> submits;
  std::uint64_t within = 0;  // completed before the plan's end
  std::uint64_t wide = 0;
  std::uint64_t known = 0;
  for (const Sample& sample : run.samples) {
    count(row, sample);
    submits.push_back(ms(sample.submit) * 1e3);
    if (sample.width >= 0) {
      ++known;
      if (static_cast<Width>(sample.width) == Width::kWide) ++wide;
    }
    if (sample.outcome != Outcome::kCompleted) continue;
    latencies.push_back(ms(sample.finished - sample.due));
    if (sample.finished <= run.length) ++within;
    if (run.deadline && sample.finished - sample.due <= *run.deadline) ++*row.in_time;
  }
  std::sort(latencies.begin(), latencies.end());
  std::sort(submits.begin(), submits.end());
  row.missed = row.planned - row.completed;
  const double seconds = std::max(ms(run.length) / 1e3, 1e-9);
  // A queue that is left at the end took longer than the plan to be worked off.
  const double wall = std::max(ms(run.wall) / 1e3, seconds);
  row.completed_per_s =
      run.in_flight > 0 ? static_cast<double>(within) / seconds : static_cast<double>(row.completed) / wall;
  row.rate = run.in_flight > 0 ? row.completed_per_s : static_cast<double>(row.planned) / seconds;
  row.p50_ms = quantile(latencies, row.planned, 0.5);
  row.p90_ms = quantile(latencies, row.planned, 0.9);
  row.p99_ms = quantile(latencies, row.planned, 0.99);
  row.max_ms = quantile(latencies, row.planned, 1);
  row.wide = known > 0 ? static_cast<double>(wide) / static_cast<double>(known) : 0;
  row.submit_p99_us = quantile(submits, submits.size(), 0.99).value_or(0);
  row.late_max_ms = ms(run.late_max);
  return row;
}

Json row_json(const Row& row) {
  Json json = {{"model", row.subject.model},
               {"precision", row.subject.precision},
               {"system", row.subject.system},
               {"threads", row.subject.threads},
               {"plan", row.plan},
               {"load", number_or_null(row.load)}};
  if (row.in_flight > 0) json["in_flight"] = row.in_flight;
  json["rate"] = rounded(row.rate);
  json["completed_per_s"] = rounded(row.completed_per_s);
  json["p50_ms"] = number_or_null(row.p50_ms);
  json["p90_ms"] = number_or_null(row.p90_ms);
  json["p99_ms"] = number_or_null(row.p99_ms);
  json["max_ms"] = number_or_null(row.max_ms);
  json["planned"] = row.planned;
  json["completed"] = row.completed;
  json["missed"] = row.missed;
  json["failed"] = row.failed;
  json["rejected"] = row.rejected;
  json["dropped"] = row.dropped;
  json["expired"] = row.expired;
  if (row.in_time) json["in_time"] = *row.in_time;
  json["cancelled"] = row.cancelled;
  json["wide"] = rounded(row.wide);
  json["submit_p99_us"] = rounded(row.submit_p99_us);
  json["late_max_ms"] = rounded(row.late_max_ms);
  return json;
}

Json detail_json(const LoadRun& run) {
  Json items = Json::array();
  const std::vector<Sample>& samples = run.samples;
  // A quarter into the run, what begins is over.
  const std::size_t first =
      samples.size() > kDetailFrames ? std::min(samples.size() / 4, samples.size() - kDetailFrames) : 0;
  const std::size_t last = std::min(samples.size(), first + kDetailFrames);
  for (std::size_t i = first; i < last; ++i) {
    const Sample& s = samples[i];
    items.push_back(
        {rounded(ms(s.due)), s.started < Duration(0) ? Json(nullptr) : Json(rounded(ms(s.started))),
         rounded(ms(s.finished)), s.slot, s.width < 0 ? "" : width_name(static_cast<Width>(s.width)),
         outcome_name(s.outcome), s.stream});
  }
  const Duration length = std::max(run.length, Duration(kDetailBins));
  Json outcomes = Json::object();
  for (const Outcome outcome : kOutcomes) {
    std::array<std::uint64_t, kDetailBins> bins{};
    bool any = false;
    for (const Sample& s : samples) {
      if (s.outcome != outcome) continue;
      any = true;
      ++bins[static_cast<std::size_t>(
          std::clamp<std::int64_t>(s.due * kDetailBins / length, 0, kDetailBins - 1))];
    }
    if (any) outcomes[std::string(outcome_name(outcome))] = bins;
  }
  return {{"frames", items}, {"bin_ms", rounded(ms(length) / kDetailBins)}, {"outcomes", outcomes}};
}

Table::Table(const std::vector<std::string>& systems, const std::vector<std::string>& plans) {
  for (const std::string& system : systems) system_width_ = std::max(system_width_, system.size());
  for (const std::string& plan : plans) plan_width_ = std::max(plan_width_, plan.size());
}

std::string Table::head() const {
  return fmt::format("{:<{}}  {:<{}}  {:>12} {:>9} {:>9} {:>9} {:>9} {:>9} {:>8}\n", "system", system_width_,
                     "plan", plan_width_, "load", "planned/s", "done/s", "p50 ms", "p99 ms", "max ms",
                     "missed");
}

std::string Table::line(const Row& row) const {
  const std::string load = row.in_flight > 0 ? fmt::format("{} in flight", row.in_flight)
                           : row.load        ? fmt::format("{:.3g}%", 100 * *row.load)
                                             : "-";
  return fmt::format("{:<{}}  {:<{}}  {:>12} {:>9} {:>9} {:>9} {:>9} {:>9} {:>8}\n", row.subject.system,
                     system_width_, row.plan, plan_width_, load, row.in_flight > 0 ? "-" : cell(row.rate),
                     cell(row.completed_per_s), cell(row.p50_ms), cell(row.p99_ms), cell(row.max_ms),
                     row.missed);
}

std::string page_text(const Json& report) {
  std::string data = report.dump(-1, ' ', false, Json::error_handler_t::replace);
  // A script ends at "</", wherever it stands.
  for (std::size_t at = data.find("</"); at != std::string::npos; at = data.find("</", at))
    data.replace(at, 2, "<\\/");
  std::string page(page_template());
  page.replace(page.find(kPageMark), kPageMark.size(), data);
  return page;
}

}  // namespace inflight::load
