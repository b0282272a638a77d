// SPDX-License-Identifier: Apache-2.0
// Compiled networks that run as operations of the engine, and the one place of a process where they are kept.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "inflight/backend.h"
#include "inflight/buffer.h"
#include "inflight/engine.h"
#include "inflight/internal/mutex.h"
#include "inflight/model.h"
#include "inflight/status.h"

namespace inflight::mx::detail {

class DeviceSlots;

// A network compiled for the CPU or another device. It is compiled by an operation of the engine, never by who asks for it;
// what runs it comes after that.
//   thread   any
class CompiledNetwork {
 public:
  // How wide it runs.
  enum class Widths : std::uint8_t {
    kNarrow,   // on one thread, as many at once as there are threads
    kElastic,  // on all threads while nothing else is pending; costs a second compilation
  };
  CompiledNetwork(Model model, Precision precision, Device device, Widths widths = Widths::kNarrow,
                  TuneLevel tune = TuneLevel::kFast);
  ~CompiledNetwork();
  CompiledNetwork(const CompiledNetwork&) = delete;
  CompiledNetwork& operator=(const CompiledNetwork&) = delete;

  Device device() const noexcept { return device_; }

  std::span<const TensorSpec> inputs() const noexcept { return model_.inputs(); }
  std::span<const TensorSpec> outputs() const noexcept { return model_.outputs(); }
  // What an operation that runs it reads, unless it is compiled already.
  const Var& compiled_var() const noexcept { return compiled_var_; }
  // One acquire load. True once it can run.
  bool is_compiled() const noexcept { return compiled_.load(std::memory_order_acquire); }

  // The operation that compiles it; once.
  Status compile(std::shared_ptr<Backend> backend);
  // On the CPU: runs it here and now, in a slot of its own. Requires that it is compiled.
  //   alone     nothing else is pending
  //   inputs    in order; fewer than the network has: it has one that nothing takes
  //   outputs   in order
  Status run(std::span<const TensorView> inputs, std::span<const MutableTensorView> outputs,
             bool alone = false);

  // On another device: what push_launch() needs. Requires that it is compiled.
  Program& program() const noexcept { return *program_; }
  DeviceSlots& device_slots() const noexcept { return *device_slots_; }
  Status device_status() const { return backend_->device_status(); }

 private:
  struct Slot {
    std::unique_ptr<BoundProgram> bound;
    std::uint64_t generation = 0;
  };
  Result<Slot> take_slot() INFLIGHT_EXCLUDES(mutex_);

  const Model model_;                // its inputs and outputs
  std::optional<Model> uncompiled_;  // the same with its network, until it is compiled
  const Precision precision_;
  const Device device_;
  const Widths widths_;
  const TuneLevel tune_;
  const Var compiled_var_ = Var::make();
  std::atomic<bool> compiled_{false};
  std::shared_ptr<Backend> backend_;  // written before compiled_
  std::shared_ptr<Program> program_;  // likewise, and ends before the backend
  bool has_wide_ = false;             // likewise
  inflight::internal::Mutex mutex_;
  std::vector<Slot> idle_ INFLIGHT_GUARDED_BY(mutex_);  // at most one a thread of the engine
  const std::unique_ptr<DeviceSlots> device_slots_;
};

// The least recently used values go when there are more than `limit`.
//   thread   any
template <typename T>
class Cache {
 public:
  explicit Cache(std::size_t limit) : limit_(limit) {}

  // Null where there is none.
  std::shared_ptr<T> find(const std::string& key) INFLIGHT_EXCLUDES(mutex_) {
    const inflight::internal::MutexLock lock(mutex_);
    const auto found = places_.find(key);
    if (found == places_.end()) return nullptr;
    values_.splice(values_.begin(), values_, found->second);
    return found->second->second;
  }
  // The value that is there by now: another thread may have been first.
  std::shared_ptr<T> insert(const std::string& key, std::shared_ptr<T> value) INFLIGHT_EXCLUDES(mutex_) {
    std::vector<std::shared_ptr<T>> ending;  // outside the lock
    const inflight::internal::MutexLock lock(mutex_);
    const auto found = places_.find(key);
    if (found != places_.end()) return found->second->second;
    values_.emplace_front(key, value);
    places_.emplace(key, values_.begin());
    while (values_.size() > limit_) {
      ending.push_back(std::move(values_.back().second));
      places_.erase(values_.back().first);
      values_.pop_back();
    }
    return value;
  }
  std::size_t size() const INFLIGHT_EXCLUDES(mutex_) {
    const inflight::internal::MutexLock lock(mutex_);
    return values_.size();
  }
  template <typename Function>
  void for_each(Function function) INFLIGHT_EXCLUDES(mutex_) {
    const inflight::internal::MutexLock lock(mutex_);
    for (auto& [key, value] : values_) function(*value);
  }
  void clear() INFLIGHT_EXCLUDES(mutex_) {
    std::list<std::pair<std::string, std::shared_ptr<T>>> ending;
    const inflight::internal::MutexLock lock(mutex_);
    places_.clear();
    ending.swap(values_);
  }

 private:
  const std::size_t limit_;
  mutable inflight::internal::Mutex mutex_;
  std::list<std::pair<std::string, std::shared_ptr<T>>> values_
      INFLIGHT_GUARDED_BY(mutex_);  // newest use first
  std::unordered_map<std::string, typename std::list<std::pair<std::string, std::shared_ptr<T>>>::iterator>
      places_ INFLIGHT_GUARDED_BY(mutex_);
};

struct OneOperator;   // invoke.h
class ProgramFamily;  // family.h

// What all symbols and arrays of a process share: the engine, the device, memory that comes back, and caches.
//   thread   any
//   owns     the engine's threads, one a usable processor
class Environment {
 public:
  static constexpr std::size_t kOperatorsMax =
      256;                                         // one-operator programs kept, 0.5 MB each for a small one
  static constexpr std::size_t kFamiliesMax = 64;  // programs of symbols kept
  // Past it a push is refused with kOverloaded.
  static constexpr std::size_t kPendingMax = 65'536;

  // The one of this process, made when it is first asked for. It ends with the process: what has not started
  // by then is cancelled.
  //   errors   kDeviceError, kOutOfMemory: the device or threads cannot be had; the same each time
  static Result<Environment*> get();
  ~Environment();

  Engine& engine() noexcept { return *engine_; }
  // Of a device, opened at the first call for it.
  //   errors   as load_backend(); the same line each time
  Result<std::shared_ptr<Backend>> backend(Device device) INFLIGHT_EXCLUDES(mutex_);
  BufferPool& pool() noexcept { return *pool_; }
  const std::shared_ptr<BufferPool>& shared_pool() const noexcept { return pool_; }
  Cache<OneOperator>& operators() noexcept { return operators_; }
  Cache<ProgramFamily>& families() noexcept { return families_; }

  // Whether an operation that asks is the only one, but for helpers. A look: others may be pushed at any time.
  bool is_alone() const { return engine_->pending() <= 1 + helpers_.load(std::memory_order_relaxed); }
  // Orders a call that helps the operation that is running. It comes before all other operations.
  //   errors   as Engine::push
  Status push_helper(std::function<void()> help);
  // Orders the compilation of a network, after everything that is running.
  Status start_compiling(const std::shared_ptr<CompiledNetwork>& network);

 private:
  Environment() = default;
  // Cancels what has not started, and lets go of all programs.
  void end() noexcept;

  std::unique_ptr<Engine> engine_;
  std::shared_ptr<Backend> backend_;  // the CPU's
  inflight::internal::Mutex mutex_;
  std::vector<std::shared_ptr<Backend>> device_backends_ INFLIGHT_GUARDED_BY(mutex_);
  std::shared_ptr<BufferPool> pool_;
  std::atomic<std::size_t> helpers_{0};  // pushed, and not ended
  Cache<OneOperator> operators_{kOperatorsMax};
  Cache<ProgramFamily> families_{kFamiliesMax};
};

}  // namespace inflight::mx::detail
