// SPDX-License-Identifier: Apache-2.0
#include "mx/program.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <limits>

#include "base/check.h"
#include "base/scheduling.h"
#include "base/user_code.h"
#include "model/network.h"
#include "mx/device_task.h"
#include "mx/family.h"
#include "mx/invoke.h"

namespace inflight::mx::detail {
namespace {

// The CPU computes with 32 bits: an input that needs more would be cut off without a word.
Status check_wide_integers(const TensorView& view, std::size_t index) {
  if (view.dtype != DType::kI64) return {};
  const auto* data = static_cast<const std::int64_t*>(view.data);
  const std::size_t count = view.shape.elements();
  std::int64_t least = 0;
  std::int64_t most = 0;
  for (std::size_t i = 0; i < count; ++i) {
    least = std::min(least, data[i]);
    most = std::max(most, data[i]);
  }
  using Limits = std::numeric_limits<std::int32_t>;
  if (least >= Limits::min() && most <= Limits::max()) return {};
  return {
      StatusCode::kUnsupported,
      fmt::format("input {}: got an int64 of {}, want what fits in 32 bits: the device computes with no more",
                  index, least < Limits::min() ? least : most)};
}

}  // namespace

CompiledNetwork::CompiledNetwork(Model model, Precision precision, Device device, Widths widths,
                                 TuneLevel tune)
    : model_(without_network(model)),
      uncompiled_(std::move(model)),
      precision_(precision),
      device_(device),
      widths_(widths),
      tune_(tune),
      device_slots_(std::make_unique<DeviceSlots>()) {}

CompiledNetwork::~CompiledNetwork() = default;

Status CompiledNetwork::compile(std::shared_ptr<Backend> backend) {
  CompileOptions options;
  options.precision = precision_;
  options.tune = tune_;
  const bool elastic = widths_ == Widths::kElastic && device_.is_host() && backend->capacity() > 1;
  if (elastic) options.widths = {Width::kWide, Width::kNarrow};
  Result<std::shared_ptr<Program>> program =
      inflight::internal::call_user([&] { return backend->compile(*uncompiled_, options); });
  if (!program.ok()) return program.status();
  backend_ = std::move(backend);
  program_ = std::move(program).value();
  uncompiled_.reset();
  has_wide_ = options.widths.size() > 1;
  compiled_.store(true, std::memory_order_release);
  return {};
}

Result<CompiledNetwork::Slot> CompiledNetwork::take_slot() {
  {
    const inflight::internal::MutexLock lock(mutex_);
    if (!idle_.empty()) {
      Slot slot = std::move(idle_.back());
      idle_.pop_back();
      return slot;
    }
  }
  INFLIGHT_TRY_ASSIGN(std::unique_ptr<BoundProgram> bound, program_->bind());
  return Slot{std::move(bound), 0};
}

Status CompiledNetwork::run(std::span<const TensorView> inputs, std::span<const MutableTensorView> outputs,
                            bool alone) {
  INFLIGHT_CHECK(is_compiled());
  for (std::size_t i = 0; i < inputs.size(); ++i) INFLIGHT_TRY(check_wide_integers(inputs[i], i));
  static const float nothing = 0;
  const TensorView unused{&nothing, DType::kF32, {1}};
  if (inputs.empty()) inputs = {&unused, 1};
  INFLIGHT_TRY_ASSIGN(Slot slot, take_slot());
  Launch launch;
  launch.inputs = inputs;
  launch.outputs = outputs;
  launch.width = alone && has_wide_ ? Width::kWide : Width::kNarrow;
  launch.generation = ++slot.generation;
  Status status = slot.bound->launch(launch);
  // The backend's launches block.
  if (status.ok()) status = slot.bound->outcome();
  const inflight::internal::MutexLock lock(mutex_);
  idle_.push_back(std::move(slot));
  return status;
}

Result<Environment*> Environment::get() {
  struct Made {
    std::unique_ptr<Environment> environment;
    Status status;
    const pid_t process = getpid();
    // In the child of a fork the threads are not there, so nothing can be ended.
    ~Made() {
      if (getpid() != process) static_cast<void>(environment.release());
    }
    Made() {
      std::unique_ptr<Environment> made(new Environment);
      // First: what the vendor's library makes for itself then ends after this does.
      Result<std::shared_ptr<Backend>> backend = load_backend(Device::cpu());
      if (!backend.ok()) {
        status = backend.status();
        return;
      }
      made->backend_ = std::move(backend).value();
      if (!made->backend_->launch_blocks()) {
        status = Status(StatusCode::kUnsupported, "mx: the device's launches do not block");
        return;
      }
      // They compute: they must not take the processor from whoever pushes.
      const inflight::internal::BatchScheduling batch(inflight::internal::BatchWork::kLong);
      Result<std::unique_ptr<Engine>> engine =
          make_threaded_engine({.threads = made->backend_->capacity(), .pending_limit = kPendingMax});
      if (!engine.ok()) {
        status = engine.status();
        return;
      }
      made->engine_ = std::move(engine).value();
      made->pool_ = std::make_shared<BufferPool>();
      environment = std::move(made);
    }
  };
  static const Made made;
  if (!made.status.ok()) return made.status;
  return made.environment.get();
}

void Environment::end() noexcept {
  if (engine_ != nullptr) engine_->shutdown(Shutdown::kCancel);
  operators_.clear();
  families_.clear();
  const inflight::internal::MutexLock lock(mutex_);
  device_backends_.clear();
}

Environment::~Environment() { end(); }

Result<std::shared_ptr<Backend>> Environment::backend(Device device) {
  if (device.is_host()) return backend_;
  const auto find = [&]() INFLIGHT_REQUIRES(mutex_) -> std::shared_ptr<Backend> {
    for (const auto& one : device_backends_) {
      if (one->device() == device) return one;
    }
    return nullptr;
  };
  {
    const inflight::internal::MutexLock lock(mutex_);
    if (auto known = find()) return known;
  }
  INFLIGHT_TRY_ASSIGN(std::shared_ptr<Backend> made, load_backend(device));
  const inflight::internal::MutexLock lock(mutex_);
  if (auto known = find()) return known;  // another thread was first
  device_backends_.push_back(made);
  // The vendor's library ends itself at the process's end, by a handler that is registered by now: what uses it ends
  // before that.
  static const pid_t process = getpid();
  static Environment* const ends = this;
  static const int registered = std::atexit([] {
    if (getpid() == process) ends->end();
  });
  static_cast<void>(registered);
  return made;
}

Status Environment::push_helper(std::function<void()> help) {
  helpers_.fetch_add(1, std::memory_order_relaxed);
  // Called when the operation ends, if it is cancelled too; or when it is refused.
  std::shared_ptr<void> ended(nullptr, [this](void*) { helpers_.fetch_sub(1, std::memory_order_relaxed); });
  return engine_->push(
      [help = std::move(help), ended = std::move(ended)] {
        help();
        return Status();
      },
      {.priority = 1});
}

Status Environment::start_compiling(const std::shared_ptr<CompiledNetwork>& network) {
  INFLIGHT_TRY_ASSIGN(std::shared_ptr<Backend> its, backend(network->device()));
  return engine_->push([network, its = std::move(its)] { return network->compile(its); },
                       {.writes = {network->compiled_var()}});
}

}  // namespace inflight::mx::detail
