// SPDX-License-Identifier: Apache-2.0
#include "mx/task.h"

#include <cstring>
#include <utility>

#include "base/user_code.h"

namespace inflight::mx::detail {
namespace {

using inflight::internal::ArrayValue;
using inflight::internal::Ref;
using inflight::internal::Version;

class Task final : public Version {
 public:
  Task(std::span<const OutputSpec> outputs, std::vector<Operand> reads, Compute compute,
       std::shared_ptr<BufferPool> pool, std::shared_ptr<Pieces> pieces = nullptr)
      : Version(true),
        reads_(std::move(reads)),
        compute_(std::move(compute)),
        pool_(std::move(pool)),
        pieces_(std::move(pieces)) {
    values.reserve(outputs.size());
    for (const OutputSpec& output : outputs) values.emplace_back(output.dtype, output.shape);
  }

  // An update of this version. `named`: the engine has a claim on it, too.
  void follow(inflight::NDArray old, bool named) noexcept {
    old_ = std::move(old);
    old_named_ = named;
  }
  inflight::NDArray take_old() noexcept { return std::move(old_); }
  const std::shared_ptr<Pieces>& pieces() const noexcept { return pieces_; }

  Status run() {
    // Only the operation's own claim is left: nobody can ever look, so there is nothing to compute.
    if (shares() == 1) return {};
    std::vector<TensorView> views;
    views.reserve(reads_.size() + 1);
    for (const Operand& read : reads_) {
      INFLIGHT_TRY_ASSIGN(const TensorView whole, read.array.read());
      views.push_back({static_cast<const std::byte*>(whole.data) + read.offset, whole.dtype, read.shape});
    }
    std::vector<MutableTensorView> outputs;
    outputs.reserve(values.size());
    for (ArrayValue& value : values) {
      INFLIGHT_TRY(prepare(value));
      outputs.push_back(value.mutable_view());
    }
    return inflight::internal::call_user(compute_, views, std::span<const MutableTensorView>(outputs));
  }

  void written(const Status& status) override {
    if (completion.ready()) return;
    compute_.reset();
    reads_.clear();
    old_ = inflight::NDArray();
    pool_.reset();
    complete(status);
  }

 private:
  Status prepare(ArrayValue& value) {
    const std::size_t bytes = dtype_bytes(value.dtype()) * value.declared().elements();
    if (old_ && take_over(value, bytes)) return {};
    INFLIGHT_TRY_ASSIGN(Buffer buffer, pool_->acquire(bytes));
    if (old_) {
      INFLIGHT_TRY_ASSIGN(const TensorView before, old_.read());
      std::memcpy(buffer.bytes(), before.data, bytes);
    }
    value.set(value.declared(), std::move(buffer), true);
    return {};
  }

  // As MutableNDArray: the shares are this task's and, where it named the old version, the engine's. The name
  // moved on before the push, so no share can appear.
  bool take_over(ArrayValue& value, std::size_t bytes) {
    Version& before = old_.version();
    if (before.shares() != (old_named_ ? 2U : 1U) || before.values.size() != 1) return false;
    if (old_named_ && !before.one_reader_at_most()) return false;
    ArrayValue& there = before.values[0];
    if (!there.reusable() || !there.buffer().unique() || there.buffer().size() != bytes) return false;
    value.set(value.declared(), there.take_buffer(), true);
    return true;
  }

  std::vector<Operand> reads_;
  Compute compute_;
  std::shared_ptr<BufferPool> pool_;
  const std::shared_ptr<Pieces> pieces_;  // stays as it is: any thread may ask for it
  inflight::NDArray old_;
  bool old_named_ = false;
};

// The memory of another version, or of a part of it.
class Alias final : public Version {
 public:
  explicit Alias(Operand operand) : Version(true), operand_(std::move(operand)) {
    values.emplace_back(operand_.array.dtype(), operand_.shape, operand_.array.device());
  }
  Status run() {
    INFLIGHT_TRY_ASSIGN(Buffer buffer, part_of(operand_));
    values[0].set(operand_.shape, std::move(buffer));
    return {};
  }
  void written(const Status& status) override {
    if (completion.ready()) return;
    operand_ = {};
    complete(status);
  }

  static Result<Buffer> part_of(const Operand& operand) {
    INFLIGHT_TRY_ASSIGN(Buffer whole, operand.array.buffer());
    const std::size_t bytes = dtype_bytes(operand.array.dtype()) * operand.shape.elements();
    if (operand.offset == 0) return whole;
    std::byte* from = whole.bytes() + operand.offset;
    // The lambda keeps the share.
    const Device device = whole.device();
    return Buffer::wrap(
        from, bytes, [whole = std::move(whole)] {}, device);
  }

 private:
  Operand operand_;
};

}  // namespace

bool must_name(const inflight::NDArray& array) {
  return !array.can_read() || !array.completion().status().ok();
}

Result<std::vector<inflight::NDArray>> push_task(Environment& environment,
                                                 std::span<const OutputSpec> outputs,
                                                 std::vector<Operand> reads, const CompiledNetwork* network,
                                                 Compute compute, std::shared_ptr<Pieces> pieces) {
  try {
    OpOptions options;
    if (network != nullptr && !network->is_compiled()) options.reads.push_back(network->compiled_var());
    for (const Operand& read : reads) {
      if (must_name(read.array)) options.reads.push_back(read.array.var());
    }
    const auto task = Ref<Task>::adopt(new Task(outputs, std::move(reads), std::move(compute),
                                                environment.shared_pool(), std::move(pieces)));
    options.writes.push_back(Var(task));
    INFLIGHT_TRY(environment.engine().push([raw = task.get()] { return raw->run(); }, std::move(options)));
    std::vector<inflight::NDArray> arrays;
    arrays.reserve(outputs.size());
    for (std::size_t i = 0; i < outputs.size(); ++i) arrays.emplace_back(task, i);
    return arrays;
  } catch (const std::bad_alloc&) {
    return Status::out_of_memory("operator");
  }
}

std::shared_ptr<Pieces> pieces_of(const inflight::NDArray& version) {
  const auto* const task = dynamic_cast<const Task*>(&version.version());
  return task == nullptr ? nullptr : task->pieces();
}

Status push_update(Environment& environment, inflight::NDArray& newest, std::vector<Operand> reads,
                   Compute compute) {
  try {
    OpOptions options;
    for (const Operand& read : reads) {
      if (must_name(read.array)) options.reads.push_back(read.array.var());
    }
    const bool named = must_name(newest);
    if (named) options.reads.push_back(newest.var());
    const OutputSpec output{newest.dtype(), newest.shape()};
    const auto task = Ref<Task>::adopt(
        new Task({&output, 1}, std::move(reads), std::move(compute), environment.shared_pool()));
    options.writes.push_back(Var(task));
    // The name moves on first: the write may run before push() returns, and must not find the name's share.
    task->follow(std::exchange(newest, inflight::NDArray(task, 0)), named);
    Status refused = environment.engine().push([raw = task.get()] { return raw->run(); }, std::move(options));
    if (!refused.ok()) newest = task->take_old();
    return refused;
  } catch (const std::bad_alloc&) {
    return Status::out_of_memory("write");
  }
}

Result<inflight::NDArray> alias(Environment& environment, const Operand& operand) {
  const std::size_t bytes = dtype_bytes(operand.array.dtype()) * operand.shape.elements();
  if (operand.offset == 0 && operand.array.shape() == operand.shape) return operand.array;
  try {
    if (operand.array.can_read() && operand.array.completion().status().ok()) {
      INFLIGHT_TRY_ASSIGN(Buffer part, Alias::part_of(operand));
      if (part.size() >= bytes)
        return inflight::NDArray::from_buffer(std::move(part), operand.array.dtype(), operand.shape);
    }
    const auto task = Ref<Alias>::adopt(new Alias(operand));
    OpOptions options;
    options.reads.push_back(operand.array.var());
    options.writes.push_back(Var(task));
    INFLIGHT_TRY(environment.engine().push([raw = task.get()] { return raw->run(); }, std::move(options)));
    return inflight::NDArray(task, 0);
  } catch (const std::bad_alloc&) {
    return Status::out_of_memory("array");
  }
}

}  // namespace inflight::mx::detail
