// SPDX-License-Identifier: Apache-2.0
#include "backends/openvino/openvino_slot.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <exception>
#include <openvino/runtime/infer_request.hpp>
#include <utility>

#include "backends/openvino/openvino_request.h"
#include "base/check.h"
#include "inflight/internal/mutex.h"
#include "model/openvino_error.h"

namespace inflight::internal {
namespace {

class OpenVinoSlot final : public BoundProgram {
 public:
  explicit OpenVinoSlot(std::shared_ptr<const OpenVinoCompiled> compiled) : compiled_(std::move(compiled)) {}

  // Makes the requests. Not in the constructor, because OpenVINO may throw here.
  void create_requests(std::size_t number) {
    for (std::size_t i = 0; i < kWidthCount; ++i) {
      if (!compiled_->models[i].has_value()) continue;
      const bool calls = i == index_of(Width::kNarrow) && compiled_->callers != nullptr;
      const ov::CompiledModel model = calls ? compiled_->callers->get(number) : *compiled_->models[i];
      for (int k = 0; k < compiled_->requests; ++k) {
        requests_[i].push_back(Request{OpenVinoRequest(model),
                                       std::vector<const void*>(compiled_->inputs.size(), nullptr),
                                       std::vector<const void*>(compiled_->outputs.size(), nullptr)});
      }
    }
  }

  // OpenVINO makes a request's memory and picks its kernels in the first inference.
  Status warm_up() override {
    for (std::vector<Request>& requests : requests_) {
      for (Request& request : requests) {
        try {
          set_zeros(request.request.get(), compiled_->inputs);
          request.request.infer();
        } catch (const std::exception&) {
          // A network may refuse zeros; a frame that fails reports its own failure.
        }
      }
    }
    return {};
  }

  Status launch(const Launch& launch) override {
    std::vector<Request>& requests = requests_[index_of(launch.width)];
    if (requests.empty()) {
      return {StatusCode::kInvalidArgument,
              fmt::format("width: got {}, which the program was not compiled for", width_name(launch.width))};
    }
    INFLIGHT_TRY(check(launch));
    Request& request = choose(requests, launch);
    try {
      set_tensors(request, launch);
    } catch (const std::exception& error) {
      return {StatusCode::kDeviceError, distil_openvino_error(error.what())};
    }
    last_ = &request;
    const Running running(*this, request, launch.generation);
    try {
      if (!running.stopped()) request.request.infer();
      copy_aliases(launch);
      outcome_ = check_ranks(request);
    } catch (const std::exception& error) {
      outcome_ = Status(StatusCode::kDeviceError, distil_openvino_error(error.what()));
    } catch (...) {
      outcome_ = Status(StatusCode::kDeviceError, "the inference failed without a reason");
    }
    word_.store(launch.generation, std::memory_order_release);
    return {};
  }

  // The CPU looks between two operators of the network whether to go on. In the few microseconds before it has
  // begun, it does not notice.
  bool can_stop() const noexcept override { return true; }
  void stop(std::uint64_t generation) noexcept override {
    const MutexLock lock(running_mutex_);
    stopped_ = std::max(stopped_, generation);
    if (running_ == nullptr || generation != running_generation_) return;
    try {
      running_->request.get().cancel();
    } catch (...) {
      // It goes on to its end.
    }
  }

  const std::atomic<std::uint64_t>& completion_word() const noexcept override { return word_; }
  Status outcome() override { return outcome_; }

  TensorView dynamic_output(std::size_t index) override {
    INFLIGHT_CHECK(index < compiled_->outputs.size() && last_ != nullptr);
    const OpenVinoPort& port = compiled_->outputs[index];
    TensorView view{nullptr, port.spec.dtype, {}};
    try {
      const ov::Tensor tensor = last_->request.get().get_output_tensor(index);
      std::array<std::int64_t, Shape::kRankMax> dims{};
      const ov::Shape& shape = tensor.get_shape();
      INFLIGHT_CHECK(shape.size() <= dims.size());  // check_ranks() has looked
      std::copy(shape.begin(), shape.end(), dims.begin());
      Result<Shape> made = Shape::make({dims.data(), shape.size()});
      INFLIGHT_CHECK(made.ok());
      view.shape = *made;
      view.data = view.shape.elements() == 0 ? nullptr : tensor.data();
    } catch (const std::exception&) {
      view.shape = {0};  // nothing was computed: outcome() says why
      view.data = nullptr;
    }
    return view;
  }

 private:
  struct Request {
    OpenVinoRequest request;
    std::vector<const void*> inputs;  // the memory that each tensor of the request wraps now
    std::vector<const void*> outputs;
  };

  // Shows stop() what runs, for as long as it lives.
  class Running {
   public:
    Running(OpenVinoSlot& slot, Request& request, std::uint64_t generation) : slot_(slot) {
      const MutexLock lock(slot_.running_mutex_);
      stopped_ = slot_.stopped_ == generation;
      slot_.running_ = &request;
      slot_.running_generation_ = generation;
    }
    ~Running() {
      const MutexLock lock(slot_.running_mutex_);
      slot_.running_ = nullptr;
    }
    Running(const Running&) = delete;
    Running& operator=(const Running&) = delete;
    bool stopped() const noexcept { return stopped_; }

   private:
    OpenVinoSlot& slot_;
    bool stopped_;
  };

  static ov::Shape shape_of_view(const TensorView& view) {
    return {view.shape.dims().begin(), view.shape.dims().end()};
  }

  static Status check_one(std::string_view role, const OpenVinoPort& port, const void* data, DType dtype,
                          const Shape& shape) {
    if (dtype != port.spec.dtype || !port.spec.shape.allows(shape)) {
      return {StatusCode::kInvalidArgument,
              fmt::format("{} \"{}\": got {}, want {}", role, port.spec.name,
                          TensorSpec{"", dtype, shape}.type_string(), port.spec.type_string())};
    }
    if (data == nullptr) {
      return {StatusCode::kInvalidArgument, fmt::format("{} \"{}\": got no memory", role, port.spec.name)};
    }
    return {};
  }

  Status check(const Launch& launch) const {
    if (launch.inputs.size() != compiled_->inputs.size() ||
        launch.outputs.size() != compiled_->outputs.size()) {
      return {StatusCode::kInvalidArgument,
              fmt::format("got {} inputs and {} outputs, want {} and {}", launch.inputs.size(),
                          launch.outputs.size(), compiled_->inputs.size(), compiled_->outputs.size())};
    }
    for (std::size_t i = 0; i < launch.inputs.size(); ++i) {
      const TensorView& view = launch.inputs[i];
      INFLIGHT_TRY(check_one("input", compiled_->inputs[i], view.data, view.dtype, view.shape));
    }
    for (std::size_t i = 0; i < launch.outputs.size(); ++i) {
      const MutableTensorView& view = launch.outputs[i];
      if (compiled_->outputs[i].dynamic) continue;
      INFLIGHT_TRY(check_one("output", compiled_->outputs[i], view.data, view.dtype, view.shape));
    }
    return {};
  }

  // The request that points at the launch's memory, or the one that was chosen longest ago.
  Request& choose(std::vector<Request>& requests, const Launch& launch) {
    for (Request& request : requests) {
      if (points_at(request, launch)) return request;
    }
    return requests[next_++ % requests.size()];
  }

  bool points_at(const Request& request, const Launch& launch) const {
    for (std::size_t i = 0; i < launch.inputs.size(); ++i) {
      if (request.inputs[i] != launch.inputs[i].data) return false;
    }
    for (std::size_t i = 0; i < launch.outputs.size(); ++i) {
      if (sets_output(i) && request.outputs[i] != launch.outputs[i].data) return false;
    }
    return true;
  }

  // Whether the request writes the output to the launch's memory.
  bool sets_output(std::size_t index) const {
    return !compiled_->outputs[index].dynamic && compiled_->aliases[index].of == OutputAlias::Of::kNothing;
  }

  // Points the request at the launch's memory. Wrapping memory costs an allocation or two, so a tensor that
  // already points there is left as it is.
  void set_tensors(Request& request, const Launch& launch) {
    for (std::size_t i = 0; i < launch.inputs.size(); ++i) {
      const void* data = launch.inputs[i].data;
      const OpenVinoPort& port = compiled_->inputs[i];
      if (request.inputs[i] == data && !port.dynamic) continue;
      request.inputs[i] = nullptr;  // until it is known to be set
      // The request only reads its inputs, but its interface takes a tensor that may be written.
      const ov::Shape shape = port.dynamic ? shape_of_view(launch.inputs[i]) : port.shape;
      request.request.get().set_input_tensor(i, ov::Tensor(port.type, shape, const_cast<void*>(data)));
      request.inputs[i] = data;
    }
    for (std::size_t i = 0; i < launch.outputs.size(); ++i) {
      const OpenVinoPort& port = compiled_->outputs[i];
      void* data = launch.outputs[i].data;
      if (!sets_output(i) || request.outputs[i] == data) continue;
      request.outputs[i] = nullptr;
      request.request.get().set_output_tensor(i, ov::Tensor(port.type, port.shape, data));
      request.outputs[i] = data;
    }
  }

  // An output of open rank may turn out to have more dimensions than a Shape has.
  Status check_ranks(Request& request) const {
    for (std::size_t i = 0; i < compiled_->outputs.size(); ++i) {
      const OpenVinoPort& port = compiled_->outputs[i];
      if (!port.spec.shape.has_open_rank()) continue;
      const std::size_t rank = request.request.get().get_output_tensor(i).get_shape().size();
      if (rank <= Shape::kRankMax) continue;
      return {StatusCode::kUnsupported, fmt::format("output \"{}\": got rank {}, want at most {}",
                                                    port.spec.name, rank, Shape::kRankMax)};
    }
    return {};
  }

  void copy_aliases(const Launch& launch) {
    for (std::size_t i = 0; i < launch.outputs.size(); ++i) {
      const OutputAlias alias = compiled_->aliases[i];
      if (alias.of == OutputAlias::Of::kNothing || compiled_->outputs[i].dynamic) continue;
      const void* from = alias.of == OutputAlias::Of::kInput ? launch.inputs[alias.index].data
                                                             : launch.outputs[alias.index].data;
      std::memcpy(launch.outputs[i].data, from, compiled_->outputs[i].spec.bytes());
    }
  }

  std::shared_ptr<const OpenVinoCompiled> compiled_;
  std::array<std::vector<Request>, kWidthCount> requests_;  // none of a width that was not compiled
  std::size_t next_ = 0;                                    // of the requests, which one gets other memory
  Request* last_ = nullptr;                                 // of the last launch
  Status outcome_;
  std::atomic<std::uint64_t> word_{0};

  Mutex running_mutex_;
  Request* running_ INFLIGHT_GUARDED_BY(running_mutex_) = nullptr;
  std::uint64_t running_generation_ INFLIGHT_GUARDED_BY(running_mutex_) = 0;
  std::uint64_t stopped_ INFLIGHT_GUARDED_BY(running_mutex_) = 0;  // the newest that was to stop
};

}  // namespace

void set_zeros(ov::InferRequest& request, const std::vector<OpenVinoPort>& inputs) {
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    ov::Tensor input = request.get_input_tensor(i);
    if (inputs[i].dynamic) input.set_shape(inputs[i].shape);
    std::memset(input.data(), 0, input.get_byte_size());
  }
}

Result<std::unique_ptr<BoundProgram>> bind_openvino(std::shared_ptr<const OpenVinoCompiled> compiled,
                                                    std::size_t number) {
  auto slot = std::make_unique<OpenVinoSlot>(std::move(compiled));
  try {
    slot->create_requests(number);
  } catch (const std::exception& error) {
    return Status(StatusCode::kDeviceError, distil_openvino_error(error.what()));
  }
  return std::unique_ptr<BoundProgram>(std::move(slot));
}

}  // namespace inflight::internal
