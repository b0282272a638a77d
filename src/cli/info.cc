// SPDX-License-Identifier: Apache-2.0
#include "cli/info.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <nlohmann/json.hpp>
#include <span>
#include <thread>
#include <utility>
#include <vector>

#include "base/resident_memory.h"
#include "cli/console.h"
#include "cli/coverage.h"
#include "cli/file_id.h"
#include "cli/input_shapes.h"
#include "cli/load.h"
#include "cli/options.h"
#include "cli/output_file.h"
#include "cli/text.h"
#include "cli/tuning.h"
#include "inflight/backend.h"
#include "inflight/buffer.h"

namespace inflight::cli {
namespace {

using Json = nlohmann::ordered_json;

constexpr int kSlotsMeasured = 4;

void line(std::string_view name, std::string_view value) {
  print_out(fmt::format("{:<11} {}\n", name, value));
}

std::string bytes_text(double bytes) {
  if (bytes < 1e3) return fmt::format("{:.0f} bytes", bytes);
  if (bytes < 1e6) return fmt::format("{:.1f} kB", bytes / 1e3);
  return fmt::format("{:.1f} MB", bytes / 1e6);
}

void print_specs(std::string_view name, std::span<const TensorSpec> specs) {
  for (const TensorSpec& spec : specs) line(name, fmt::format("\"{}\" {}", spec.name, spec.type_string()));
}

// What `run` makes of the inputs, for frames of a common size where that matters.
void print_conversions(const Model& model) {
  const Result<Model> fitted = model.with_image_input({.height = 480, .width = 640, .fill_others = true});
  if (!fitted.ok()) return;  // not a model of pictures
  for (const std::string& conversion : fitted->conversions()) line("frames", conversion);
}

void print_model(const LoadedModel& loaded) {
  line("model", loaded.title);
  print_specs("input", loaded.model.inputs());
  print_conversions(loaded.model);
  print_specs("output", loaded.model.outputs());
  const ModelSummary summary = loaded.model.summary();
  std::vector<std::pair<std::size_t, std::string>> counts;
  std::size_t total = 0;
  for (const auto& [type, count] : summary.operators) {
    counts.emplace_back(count, type);
    total += count;
  }
  std::stable_sort(counts.begin(), counts.end(),
                   [](const auto& a, const auto& b) { return a.first > b.first; });
  std::string operators = fmt::format("{} in all", total);
  for (const auto& [count, type] : counts) operators += fmt::format(", {} {}", count, type);
  line("operators", operators);
  line("parameters", fmt::format("{}, {}", with_commas(summary.parameters),
                                 bytes_text(static_cast<double>(summary.parameter_bytes))));
  if (const auto labels = labels_of(loaded.model); !labels.empty()) {
    constexpr std::size_t kShown = 12;
    const std::span<const std::string> shown(labels.data(), std::min(labels.size(), kShown));
    line("labels", fmt::format("{}: {}{}", labels.size(), one_line(fmt::format("{}", fmt::join(shown, ", "))),
                               labels.size() > kShown ? ", ..." : ""));
  }
}

bool has_dynamic_inputs(const Model& model) {
  return std::any_of(model.inputs().begin(), model.inputs().end(),
                     [](const TensorSpec& input) { return !input.shape.is_static(); });
}

// What stands in the way of compiling.
void explain_dynamic_inputs(const Model& model) {
  for (const TensorSpec& input : model.inputs()) {
    if (input.shape.is_static()) continue;
    line("needs",
         fmt::format("extents for \"{}\": `inflight run` takes an image's height and width from the source; "
                     "--input-shape gives them, and a program sets ModelOptions::input_shapes",
                     input.name));
  }
}

// Inputs of zeros, and somewhere for the outputs to go.
struct Tensors {
  static Result<Tensors> make(const Program& program) {
    Tensors tensors;
    for (const TensorSpec& spec : program.inputs()) {
      INFLIGHT_TRY_ASSIGN(const Buffer buffer, Buffer::allocate(spec.bytes()));
      std::memset(buffer.bytes(), 0, spec.bytes());
      tensors.inputs.push_back({buffer.bytes(), spec.dtype, spec.shape});
      tensors.buffers.push_back(buffer);
    }
    for (const TensorSpec& spec : program.outputs()) {
      Buffer buffer;
      if (spec.shape.is_static()) {
        INFLIGHT_TRY_ASSIGN(buffer, Buffer::allocate(spec.bytes()));
      }
      tensors.outputs.push_back({buffer.bytes(), spec.dtype, spec.shape});
      tensors.buffers.push_back(std::move(buffer));
    }
    return tensors;
  }
  std::vector<Buffer> buffers;
  std::vector<TensorView> inputs;
  std::vector<MutableTensorView> outputs;
};

Status launch_once(BoundProgram& bound, const Tensors& tensors) {
  INFLIGHT_TRY(bound.launch({tensors.inputs, tensors.outputs, Width::kNarrow, 1}));
  while (bound.completion_word().load(std::memory_order_acquire) != 1) std::this_thread::yield();
  return bound.outcome();
}

// How much resident memory one more slot takes: the mean over some that follow the first, which also pays for
// what they share.
Result<double> bytes_per_slot(Program& program) {
  INFLIGHT_TRY_ASSIGN(const Tensors tensors, Tensors::make(program));
  std::vector<std::unique_ptr<BoundProgram>> slots;
  long long before = 0;
  for (int i = 0; i <= kSlotsMeasured; ++i) {
    INFLIGHT_TRY_ASSIGN(std::unique_ptr<BoundProgram> bound, program.bind());
    INFLIGHT_TRY(launch_once(*bound, tensors));
    slots.push_back(std::move(bound));
    if (i == 0) before = resident_bytes();
  }
  const long long after = resident_bytes();
  return static_cast<double>(std::max(after - before, 0LL)) / kSlotsMeasured;
}

Status print_program(const Model& model, Backend& backend, Precision precision) {
  CompileOptions options;
  options.precision = precision;
  options.many_launches = true;  // as a predictor has it
  const TimePoint start = steady_clock().now();
  INFLIGHT_TRY_ASSIGN(const std::shared_ptr<Program> program, backend.compile(model, options));
  const Duration took = steady_clock().now() - start;
  line("compiled", fmt::format("in {:.1f} ms", std::chrono::duration<double, std::milli>(took).count()));
  for (std::size_t i = 0; i < program->outputs().size(); ++i) {
    const TensorSpec& output = program->outputs()[i];
    if (output == model.outputs()[i]) continue;
    line("output", fmt::format("\"{}\" {} once compiled", output.name, output.type_string()));
  }
  line("slots", fmt::format("{} of use at once", program->concurrency(Width::kNarrow)));
  if (const std::optional<Tuning> tuning = program->tuning()) line("tuning", tuning_text(*tuning));
  INFLIGHT_TRY_ASSIGN(const double bytes, bytes_per_slot(*program));
  line("per slot", fmt::format("{} of memory, beside inputs and outputs (mean of {} slots)",
                               bytes_text(bytes), kSlotsMeasured));
  return {};
}

// What was asked for, as values.
struct Asked {
  std::optional<std::string> model;
  ModelOptions model_options;
  Device device = Device::cpu();
  bool device_named = false;
  Precision precision = Precision::kAuto;
  OutputFile json;
};

Result<Asked> parse_info(const InfoWords& words) {
  Asked asked;
  asked.model = words.model;
  if (words.precision) {
    INFLIGHT_TRY_ASSIGN(asked.precision, parse_precision(*words.precision));
  }
  asked.device_named = words.device.has_value();
  if (words.device) {
    INFLIGHT_TRY_ASSIGN(asked.device, parse_device(*words.device));
  }
  INFLIGHT_TRY_ASSIGN(asked.model_options.input_shapes, parse_input_shapes(words.input_shapes));
  if (!words.model && !words.input_shapes.empty())
    return Status(StatusCode::kInvalidArgument, "--input-shape: the embedded model's shapes are fixed");
  if (words.json) {
    std::vector<NamedPath> inputs;
    if (words.model) {
      for (std::string& path : files_of_model(*words.model)) inputs.push_back({"the model", std::move(path)});
    }
    INFLIGHT_TRY(check_files({{"--json", *words.json}}, inputs));
    INFLIGHT_TRY_ASSIGN(asked.json, OutputFile::open_whole("--json", *words.json));
  }
  return asked;
}

Json specs_json(std::span<const TensorSpec> specs) {
  Json json = Json::array();
  for (const TensorSpec& spec : specs) json.push_back({{"name", spec.name}, {"type", spec.type_string()}});
  return json;
}

//   model      null: no model was asked about
//   coverage   null: it is not known
Status write_json(Asked& asked, const LoadedModel* model, const Coverage* coverage, const Status& device) {
  if (!asked.json) return {};
  Json json = {{"model", nullptr},
               {"device", asked.device.to_string()},
               {"device_missing", device.ok() ? Json(nullptr) : Json(one_line(device.message()))}};
  if (model != nullptr) {
    json["model"] = model->title;
    json["inputs"] = specs_json(model->model.inputs());
    json["outputs"] = specs_json(model->model.outputs());
    json["parameters"] = model->model.summary().parameters;
  }
  json["covered"] = coverage != nullptr ? Json(coverage->complete()) : Json(nullptr);
  json["operators"] = coverage != nullptr ? coverage_json(*coverage) : Json(nullptr);
  INFLIGHT_TRY(asked.json.write(json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n"));
  return asked.json.close();
}

void print_device(const Result<std::shared_ptr<Backend>>& backend) {
  if (backend.ok()) return line("device", (*backend)->device_description());
  line("device", fmt::format("none here: {}", one_line(backend.status().message())));
}

void print_coverage(const Coverage& coverage) {
  for (const auto& [name, value] : coverage_lines(coverage)) line(name, value);
}

Status print_known(Asked& asked, const Coverage& known, const Result<std::shared_ptr<Backend>>& backend) {
  print_device(backend);
  print_coverage(known);
  return write_json(asked, nullptr, &known, backend.ok() ? Status() : backend.status());
}

Status print_info(const InfoWords& words) {
  INFLIGHT_TRY_ASSIGN(Asked asked, parse_info(words));
  const Result<std::shared_ptr<Backend>> backend = load_backend(asked.device);
  Status no_device = backend.ok() ? Status() : backend.status();
  const Result<Coverage> known = operator_coverage(asked.device);
  // Without the device, its backend may still tell.
  if (!no_device.ok() && (no_device.code() != StatusCode::kNoSuchDevice || !known.ok())) return no_device;
  if (!asked.model && known.ok()) return print_known(asked, *known, backend);
  INFLIGHT_TRY_ASSIGN(const LoadedModel loaded, load_model(asked.model, asked.model_options));
  print_model(loaded);
  // What can be computed may depend on shapes that are not known yet.
  const bool open = has_dynamic_inputs(loaded.model);
  const Result<Coverage> coverage =
      open ? Result<Coverage>(Status(StatusCode::kUnsupported, "shapes are open"))
           : operator_coverage(loaded.model, asked.device);
  if (coverage.ok() && (asked.device_named || !coverage->complete())) print_coverage(*coverage);
  print_device(backend);
  INFLIGHT_TRY(write_json(asked, &loaded, coverage.ok() ? &*coverage : nullptr, no_device));
  if (coverage.ok()) INFLIGHT_TRY(coverage_status(*coverage, asked.device));
  if (open) {
    explain_dynamic_inputs(loaded.model);
    return {};
  }
  if (!backend.ok()) return coverage.status();
  Status status = print_program(loaded.model, **backend, asked.precision);
  // The words have been checked: what cannot be compiled is a bad model.
  if (status.code() != StatusCode::kInvalidArgument) return status;
  return {StatusCode::kInvalidModel, std::string(status.message())};
}

}  // namespace

int info_command(const InfoWords& words) {
  const Status status = print_info(words);
  if (!status.ok()) print_error(status);
  return exit_code(status.code());
}

}  // namespace inflight::cli
