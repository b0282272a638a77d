// SPDX-License-Identifier: Apache-2.0
// The program `inflight`: its subcommands and their options. Words only; options.h makes values of them.
#include <CLI/CLI.hpp>
#include <exception>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

#include "cli/bench.h"
#include "cli/console.h"
#include "cli/info.h"
#include "cli/run.h"
#include "cli/stop.h"
#include "cli/text.h"
#include "inflight/version.h"

namespace {

using inflight::cli::BenchWords;
using inflight::cli::InfoWords;
using inflight::cli::RunWords;

constexpr int kBadUsage = 2;

void add(CLI::App& command, const std::string& name, std::optional<std::string>& word,
         const std::string& value, const std::string& text) {
  command.add_option(name, word, text)->type_name(value)->take_last();
}

void add_all(CLI::App& command, const std::string& name, std::vector<std::string>& words,
             const std::string& value, const std::string& text) {
  command.add_option(name, words, text)->type_name(value)->expected(1)->take_all();
}

void add_input_shapes(CLI::App& command, std::vector<std::string>& words) {
  command
      .add_option("--input-shape", words,
                  "the shape of an input that leaves it open, such as 1,3,640,640; once for each input")
      ->type_name("[NAME=]N,N,...")
      ->expected(1)
      ->take_all();
}

void add_tune(CLI::App& command, std::optional<std::string>& word) {
  add(command, "--tune", word, "off|fast|full",
      "how long loading may time ways to compute the model on a GPU: not at all, 5 seconds (fast, the "
      "default) or "
      "60 (full) at most; what is found is kept on disk. The CPU ignores it");
}

void add_run_options(CLI::App& run, RunWords& words) {
  add(run, "MODEL", words.model, "", "a model file; without one, the embedded classifier of shapes");
  add_all(run, "--source", words.sources, "SOURCE",
          "where frames come from; several times for cameras side by side: synthetic (the default), a video "
          "or picture, a directory of pictures, an address such as "
          "rtsp://host/cam, a "
          "device or a camera's number, or - for standard input");
  add(run, "--streams", words.streams, "K",
      "so many copies of the source side by side, spread over the time of a frame: 1 to 256");
  add(run, "--fps", words.fps, "N",
      "frames a second of each source; 0: as fast as accepted; default: when the source's time stamps say");
  add(run, "--frames", words.frames, "N", "end after N frames of each source");
  add(run, "--duration", words.duration, "S",
      "end after S seconds; the synthetic source, told neither, runs for 10");
  add(run, "--limit", words.limit, "N|auto",
      "predictions in flight at most: 1 to 65536, default 8, or twice the number of sources if that is more; "
      "auto: the fewest that keep 97 % of the throughput");
  add(run, "--policy", words.policy, "reject|block|drop-oldest|keep-latest",
      "what happens when that many are: the frame is refused (the default) or waits, or a frame of its "
      "source "
      "that has not started is dropped; keep-latest: never more than the newest frame of a source waits");
  add(run, "--deadline-ms", words.deadline_ms, "MS",
      "a frame that has not started MS after it was due expires; default: none does");
  run.add_flag("--refuse-late", words.refuse_late,
               "a frame that would not finish within --deadline-ms is refused at once");
  add(run, "--device", words.device, "cpu|cuda[:N]|null[:N][,...]",
      "where to compute, default cpu; null computes nothing; several, as in cuda:0,cuda:1, take frames from "
      "one "
      "queue");
  add(run, "--precision", words.precision, "auto|f32|bf16|f16",
      "arithmetic of the heavy operators, default auto");
  add(run, "--width", words.width, "elastic|wide|narrow",
      "how much of the device one prediction uses: all of it, its share, or what the load asks for (the "
      "default)");
  add_tune(run, words.tune);
  add(run, "--color", words.color, "rgb|bgr", "the colour order that the model wants, default rgb");
  add(run, "--mean", words.mean, "M[,M,M]", "the model's input is (pixel - mean) / scale, default 0");
  add(run, "--scale", words.scale, "S[,S,S]", "see --mean, default 1");
  add(run, "--fit", words.fit, "stretch|letterbox|crop",
      "how a frame of another size or aspect ratio becomes the model's input, default stretch");
  add_input_shapes(run, words.input_shapes);
  run.add_flag("--no-rotate", words.no_rotate, "leave frames as they are coded, whatever their file asks");
  run.add_flag("--strict", words.strict, "fail at the end if frames were damaged or the file ended early");
  add(run, "--stall-timeout", words.stall_timeout, "S",
      "of a live source: a connection that gives nothing for S seconds is made again, default 5");
  add(run, "--seed", words.seed, "N", "of the synthetic source, default 1");
  add(run, "--json", words.json, "FILE", "write statistics of the run to FILE at its end");
  add(run, "--results", words.results, "FILE", "write one line of JSON a frame to FILE");
  add(run, "--trace", words.trace, "FILE",
      "write a timeline of every frame to FILE, from due to delivered, by stream and slot; Perfetto "
      "(ui.perfetto.dev) opens it");
  add(run, "--output", words.output, "PATH",
      "write the frames with their results drawn on them: a video (.mp4, .mkv, .avi, .webm, ...), a picture, "
      "or a "
      "folder of pictures (with / at its end)");
  add(run, "--task", words.task, "detect|classify", "what the outputs mean, guessed where it is plain");
  add(run, "--head", words.head, "NAME",
      "how a detector's outputs are laid out, guessed where it is plain: " + inflight::vision::head_names());
  add(run, "--labels", words.labels, "FILE", "names of the classes, one a line; default: the model's own");
  add(run, "--score", words.score, "S", "the least score of a box, 0 to 1, default 0.25");
  add(run, "--iou", words.iou, "S",
      "how much boxes of one class may overlap before the lower score goes, 0 to 1, default 0.45");
  add(run, "--top", words.top, "K", "how many classes --results and --output name, default 5");
}

void add_info_options(CLI::App& info, InfoWords& words) {
  add(info, "MODEL", words.model, "", "a model file; without one, the embedded classifier of shapes");
  add(info, "--device", words.device, "cpu|cuda[:N]|null",
      "compile for this device, default cpu, and say which operators it covers, also where the device itself "
      "is "
      "missing; cuda without MODEL: all operators that it covers");
  add(info, "--precision", words.precision, "auto|f32|bf16|f16",
      "arithmetic of the heavy operators, default auto");
  add_input_shapes(info, words.input_shapes);
  add(info, "--json", words.json, "FILE", "write what is known of operators, inputs and outputs to FILE");
  info.footer(
      "Exit status: 0: the device covers every operator, whether or not it is here, or the model first needs "
      "shapes; 2: bad usage; 3: an "
      "operator is "
      "missing, or the model is bad; 4: there is no such device, and no backend that could tell.");
}

void add_bench_options(CLI::App& bench, BenchWords& words) {
  add(bench, "MODEL", words.model, "", "a model file; without one, the embedded classifier of shapes");
  bench
      .add_option(
          "--plan", words.plans,
          "when frames arrive: poisson (the default), periodic[:JITTER], cameras:K@FPS[:JITTER], "
          "bursts:N@SECONDS, or recorded:FILE with a line of seconds for each arrival; may be given several "
          "times")
      ->type_name("PLAN")
      ->expected(1)
      ->take_all();
  add(bench, "--loads", words.loads, "P,P,...",
      "rates of poisson and periodic plans, in percent of the measured capacity, default 10,30,50,70,90");
  add(bench, "--rates", words.rates, "N,N,...", "the same in arrivals a second");
  add(bench, "--in-flight", words.in_flight, "N,N,...",
      "how many to keep in flight in the closed loops that measure the capacity, default 1, 2, 4 ... to "
      "twice the "
      "slots");
  add(bench, "--duration", words.duration, "S", "seconds of each run, default 5");
  add(bench, "--limit", words.limit, "N",
      "predictions in flight at most; what comes then is missed; default 256");
  add(bench, "--width", words.widths, "W[,W...]", "as of run; several are measured in turns");
  add(bench, "--deadline-ms", words.deadline_ms, "MS", "as of run, from the planned arrival");
  bench.add_flag("--refuse-late", words.refuse_late, "as of run");
  add(bench, "--device", words.device, "cpu|cuda[:N]|null[:N][,...]", "where to compute, as of run");
  add(bench, "--precision", words.precision, "auto|f32|bf16|f16",
      "arithmetic of the heavy operators, default auto");
  add_tune(bench, words.tune);
  add(bench, "--seed", words.seed, "N", "of the plans, default 1");
  add_input_shapes(bench, words.input_shapes);
  add(bench, "--json", words.json, "FILE", "write all numbers to FILE");
  add(bench, "--html", words.html, "FILE", "write a page with plots to FILE, whole in itself");
}

int bad_usage(const std::string& message) {
  inflight::cli::print_error(message);
  return kBadUsage;
}

// CLI11 lets unknown words through (allow_extras), for its own complaint does not name the command.
int refuse_extra(const CLI::App& command, const std::string& full_name, const std::string& what) {
  const std::string word = inflight::cli::clipped(command.remaining().front());
  const bool option = word.size() > 1 && word[0] == '-';
  return bad_usage(word + (option ? ": no such option" : ": " + what) + "; see " + full_name + " --help");
}

// CLI11 says "--limit: 1 required N missing".
int refuse_words(const CLI::ParseError& error) {
  const std::string text = error.what();
  if (error.get_name() != "ArgumentMismatch") return bad_usage(text);
  return bad_usage(text.substr(0, text.find(": ")) + ": wants a value after it");
}

int run_program(int argc, char** argv) {
  CLI::App app("Keeps many predictions in flight: frames in, predictions out, none waits for a batch.",
               "inflight");
  RunWords run_words;
  InfoWords info_words;
  BenchWords bench_words;
  app.set_version_flag("--version", "inflight " INFLIGHT_VERSION);
  CLI::App* const run = app.add_subcommand("run", "Predicts on a source of frames in real time");
  CLI::App* const info = app.add_subcommand("info", "Explains a model");
  CLI::App* const bench = app.add_subcommand("bench", "Measures latency under load");
  for (CLI::App* const command : {&app, run, info, bench}) command->allow_extras();
  add_run_options(*run, run_words);
  add_info_options(*info, info_words);
  add_bench_options(*bench, bench_words);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() != 0) return refuse_words(error);
    std::ostringstream text;  // of --help or --version
    const int code = app.exit(error, text, text);
    inflight::cli::print_out(text.str());
    return code;
  }
  if (app.remaining_size() > 0) return refuse_extra(app, "inflight", "no such subcommand");
  const std::vector<CLI::App*> chosen = app.get_subcommands();
  if (chosen.empty()) return bad_usage("want a subcommand, run, info or bench; see inflight --help");
  if (chosen.size() > 1)
    return bad_usage(chosen[0]->get_name() + " and " + chosen[1]->get_name() + ": one at a time");
  const CLI::App& command = *chosen.front();
  if (command.remaining_size() > 0) {
    return refuse_extra(command, "inflight " + command.get_name(), "one argument too many");
  }
  if (bench->parsed()) return inflight::cli::bench_command(bench_words);
  return run->parsed() ? inflight::cli::run_command(run_words) : inflight::cli::info_command(info_words);
}

}  // namespace

int main(int argc, char** argv) {
  inflight::cli::open_standard_descriptors();
  inflight::cli::ignore_write_signals();
  try {
    const int code = run_program(argc, argv);
    const inflight::Status printed = inflight::cli::take_print_failure();
    if (printed.ok()) return code;
    inflight::cli::print_error(printed);
    return code == 0 ? 1 : code;
  } catch (const std::exception& error) {
    inflight::cli::print_error(std::string("internal error: ") + error.what());
    return 1;
  }
}
