// SPDX-License-Identifier: Apache-2.0
#include "inflight/ndarray.h"

#include <fmt/format.h>

#include <cstring>
#include <memory>
#include <new>
#include <string_view>
#include <utility>

#include "base/user_code.h"

namespace inflight {

using internal::ArrayValue;
using internal::Ref;
using internal::Version;

namespace {

Result<NDArray> ready_array(ArrayValue value) {
  try {
    auto version = Ref<Version>::adopt(new Version);
    version->values.push_back(std::move(value));
    version->complete(Status());
    return NDArray(std::move(version), 0);
  } catch (const std::bad_alloc&) {
    return Status::out_of_memory("array");
  }
}

// A view from outside: its shape may be anything.
Result<Shape> static_shape(std::string_view who, const Shape& shape) {
  INFLIGHT_TRY_ASSIGN(const Shape checked, Shape::make(shape.dims()));
  if (checked.is_static()) return checked;
  return Status(StatusCode::kInvalidArgument,
                fmt::format("{}: shape {} is not static", who, checked.to_string()));
}

}  // namespace

Result<NDArray> NDArray::from_buffer(Buffer buffer, DType dtype, Shape shape) {
  INFLIGHT_TRY_ASSIGN(shape, static_shape("from_buffer", shape));
  const std::size_t wanted = dtype_bytes(dtype) * shape.elements();
  if (buffer.size() < wanted) {
    return Status(StatusCode::kInvalidArgument,
                  fmt::format("from_buffer: got {} bytes, {}{} wants {}", buffer.size(), dtype_name(dtype),
                              shape.to_string(), wanted));
  }
  return ready_array({dtype, shape, std::move(buffer)});
}

Result<NDArray> NDArray::copy_of(const TensorView& source) {
  INFLIGHT_TRY(internal::check_host_memory(source.device));
  INFLIGHT_TRY_ASSIGN(const Shape shape, static_shape("copy_of", source.shape));
  const std::size_t bytes = source.bytes();
  if (source.data == nullptr && bytes != 0) {
    return Status(StatusCode::kInvalidArgument,
                  fmt::format("copy_of: {}{} at null", dtype_name(source.dtype), shape.to_string()));
  }
  INFLIGHT_TRY_ASSIGN(Buffer buffer, Buffer::allocate(bytes));
  if (bytes != 0) std::memcpy(buffer.bytes(), source.data, bytes);
  return ready_array({source.dtype, shape, std::move(buffer), true});
}

Status NDArray::status() const {
  if (!can_read()) return Status(StatusCode::kNotReady, "the array has not been computed yet");
  return version_->completion.status();
}

Result<TensorView> NDArray::view() const {
  INFLIGHT_TRY(status());
  return value().view();
}

Result<Buffer> NDArray::buffer() const {
  INFLIGHT_TRY(status());
  return value().buffer();
}

Result<TensorView> NDArray::read() const {
  INFLIGHT_TRY(status());
  INFLIGHT_TRY(internal::check_host_memory(device()));
  return value().view();
}

Status NDArray::wait() const {
  version_->completion.wait();
  return version_->completion.status();
}

Status NDArray::wait_for(Duration timeout) const { return wait_until(deadline_after(timeout)); }

Status NDArray::wait_until(TimePoint when) const {
  if (!version_->completion.wait_until(when)) {
    return Status(StatusCode::kDeadlineExceeded, "the array was not computed in time");
  }
  return version_->completion.status();
}

MutableNDArray::MutableNDArray(Engine& engine, NDArray initial)
    : engine_(engine), pool_(std::make_shared<BufferPool>()), newest_(std::move(initial)) {}

NDArray MutableNDArray::snapshot() const {
  const std::lock_guard lock(mutex_);
  return newest_;
}

Result<NDArray> MutableNDArray::write(std::vector<NDArray> reads, Compute compute) {
  return push(std::move(reads), std::move(compute), false);
}

Result<NDArray> MutableNDArray::update(std::vector<NDArray> reads, Compute compute) {
  return push(std::move(reads), std::move(compute), true);
}

namespace {

// A version that an operation computes. Until then it holds what the operation needs.
class Write final : public Version {
 public:
  Write(ArrayValue value, std::vector<NDArray> reads, MutableNDArray::Compute compute,
        std::shared_ptr<BufferPool> pool, bool keep_old)
      : Version(true),
        reads_(std::move(reads)),
        compute_(std::move(compute)),
        pool_(std::move(pool)),
        keep_old_(keep_old) {
    values.push_back(std::move(value));
  }

  // Sets the version before. Called once, before the push.
  void follow(NDArray old) noexcept { old_ = std::move(old); }

  Status run() {
    ArrayValue& value = values[0];
    const std::size_t bytes = dtype_bytes(value.dtype()) * value.declared().elements();
    std::vector<TensorView> views;
    views.reserve(reads_.size());
    for (const NDArray& read : reads_) {
      INFLIGHT_TRY_ASSIGN(const TensorView view, read.read());
      views.push_back(view);
    }
    if (!take_over(value, bytes)) {
      INFLIGHT_TRY_ASSIGN(Buffer buffer, pool_->acquire(bytes));
      if (keep_old_ && bytes != 0) std::memcpy(buffer.bytes(), old_.read()->data, bytes);
      value.set(value.declared(), std::move(buffer), true);
    }
    return internal::call_user(compute_, views, value.mutable_view());
  }

  // The end, whether it ran or not. An operation of the user may also name this version among its writes; by
  // then it is complete.
  void written(const Status& status) override {
    if (completion.ready()) return;
    // First, so that the next write can take this version over.
    compute_.reset();
    reads_.clear();
    old_ = NDArray();
    pool_.reset();
    complete(status);
  }

  // For a write that was refused.
  NDArray take_old() { return std::move(old_); }

 private:
  // Moves the old version's memory into the new one if no other code can see it: the only references are this
  // write's and, for an update, that of the claimed variable, which no other operation reads. The name has
  // moved on before the push, so no reference can appear.
  bool take_over(ArrayValue& value, std::size_t bytes) {
    Version& before = old_.version();
    if (!old_.can_read() || before.shares() != (keep_old_ ? 2U : 1U) || before.values.size() != 1)
      return false;
    if (keep_old_ && !before.one_reader_at_most()) return false;
    ArrayValue& there = before.values[0];
    if (!there.reusable() || !there.buffer().unique() || there.buffer().size() != bytes) return false;
    value.set(value.declared(), there.take_buffer(), true);
    return true;
  }

  std::vector<NDArray> reads_;
  MutableNDArray::Compute compute_;
  NDArray old_;  // the version before
  std::shared_ptr<BufferPool> pool_;
  const bool keep_old_;  // an update: the engine has ordered it after the old version, which has not failed
};

// Whether a name for this array can be written.
Status check_writable(const NDArray& newest) {
  if (!newest) return Status(StatusCode::kInvalidArgument, "write: the name was made of an empty array");
  INFLIGHT_TRY(internal::check_host_memory(newest.device()));
  return static_shape("write", newest.shape()).status();
}

}  // namespace

Result<NDArray> MutableNDArray::push(std::vector<NDArray> reads, Compute compute, bool keep_old) {
  if (!compute) return Status(StatusCode::kInvalidArgument, "write: the compute function is empty");
  const std::lock_guard lock(mutex_);
  INFLIGHT_TRY(check_writable(newest_));
  Ref<Write> made;
  OpOptions options;
  try {
    for (const NDArray& read : reads) {
      if (!read) return Status(StatusCode::kInvalidArgument, "write: an array that it reads is empty");
      options.reads.push_back(read.var());
    }
    if (keep_old) options.reads.push_back(newest_.var());
    made = Ref<Write>::adopt(new Write(ArrayValue(newest_.dtype(), newest_.shape()), std::move(reads),
                                       std::move(compute), pool_, keep_old));
    options.writes.push_back(Var(made));
  } catch (const std::bad_alloc&) {
    return Status::out_of_memory("write");
  }
  // The name moves on first: the write may run before push() returns, and must not find the name's reference.
  made->follow(std::exchange(newest_, NDArray(made, 0)));
  NDArray result = newest_;
  // The claim keeps the version until the operation has ended.
  Status refused = internal::call_user(
      [&] { return engine_.push([write = made.get()] { return write->run(); }, std::move(options)); });
  if (!refused.ok()) {
    newest_ = made->take_old();  // nothing was ordered, so no other code refers to the write
    return refused;
  }
  return result;
}

}  // namespace inflight
