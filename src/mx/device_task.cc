// SPDX-License-Identifier: Apache-2.0
#include "mx/device_task.h"

#include <new>
#include <utility>

#include "base/user_code.h"
#include "mx/program.h"
#include "transfer/device_arrays_core.h"

namespace inflight::mx::detail {

using inflight::internal::ArrayValue;
using inflight::internal::call_user;
using inflight::internal::DeviceWork;
using inflight::internal::ListLink;
using inflight::internal::MutexLock;
using inflight::internal::Ref;
using inflight::internal::Version;

// One launch. The engine's operation ends, by its token, when the device has done it.
class DeviceTask final : public Version, public DeviceWork, public ListLink<WaitsForSlot> {
 public:
  DeviceTask(DeviceArrays arrays, std::span<const OutputSpec> outputs, std::vector<Operand> reads,
             std::shared_ptr<CompiledNetwork> network, const std::optional<ScalarInput>& scalar)
      : Version(true),
        arrays_(std::move(arrays)),
        reads_(std::move(reads)),
        network_(std::move(network)),
        scalar_(scalar) {
    values.reserve(outputs.size());
    for (const OutputSpec& output : outputs)
      values.emplace_back(output.dtype, output.shape, arrays_.device());
  }

  // On a thread of the engine, once what it reads is there.
  void begin(OpToken token) noexcept {
    token_ = std::move(token);
    // Only the operation's own claim is left: nobody can ever look, so there is nothing to compute.
    if (shares() == 1) return finish(Status());
    const Result<bool> has_slot = call_user([this]() -> Result<bool> {
      INFLIGHT_TRY(prepare());
      return network_->device_slots().give(network_->program(), *this);
    });
    if (!has_slot.ok()) return finish(has_slot.status());
    if (*has_slot) arrays_.core().thread().push(*this);
  }
  void set_slot(DeviceSlots::Slot slot) noexcept { slot_ = std::move(slot); }

  Status start() noexcept override {
    const Launch launch{inputs_, outputs_, Width::kNarrow, ++slot_.generation, {}};
    Status started = call_user([&] { return slot_.bound->launch(launch); });
    launched_ = started.ok();
    return started;
  }
  Result<bool> done() noexcept override {
    return slot_.bound->completion_word().load(std::memory_order_acquire) >= slot_.generation;
  }
  Status look() noexcept override {
    return call_user([this] { return network_->device_status(); });
  }
  void end(Status status, Fate fate) noexcept override {
    if (fate == Fate::kLost) {
      // The device may still write to the outputs and use the slot: both stay for ever.
      ref();
      static_cast<void>(slot_.bound.release());
      network_->device_slots().lose(status);
    } else {
      if (launched_) status = call_user([this] { return slot_.bound->outcome(); });
      DeviceTask* const next = network_->device_slots().take_back(std::move(slot_));
      if (next != nullptr) arrays_.core().thread().push(*next);
    }
    finish(std::move(status));
  }
  // The last step: this may be gone when it returns.
  void finish(Status status) noexcept {
    OpToken token = std::move(token_);
    token.complete(std::move(status));
  }

  void written(const Status& status) override {
    if (completion.ready()) return;
    reads_.clear();
    network_.reset();
    complete(status);
  }

 private:
  Status prepare() {
    inputs_.reserve(reads_.size() + 1);
    for (const Operand& read : reads_) {
      INFLIGHT_TRY_ASSIGN(const TensorView whole, read.array.view());
      inputs_.push_back(
          {static_cast<const std::byte*>(whole.data) + read.offset, whole.dtype, read.shape, whole.device});
    }
    if (scalar_) inputs_.push_back({scalar_->bytes.data(), scalar_->dtype, {}});
    static const float nothing = 0;
    if (inputs_.empty()) inputs_.push_back({&nothing, DType::kF32, {1}});  // which nothing takes
    outputs_.reserve(values.size());
    for (ArrayValue& value : values) {
      const std::size_t bytes = dtype_bytes(value.dtype()) * value.declared().elements();
      INFLIGHT_TRY_ASSIGN(Buffer buffer, arrays_.acquire(bytes));
      value.set(value.declared(), std::move(buffer), true);
      outputs_.push_back(value.mutable_view());
    }
    return Status();
  }

  const DeviceArrays arrays_;
  std::vector<Operand> reads_;
  std::shared_ptr<CompiledNetwork> network_;
  const std::optional<ScalarInput> scalar_;
  OpToken token_;
  std::vector<TensorView> inputs_;
  std::vector<MutableTensorView> outputs_;
  DeviceSlots::Slot slot_;
  bool launched_ = false;
};

Result<bool> DeviceSlots::give(Program& program, DeviceTask& task) {
  const int most = program.concurrency(Width::kNarrow);
  {
    const MutexLock lock(mutex_);
    INFLIGHT_TRY(lost_);
    if (!idle_.empty()) {
      task.set_slot(std::move(idle_.back()));
      idle_.pop_back();
      return true;
    }
    if (made_ == most) {
      waiting_.push_back(task);
      return false;
    }
    ++made_;
    idle_.reserve(static_cast<std::size_t>(made_));
  }
  // Not under the mutex: it takes the device's time.
  Result<std::unique_ptr<BoundProgram>> bound = program.bind();
  const Status bound_status = bound.ok() ? (*bound)->warm_up() : bound.status();
  if (bound_status.ok()) {
    task.set_slot({std::move(*bound), 0});
    return true;
  }
  const MutexLock lock(mutex_);
  --made_;
  // Fewer slots than there might be serve as well.
  if (made_ == 0 || bound_status.code() != StatusCode::kOutOfMemory) return bound_status;
  if (!idle_.empty()) {
    task.set_slot(std::move(idle_.back()));
    idle_.pop_back();
    return true;
  }
  waiting_.push_back(task);
  return false;
}

DeviceTask* DeviceSlots::take_back(Slot slot) noexcept {
  const MutexLock lock(mutex_);
  DeviceTask* const next = waiting_.pop_front();
  if (next == nullptr) {
    idle_.push_back(std::move(slot));
  } else {
    next->set_slot(std::move(slot));
  }
  return next;
}

void DeviceSlots::lose(const Status& why) noexcept {
  inflight::internal::List<DeviceTask, WaitsForSlot> ending;
  {
    const MutexLock lock(mutex_);
    if (lost_.ok()) lost_ = why;
    ending.append(waiting_);
  }
  while (DeviceTask* const task = ending.pop_front()) task->finish(why);
}

Result<std::vector<inflight::NDArray>> push_launch(Environment& environment,
                                                   std::span<const OutputSpec> outputs,
                                                   std::vector<Operand> reads,
                                                   std::shared_ptr<CompiledNetwork> network,
                                                   const std::optional<ScalarInput>& scalar) try {
  INFLIGHT_TRY_ASSIGN(DeviceArrays arrays, DeviceArrays::open(network->device()));
  OpOptions options;
  if (!network->is_compiled()) options.reads.push_back(network->compiled_var());
  for (const Operand& read : reads) {
    if (must_name(read.array)) options.reads.push_back(read.array.var());
  }
  const auto task = Ref<DeviceTask>::adopt(
      new DeviceTask(std::move(arrays), outputs, std::move(reads), std::move(network), scalar));
  options.writes.push_back(Var(task));
  INFLIGHT_TRY(environment.engine().push_async(
      [raw = task.get()](OpToken token) { raw->begin(std::move(token)); }, std::move(options)));
  std::vector<inflight::NDArray> made;
  made.reserve(outputs.size());
  for (std::size_t i = 0; i < outputs.size(); ++i) made.emplace_back(task, i);
  return made;
} catch (const std::bad_alloc&) {
  return Status::out_of_memory("operator");
}

}  // namespace inflight::mx::detail
