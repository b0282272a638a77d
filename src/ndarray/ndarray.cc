// SPDX-License-Identifier: Apache-2.0
#include "inflight/ndarray.h"

#include <fmt/format.h>

#include <cstring>
#include <memory>
#include <utility>

#include "base/check.h"

namespace inflight {

using internal::ArrayValue;
using internal::Completion;
using internal::Ref;
using internal::Version;

namespace {

Ref<Version> new_version(ArrayValue value) {
  auto version = Ref<Version>::adopt(new Version);
  version->values.push_back(std::move(value));
  return version;
}

NDArray ready_array(ArrayValue value) {
  auto version = new_version(std::move(value));
  version->completion.complete(Status());
  return NDArray(std::move(version), 0);
}

}  // namespace

Result<NDArray> NDArray::from_buffer(Buffer buffer, DType dtype, Shape shape) {
  INFLIGHT_TRY_ASSIGN(shape, Shape::make(shape.dims()));
  if (!shape.is_static()) {
    return Status(StatusCode::kInvalidArgument,
                  fmt::format("from_buffer: shape {} is not static", shape.to_string()));
  }
  const std::size_t wanted = dtype_bytes(dtype) * shape.elements();
  if (buffer.size() < wanted) {
    return Status(StatusCode::kInvalidArgument,
                  fmt::format("from_buffer: got {} bytes, {}{} wants {}", buffer.size(), dtype_name(dtype),
                              shape.to_string(), wanted));
  }
  return ready_array({dtype, shape, std::move(buffer)});
}

NDArray NDArray::copy_of(const TensorView& source) {
  Buffer buffer = Buffer::allocate(source.bytes());
  if (source.bytes() != 0) std::memcpy(buffer.bytes(), source.data, source.bytes());
  return ready_array({source.dtype, source.shape, std::move(buffer), true});
}

Status NDArray::status() const {
  if (!can_read()) return Status(StatusCode::kNotReady, "the array has not been computed yet");
  return version_->completion.status();
}

Result<TensorView> NDArray::read() const {
  INFLIGHT_TRY(status());
  return TensorView{value().buffer.bytes(), value().dtype, value().shape};
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
    : engine_(engine), pool_(std::make_shared<BufferPool>()), newest_(std::move(initial)) {
  INFLIGHT_CHECK(static_cast<bool>(newest_) && newest_.shape().is_static());
}

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

// One pending write: what it reads, the version before it and the version that it makes.
struct Write {
  std::vector<NDArray> reads;
  MutableNDArray::Compute compute;
  NDArray old;
  Ref<Version> made;
  std::shared_ptr<BufferPool> pool;
  bool keep_old;  // an update: the engine has ordered it after the old version, which has not failed

  Status run() {
    ArrayValue& value = made->values[0];
    const std::size_t bytes = dtype_bytes(value.dtype) * value.shape.elements();
    if (!take_over(value, bytes)) {
      value.buffer = pool->acquire(bytes);
      if (keep_old && bytes != 0) std::memcpy(value.buffer.bytes(), (*old.read()).data, bytes);
    }
    std::vector<TensorView> views;
    views.reserve(reads.size());
    for (const NDArray& read : reads) views.push_back(*read.read());
    Status status = compute(views, MutableTensorView{value.buffer.bytes(), value.dtype, value.shape});
    // Before the write ends, so that the next one finds this version free to take over.
    compute = {};
    reads.clear();
    old = NDArray();
    made = Ref<Version>();
    return status;
  }

  // Moves the old version's memory into the new one where nobody else can see it: the shares are this write's
  // and, for an update, the engine's for the variable that it reads. The name moved on before the push, so no
  // share can appear.
  bool take_over(ArrayValue& value, std::size_t bytes) {
    Version& before = old.version();
    if (!old.can_read() || before.shares() != (keep_old ? 2U : 1U) || before.values.size() != 1) return false;
    Buffer& buffer = before.values[0].buffer;
    if (!before.values[0].reusable || !buffer.unique() || buffer.size() != bytes) return false;
    value.buffer = std::move(buffer);
    return true;
  }
};

}  // namespace

Result<NDArray> MutableNDArray::push(std::vector<NDArray> reads, Compute compute, bool keep_old) {
  // Held through the push, so that versions follow each other in the order of the calls.
  const std::lock_guard lock(mutex_);
  Ref<Version> made = new_version({newest_.dtype(), newest_.shape(), Buffer(), true});
  NDArray result(made, 0);
  OpOptions options;
  for (const NDArray& read : reads) {
    INFLIGHT_CHECK(static_cast<bool>(read));
    options.reads.push_back(read.var());
  }
  if (keep_old) options.reads.push_back(newest_.var());
  options.writes.push_back(Var(made));
  options.on_finish = [made](const Status& status) { made->completion.complete(status); };
  // The name moves on first: the write may run before push() returns, and must not find the name's share.
  auto write =
      std::make_shared<Write>(Write{std::move(reads), std::move(compute), std::exchange(newest_, result),
                                    std::move(made), pool_, keep_old});
  if (Status refused = engine_.push([write] { return write->run(); }, std::move(options)); !refused.ok()) {
    newest_ = std::move(write->old);  // nothing was ordered: the write is ours alone again
    return refused;
  }
  return result;
}

namespace {

Completion& completion_of(const NDArray& array) { return array.version().completion; }

std::vector<Completion*> completions_of(std::span<const NDArray> arrays) {
  std::vector<Completion*> completions;
  completions.reserve(arrays.size());
  for (const NDArray& array : arrays) completions.push_back(&completion_of(array));
  return completions;
}

}  // namespace

std::size_t wait_any(std::span<const NDArray> arrays) {
  return *internal::wait_any(completions_of(arrays), nullptr);
}

std::optional<std::size_t> wait_any_for(std::span<const NDArray> arrays, Duration timeout) {
  return wait_any_until(arrays, deadline_after(timeout));
}

std::optional<std::size_t> wait_any_until(std::span<const NDArray> arrays, TimePoint when) {
  return internal::wait_any(completions_of(arrays), &when);
}

Status wait_all(std::span<const NDArray> arrays) {
  return internal::wait_all(arrays, nullptr, completion_of);
}

Status wait_all_for(std::span<const NDArray> arrays, Duration timeout) {
  return wait_all_until(arrays, deadline_after(timeout));
}

Status wait_all_until(std::span<const NDArray> arrays, TimePoint when) {
  return internal::wait_all(arrays, &when, completion_of);
}

}  // namespace inflight
