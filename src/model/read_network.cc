// SPDX-License-Identifier: Apache-2.0
#include "model/read_network.h"

#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <exception>
#include <functional>
#include <new>
#include <openvino/frontend/manager.hpp>
#include <openvino/runtime/core.hpp>
#include <sstream>
#include <string_view>
#include <utility>
#include <vector>

#include "model/image_layout.h"
#include "model/openvino_error.h"

namespace inflight::internal {
namespace {

using ov::frontend::FrontEnd;
using ov::frontend::InputModel;
using ov::frontend::Place;

// What an input's shape becomes where `shape` is wanted of it.
Result<ov::PartialShape> wanted_shape(const std::string& name, const Shape& shape,
                                      const ov::PartialShape& allowed) {
  const auto fail = [&name](const std::string& why) {
    return Status(StatusCode::kInvalidArgument, fmt::format("input_shapes: input \"{}\": {}", name, why));
  };
  ov::PartialShape wanted;
  for (const std::int64_t dim : shape.dims()) {
    if (dim == 0) return fail(fmt::format("{} has an extent of 0", shape.to_string()));
    wanted.push_back(dim == Shape::kDynamic ? ov::Dimension::dynamic() : ov::Dimension(dim));
  }
  if (elements_bounded(shape.dims()) > kElementsMax) {
    return fail(fmt::format("{} has more than 2^40 elements", shape.to_string()));
  }
  if (ov::PartialShape::merge_into(wanted, allowed)) return wanted;
  return fail(fmt::format("got {}, the model allows {}", shape.to_string(), allowed.to_string()));
}

// What OpenVINO calls its reader of a format.
std::string reader_of(FileFormat format) {
  switch (format) {
    case FileFormat::kOnnx:
      return "onnx";
    case FileFormat::kTfLite:
      return "tflite";
    case FileFormat::kPaddle:
      return "paddle";
    case FileFormat::kTensorFlow:
      return "tf";
    case FileFormat::kOpenVinoIr:
      return "ir";
  }
  return "";
}

using Open = std::function<InputModel::Ptr(FrontEnd&)>;

// Puts the shapes into the inputs that the reader knows by these names; set_input_shapes() tells of the
// others.
Status put_in(InputModel& opened, const std::map<std::string, Shape>& shapes) {
  const std::vector<Place::Ptr> places = opened.get_inputs();
  for (const auto& [name, shape] : shapes) {
    for (const Place::Ptr& place : places) {
      const std::vector<std::string> names = place->get_names();
      const bool meant =
          name.empty() ? places.size() == 1 : std::find(names.begin(), names.end(), name) != names.end();
      if (!meant) continue;
      INFLIGHT_TRY_ASSIGN(const ov::PartialShape wanted,
                          wanted_shape(name, shape, opened.get_partial_shape(place)));
      opened.set_partial_shape(place, wanted);
    }
  }
  return {};
}

// Puts the frame's size into the first image input with an open shape, as its layout number `attempt`.
//   returns  whether there is such a layout
bool put_frame_in(InputModel& opened, const ModelOptions& options, std::size_t attempt) {
  for (const Place::Ptr& place : opened.get_inputs()) {
    const ov::PartialShape shape = opened.get_partial_shape(place);
    if (shape.is_static()) continue;
    const std::vector<ImageLayout> layouts = image_layouts(opened.get_element_type(place), shape);
    if (attempt >= layouts.size()) continue;
    opened.set_partial_shape(
        place, closed_shape(shape, layouts[attempt], options.frame_height, options.frame_width));
    return true;
  }
  return false;
}

// One reading. Core::read_model would offer the file to each reader in turn, and some print when they meet
// what they do not know.
Result<std::shared_ptr<ov::Model>> read_once(FileFormat format, const Open& open, const ModelOptions& options,
                                             const std::size_t* frame_attempt) {
  try {
    ov::frontend::FrontEndManager readers;
    const FrontEnd::Ptr reader = readers.load_by_framework(reader_of(format));
    if (reader == nullptr)
      return Status(StatusCode::kUnsupported, "this OpenVINO has no reader for its format");
    const InputModel::Ptr opened = open(*reader);
    if (opened == nullptr) return Status(StatusCode::kInvalidModel, "its reader makes nothing of it");
    INFLIGHT_TRY(put_in(*opened, options.input_shapes));
    if (frame_attempt != nullptr && !put_frame_in(*opened, options, *frame_attempt))
      return Status(StatusCode::kNotFound, "no other way to put the frame in");
    std::shared_ptr<ov::Model> network = reader->convert(opened);
    if (network == nullptr) return Status(StatusCode::kInvalidModel, "its reader makes nothing of it");
    return network;
  } catch (const std::bad_alloc&) {
    return Status(StatusCode::kInvalidModel, "it needs more memory than there is");
  } catch (const std::exception& error) {
    return Status(StatusCode::kInvalidModel, distil_openvino_error(error.what()));
  } catch (...) {
    return Status(StatusCode::kInvalidModel, "the reader failed without a reason");
  }
}

Result<std::shared_ptr<ov::Model>> read_opened(FileFormat format, const Open& open,
                                               const ModelOptions& options) {
  Result<std::shared_ptr<ov::Model>> network = read_once(format, open, options, nullptr);
  if (network.ok() || network.status().code() != StatusCode::kInvalidModel || options.frame_height == 0)
    return network;
  for (std::size_t attempt = 0;; ++attempt) {
    Result<std::shared_ptr<ov::Model>> again = read_once(format, open, options, &attempt);
    if (again.ok()) return again;
    if (again.status().code() == StatusCode::kNotFound) return network;
  }
}

// IR of old versions is brought up to date by Core::read_model alone.
Result<std::shared_ptr<ov::Model>> read_ir(const std::filesystem::path& path) {
  try {
    ov::Core core;  // loads no device
    return core.read_model(path);
  } catch (const std::exception& error) {
    return Status(StatusCode::kInvalidModel, distil_openvino_error(error.what()));
  }
}

constexpr bool kMapWeights = true;

// TensorFlow Lite's reader takes a path only: so the bytes get one, in memory.
Result<std::shared_ptr<ov::Model>> read_by_path(FileFormat format, std::span<const std::byte> bytes,
                                                const ModelOptions& options) {
  const int file = memfd_create("model", MFD_CLOEXEC);
  if (file < 0) return Status(StatusCode::kInternal, "no memory file can be made");
  bool written = true;
  for (std::size_t done = 0; written && done < bytes.size();) {
    const ssize_t count = write(file, bytes.data() + done, bytes.size() - done);
    written = count > 0;
    if (written) done += static_cast<std::size_t>(count);
  }
  Result<std::shared_ptr<ov::Model>> network =
      Status(StatusCode::kInternal, "a memory file cannot be written");
  if (written) {
    const std::string path = fmt::format("/proc/self/fd/{}", file);
    network = read_opened(
        format, [&path](FrontEnd& reader) { return reader.load(path, kMapWeights); }, options);
  }
  close(file);
  return network;
}

}  // namespace

std::uint64_t elements_bounded(std::span<const std::int64_t> dims) {
  std::uint64_t elements = 1;
  for (const std::int64_t dim : dims) {
    if (dim == 0) return 0;
    if (dim < 0) continue;
    if (static_cast<std::uint64_t>(dim) > kElementsMax / elements) return kElementsMax + 1;
    elements *= static_cast<std::uint64_t>(dim);
  }
  return elements;
}

Result<std::shared_ptr<ov::Model>> read_network(const std::filesystem::path& path, FileFormat format,
                                                const ModelOptions& options) {
  if (format == FileFormat::kOpenVinoIr) return read_ir(path);
  const std::string text = path.string();
  return read_opened(
      format, [&text](FrontEnd& reader) { return reader.load(text, kMapWeights); }, options);
}

Result<std::shared_ptr<ov::Model>> read_network(std::span<const std::byte> bytes, FileFormat format,
                                                const ModelOptions& options) {
  if (format == FileFormat::kTfLite) return read_by_path(format, bytes, options);
  const std::string text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  std::istringstream stream;
  const auto open = [&](FrontEnd& reader) {
    stream = std::istringstream(text);
    return reader.load(static_cast<std::istream*>(&stream), kMapWeights);
  };
  return read_opened(format, open, options);
}

Status set_input_shapes(ov::Model& network, const std::map<std::string, Shape>& shapes) {
  std::map<ov::Output<ov::Node>, ov::PartialShape> wanted;
  const auto inputs = network.inputs();
  for (const auto& [name, shape] : shapes) {
    const auto fail = [&name = name](const std::string& why) {
      return Status(StatusCode::kInvalidArgument, fmt::format("input_shapes: input \"{}\": {}", name, why));
    };
    if (name.empty() && inputs.size() != 1)
      return fail(fmt::format("want a name, as the model has {} inputs", inputs.size()));
    const auto input =
        std::find_if(inputs.begin(), inputs.end(), [&name = name](const ov::Output<ov::Node>& port) {
          return name.empty() || port.get_names().count(name) != 0 ||
                 port.get_node()->get_friendly_name() == name;
        });
    if (input == inputs.end()) return fail("the model has no such input");
    INFLIGHT_TRY_ASSIGN(ov::PartialShape merged, wanted_shape(name, shape, input->get_partial_shape()));
    wanted.emplace(*input, std::move(merged));
  }
  if (wanted.empty()) return {};
  try {
    network.reshape(wanted);
  } catch (const std::exception& error) {
    return {StatusCode::kInvalidArgument, "input_shapes: " + distil_openvino_error(error.what())};
  }
  return {};
}

}  // namespace inflight::internal
