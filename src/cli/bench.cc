// SPDX-License-Identifier: Apache-2.0
#include "cli/bench.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <utility>

#include "cli/console.h"
#include "cli/file_id.h"
#include "cli/load.h"
#include "cli/output_file.h"
#include "cli/stop.h"
#include "cli/text.h"
#include "cli/tuning.h"
#include "inflight/runtime.h"
#include "inflight/version.h"
#include "load/predictor_target.h"
#include "load/report.h"
#include "load/runner.h"

namespace inflight::cli {
namespace {

using load::Json;

// Before a run that is measured: caches are warm and idle threads are found.
constexpr Duration kWarmUp = std::chrono::milliseconds(200);

struct System {
  load::Subject subject;
  std::unique_ptr<load::PredictorTarget> target;
};

// Everything that is measured, and its books.
class Bench {
 public:
  Bench(BenchOptions options, std::string title, std::string device, std::vector<System> systems)
      : options_(std::move(options)),
        title_(std::move(title)),
        device_(std::move(device)),
        systems_(std::move(systems)),
        table_(names(systems_), words(options_.plans)) {}

  Status measure() {
    print_out(fmt::format("model      {}\ndevice     {}\nlimit      {} in flight\n\n", title_, device_,
                          options_.limit));
    print_out(table_.head());
    INFLIGHT_TRY(measure_closed());
    for (const load::PlanKind& plan : options_.plans) {
      if (!plan.wants_rate()) {
        INFLIGHT_TRY(measure_plan(plan, 0));
        continue;
      }
      std::vector<double> rates = options_.rates;
      if (rates.empty()) {
        for (const double load : options_.loads) rates.push_back(load * capacity_);
      }
      for (const double rate : rates) INFLIGHT_TRY(measure_plan(plan, rate));
    }
    return {};
  }

  // 1 where a prediction failed.
  int exit_code() const noexcept { return failed_ > 0 ? 1 : 0; }
  std::uint64_t failed() const noexcept { return failed_; }

  Json report() const {
    Json rows = Json::array();
    for (const load::Row& row : rows_) rows.push_back(load::row_json(row));
    Json json = {{"title", "inflight bench: " + title_},
                 {"version", INFLIGHT_VERSION},
                 {"model", title_},
                 {"machine", device_},
                 {"precision", precision_name(options_.precision)},
                 {"limit", options_.limit},
                 {"seed", options_.seed},
                 {"duration_s", std::chrono::duration<double>(options_.duration).count()},
                 {"capacity_per_s", capacity_}};
    if (options_.deadline) {
      json["deadline_ms"] = std::chrono::duration<double, std::milli>(*options_.deadline).count();
      json["refuse_late"] = options_.refuse_late;
    }
    Json tuning = Json::array();
    for (const System& system : systems_) {
      Json one = tuning_json(system.target->predictor().tuning());
      if (!one.is_null()) one["system"] = system.subject.system;
      tuning.push_back(std::move(one));
    }
    json["tuning"] = std::move(tuning);
    json["rows"] = std::move(rows);
    return json;
  }

  std::string page() const {
    Json whole = report();
    whole["note"] = fmt::format("capacity {:.0f}/s · {} in flight at most · seed {}", capacity_,
                                options_.limit, options_.seed);
    whole["details"] = details_;
    return load::page_text(whole);
  }

 private:
  static std::vector<std::string> names(const std::vector<System>& systems) {
    std::vector<std::string> names;
    for (const System& system : systems) names.push_back(system.subject.system);
    return names;
  }
  static std::vector<std::string> words(const std::vector<load::PlanKind>& plans) {
    std::vector<std::string> words;
    for (const load::PlanKind& plan : plans) words.push_back(one_line(plan.word));
    return words;
  }

  std::vector<int> in_flight() const {
    if (!options_.in_flight.empty()) return options_.in_flight;
    int slots = 1;
    for (const System& system : systems_) slots = std::max(slots, system.target->predictor().slots());
    std::vector<int> counts;
    const int most = std::min(2 * slots, options_.limit);
    for (int count = 1; count < most; count *= 2) counts.push_back(count);
    counts.push_back(most);
    return counts;
  }

  Status measure_closed() {
    for (const int in_flight : in_flight()) {
      for (System& system : systems_) {
        INFLIGHT_TRY(warm_up(system));
        INFLIGHT_TRY_ASSIGN(const load::LoadRun run,
                            load::run_closed(*system.target, in_flight, options_.duration));
        enter(system, "closed", std::nullopt, run);
        capacity_ = std::max(capacity_, rows_.back().rate);
      }
    }
    return {};
  }

  Status measure_plan(const load::PlanKind& kind, double rate) {
    Result<load::Plan> plan = load::make_plan(kind, rate, options_.duration, options_.seed);
    if (!plan.ok()) return plan.status().with_context("--plan " + one_line(kind.word));
    for (System& system : systems_) {
      INFLIGHT_TRY(warm_up(system));
      INFLIGHT_TRY_ASSIGN(const load::LoadRun run, load::run_open(*system.target, *plan, options_.deadline));
      const double own = rate > 0 ? rate : plan->rate();
      enter(system, one_line(kind.word), capacity_ > 0 ? std::optional(own / capacity_) : std::nullopt, run);
    }
    return {};
  }

  static Status warm_up(System& system) { return load::run_closed(*system.target, 1, kWarmUp).status(); }

  void enter(const System& system, const std::string& plan, std::optional<double> load,
             const load::LoadRun& run) {
    rows_.push_back(load::summarise(system.subject, plan, load, run));
    if (options_.html) details_.push_back(load::detail_json(run));
    failed_ += rows_.back().failed;
    print_out(table_.line(rows_.back()));
  }

  const BenchOptions options_;
  const std::string title_;
  const std::string device_;
  std::vector<System> systems_;
  const load::Table table_;
  double capacity_ = 0;  // of the best system, completed a second
  std::uint64_t failed_ = 0;
  std::vector<load::Row> rows_;
  Json details_ = Json::array();
};

Result<std::vector<System>> make_systems(const BenchOptions& options, const LoadedModel& loaded,
                                         const Runtime& runtime) {
  std::vector<System> systems;
  for (const WidthPolicy width : options.widths) {
    PredictorOptions wanted;
    wanted.runtime = runtime;
    wanted.in_flight_limit = options.limit;
    wanted.precision = options.precision;
    wanted.width = width;
    wanted.tune = options.tune;
    TuningBar bar;
    wanted.tune_progress = bar.callback();
    wanted.refuse_late = options.refuse_late;
    Result<load::PredictorTarget> target = load::PredictorTarget::make(loaded.model, std::move(wanted));
    if (!target.ok()) {
      // Every option has been checked: what is wrong is the model.
      if (target.status().code() != StatusCode::kInvalidArgument) return target.status();
      return Status(StatusCode::kInvalidModel, std::string(target.status().message()));
    }
    systems.push_back({{loaded.title, std::string(precision_name(options.precision)),
                        fmt::format("inflight {}", width_policy_name(width)), runtime.capacity()},
                       std::make_unique<load::PredictorTarget>(std::move(*target))});
  }
  return systems;
}

Status check_bench_files(const BenchOptions& options) {
  std::vector<NamedPath> outputs;
  std::vector<NamedPath> inputs;
  if (options.json) outputs.push_back({"--json", *options.json});
  if (options.html) outputs.push_back({"--html", *options.html});
  if (outputs.empty()) return {};
  if (options.model) {
    for (std::string& path : files_of_model(*options.model)) inputs.push_back({"the model", std::move(path)});
  }
  for (const load::PlanKind& plan : options.plans) {
    if (!plan.path.empty()) inputs.push_back({"the recording", plan.path});
  }
  return check_files(outputs, inputs);
}

Status write_whole(OutputFile& file, const std::string& text) {
  INFLIGHT_TRY(file.write(text));
  return file.close();
}

Result<int> run_bench(const BenchWords& words) {
  INFLIGHT_TRY_ASSIGN(const BenchOptions options, parse_bench(words));
  INFLIGHT_TRY(check_bench_files(options));
  // A recording that cannot be read is told before anything is measured.
  for (const load::PlanKind& plan : options.plans) {
    if (plan.path.empty()) continue;
    const Result<load::Plan> read = load::make_plan(plan, 0, options.duration, options.seed);
    if (!read.ok()) return read.status().with_context("--plan");
  }
  OutputFile json;
  OutputFile html;
  if (options.json) {
    INFLIGHT_TRY_ASSIGN(json, OutputFile::open_whole("--json", *options.json));
  }
  if (options.html) {
    INFLIGHT_TRY_ASSIGN(html, OutputFile::open_whole("--html", *options.html));
  }
  INFLIGHT_TRY_ASSIGN(const Runtime runtime, Runtime::open(options.devices));
  INFLIGHT_TRY_ASSIGN(const LoadedModel loaded,
                      load_model(options.model, {.input_shapes = options.input_shapes}));
  INFLIGHT_TRY_ASSIGN(std::vector<System> systems, make_systems(options, loaded, runtime));
  Bench bench(options, loaded.title, runtime.device_description(), std::move(systems));
  INFLIGHT_TRY(bench.measure());
  if (json)
    INFLIGHT_TRY(
        write_whole(json, bench.report().dump(2, ' ', false, Json::error_handler_t::replace) + "\n"));
  if (html) INFLIGHT_TRY(write_whole(html, bench.page()));
  if (bench.failed() > 0) print_error(fmt::format("{} predictions failed", bench.failed()));
  return bench.exit_code();
}

}  // namespace

int bench_command(const BenchWords& words) {
  end_on_signals();  // nothing is half written: the files come at the end
  const Result<int> code = run_bench(words);
  if (code.ok()) return *code;
  print_error(code.status());
  return exit_code(code.status().code());
}

}  // namespace inflight::cli
