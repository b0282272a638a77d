// SPDX-License-Identifier: Apache-2.0
#include "cli/run.h"

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "cli/annotator.h"
#include "cli/console.h"
#include "cli/display.h"
#include "cli/file_id.h"
#include "cli/interpretation.h"
#include "cli/load.h"
#include "cli/loop.h"
#include "cli/output_file.h"
#include "cli/report.h"
#include "cli/results.h"
#include "cli/run_plan.h"
#include "cli/run_predictors.h"
#include "cli/sized_predictors.h"
#include "cli/stop.h"
#include "cli/trace.h"
#include "inflight/predictor.h"
#include "inflight/runtime.h"
#include "media/open_source.h"
#include "media/prefetch.h"
#include "media/synthetic.h"
#include "media/video_writer.h"

namespace inflight::cli {
namespace {

// What a run needs, all of it found to be there.
struct Session {
  RunOptions options;
  OutputFile json;
  std::vector<std::unique_ptr<FrameSource>> sources;  // as of the options
  LoadedModel loaded;
  std::vector<LoopPlan> plans;  // one a source
  std::unique_ptr<SizedPredictors> predictor;
  std::unique_ptr<ResultsWriter> results;  // null: none are asked for
  Interpretation meaning;
  std::string output_text;             // of the output, for people
  std::unique_ptr<Annotator> output;   // null: none is asked for
  std::unique_ptr<TraceWriter> trace;  // likewise
};

// An output is never an input, nor another output under a second name.
Status check_files(const RunOptions& options) {
  std::vector<NamedPath> outputs;
  if (options.json) outputs.push_back({"--json", *options.json});
  if (options.results) outputs.push_back({"--results", *options.results});
  if (options.trace) outputs.push_back({"--trace", *options.trace});
  if (options.output) outputs.push_back({"--output", *options.output});
  if (outputs.empty()) return {};
  std::vector<NamedPath> inputs;
  if (options.model) {
    for (std::string& path : files_of_model(*options.model)) inputs.push_back({"the model", std::move(path)});
  }
  for (const std::string& source : options.sources) {
    if (source != kSynthetic) inputs.push_back({"the source", source});
  }
  if (options.labels) inputs.push_back({"--labels", *options.labels});
  return check_files(outputs, inputs);
}

// How many results may wait to be written: their outputs take no more than about 64 MiB, or 16 of them.
std::size_t results_max(const Model& model) {
  constexpr std::size_t kBytesMax = std::size_t{64} << 20;
  std::size_t bytes = 1;
  for (const TensorSpec& output : model.outputs()) {
    if (output.shape.is_static()) bytes += output.bytes();
  }
  return std::clamp<std::size_t>(kBytesMax / bytes, 16, 256);
}

std::unique_ptr<ResultsWriter> make_results(OutputFile file, const Session& session,
                                            std::size_t predictions_max) {
  if (!file) return nullptr;
  const SizedPredictors& predictor = *session.predictor;
  ResultsFormat format;
  format.outputs.assign(predictor.outputs().begin(), predictor.outputs().end());
  format.meaning = session.meaning;
  if (has_synthetic(session.options)) format.truths.assign(kShapeNames.begin(), kShapeNames.end());
  format.top = session.options.top;
  return std::make_unique<ResultsWriter>(std::move(file), std::move(format), predictions_max);
}

Status open_annotator(Session& session) {
  const RunOptions& options = session.options;
  if (!options.output) return {};
  const FrameSource& source = *session.sources.front();
  VideoWriterOptions wanted;
  wanted.option = "--output";
  wanted.height = source.height();
  wanted.width = source.width();
  wanted.fps = session.plans.front().shown_fps;
  wanted.stop_time = stop_time;
  INFLIGHT_TRY_ASSIGN(std::unique_ptr<VideoWriter> writer, VideoWriter::open(*options.output, wanted));
  session.output_text = writer->description();
  std::size_t bytes =
      static_cast<std::size_t>(source.height()) * static_cast<std::size_t>(source.width()) * 3;
  for (const TensorSpec& output : session.predictor->outputs()) {
    if (output.shape.is_static()) bytes += output.bytes();
  }
  session.output = std::make_unique<Annotator>(
      std::move(writer), session.meaning, options.top, bytes,
      options.policy == OverloadPolicy::kBlock ? OutputPace::kKeepsPace : OutputPace::kGivesWay);
  return {};
}

Result<std::vector<std::unique_ptr<FrameSource>>> open_sources(const RunOptions& options) {
  std::vector<std::unique_ptr<FrameSource>> sources;
  SourceOptions each = options.source_options;
  for (const std::string& name : options.sources) {
    INFLIGHT_TRY_ASSIGN(std::unique_ptr<FrameSource> source, open_source(name, each));
    sources.push_back(std::move(source));
    ++each.seed;  // synthetic sources show different frames
  }
  return sources;
}

// Everything that can be wrong with what was asked for is found here, cheapest first.
Result<Session> prepare(RunOptions options) {
  INFLIGHT_TRY(check_files(options));
  OutputFile json;
  OutputFile results;
  OutputFile trace;
  if (options.json) {
    INFLIGHT_TRY_ASSIGN(json, OutputFile::open_whole("--json", *options.json));
  }
  if (options.results) {
    INFLIGHT_TRY_ASSIGN(results, OutputFile::open("--results", *options.results));
  }
  if (options.trace) {
    INFLIGHT_TRY_ASSIGN(trace, OutputFile::open("--trace", *options.trace));
  }
  INFLIGHT_TRY_ASSIGN(Runtime runtime, Runtime::open(options.devices));
  Result<LoadedModel> read = load_model(options.model, model_options(options));
  const bool reload = !read.ok() && read.status().code() == StatusCode::kInvalidModel;
  if (!read.ok() && !reload) return read.status();
  Result<std::vector<std::unique_ptr<FrameSource>>> opened = open_sources(options);
  if (reload && !opened.ok()) return read.status();
  INFLIGHT_TRY_ASSIGN(std::vector<std::unique_ptr<FrameSource>> sources, std::move(opened));
  const FrameSource* const source = sources.front().get();
  // Some models can only be read once a frame's size is put in.
  if (reload) read = load_model(options.model, model_options(options, source->height(), source->width()));
  INFLIGHT_TRY_ASSIGN(LoadedModel loaded, std::move(read));
  INFLIGHT_TRY_ASSIGN(const Model model, fit_to_frames(loaded, options, source->height(), source->width()));
  INFLIGHT_TRY_ASSIGN(std::vector<LoopPlan> plans, plan_loops(options, sources));
  const bool computes =
      std::none_of(options.devices.begin(), options.devices.end(),
                   [](const Device& device) { return device.name() == Device::null().name(); });
  const bool judge = loaded.embedded && has_synthetic(options) && computes && is_classifier(model);
  const std::size_t waiting_max = results_max(model);
  for (LoopPlan& plan : plans) {
    plan.judge = judge;
    plan.finished_limit =
        std::max(options.limit, results ? static_cast<int>(waiting_max) : plan.finished_limit);
  }
  INFLIGHT_TRY_ASSIGN(std::unique_ptr<SizedPredictors> predictor,
                      make_predictors(model, runtime, options, plans.front(), loaded, *source, reload));
  Session session{std::move(options),
                  std::move(json),
                  std::move(sources),
                  std::move(loaded),
                  std::move(plans),
                  std::move(predictor),
                  nullptr,
                  {},
                  {},
                  nullptr,
                  nullptr};
  INFLIGHT_TRY_ASSIGN(session.meaning,
                      interpret(session.loaded, session.predictor->outputs(), session.options,
                                session.sources.front()->height(), session.sources.front()->width()));
  INFLIGHT_TRY(open_annotator(session));
  session.results = make_results(std::move(results), session, waiting_max);
  if (trace) {
    TraceNames names{session.predictor->device_description(), {}};
    for (const std::unique_ptr<FrameSource>& each : session.sources)
      names.streams.push_back("stream: " + each->description());
    session.trace = std::make_unique<TraceWriter>(std::move(trace), std::move(names));
  }
  return session;
}

// The frames that can be alive at once: decoded ahead, in flight, and one in each hand of the loop and the
// decoder. Made before the first is due, so that a run which is late for once does not grow by that; within
// reason.
Status reserve_frames(FrameSource& source, int in_flight_limit) {
  constexpr std::size_t kBytesMax = std::size_t{256} << 20;
  const std::size_t frame_bytes =
      static_cast<std::size_t>(source.height()) * static_cast<std::size_t>(source.width()) * 3;
  const std::size_t frames =
      PrefetchedSource::kCapacityDefault + static_cast<std::size_t>(in_flight_limit) + 2;
  return source.reserve(std::min(frames, kBytesMax / std::max<std::size_t>(frame_bytes, 1)));
}

int exit_code_of(const Tally& tally, const Statistics& statistics, bool strict) {
  if (tally.signal != 0) return 128 + tally.signal;
  if (statistics.failed > 0 || !tally.submit_error.ok()) return 1;
  if (!tally.source_error.ok()) return tally.frames > 0 ? 1 : exit_code(tally.source_error.code());
  if (strict && (tally.losses.skipped > 0 || tally.losses.ended_early)) return 1;
  return 0;
}

// The counts of the loop, beside the predictor's.
void add_lost(Statistics& statistics, const FeedTally& feed) {
  statistics.submitted += feed.damaged + feed.dropped;
  statistics.dropped += feed.dropped;
  statistics.failed += feed.damaged;
}

std::vector<StreamReport> stream_reports(const Session& session, const std::vector<std::string>& sources,
                                         const Tally& tally) {
  std::vector<StreamReport> reports;
  for (std::size_t i = 0; sources.size() > 1 && i < sources.size(); ++i) {
    const SizedPredictors::StreamBooks books = session.predictor->stream_books(i);
    reports.push_back({sources[i], books.statistics, books.latency, books.age});
    add_lost(reports.back().statistics, tally.feeds[i]);
  }
  return reports;
}

RunReport make_report(const Session& session, const std::vector<std::string>& sources, Tally tally) {
  const RunOptions& options = session.options;
  RunReport report;
  report.model = session.loaded.title;
  report.source = sources.size() == 1 ? sources.front() : fmt::format("{} streams", sources.size());
  report.device = session.predictor->device_description();
  report.policy = policy_name(options.policy);
  report.precision = precision_name(options.precision);
  report.deadline = options.deadline;
  report.slots = session.predictor->slots();
  report.tuning = session.predictor->tuning();
  const LoopPlan& plan = session.plans.front();
  if (plan.pace == Pace::kPaced || plan.pace == Pace::kStamped) {
    report.fps = static_cast<double>(plan.rate.num) / static_cast<double>(plan.rate.den);
  }
  report.judged = plan.judge;
  if (session.meaning.task) report.task = session.meaning.description();
  if (session.output) {
    report.output = OutputReport{*options.output, session.output_text, session.output->written(),
                                 session.output->dropped()};
  }
  report.statistics = session.predictor->statistics();
  for (const FeedTally& feed : tally.feeds) add_lost(report.statistics, feed);
  if (options.devices.size() > 1) report.devices = session.predictor->device_statistics();
  report.streams = stream_reports(session, sources, tally);
  report.exit_code = exit_code_of(tally, report.statistics, options.strict);
  report.tally = std::move(tally);
  return report;
}

// Prints the status and makes the run a failed one.
void fail(RunReport& report, const Status& status) {
  print_error(status);
  if (report.exit_code == 0) report.exit_code = 1;
}

// All of it in one line.
Status damage_of(const Tally& tally) {
  std::uint64_t damaged = 0;
  for (const FeedTally& feed : tally.feeds) damaged += feed.damaged;
  if (damaged == 1) return tally.first_damage;
  return tally.first_damage.with_context(fmt::format("{} pictures cannot be read; the first", damaged));
}

// A signal may also come when the loop has ended, and what is left is to write.
void note_signal(RunReport& report) {
  if (report.tally.signal != 0 || stop_signal() == 0) return;
  report.tally.signal = stop_signal();
  report.exit_code = 128 + report.tally.signal;
}

int finish(Session& session, RunReport report, const Status& output) {
  const Status results = session.results ? session.results->finish() : Status();
  const Status trace = session.trace ? session.trace->finish() : Status();
  note_signal(report);
  print_out(summary_text(report));
  const Status printed = take_print_failure();
  note_signal(report);
  const Tally& tally = report.tally;
  for (const std::string& note : tally.losses.notes) print_error(note);
  if (!tally.first_damage.ok()) fail(report, damage_of(tally));
  if (!tally.first_failure.ok()) fail(report, tally.first_failure.with_context("a prediction failed"));
  if (!tally.source_error.ok()) fail(report, tally.source_error);
  if (!tally.submit_error.ok()) fail(report, tally.submit_error);
  if (!results.ok()) fail(report, results);
  if (!trace.ok()) fail(report, trace);
  if (!output.ok()) fail(report, output);
  if (!printed.ok()) fail(report, printed);
  if (session.json) {
    Status written = session.json.write(json_text(report));
    if (written.ok()) written = session.json.close();
    if (!written.ok()) fail(report, written);
  }
  return report.exit_code;
}

}  // namespace

int run_command(const RunWords& words) {
  end_on_signals();
  Result<RunOptions> options = parse_run(words);
  Result<Session> prepared = options.ok() ? prepare(std::move(*options)) : Result<Session>(options.status());
  if (!prepared.ok()) {
    print_error(prepared.status());
    return exit_code(prepared.status().code());
  }
  Session& session = *prepared;
  watch_signals();
  std::vector<std::string> source_texts;
  for (const std::unique_ptr<FrameSource>& source : session.sources) {
    source_texts.push_back(source->description());
    if (const Status reserved =
            reserve_frames(*source, session.predictor->places() / static_cast<int>(session.sources.size()));
        !reserved.ok()) {
      print_error(reserved);
      return exit_code(reserved.code());
    }
  }
  // Not before: a camera's frames would grow old while the model is compiled.
  std::vector<std::unique_ptr<PrefetchedSource>> sources;
  std::vector<Feed> feeds;
  for (std::size_t i = 0; i < session.sources.size(); ++i) {
    sources.push_back(std::make_unique<PrefetchedSource>(std::move(session.sources[i])));
    feeds.emplace_back(*sources.back(), session.plans[i], steady_clock());
  }
  Display display;
  Tally tally = RunLoop(*session.predictor, std::move(feeds), session.results.get(), session.output.get(),
                        display, session.trace.get())
                    .run();
  display.finish();
  const bool may_be_stuck = !tally.source_ended && has_other_than_synthetic(session.options);
  const Status output = session.output ? session.output->finish() : Status();
  const int code = finish(session, make_report(session, source_texts, std::move(tally)), output);
  // A pipe that nobody writes to holds its reader in a system call that no flag ends, and joining it would
  // hold the program. Everything has been written, so it leaves without.
  if (may_be_stuck) std::_Exit(code);
  return code;
}

}  // namespace inflight::cli
