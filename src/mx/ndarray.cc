// SPDX-License-Identifier: Apache-2.0
#include "inflight/mx/ndarray.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "mx/array_root.h"
#include "mx/attrs.h"
#include "mx/reshape.h"
#include "mx/strided.h"
#include "mx/task.h"

namespace inflight::mx {

using detail::ArrayRoot;
using detail::AxisSlice;
using detail::Environment;
using detail::Operand;
using detail::OutputSpec;

namespace {

std::vector<std::int64_t> list(const Shape& shape) {
  const auto extents = shape.dims();
  return {extents.begin(), extents.end()};
}

Status check_extents(const Shape& shape) {
  const auto extents = shape.dims();
  if (std::all_of(extents.begin(), extents.end(), [](std::int64_t extent) { return extent > 0; }))
    return Shape::make(extents).status();
  return {StatusCode::kInvalidArgument,
          fmt::format("shape: got {}, want extents of at least 1", shape.to_string())};
}

// Memory of the pool's, filled here and now.
template <typename Fill>
Result<NDArray> made(const Shape& shape, DType dtype, Fill fill) {
  INFLIGHT_TRY(check_extents(shape));
  INFLIGHT_TRY_ASSIGN(Environment* const environment, Environment::get());
  INFLIGHT_TRY_ASSIGN(Buffer buffer, environment->pool().acquire(dtype_bytes(dtype) * shape.elements()));
  fill(MutableTensorView{buffer.bytes(), dtype, shape});
  // Ours alone, so that a write may take it over.
  auto version = inflight::internal::Ref<inflight::internal::Version>::adopt(new inflight::internal::Version);
  version->values.emplace_back(dtype, shape, std::move(buffer), true);
  version->complete(Status());
  return NDArray::of(inflight::NDArray(std::move(version), 0));
}

// All of axis `from` and those after it.
std::vector<AxisSlice> all_of(const Shape& shape) {
  std::vector<AxisSlice> slices;
  for (const std::int64_t extent : shape.dims()) slices.push_back({0, extent, 1});
  return slices;
}

// As an attribute: "(0, None,)".
std::string text(const NDArray::OptionalInts& values) {
  std::string all = "(";
  for (const auto& value : values) all += value ? std::to_string(*value) + ", " : "None, ";
  return all + ")";
}

// Orders a write to a part of an array. Where another device has it, the host writes to a copy, which is copied back.
Status push_part(Environment& environment, ArrayRoot& root, std::vector<Operand> reads,
                 detail::Compute compute) {
  const inflight::internal::MutexLock lock(root.mutex);
  const Device device = root.newest.device();
  if (device.is_host() && std::all_of(reads.begin(), reads.end(),
                                      [](const Operand& read) { return read.array.device().is_host(); }))
    return detail::push_update(environment, root.newest, std::move(reads), std::move(compute));
  for (Operand& read : reads) {
    INFLIGHT_TRY_ASSIGN(read.array, read.array.copy_to(Device::cpu()));
  }
  INFLIGHT_TRY_ASSIGN(inflight::NDArray written, root.newest.copy_to(Device::cpu()));
  INFLIGHT_TRY(detail::push_update(environment, written, std::move(reads), std::move(compute)));
  INFLIGHT_TRY_ASSIGN(root.newest, written.copy_to(device));
  return {};
}

Shape taken_shape(const std::vector<AxisSlice>& slices) {
  std::vector<std::int64_t> extents;
  for (const AxisSlice& slice : slices) extents.push_back(slice.count);
  return *Shape::make(extents);
}

}  // namespace

namespace detail {

Result<Operand> operand_of(const NDArray& array) {
  if (!array) return Status(StatusCode::kInvalidArgument, "got an empty array");
  return Operand{array.root_->read(), array.offset_, array.shape_};
}

}  // namespace detail

Result<NDArray> NDArray::of(inflight::NDArray version) {
  if (!version) return Status(StatusCode::kInvalidArgument, "array: got an empty one");
  const Shape shape = version.shape();
  INFLIGHT_TRY(check_extents(shape));
  try {
    return NDArray(std::make_shared<ArrayRoot>(std::move(version)), 0, shape);
  } catch (const std::bad_alloc&) {
    return Status::out_of_memory("array");
  }
}

Result<NDArray> NDArray::copy_of(const TensorView& source) {
  INFLIGHT_TRY(inflight::internal::check_host_memory(source.device));
  INFLIGHT_TRY(check_extents(source.shape));
  if (source.data == nullptr) return Status(StatusCode::kInvalidArgument, "copy_of: got no memory");
  return made(source.shape, source.dtype,
              [&](const MutableTensorView& out) { std::memcpy(out.data, source.data, out.bytes()); });
}

Result<NDArray> NDArray::full(const Shape& shape, double value, DType dtype) {
  return made(shape, dtype, [&](const MutableTensorView& out) { detail::fill_elements(out, value); });
}

Result<NDArray> NDArray::empty(const Shape& shape, DType dtype) {
  return made(shape, dtype, [](const MutableTensorView&) {});
}

Result<NDArray> NDArray::arange(double start, std::optional<double> stop, double step, std::int64_t repeat,
                                DType dtype) {
  if (!stop.has_value()) stop = std::exchange(start, 0.0);
  const double count = std::ceil((*stop - start) / step);
  if (!(count >= 1) || repeat < 1 ||
      count * static_cast<double>(repeat) > static_cast<double>(Shape::kElementsMax)) {
    return Status(StatusCode::kInvalidArgument,
                  fmt::format("arange: got {} to {} in steps of {}, each {} times, want at "
                              "least one element",
                              start, *stop, step, repeat));
  }
  const Shape shape = {static_cast<std::int64_t>(count) * repeat};
  return made(shape, dtype, [&](const MutableTensorView& out) {
    const std::size_t item = dtype_bytes(dtype);
    auto* to = static_cast<std::byte*>(out.data);
    for (std::int64_t i = 0; i < shape[0]; ++i, to += item) {
      const std::int64_t number = i / repeat;
      detail::store_element(dtype, start + static_cast<double>(number) * step, to);
    }
  });
}

Result<NDArray> NDArray::eye(std::int64_t rows, std::int64_t columns, std::int64_t shift, DType dtype) {
  const std::int64_t wide = columns > 0 ? columns : rows;
  INFLIGHT_TRY_ASSIGN(const Shape shape, Shape::make(std::vector<std::int64_t>{rows, wide}));
  return made(shape, dtype, [&](const MutableTensorView& out) {
    detail::fill_elements(out, 0);
    const auto item = static_cast<std::int64_t>(dtype_bytes(dtype));
    for (std::int64_t i = std::max<std::int64_t>(0, -shift); i < rows && i + shift < wide; ++i)
      detail::store_element(dtype, 1, static_cast<std::byte*>(out.data) + (i * wide + i + shift) * item);
  });
}

DType NDArray::dtype() const noexcept { return root_->read().dtype(); }
Device NDArray::device() const noexcept { return root_->read().device(); }
bool NDArray::can_read() const noexcept {
  const inflight::internal::MutexLock lock(root_->mutex);
  return root_->newest.can_read();
}
Status NDArray::status() const { return root_->read().status(); }
Status NDArray::wait() const {
  const inflight::NDArray version = root_->read();
  help(version);
  return version.wait();
}

Result<inflight::NDArray> NDArray::snapshot() const {
  INFLIGHT_TRY_ASSIGN(Environment* const environment, Environment::get());
  INFLIGHT_TRY_ASSIGN(const Operand operand, detail::operand_of(*this));
  return detail::alias(*environment, operand);
}

Result<NDArray> NDArray::reshape(const std::vector<std::int64_t>& codes, bool reverse) const {
  INFLIGHT_TRY_ASSIGN(const auto extents, detail::reshape_by_codes(list(shape_), codes, reverse));
  INFLIGHT_TRY_ASSIGN(const Shape to, Shape::make(extents));
  return NDArray(root_, offset_, to);
}

Result<NDArray> NDArray::at(std::int64_t index) const {
  if (shape_.rank() == 0) return Status(StatusCode::kInvalidArgument, "index: the array has no axis");
  const std::int64_t count = shape_[0];
  const std::int64_t row = index < 0 ? index + count : index;
  if (row < 0 || row >= count) {
    return Status(StatusCode::kInvalidArgument, fmt::format("index: got {}, want {} to {} for axis 0 of {}",
                                                            index, -count, count - 1, shape_.to_string()));
  }
  auto extents = list(shape_);
  extents.erase(extents.begin());
  if (extents.empty()) extents = {1};
  const Shape to = *Shape::make(extents);
  return NDArray(root_, offset_ + static_cast<std::size_t>(row) * to.elements() * dtype_bytes(dtype()), to);
}

Result<NDArray> NDArray::rows(std::optional<std::int64_t> begin, std::optional<std::int64_t> end) const {
  if (shape_.rank() == 0) return Status(StatusCode::kInvalidArgument, "slice: the array has no axis");
  INFLIGHT_TRY_ASSIGN(const auto slices, detail::slice_axes(list(shape_), {begin}, {end}, {}));
  const Shape to = taken_shape(slices);
  const std::size_t row = shape_.elements() / static_cast<std::size_t>(shape_[0]) * dtype_bytes(dtype());
  return NDArray(root_, offset_ + static_cast<std::size_t>(slices[0].first) * row, to);
}

Result<NDArray> NDArray::slice(const OptionalInts& begin, const OptionalInts& end,
                               const OptionalInts& step) const {
  if (!device().is_host()) {
    INFLIGHT_TRY_ASSIGN(
        auto arrays,
        invoke("slice", {this, 1}, {{"begin", text(begin)}, {"end", text(end)}, {"step", text(step)}}));
    return std::move(arrays[0]);
  }
  INFLIGHT_TRY_ASSIGN(Environment* const environment, Environment::get());
  INFLIGHT_TRY_ASSIGN(auto slices, detail::slice_axes(list(shape_), begin, end, step));
  INFLIGHT_TRY_ASSIGN(Operand operand, detail::operand_of(*this));
  const OutputSpec spec{dtype(), taken_shape(slices)};
  std::vector<Operand> reads;
  reads.push_back(std::move(operand));
  INFLIGHT_TRY_ASSIGN(
      auto arrays,
      detail::push_task(
          *environment, {&spec, 1}, std::move(reads), nullptr,
          [slices = std::move(slices)](std::vector<TensorView>& from, std::span<const MutableTensorView> to) {
            detail::gather_slices(static_cast<const std::byte*>(from[0].data), from[0].shape, slices,
                                  dtype_bytes(from[0].dtype), static_cast<std::byte*>(to[0].data));
            return Status();
          }));
  return of(std::move(arrays[0]));
}

Result<NDArray> NDArray::copy() const {
  // Another name for the same version: whichever is written first gets memory of its own.
  INFLIGHT_TRY_ASSIGN(inflight::NDArray version, snapshot());
  return of(std::move(version));
}

Result<NDArray> NDArray::astype(DType to) const {
  if (to == dtype()) return copy();
  const auto name = detail::mxnet_dtype_name(to);
  INFLIGHT_TRY_ASSIGN(auto arrays, invoke("Cast", {this, 1}, {{"dtype", std::string(name)}}));
  return std::move(arrays[0]);
}

Result<NDArray> NDArray::as_in(Device to) const {
  if (to == device()) return *this;
  INFLIGHT_TRY_ASSIGN(const inflight::NDArray version, snapshot());
  INFLIGHT_TRY_ASSIGN(inflight::NDArray there, version.copy_to(to));
  return of(std::move(there));
}

bool NDArray::is_whole() const noexcept {
  const inflight::NDArray newest = root_->read();
  return offset_ == 0 && newest.shape().elements() == shape_.elements();
}

Status NDArray::replace(inflight::NDArray version) const {
  INFLIGHT_TRY_ASSIGN(Environment* const environment, Environment::get());
  if (is_whole()) {
    const Shape shape = root_->read().shape();  // never changes
    INFLIGHT_TRY_ASSIGN(inflight::NDArray shaped,
                        detail::alias(*environment, {std::move(version), 0, shape}));
    const inflight::internal::MutexLock lock(root_->mutex);
    std::swap(root_->newest, shaped);
    return {};
  }
  const Shape shape = version.shape();
  std::vector<Operand> reads;
  reads.push_back({std::move(version), 0, shape});
  return push_part(*environment, *root_, std::move(reads),
                   [offset = offset_](std::vector<TensorView>& from, std::span<const MutableTensorView> to) {
                     std::memcpy(static_cast<std::byte*>(to[0].data) + offset, from[0].data, from[0].bytes());
                     return Status();
                   });
}

namespace {

// `source` with a type and a shape.
Result<NDArray> fitted(const NDArray& source, DType dtype, const Shape& shape) {
  if (!source) return Status(StatusCode::kInvalidArgument, "assign: got an empty array");
  INFLIGHT_TRY_ASSIGN(NDArray typed,
                      source.dtype() == dtype ? Result<NDArray>(source) : source.astype(dtype));
  if (typed.shape() == shape) return typed;
  // Leading axes of 1 come and go, as in MXNet.
  auto extents = list(typed.shape());
  while (extents.size() > shape.rank() && extents.front() == 1) extents.erase(extents.begin());
  while (extents.size() < shape.rank()) extents.insert(extents.begin(), 1);
  bool fits = extents.size() == shape.rank();
  for (std::size_t i = 0; fits && i < extents.size(); ++i) fits = extents[i] == shape[i] || extents[i] == 1;
  if (!fits) {
    return Status(StatusCode::kInvalidArgument,
                  fmt::format("assign: got {}, want {} or what broadcasts to it", source.shape().to_string(),
                              shape.to_string()));
  }
  INFLIGHT_TRY_ASSIGN(const NDArray ranked, NDArray::of(*typed.snapshot())->reshape(extents));
  if (ranked.shape() == shape) return ranked;
  const Attributes attributes = {{"shape", fmt::format("({},)", fmt::join(shape.dims(), ","))}};
  INFLIGHT_TRY_ASSIGN(auto arrays, invoke("broadcast_to", {&ranked, 1}, attributes));
  return std::move(arrays[0]);
}

}  // namespace

Status NDArray::assign(const NDArray& source) const {
  INFLIGHT_TRY_ASSIGN(const NDArray fits, fitted(source, dtype(), shape_));
  INFLIGHT_TRY_ASSIGN(const NDArray here, fits.as_in(device()));
  INFLIGHT_TRY_ASSIGN(inflight::NDArray version, here.snapshot());
  return replace(std::move(version));
}

Status NDArray::fill(double value) const {
  if (!is_whole()) return fill_slice({}, {}, {}, value);
  INFLIGHT_TRY_ASSIGN(const NDArray made, full(shape_, value, dtype()));
  INFLIGHT_TRY_ASSIGN(const NDArray filled, made.as_in(device()));
  INFLIGHT_TRY_ASSIGN(inflight::NDArray version, filled.snapshot());
  return replace(std::move(version));
}

Status NDArray::assign_slice(const OptionalInts& begin, const OptionalInts& end, const OptionalInts& step,
                             const NDArray& source) const {
  INFLIGHT_TRY_ASSIGN(Environment* const environment, Environment::get());
  INFLIGHT_TRY_ASSIGN(auto slices, detail::slice_axes(list(shape_), begin, end, step));
  INFLIGHT_TRY_ASSIGN(const NDArray fits, fitted(source, dtype(), taken_shape(slices)));
  std::vector<Operand> reads(1);
  INFLIGHT_TRY_ASSIGN(reads[0], detail::operand_of(fits));
  return push_part(*environment, *root_, std::move(reads),
                   [slices = std::move(slices), offset = offset_, shape = shape_](
                       std::vector<TensorView>& from, std::span<const MutableTensorView> to) {
                     detail::scatter_slices(static_cast<std::byte*>(to[0].data) + offset, shape, slices,
                                            dtype_bytes(to[0].dtype),
                                            static_cast<const std::byte*>(from[0].data), false);
                     return Status();
                   });
}

Status NDArray::fill_slice(const OptionalInts& begin, const OptionalInts& end, const OptionalInts& step,
                           double value) const {
  INFLIGHT_TRY_ASSIGN(Environment* const environment, Environment::get());
  INFLIGHT_TRY_ASSIGN(auto slices, detail::slice_axes(list(shape_), begin, end, step));
  if (slices.empty()) slices = all_of(shape_);
  return push_part(*environment, *root_, {},
                   [slices = std::move(slices), offset = offset_, shape = shape_, value](
                       std::vector<TensorView>&, std::span<const MutableTensorView> to) {
                     std::byte element[8] = {};
                     detail::store_element(to[0].dtype, value, element);
                     detail::scatter_slices(static_cast<std::byte*>(to[0].data) + offset, shape, slices,
                                            dtype_bytes(to[0].dtype), element, true);
                     return Status();
                   });
}

void help(const inflight::NDArray& version) {
  if (!version || version.can_read()) return;
  const std::shared_ptr<detail::Pieces> pieces = detail::pieces_of(version);
  if (pieces != nullptr) pieces->help_until(version.completion());
}

void wait_all() {
  const Result<Environment*> environment = Environment::get();
  if (environment.ok()) (*environment)->engine().drain();
}

Result<Engine*> engine() {
  INFLIGHT_TRY_ASSIGN(Environment* const environment, Environment::get());
  return &environment->engine();
}

}  // namespace inflight::mx
