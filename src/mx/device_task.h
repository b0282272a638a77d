// SPDX-License-Identifier: Apache-2.0
// Operations that make versions of arrays on a device. No thread of the engine waits for them: the device's own thread
// launches them and sees when they are done.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "inflight/backend.h"
#include "inflight/device_arrays.h"
#include "inflight/internal/list.h"
#include "inflight/internal/mutex.h"
#include "mx/task.h"

namespace inflight::mx::detail {

class DeviceTask;
struct WaitsForSlot;  // the list of tasks that wait

// The slots of one program on a device: as many as it can use at once. A task without one waits for it.
//   thread   any
class DeviceSlots {
 public:
  struct Slot {
    std::unique_ptr<BoundProgram> bound;
    std::uint64_t generation = 0;
  };

  // Gives the task a slot.
  //   returns   false: it waits, and gets the one that is given back when its turn comes
  //   errors    as Program::bind(), if there is no slot yet; why the device is lost
  Result<bool> give(Program& program, DeviceTask& task) INFLIGHT_EXCLUDES(mutex_);
  // Takes a slot back.
  //   returns   the task that has it now, to be launched; null: nobody waited
  DeviceTask* take_back(Slot slot) noexcept INFLIGHT_EXCLUDES(mutex_);
  // The device is lost: ends what waits, and refuses what comes.
  void lose(const Status& why) noexcept INFLIGHT_EXCLUDES(mutex_);

 private:
  inflight::internal::Mutex mutex_;
  std::vector<Slot> idle_
      INFLIGHT_GUARDED_BY(mutex_);  // has room for all, so that taking back needs no memory
  int made_ INFLIGHT_GUARDED_BY(mutex_) = 0;
  inflight::internal::List<DeviceTask, WaitsForSlot> waiting_ INFLIGHT_GUARDED_BY(mutex_);
  Status lost_ INFLIGHT_GUARDED_BY(mutex_);
};

// The last input of an operator with a number as its attribute.
struct ScalarInput {
  DType dtype = DType::kF32;
  alignas(8) std::array<std::byte, 8> bytes{};  // as any type wants it
};

// As push_task(), for a network on a device: one launch of it.
//   reads    arrays on the network's device
//   scalar   the last input, where there is one
//   errors   as push_task(); as DeviceArrays::open()
Result<std::vector<inflight::NDArray>> push_launch(Environment& environment,
                                                   std::span<const OutputSpec> outputs,
                                                   std::vector<Operand> reads,
                                                   std::shared_ptr<CompiledNetwork> network,
                                                   const std::optional<ScalarInput>& scalar = {});

}  // namespace inflight::mx::detail
