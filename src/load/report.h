// SPDX-License-Identifier: Apache-2.0
// What runs under load come to: rows, a table, an object for programs and a page for people.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "load/runner.h"

namespace inflight::load {

using Json = nlohmann::ordered_json;

// What was run. Text of the user's may hold any bytes.
struct Subject {
  std::string model;
  std::string precision;
  std::string system;
  int threads = 0;
};

// One run in numbers. A frame that did not complete counts as one with a latency that never ends, so leaving frames
// out does not improve a quantile.
struct Row {
  Subject subject;
  std::string plan;            // its word; "closed" for a closed loop
  std::optional<double> load;  // a share of the capacity; nothing: the plan has a rate of its own
  int in_flight = 0;           // of a closed loop; 0: open
  double rate = 0;             // open: arrivals a second as planned; closed: completed a second
  double completed_per_s = 0;
  // Of the latency from the planned arrival; nothing: that many did not complete.
  std::optional<double> p50_ms, p90_ms, p99_ms, max_ms;
  std::uint64_t planned = 0;
  std::uint64_t completed = 0;
  std::uint64_t missed = 0;  // planned - completed
  std::uint64_t failed = 0, rejected = 0, dropped = 0, expired = 0, cancelled = 0;
  std::optional<std::uint64_t> in_time;  // completed before their deadlines; nothing: they had none
  double wide = 0;                       // share of those that ran and whose width is known
  double submit_p99_us = 0;              // how long handing over took
  double late_max_ms = 0;
};

Row summarise(const Subject& subject, const std::string& plan, std::optional<double> load,
              const LoadRun& run);
Json row_json(const Row& row);

// What the page draws of a run: the frames of a short time, and the outcomes over all of it.
//   bound    kDetailFrames frames, kDetailBins times
constexpr std::size_t kDetailFrames = 150;
constexpr int kDetailBins = 50;
Json detail_json(const LoadRun& run);

// A table, line by line, each ended; so wide that these systems and plans fit.
class Table {
 public:
  Table(const std::vector<std::string>& systems, const std::vector<std::string>& plans);
  std::string head() const;
  std::string line(const Row& row) const;

 private:
  std::size_t system_width_ = 6;
  std::size_t plan_width_ = 6;  // "closed"
};

// A page that shows `report`, whole in itself: it loads nothing.
//   report   {"title", "machine", "date", "rows": row_json()..., "details": a detail_json() or null for each row}
std::string page_text(const Json& report);
// The page with the mark kPageMark in place of its data, for other programs.
std::string_view page_template() noexcept;
inline constexpr std::string_view kPageMark = "/*REPORT*/null";

}  // namespace inflight::load
