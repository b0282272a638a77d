// SPDX-License-Identifier: Apache-2.0
// NDArray: a handle to one version of an array, which is a future. MutableNDArray: a name for the newest
// version.
#pragma once

#include <cstddef>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "inflight/buffer.h"
#include "inflight/clock.h"
#include "inflight/engine.h"
#include "inflight/executor.h"
#include "inflight/internal/completion.h"
#include "inflight/internal/ref.h"
#include "inflight/internal/var_state.h"
#include "inflight/status.h"
#include "inflight/tensor.h"
#include "inflight/wait.h"

namespace inflight {

namespace internal {

// One array of a version. What is declared is fixed before the first handle is given out, and any thread may
// read it at any time. The rest is its owner's until the version's completion is published, and is only read
// from then on.
class ArrayValue {
 public:
  ArrayValue() = default;
  // Still to come: memory of this kind, which set() brings.
  ArrayValue(DType dtype, const Shape& declared, Device device = Device::cpu()) noexcept
      : dtype_(dtype), declared_(declared), device_(device), actual_(declared) {}
  // There already.
  //   reusable   see reusable()
  ArrayValue(DType dtype, const Shape& shape, Buffer buffer, bool reusable = false) noexcept
      : ArrayValue(dtype, shape, buffer.device()) {
    set(shape, std::move(buffer), reusable);
  }

  DType dtype() const noexcept { return dtype_; }
  // May have dynamic extents.
  const Shape& declared() const noexcept { return declared_; }
  Device device() const noexcept { return device_; }

  // The owner's, before it publishes: the memory, and the shape that it turned out to have.
  //   reusable   a later write may put its result there once nobody else can see it. Not so what came from
  //              outside: the caller's memory may be read-only, or seen by ways that we do not know.
  void set(const Shape& actual, Buffer buffer, bool reusable = false) noexcept {
    actual_ = actual;
    buffer_ = std::move(buffer);
    reusable_ = reusable;
  }
  // Empty before set(). As for what follows, others read it only once the version is published.
  const Buffer& buffer() const noexcept { return buffer_; }
  Buffer take_buffer() noexcept { return std::move(buffer_); }
  // The declared one before set().
  const Shape& actual() const noexcept { return actual_; }
  bool reusable() const noexcept { return reusable_; }
  TensorView view() const noexcept { return {buffer_.bytes(), dtype_, actual_, device_}; }
  MutableTensorView mutable_view() const noexcept { return {buffer_.bytes(), dtype_, actual_, device_}; }

 private:
  DType dtype_ = DType::kF32;
  Shape declared_;
  Device device_;
  Shape actual_;
  Buffer buffer_;
  bool reusable_ = false;
};

// What one operation or one prediction writes: arrays that become readable together, the completion that says
// when, and the variable by which the engine orders what depends on them.
class Version : public VarState {
 public:
  using VarState::VarState;

  // Publishes and notifies.
  void complete(Status status) noexcept { completion.complete(std::move(status), this); }

  Completion completion;
  std::vector<ArrayValue> values;  // as many as there are before the first handle is given out
};

}  // namespace internal

// A handle to one version of an array: computed, failed, or still to come. It never shows another version,
// whoever writes what; the memory is not reused while a handle lives. A value: copies are handles to the same
// version. Any thread may use it; one handle object is like an int: no writing it while another thread reads
// it.
class NDArray {
 public:
  NDArray() noexcept = default;  // names nothing: only operator bool may be called
  // Ready at once, over memory that the caller has filled and will not write again.
  //   buffer   may be memory of any device
  //   errors   kInvalidArgument: the shape is not static, or the buffer is smaller than dtype and shape say;
  //            kOutOfMemory. The buffer's share ends then.
  static Result<NDArray> from_buffer(Buffer buffer, DType dtype, Shape shape);
  // Ready at once, a copy of `source` in host memory.
  //   errors   kOutOfMemory, with how much was wanted; kUnsupported: `source` is not memory of the host;
  //            kInvalidArgument: its shape is not static, or its data is null
  static Result<NDArray> copy_of(const TensorView& source);
  // One array of a version. For the owners of versions.
  NDArray(internal::Ref<internal::Version> version, std::size_t index) noexcept
      : version_(std::move(version)), index_(index) {}

  explicit operator bool() const noexcept { return static_cast<bool>(version_); }
  DType dtype() const noexcept { return value().dtype(); }
  // The declared shape until can_read(), where an extent that is not known yet is Shape::kDynamic; then the
  // actual one. A version that failed keeps the declared shape. Valid as long as a handle to this version
  // lives.
  const Shape& shape() const noexcept { return can_read() ? value().actual() : value().declared(); }
  // Where the memory is or will be; never changes.
  Device device() const noexcept { return value().device(); }

  // True: this version has been computed, or has failed. One acquire load; never blocks, never throws, never
  // goes back to false.
  bool can_read() const noexcept { return version_->completion.ready(); }
  // How the version came about: ok, or the first cause of its failure, the same each time; kNotReady before
  // that.
  Status status() const;
  // The elements, without waiting, for the host to read; valid as long as a handle to this version lives.
  //   errors   kNotReady; the version's own failure; kUnsupported: the memory is not the host's
  Result<TensorView> read() const;
  // The same for memory of any device: its address means something to that device.
  //   errors   kNotReady; the version's own failure
  Result<TensorView> view() const;
  // A share in the memory, which then stays as it is without a handle, too. Not to be written to.
  //   errors   as view()
  Result<Buffer> buffer() const;

  // Waits until can_read(), then returns status().
  Status wait() const;
  // The same, for `timeout` at most, or until `when`, which is on the real steady clock.
  //   errors   kDeadlineExceeded: the time came first
  Status wait_for(Duration timeout) const;
  Status wait_until(TimePoint when) const;

  // Calls fn(array) on the executor once can_read(); gives it to the executor at once where it can be read
  // already. What the executor throws ends there, and what fn throws ends where the executor says; where the
  // executor refuses the task, fn is not called. Callbacks of one version are given to their executors in the
  // order of these calls. Throws std::bad_alloc, having changed nothing.
  //   executor   outlives that
  //   fn         called as fn(const NDArray&), once; an empty std::function throws when it is called
  //   thread     any
  template <typename Fn>
  void on_ready(Executor& executor, Fn fn) const {
    internal::on_ready(version_->completion, executor,
                       [fn = std::move(fn), self = *this]() mutable { fn(self); });
  }

  // What an engine operation names to read this array.
  Var var() const { return Var(version_); }
  internal::Version& version() const noexcept { return *version_; }
  std::size_t index() const noexcept { return index_; }  // among the arrays of its version
  internal::Completion& completion() const noexcept { return version_->completion; }
  friend bool operator==(const NDArray& a, const NDArray& b) noexcept {
    return a.version_ == b.version_ && a.index_ == b.index_;
  }

 private:
  friend class MutableNDArray;
  const internal::ArrayValue& value() const noexcept { return version_->values[index_]; }

  internal::Ref<internal::Version> version_;
  std::size_t index_ = 0;
};

// A name for the newest version of an array. Each write makes a new version; handles taken before keep
// theirs. The new version takes over the old one's memory when nobody can see that any more at the moment it
// is computed, and gets other memory from a pool otherwise: renaming, as a processor does with its registers.
//   thread   any, each call as a whole
class MutableNDArray {
 public:
  // Names `initial`. A write is refused where that is empty, has no static shape (kInvalidArgument) or is not
  // in memory of the host (kUnsupported). Throws std::bad_alloc. The engine must outlive this name and every
  // write.
  MutableNDArray(Engine& engine, NDArray initial);
  MutableNDArray(const MutableNDArray&) = delete;
  MutableNDArray& operator=(const MutableNDArray&) = delete;

  // The newest version, pinned.
  NDArray snapshot() const;

  // Orders a write that replaces every element.
  //   reads     are ready and have not failed when `compute` runs
  //   compute   gets them, and where the elements go. Where it fails or throws, the new version has that
  //             status.
  //   returns   the new version
  //   thread    any
  //   errors    as Engine::push; kInvalidArgument: an empty `compute`, or an empty array in `reads`;
  //             kOutOfMemory. On an error nothing was ordered, and the name is as it was. Memory that cannot
  //             be had when the write runs, and a read whose memory is not the host's, fail the new version.
  using Compute = UniqueFunction<Status(std::span<const TensorView> reads, const MutableTensorView& out)>;
  Result<NDArray> write(std::vector<NDArray> reads, Compute compute);

  // Orders a write that may look at what was there: `out` holds the old elements when `compute` runs. It
  // inherits the old version's failure.
  //   errors    as write()
  Result<NDArray> update(std::vector<NDArray> reads, Compute compute);

 private:
  Result<NDArray> push(std::vector<NDArray> reads, Compute compute, bool keep_old);

  Engine& engine_;
  const std::shared_ptr<BufferPool> pool_;  // shared with the pending writes
  // Held while a write is pushed, so that versions follow each other in the order of the calls. Recursive: an
  // engine that runs operations inside push() calls `compute` under it, which may use this name.
  mutable std::recursive_mutex mutex_;
  NDArray newest_;  // guarded by mutex_
};

}  // namespace inflight
