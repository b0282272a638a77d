// SPDX-License-Identifier: Apache-2.0
// usage: bench_load_NAME MODEL PRECISION LIMIT CONFIG [TITLE]
//        bench_load_NAME --plan WORD RATE SECONDS SEED
// The first form says {"system", "threads", "scores"} and then answers each line of stdin by one line of JSON,
// {"row", "detail"}:
//   closed IN_FLIGHT SECONDS
//   open WORD LOAD SECONDS FILE    FILE is what the second form prints, and LOAD what the row says
#include "worker.h"

#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <sstream>
#include <utility>

#include "load/plan.h"
#include "load/report.h"
#include "load/runner.h"

namespace bench_load {
namespace {

using namespace inflight;
using namespace inflight::load;

constexpr Duration kWarmUp = std::chrono::milliseconds(300);

Duration seconds(double value) { return Duration(static_cast<std::int64_t>(value * 1e9)); }

int fail(const Status& status) {
  std::fprintf(stderr, "bench_load: %s\n", status.to_string().c_str());
  return 1;
}

Status answer(System& system, const Subject& subject, const std::string& line) {
  std::istringstream words(line);
  std::string kind;
  words >> kind;
  std::string plan_word = "closed";
  std::optional<double> load;
  INFLIGHT_TRY(run_closed(*system.target, 1, kWarmUp).status());
  LoadRun run;
  if (kind == "closed") {
    int in_flight = 0;
    double length = 0;
    words >> in_flight >> length;
    INFLIGHT_TRY_ASSIGN(run, run_closed(*system.target, in_flight, seconds(length)));
  } else {
    double share = 0;
    double length = 0;
    std::string file;
    words >> plan_word >> share >> length >> file;
    load = share;
    INFLIGHT_TRY_ASSIGN(const PlanKind recorded, parse_plan("recorded:" + file));
    INFLIGHT_TRY_ASSIGN(Plan plan, make_plan(recorded, 0, seconds(length), 0));
    plan.length = seconds(length);
    INFLIGHT_TRY_ASSIGN(run, run_open(*system.target, plan));
  }
  if (!words) return {StatusCode::kInvalidArgument, "cannot read \"" + line + "\""};
  const Json told = {{"row", row_json(summarise(subject, plan_word, load, run))},
                     {"detail", detail_json(run)}};
  std::cout << told.dump() << std::endl;
  return {};
}

int print_plan(char** words) {
  const Result<PlanKind> kind = parse_plan(words[0]);
  if (!kind.ok()) return fail(kind.status());
  const Result<Plan> plan = make_plan(*kind, std::atof(words[1]), seconds(std::atof(words[2])),
                                      std::strtoull(words[3], nullptr, 10));
  if (!plan.ok()) return fail(plan.status());
  std::cout << plan_text(*plan);
  return 0;
}

int serve(int argc, char** argv) {
  const Wanted wanted = {argv[1], argv[2], std::atoi(argv[3]), argv[4]};
  Result<System> system = make_system(wanted);
  if (!system.ok()) return fail(system.status());
  const Subject subject = {argc > 5 ? argv[5] : wanted.model, wanted.precision, system->name,
                           system->threads};
  const Json told = {{"system", system->name}, {"threads", system->threads}, {"scores", system->scores}};
  std::cout << told.dump() << std::endl;
  for (std::string line; std::getline(std::cin, line);) {
    if (const Status status = answer(*system, subject, line); !status.ok()) return fail(status);
  }
  return 0;
}

}  // namespace
}  // namespace bench_load

int main(int argc, char** argv) {
  if (argc == 6 && std::string(argv[1]) == "--plan") return bench_load::print_plan(argv + 2);
  if (argc == 5 || argc == 6) return bench_load::serve(argc, argv);
  std::fputs("usage: bench_load_NAME MODEL PRECISION LIMIT CONFIG [TITLE]\n", stderr);
  return 2;
}
