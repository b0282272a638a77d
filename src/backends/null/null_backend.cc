// SPDX-License-Identifier: Apache-2.0
#include "backends/null/null_backend.h"

#include <algorithm>
#include <cstring>
#include <thread>
#include <utility>
#include <vector>

#include "backends/null/null_memory.h"
#include "base/check.h"
#include "base/scheduling.h"
#include "inflight/internal/mutex.h"

namespace inflight {
namespace internal {

class NullSlot;

// What all programs of one backend share: the script, whether the device is lost and, if it is asynchronous,
// the device's own thread and its queue.
class NullDevice {
 public:
  explicit NullDevice(NullScript the_script) : script(std::move(the_script)) {
    if (script.asynchronous) thread_ = std::thread([this] { run(); });
  }
  ~NullDevice() {
    {
      const MutexLock lock(mutex_);
      stopping_ = true;
    }
    wake_.notify_all();
    if (thread_.joinable()) thread_.join();
  }
  NullDevice(const NullDevice&) = delete;
  NullDevice& operator=(const NullDevice&) = delete;

  Status status() {
    const MutexLock lock(mutex_);
    return lost_;
  }
  void lose(Status why) {
    const MutexLock lock(mutex_);
    lost_ = std::move(why);
  }
  // Makes room for one more slot, which has at most one launch in the queue. May throw std::bad_alloc.
  void add_slot() {
    const MutexLock lock(mutex_);
    queue_.reserve(++slots_);
  }
  void remove_slot(NullSlot& slot) noexcept;
  // Lets the device finish the slot's launch after `time`, counted from now or from the end of the last
  // launch that it comes after.
  Status enqueue(NullSlot& slot, std::uint64_t generation, Duration time, std::span<const LaunchPoint> after);
  // Finishes the slot's launch of this generation now, or once it comes.
  void stop(NullSlot& slot, std::uint64_t generation) noexcept;
  // On the slot's thread: until the time of its launch is over or it is stopped.
  void pass_time(NullSlot& slot, std::uint64_t generation, Duration time) noexcept;
  std::uint64_t finished() const noexcept { return finished_.load(std::memory_order_acquire); }

  const NullScript script;

 private:
  struct Entry {
    TimePoint when;
    std::uint64_t order;
    NullSlot* slot;
  };
  static bool later(const Entry& a, const Entry& b) {
    return a.when != b.when ? a.when > b.when : a.order > b.order;
  }
  void run();

  Mutex mutex_;
  CondVar wake_;
  CondVar stop_;                                          // wakes a slot that passes time
  std::vector<Entry> queue_ INFLIGHT_GUARDED_BY(mutex_);  // a heap, the earliest first
  std::size_t slots_ INFLIGHT_GUARDED_BY(mutex_) = 0;
  std::uint64_t launches_ INFLIGHT_GUARDED_BY(mutex_) = 0;
  Status lost_ INFLIGHT_GUARDED_BY(mutex_);
  bool stopping_ INFLIGHT_GUARDED_BY(mutex_) = false;
  std::atomic<std::uint64_t> finished_{0};
  std::thread thread_;
};

namespace {

class NullProgram final : public Program {
 public:
  NullProgram(std::shared_ptr<NullDevice> device, const Model& model, bool elastic,
              const std::optional<Tuning>& tuning)
      : device_(std::move(device)), model_(model), elastic_(elastic), tuning_(tuning) {}

  std::span<const TensorSpec> inputs() const noexcept override { return model_.inputs(); }
  std::span<const TensorSpec> outputs() const noexcept override { return model_.outputs(); }
  int concurrency(Width width) const noexcept override {
    const NullScript& script = device_->script;
    if (width == Width::kMedium) return script.concurrency_medium;
    return width == Width::kWide ? script.concurrency_wide : script.concurrency_narrow;
  }
  bool has(Width width) const noexcept override {
    const NullScript& script = device_->script;
    if (width == Width::kMedium) return elastic_ && script.elastic && script.concurrency_medium > 0;
    return width == Width::kNarrow || !elastic_ || script.elastic;
  }
  Result<std::unique_ptr<BoundProgram>> bind() override;
  std::optional<Tuning> tuning() const override { return tuning_; }

  NullDevice& device() noexcept { return *device_; }
  std::uint64_t next_launch() noexcept { return launches_.fetch_add(1, std::memory_order_relaxed); }

 private:
  const std::shared_ptr<NullDevice> device_;
  const Model model_;
  const bool elastic_;  // as it was asked for
  const std::optional<Tuning> tuning_;
  std::atomic<std::uint64_t> launches_{0};
};

}  // namespace

// One slot: remembers its launch until the time has come to "finish" it.
class NullSlot final : public BoundProgram {
 public:
  explicit NullSlot(NullProgram& program) : program_(program) {
    outputs_.reserve(program.outputs().size());
    program_.device().add_slot();
  }
  ~NullSlot() override { program_.device().remove_slot(*this); }

  Status launch(const Launch& launch) override;
  const std::atomic<std::uint64_t>& completion_word() const noexcept override { return word_; }
  bool can_stop() const noexcept override { return program_.device().script.stoppable; }
  void stop(std::uint64_t generation) noexcept override { program_.device().stop(*this, generation); }
  Status outcome() override { return outcome_; }
  TensorView dynamic_output(std::size_t) override {
    check_failed("an opaque model's outputs are static", __FILE__, __LINE__);
  }

  // Computes the outputs and stores the completion word.
  void finish() noexcept {
    const std::byte mark = input_ == nullptr ? std::byte{0} : *input_;
    for (const MutableTensorView& output : outputs_) {
      auto* const bytes = static_cast<std::byte*>(output.data);
      std::memset(bytes, 0, output.bytes());
      const std::size_t step = dtype_bytes(output.dtype);
      for (std::size_t i = 0; i < output.bytes(); i += step) bytes[i] = mark;
    }
    word_.store(generation_, std::memory_order_release);
  }

  // Of the newest launch. Under the device's mutex.
  TimePoint finishes_at;
  std::uint64_t finishes = 0;
  std::uint64_t stopped = 0;  // the newest generation that was stopped; likewise

 private:
  NullProgram& program_;
  std::vector<MutableTensorView> outputs_;
  const std::byte* input_ = nullptr;  // its first byte
  std::uint64_t generation_ = 0;
  Status outcome_;
  std::atomic<std::uint64_t> word_{0};
};

Status NullSlot::launch(const Launch& launch) {
  NullDevice& device = program_.device();
  INFLIGHT_TRY(device.status());
  const NullScript& script = device.script;
  const std::uint64_t number = program_.next_launch();
  if (script.launch_error) INFLIGHT_TRY(script.launch_error(number));

  const Duration time = script.service_time ? script.service_time(number, launch.width) : Duration(0);
  Status outcome = script.outcome ? script.outcome(number) : Status();
  // From here on nothing throws.
  outcome_ = std::move(outcome);
  outputs_.assign(launch.outputs.begin(), launch.outputs.end());
  const bool has_bytes = !launch.inputs.empty() && launch.inputs[0].bytes() > 0;
  input_ = has_bytes ? static_cast<const std::byte*>(launch.inputs[0].data) : nullptr;
  INFLIGHT_CHECK(launch.generation > generation_);
  generation_ = launch.generation;
  if (script.asynchronous) return device.enqueue(*this, generation_, time, launch.after);
  if (script.stoppable) {
    device.pass_time(*this, generation_, time);
  } else if (time.count() > 0) {
    script.clock->sleep_until(script.clock->now() + time);
  }
  finish();
  return Status();
}

Status NullDevice::enqueue(NullSlot& slot, std::uint64_t generation, Duration time,
                           std::span<const LaunchPoint> after) {
  {
    const MutexLock lock(mutex_);
    slot.finishes = generation;
    if (slot.stopped == generation) time = Duration(0);
    TimePoint begins = script.clock->now();
    for (const LaunchPoint& point : after) {
      auto& other = static_cast<NullSlot&>(*point.bound);
      // If that slot has been launched again since, that launch has finished.
      if (other.finishes == point.generation) begins = std::max(begins, other.finishes_at);
    }
    slot.finishes_at = begins + time;
    INFLIGHT_CHECK(queue_.size() < queue_.capacity());
    queue_.push_back({slot.finishes_at, launches_++, &slot});
    std::push_heap(queue_.begin(), queue_.end(), later);
  }
  wake_.notify_all();
  return Status();
}

void NullDevice::stop(NullSlot& slot, std::uint64_t generation) noexcept {
  {
    const MutexLock lock(mutex_);
    slot.stopped = std::max(slot.stopped, generation);
    for (Entry& entry : queue_) {
      if (entry.slot == &slot && slot.finishes == generation) entry.when = TimePoint::min();
    }
    std::make_heap(queue_.begin(), queue_.end(), later);
  }
  wake_.notify_all();
  stop_.notify_all();
}

void NullDevice::pass_time(NullSlot& slot, std::uint64_t generation, Duration time) noexcept {
  const TimePoint until = steady_clock().now() + time;
  MutexLock lock(mutex_);
  while (slot.stopped != generation && steady_clock().now() < until) stop_.wait_until(lock, until);
}

// A lost device may still have its launch in the queue.
void NullDevice::remove_slot(NullSlot& slot) noexcept {
  const MutexLock lock(mutex_);
  --slots_;
  std::erase_if(queue_, [&](const Entry& entry) { return entry.slot == &slot; });
  std::make_heap(queue_.begin(), queue_.end(), later);
}

void NullDevice::run() {
  name_thread("inflight-null");
  MutexLock lock(mutex_);
  const Clock& clock = *script.clock;
  while (!stopping_) {
    // A lost device finishes nothing.
    if (queue_.empty() || !lost_.ok()) {
      wake_.wait(lock);
      continue;
    }
    const TimePoint first = queue_.front().when;
    if (first > clock.now()) {
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
    NullSlot& slot = *queue_.back().slot;
    queue_.pop_back();
    // Under the mutex: the slot may be destroyed as soon as its word shows the end.
    finished_.fetch_add(1, std::memory_order_release);
    slot.finish();
  }
}

namespace {

Result<std::unique_ptr<BoundProgram>> NullProgram::bind() {
  return std::unique_ptr<BoundProgram>(std::make_unique<NullSlot>(*this));
}

}  // namespace
}  // namespace internal

NullBackend::NullBackend(NullScript script)
    : device_(std::make_shared<internal::NullDevice>(std::move(script))) {}

NullBackend::~NullBackend() = default;

Device NullBackend::device() const noexcept { return *Device::make("null", device_->script.index); }

int NullBackend::capacity() const noexcept {
  const NullScript& script = device_->script;
  return std::max({script.concurrency_wide, script.concurrency_medium, script.concurrency_narrow, 1});
}

bool NullBackend::launch_blocks() const noexcept { return !device_->script.asynchronous; }

std::shared_ptr<Allocator> NullBackend::output_allocator() {
  return device_->script.device_memory ? null_allocator(device()) : host_allocator();
}

std::shared_ptr<Allocator> NullBackend::device_allocator() { return null_allocator(device()); }

Result<std::shared_ptr<Program>> NullBackend::compile(const Model& model, const CompileOptions& options) {
  const bool any_size = model.image_use() && model.image_use()->any_size;
  for (const auto& specs : {model.inputs(), model.outputs()}) {
    for (const TensorSpec& spec : specs) {
      if (!spec.shape.is_static() && !(any_size && specs.data() == model.inputs().data())) {
        return Status(StatusCode::kInvalidArgument, "null device: \"" + spec.name + "\" is " +
                                                        spec.type_string() + ", want a static shape");
      }
    }
  }
  std::optional<Tuning> tuning = device_->script.tuning;
  if (tuning) {
    tuning->level = options.tune;
    const std::size_t steps = options.tune == TuneLevel::kOff ? 0 : device_->script.tuned_steps;
    for (std::size_t done = 1; done <= steps && options.progress; ++done)
      options.progress({true, done, steps, tuning->gain});
  }
  return std::shared_ptr<Program>(
      std::make_shared<internal::NullProgram>(device_, model, options.elastic, tuning));
}

Status NullBackend::device_status() { return device_->status(); }

void NullBackend::lose_device(Status why) {
  INFLIGHT_CHECK(!why.ok());
  device_->lose(std::move(why));
}

std::uint64_t NullBackend::finished() const noexcept { return device_->finished(); }

}  // namespace inflight
