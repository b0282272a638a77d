// SPDX-License-Identifier: Apache-2.0
#include "backends/null/null_backend.h"

#include <algorithm>
#include <condition_variable>
#include <cstring>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "base/check.h"

namespace inflight {

// What every program of one backend shares: the script, and whether the device is still there.
struct NullBackend::Shared {
  explicit Shared(NullScript the_script) : script(std::move(the_script)) {}

  const NullScript script;
  std::mutex mutex;
  Status lost;  // guarded by mutex

  Status device_status() {
    const std::lock_guard lock(mutex);
    return lost;
  }
};

class NullProgram;

// One slot: remembers its launch until the time has come to "finish" it.
class NullSlot final : public BoundProgram {
 public:
  explicit NullSlot(NullProgram& program);

  Status launch(const Launch& launch) override;
  const std::atomic<std::uint64_t>& completion_word() const noexcept override { return word_; }
  Status outcome() override { return outcome_; }
  TensorView dynamic_output(std::size_t) override {
    internal::check_failed("an opaque model's outputs are static", __FILE__, __LINE__);
  }

  // Writes the outputs and stores the completion word.
  void finish();

 private:
  NullProgram& program_;
  std::vector<MutableTensorView> outputs_;
  std::byte mark_{};
  std::uint64_t generation_ = 0;
  Status outcome_;
  std::atomic<std::uint64_t> word_{0};
};

class NullProgram final : public Program {
 public:
  NullProgram(std::shared_ptr<NullBackend::Shared> shared, const Model& model)
      : shared_(std::move(shared)), model_(model) {
    if (script().asynchronous) device_ = std::thread([this] { run_device(); });
  }
  ~NullProgram() override {
    if (!device_.joinable()) return;
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    wake_.notify_all();
    device_.join();
  }

  std::span<const TensorSpec> inputs() const noexcept override { return model_.inputs(); }
  std::span<const TensorSpec> outputs() const noexcept override { return model_.outputs(); }
  int concurrency(Width width) const noexcept override {
    return width == Width::kWide ? script().concurrency_wide : script().concurrency_narrow;
  }
  bool launch_blocks() const noexcept override { return !script().asynchronous; }
  Result<std::unique_ptr<BoundProgram>> bind() override {
    const std::lock_guard lock(mutex_);
    queue_.reserve(++slots_);  // one launch a slot at most
    return std::unique_ptr<BoundProgram>(std::make_unique<NullSlot>(*this));
  }
  Status device_status() override { return shared_->device_status(); }

  const NullScript& script() const noexcept { return shared_->script; }
  std::uint64_t next_launch() noexcept { return launches_.fetch_add(1, std::memory_order_relaxed); }
  // Has the device finish `slot` at `when`.
  void enqueue(NullSlot& slot, TimePoint when) {
    {
      const std::lock_guard lock(mutex_);
      queue_.emplace_back(when, &slot);
      std::push_heap(queue_.begin(), queue_.end(), later);
    }
    wake_.notify_all();
  }

 private:
  using Entry = std::pair<TimePoint, NullSlot*>;
  static bool later(const Entry& a, const Entry& b) { return a.first > b.first; }

  void run_device();

  const std::shared_ptr<NullBackend::Shared> shared_;
  const Model model_;
  std::atomic<std::uint64_t> launches_{0};

  std::mutex mutex_;
  std::condition_variable wake_;
  std::vector<Entry> queue_;  // guarded by mutex_; a heap, the earliest first
  std::size_t slots_ = 0;     // guarded by mutex_
  bool stopping_ = false;     // guarded by mutex_
  std::thread device_;
};

NullSlot::NullSlot(NullProgram& program) : program_(program) { outputs_.reserve(program.outputs().size()); }

Status NullSlot::launch(const Launch& launch) {
  INFLIGHT_TRY(program_.device_status());
  const NullScript& script = program_.script();
  const std::uint64_t number = program_.next_launch();
  if (script.launch_error) INFLIGHT_TRY(script.launch_error(number));

  outputs_.assign(launch.outputs.begin(), launch.outputs.end());
  const bool has_bytes = !launch.inputs.empty() && launch.inputs[0].bytes() > 0;
  mark_ = has_bytes ? *static_cast<const std::byte*>(launch.inputs[0].data) : std::byte{0};
  outcome_ = script.outcome ? script.outcome(number) : Status();
  INFLIGHT_CHECK(launch.generation > generation_);
  generation_ = launch.generation;

  const Duration time = script.service_time ? script.service_time(number, launch.width) : Duration(0);
  const TimePoint when = script.clock->now() + time;
  if (script.asynchronous) {
    program_.enqueue(*this, when);
    return Status();
  }
  if (time.count() > 0) script.clock->sleep_until(when);
  finish();
  return Status();
}

void NullSlot::finish() {
  for (const MutableTensorView& output : outputs_) {
    auto* const bytes = static_cast<std::byte*>(output.data);
    std::memset(bytes, 0, output.bytes());
    const std::size_t step = dtype_bytes(output.dtype);
    for (std::size_t i = 0; i < output.bytes(); i += step) bytes[i] = mark_;
  }
  word_.store(generation_, std::memory_order_release);
}

void NullProgram::run_device() {
  std::unique_lock lock(mutex_);
  while (true) {
    wake_.wait(lock, [this] { return stopping_ || !queue_.empty(); });
    if (queue_.empty()) return;
    const TimePoint first = queue_.front().first;
    const Clock& clock = *script().clock;
    if (first > clock.now() && !stopping_) {
      if (clock.real()) {
        wake_.wait_until(lock, first);  // an earlier one may come
      } else {
        lock.unlock();
        clock.sleep_until(first);
        lock.lock();
      }
      continue;
    }
    std::pop_heap(queue_.begin(), queue_.end(), later);
    NullSlot* const slot = queue_.back().second;
    queue_.pop_back();
    if (!shared_->device_status().ok()) continue;  // a lost device stores nothing
    lock.unlock();
    slot->finish();
    lock.lock();
  }
}

NullBackend::NullBackend(NullScript script) : shared_(std::make_shared<Shared>(std::move(script))) {}

Result<std::shared_ptr<Program>> NullBackend::compile(const Model& model, const CompileOptions&) {
  for (const auto& specs : {model.inputs(), model.outputs()}) {
    for (const TensorSpec& spec : specs) {
      if (!spec.shape.is_static()) {
        return Status(StatusCode::kInvalidArgument, "null device: \"" + spec.name + "\" is " +
                                                        spec.type_string() + ", want a static shape");
      }
    }
  }
  return std::shared_ptr<Program>(std::make_shared<NullProgram>(shared_, model));
}

void NullBackend::lose_device(Status why) {
  INFLIGHT_CHECK(!why.ok());
  const std::lock_guard lock(shared_->mutex);
  shared_->lost = std::move(why);
}

}  // namespace inflight
