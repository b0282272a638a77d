// SPDX-License-Identifier: Apache-2.0
// Any words on the command line, as far as main.cc and parse_run() read them: values or one line that is not too long,
// and an exit code that says which. The words are the input's lines; or, where it begins with 1, each line's first byte
// says which option has the rest of it as its value.
#include "cli/options.h"

#include <nlohmann/json.hpp>

#include "cli/console.h"
#include "cli/info.h"
#include "cli/input_shapes.h"
#include "cli/run.h"
#include "cli/stop.h"
#include "cli/text.h"
#include "support.h"

int inflight_main(int argc, char** argv);

namespace {

int printed = 0;  // messages, by main() or a command

void check_message(std::string_view message) {
  using namespace inflight;
  const std::string line = cli::one_line(message);
  fuzz::must(!line.empty(), "a message says something");
  // 100 bytes of one word, or of a few, and what was wanted.
  fuzz::must(line.size() <= 1200, "a message is short", line);
}

int code_of(const inflight::Status& status) {
  using namespace inflight;
  if (status.ok()) return 0;
  check_message(status.message());
  fuzz::check_failure(status,
                      {StatusCode::kInvalidArgument, StatusCode::kNoSuchDevice, StatusCode::kUnsupported});
  ++printed;
  return status.code() == StatusCode::kNoSuchDevice ? 4 : 2;
}

}  // namespace

namespace inflight::cli {

void open_standard_descriptors() noexcept {}
void print_out(std::string_view text) { fuzz::must(!text.empty(), "help says something"); }
void print_error(std::string_view message) {
  check_message(message);
  ++printed;
}
void print_error(const Status& status) { print_error(status.message()); }
Status take_print_failure() { return {}; }
void ignore_write_signals() {}

int run_command(const RunWords& words) {
  const Result<RunOptions> options = parse_run(words);
  if (!options.ok()) return code_of(options.status());
  const bool automatic = options->limit == Predictor::kInFlightLimitAuto;
  fuzz::must(automatic || (options->limit >= 1 && options->limit <= Predictor::kInFlightLimitMax),
             "the limit is in its bounds");
  fuzz::must(options->top >= 1 && !options->sources.empty(), "values are in their bounds");
  fuzz::must(!options->frames || *options->frames >= 1, "there are frames");
  fuzz::must(!options->duration || options->duration->count() > 0, "a duration is above 0");
  fuzz::must(!options->deadline || options->deadline->count() > 0, "a deadline is above 0");
  for (const auto& part : {options->score, options->iou})
    fuzz::must(!part || (*part >= 0 && *part <= 1), "a score is 0 to 1");
  return 0;
}

int info_command(const InfoWords& words) {
  if (words.device) {
    const Result<Device> device = parse_device(*words.device);
    if (!device.ok()) return code_of(device.status());
  }
  if (words.precision) {
    const Result<Precision> precision = parse_precision(*words.precision);
    if (!precision.ok()) return code_of(precision.status());
  }
  const Result<std::map<std::string, Shape>> shapes = parse_input_shapes(words.input_shapes);
  return shapes.ok() ? 0 : code_of(shapes.status());
}

}  // namespace inflight::cli

namespace {

// As main.cc would give them, and faster.
int run_with_words(inflight::fuzz::Bytes& bytes) {
  inflight::cli::RunWords words;
  std::optional<std::string>* const kOptions[] = {
      &words.model,     &words.source,      &words.fps,   &words.limit, &words.policy,        &words.device,
      &words.precision, &words.width,       &words.color, &words.mean,  &words.scale,         &words.frames,
      &words.duration,  &words.deadline_ms, &words.seed,  &words.top,   &words.json,          &words.results,
      &words.fit,       &words.output,      &words.task,  &words.head,  &words.stall_timeout, &words.labels,
      &words.score,     &words.iou};
  while (!bytes.empty()) {
    const std::size_t option = bytes.byte() % (std::size(kOptions) + 3);
    const std::string value = bytes.text('\n');
    if (option < std::size(kOptions))
      *kOptions[option] = value;
    else if (option == std::size(kOptions))
      words.input_shapes.push_back(value);
    else
      (option == std::size(kOptions) + 1 ? words.no_rotate : words.strict) = true;
  }
  return inflight::cli::run_command(words);
}

int run_main(inflight::fuzz::Bytes& bytes) {
  std::vector<std::string> words = {"inflight"};
  while (!bytes.empty() && words.size() < 64) words.push_back(bytes.text('\n'));
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  return inflight_main(static_cast<int>(words.size()), argv.data());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace inflight;
  fuzz::Bytes bytes(data, size);
  printed = 0;
  const bool direct = size > 0 && data[0] == 1;
  if (direct) bytes.byte();
  const int code = direct ? run_with_words(bytes) : run_main(bytes);
  fuzz::must(code == 0 || code == 2 || code == 4, "the exit code is that of bad usage", std::to_string(code));
  fuzz::must(printed == (code == 0 ? 0 : 1), "bad usage gets one message");

  const std::string text(reinterpret_cast<const char*>(data), size);
  fuzz::must(nlohmann::json::accept(cli::json_string(text)), "any text is a JSON string", text);
  fuzz::must(cli::clipped(text).size() <= 103, "a clipped word is short");
  const std::string line = cli::one_line(text);
  fuzz::must(cli::one_line(line) == line, "one line stays one");
  return 0;
}
