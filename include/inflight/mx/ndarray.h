// SPDX-License-Identifier: Apache-2.0
// mx::NDArray: an array as MXNet has it, a name whose elements can be written; and operators on such arrays.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "inflight/engine.h"
#include "inflight/mx/operator.h"
#include "inflight/ndarray.h"
#include "inflight/status.h"
#include "inflight/tensor.h"

namespace inflight::mx {

class NDArray;

namespace detail {
struct ArrayRoot;
struct Operand;
Result<Operand> operand_of(const NDArray& array);
}  // namespace detail

// A mutable name for an array: it stands for the newest version, and each write makes another one. Who holds
// an inflight::NDArray of it (snapshot()) keeps what was there. Every call that computes returns at once;
// what fails later is the status of the array.
//
// Rows (at(), rows()) and reshape() share memory with the array that they come from, as in MXNet: a write
// through one is seen through the others. Other slices are copies.
//
//   thread   any, each call as a whole; one object is like an int: no assigning it while another thread uses
//            it
class NDArray {
 public:
  using OptionalInts = std::vector<std::optional<std::int64_t>>;

  NDArray() noexcept = default;  // names nothing: only operator bool may be called

  // A new name for a version that is or will be there. Writes to the name leave the version as it is.
  //   errors   kInvalidArgument: empty, of no static shape, or of no elements
  static Result<NDArray> of(inflight::NDArray version);
  // A copy of elements in host memory.
  //   errors   as inflight::NDArray::copy_of; kInvalidArgument: no elements
  static Result<NDArray> copy_of(const TensorView& source);
  // All elements `value`, converted as C++ converts to the type.
  //   errors   kInvalidArgument: an extent below 1; kOutOfMemory
  static Result<NDArray> full(const Shape& shape, double value, DType dtype = DType::kF32);
  static Result<NDArray> zeros(const Shape& shape, DType dtype = DType::kF32) {
    return full(shape, 0, dtype);
  }
  // Elements of any value.
  static Result<NDArray> empty(const Shape& shape, DType dtype = DType::kF32);
  // start, start + step, ... before stop, each `repeat` times. Without `stop`, from 0 to `start`.
  //   errors   kInvalidArgument: no elements, or more than Shape::kElementsMax
  static Result<NDArray> arange(double start, std::optional<double> stop = {}, double step = 1,
                                std::int64_t repeat = 1, DType dtype = DType::kF32);
  // Ones where column - row is `shift`. Without `columns`, a square.
  static Result<NDArray> eye(std::int64_t rows, std::int64_t columns = 0, std::int64_t shift = 0,
                             DType dtype = DType::kF32);

  explicit operator bool() const noexcept { return root_ != nullptr; }
  const Shape& shape() const noexcept { return shape_; }
  DType dtype() const noexcept;
  // Where the elements are, and where operators on them compute.
  Device device() const noexcept;
  std::size_t size() const noexcept { return shape_.elements(); }

  // Whether the newest version has been computed or has failed. Takes a lock of a few instructions; never
  // waits for an operation. A later write makes a version that is not there yet; snapshot() pins one.
  bool can_read() const noexcept;
  // How the newest version came about; kNotReady before that.
  Status status() const;
  // Waits for the newest version, after help().
  Status wait() const;
  // The newest version, pinned.
  //   errors   kOutOfMemory; kOverloaded: for a part of an array that is still to come, as Engine::push
  Result<inflight::NDArray> snapshot() const;

  // Shares memory. The codes are MXNet's: 0, -1, -2, -3, -4.
  //   errors   kInvalidArgument
  Result<NDArray> reshape(const std::vector<std::int64_t>& codes, bool reverse = false) const;
  // Row `index` of axis 0, without that axis; a single element keeps one. Shares memory.
  //   errors   kInvalidArgument: no such row
  Result<NDArray> at(std::int64_t index) const;
  // Rows `begin` to before `end`. Shares memory.
  //   errors   kInvalidArgument: none is left
  Result<NDArray> rows(std::optional<std::int64_t> begin, std::optional<std::int64_t> end) const;
  // A copy of what the slices take of each axis, by the rules of MXNet's slice.
  //   errors   kInvalidArgument
  Result<NDArray> slice(const OptionalInts& begin, const OptionalInts& end,
                        const OptionalInts& step = {}) const;
  // A new name for what is there now.
  Result<NDArray> copy() const;
  Result<NDArray> astype(DType dtype) const;
  // The elements on a device, or in the host's memory ("cpu"), copied while nobody waits; this array where they are
  // there already.
  //   errors   as inflight::NDArray::copy_to()
  Result<NDArray> as_in(Device device) const;

  // Replaces all elements by those of `source`, converted to this type, broadcast to this shape and copied to this
  // device. A write to a part of an array that is not in the host's memory goes by way of the host, and copies all of it.
  //   errors   kInvalidArgument: it does not broadcast; as invoke()
  Status assign(const NDArray& source) const;
  Status fill(double value) const;
  // The same for a part.
  Status assign_slice(const OptionalInts& begin, const OptionalInts& end, const OptionalInts& step,
                      const NDArray& source) const;
  Status fill_slice(const OptionalInts& begin, const OptionalInts& end, const OptionalInts& step,
                    double value) const;

  // Whether a write to one is seen in the other.
  bool shares_memory_with(const NDArray& other) const noexcept { return root_ == other.root_; }

 private:
  friend Result<detail::Operand> detail::operand_of(const NDArray& array);
  friend Result<std::vector<NDArray>> invoke(std::string_view op, std::span<const NDArray> inputs,
                                             const Attributes& attributes, std::span<const NDArray> out);
  NDArray(std::shared_ptr<detail::ArrayRoot> root, std::size_t offset, const Shape& shape) noexcept
      : root_(std::move(root)), offset_(offset), shape_(shape) {}
  bool is_whole() const noexcept;
  // Makes this stand for a version of its own type and shape.
  Status replace(inflight::NDArray version) const;

  std::shared_ptr<detail::ArrayRoot> root_;
  std::size_t offset_ = 0;  // bytes into it
  Shape shape_;
};

// Applies an operator of the table (list_operators()) to arrays. The program is compiled once for each
// operator, its attributes but for "scalar", and the inputs' types and shapes, and kept (DESIGN.md, every
// limit).
//   out       empty: new arrays; else arrays of the results' types and shapes, which get them
//   returns   the results
//   thread    any; returns without waiting
//   errors    as Symbol::apply and Symbol::infer_shape, at once; kOverloaded: too many operations are
//             pending. What fails when it runs is the status of the results.
Result<std::vector<NDArray>> invoke(std::string_view op, std::span<const NDArray> inputs,
                                    const Attributes& attributes = {}, std::span<const NDArray> out = {});

// Helps with a version that the calling thread is about to wait for. An operator that computes each element by
// itself, on 1 MiB or more, runs in pieces; this thread takes some of them. For all other versions it returns
// at once.
//   thread   any that may compute
//   bound    looks for 100 us at most for the operation to start, and then computes one piece, of a size such
//            that there is one for each thread of the engine, or more
void help(const inflight::NDArray& version);
// Waits until no operation is pending (MXNet's waitall).
void wait_all();
// The engine that runs the operations of this process's arrays and executors.
//   errors   kDeviceError, kOutOfMemory: it cannot be had
Result<Engine*> engine();

// Random numbers. After seed(), the same numbers in the order of the calls, however many threads compute
// them.
//   errors   kInvalidArgument: a shape with an extent below 1, a type that is not offered, low above high, a
//            negative scale
void seed(std::uint64_t value);
// low to before high; f16, f32.
Result<NDArray> random_uniform(double low, double high, const Shape& shape, DType dtype = DType::kF32);
Result<NDArray> random_normal(double mean, double scale, const Shape& shape, DType dtype = DType::kF32);
// Whole numbers from low to before high; i32, i64.
Result<NDArray> random_randint(std::int64_t low, std::int64_t high, const Shape& shape,
                               DType dtype = DType::kI32);

}  // namespace inflight::mx
