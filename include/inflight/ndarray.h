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

// One array of a version. The declared type, shape and device are fixed before the first handle exists, and
// any thread may read them at any time. The rest belongs to the owner until the version's completion is
// published, and is only read from then on.
class ArrayValue {
 public:
  ArrayValue() = default;
  // Pending: set() brings the memory, on this device.
  ArrayValue(DType dtype, const Shape& declared, Device device = Device::cpu()) noexcept
      : dtype_(dtype), declared_(declared), device_(device), actual_(declared) {}
  // With its memory.
  //   reusable   as in set()
  ArrayValue(DType dtype, const Shape& shape, Buffer buffer, bool reusable = false) noexcept
      : ArrayValue(dtype, shape, buffer.device()) {
    set(shape, std::move(buffer), reusable);
  }

  DType dtype() const noexcept { return dtype_; }
  // May have dynamic extents.
  const Shape& declared() const noexcept { return declared_; }
  Device device() const noexcept { return device_; }

  // Called by the owner before it publishes, with the memory and the shape that was computed.
  //   reusable   a later write may put its result there once no other handle can see it. False for memory of
  //              the caller: it may be read-only, or other code may see it.
  void set(const Shape& actual, Buffer buffer, bool reusable = false) noexcept {
    actual_ = actual;
    buffer_ = std::move(buffer);
    reusable_ = reusable;
  }
  // Empty before set(). Only the owner reads this and what follows before the version is published.
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

// A handle to one version of an array: computed, failed, or pending. It never shows another version, whatever
// is written later, and the memory is not reused while a handle lives. A value: copies are handles to the
// same version.
//   thread   any; one handle object is like an int: no thread may assign to it while another one reads it
class NDArray {
 public:
  NDArray() noexcept = default;  // names nothing: only operator bool may be called
  // Ready at once, over memory that the caller has filled and will not write again.
  //   buffer   may be memory of any device
  //   errors   kInvalidArgument: the shape is not static, or the buffer is smaller than dtype and shape
  //            require; kOutOfMemory. The reference to the buffer is dropped then.
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
  // Ok, or the first cause of the version's failure, the same each time; kNotReady until can_read(). Never
  // blocks.
  Status status() const;
  // The elements, for the host to read. Never blocks. Valid as long as a handle to this version lives.
  //   errors   kNotReady; the version's own failure; kUnsupported: the memory is not the host's
  Result<TensorView> read() const;
  // The same for memory of any device: the address is valid on that device.
  //   errors   kNotReady; the version's own failure
  Result<TensorView> view() const;
  // A reference to the memory, which then stays unchanged without a handle, too. It must not be written to.
  //   errors   as view()
  Result<Buffer> buffer() const;

  // The same elements in the memory of a device, or of the host; this very version where they are there already. Orders
  // the copy and never blocks, but for the first call for a device, which opens it: DeviceArrays::open().
  //   returns  the copy, still to come; it fails as this version does
  //   errors   kInvalidArgument: an empty array; as DeviceArrays::open()
  Result<NDArray> copy_to(Device device) const;

  // Blocks until can_read(), then returns status(). Looks for up to 50 us before it sleeps.
  Status wait() const;
  // The same, for `timeout` at most, or until `when` at most, a moment of steady_clock().
  //   errors   kDeadlineExceeded: the time came first
  Status wait_for(Duration timeout) const;
  Status wait_until(TimePoint when) const;

  // Calls fn(array) on the executor once can_read(), at once if it can be read already. Never blocks. If the
  // executor refuses the task or throws, fn is not called, and what it threw is dropped. The executor decides
  // what becomes of what fn throws. The callbacks of one version go to their executors in the order of these
  // calls. Throws std::bad_alloc, having changed nothing.
  //   executor   must live until fn has run
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
// theirs. If no other handle can see the old version when the new one is computed, the new one takes over its
// memory; otherwise it gets other memory from a pool. This is renaming, as a processor does with its
// registers.
//   thread   any, each call as a whole
class MutableNDArray {
 public:
  // Names `initial`. A write is refused if that is empty, has no static shape (kInvalidArgument) or is not in
  // memory of the host (kUnsupported). Throws std::bad_alloc. The engine must outlive this name and every
  // write.
  MutableNDArray(Engine& engine, NDArray initial);
  MutableNDArray(const MutableNDArray&) = delete;
  MutableNDArray& operator=(const MutableNDArray&) = delete;

  // The newest version, pinned.
  NDArray snapshot() const;

  // Orders a write that replaces every element.
  //   reads     are ready and have not failed when `compute` runs
  //   compute   gets them, and the memory for the elements. If it fails or throws, the new version has that
  //             status.
  //   returns   the new version
  //   thread    any
  //   errors    as Engine::push; kInvalidArgument: an empty `compute`, or an empty array in `reads`;
  //             kOutOfMemory. On an error nothing was ordered, and the name is as it was. If there is no
  //             memory when the write runs, or a read is not in memory of the host, the new version fails.
  using Compute = UniqueFunction<Status(std::span<const TensorView> reads, const MutableTensorView& out)>;
  Result<NDArray> write(std::vector<NDArray> reads, Compute compute);

  // Orders a write that may read the old elements: `out` holds them when `compute` runs. If the old version
  // has failed, the new one has the same failure.
  //   errors    as write()
  Result<NDArray> update(std::vector<NDArray> reads, Compute compute);

 private:
  Result<NDArray> push(std::vector<NDArray> reads, Compute compute, bool keep_old);

  Engine& engine_;
  const std::shared_ptr<BufferPool> pool_;  // shared with the pending writes
  // Held while a write is pushed, so that versions follow each other in the order of the calls. Recursive: an
  // engine that runs operations inside push() calls `compute` while it is held, and `compute` may use this
  // name.
  mutable std::recursive_mutex mutex_;
  NDArray newest_;  // guarded by mutex_
};

}  // namespace inflight
