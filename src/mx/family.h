// SPDX-License-Identifier: Apache-2.0
// The programs of one symbol: one that takes everything as inputs, and one that has its weights built in.
#pragma once

#include <atomic>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "inflight/internal/mutex.h"
#include "inflight/ndarray.h"
#include "mx/lower.h"
#include "mx/program.h"
#include "mx/task.h"

namespace inflight::mx::detail {

// What executors of graphs of one structure, with arrays of the same types and shapes, share.
//
// Weights are inputs at first. OpenVINO packs weights once where they are constants, and each time where they
// are inputs. So, when two forwards in a row find the same versions of all weights, a second program with
// those as constants is compiled, beside what runs; forwards with these very versions use it from then on.
// Weights that change give it up.
//   thread   any
class ProgramFamily {
 public:
  // Past it weights stay inputs: they change too often.
  static constexpr int kSpecialisationsMax = 4;
  // Weights of more than that stay inputs: a packed copy would double their memory, and reading them once for
  // each inference costs the same either way.
  static constexpr std::size_t kConstantBytesMax = std::size_t{512} << 20U;

  // A program for one forward, and which variables are inputs of it.
  struct Choice {
    std::shared_ptr<CompiledNetwork> network;
    bool built_in = false;  // the weights are constants
  };

  // Lowers the graph at once, and starts to compile it.
  //   heads    of the graph; kept
  //   errors   as lower_graph()
  static Result<std::shared_ptr<ProgramFamily>> make(Environment& environment, std::vector<Entry> heads,
                                                     const std::vector<TensorSpec>& variables,
                                                     Precision precision, Device device);

  // The program for arrays; one an variable, in order.
  Choice choose(Environment& environment, std::span<const Operand> arrays) INFLIGHT_EXCLUDES(mutex_);
  const std::vector<OutputSpec>& outputs() const noexcept { return outputs_; }
  const std::vector<bool>& is_weight() const noexcept { return is_weight_; }
  // Lets go of weights that nobody else has any more.
  void release_unused() INFLIGHT_EXCLUDES(mutex_);

 private:
  // The second program, on its way or there.
  struct Specialised {
    std::vector<Operand> weights;              // in order of the variables that are weights
    std::shared_ptr<CompiledNetwork> network;  // written before `lowered`
    std::atomic<bool> lowered{false};
  };

  ProgramFamily() = default;
  bool same_weights(const std::vector<Operand>& weights, std::span<const Operand> arrays) const;
  void specialise(Environment& environment, std::span<const Operand> arrays) INFLIGHT_REQUIRES(mutex_);

  std::vector<Entry> heads_;
  std::vector<TensorSpec> variables_;
  Precision precision_ = Precision::kF32;
  Device device_;
  std::vector<bool> is_weight_;
  bool may_specialise_ = false;
  std::vector<OutputSpec> outputs_;
  std::shared_ptr<CompiledNetwork> general_;

  inflight::internal::Mutex mutex_;
  std::vector<Operand> last_ INFLIGHT_GUARDED_BY(mutex_);  // the weights of the last forward
  std::shared_ptr<Specialised> specialised_ INFLIGHT_GUARDED_BY(mutex_);
  int specialisations_ INFLIGHT_GUARDED_BY(mutex_) = 0;
};

}  // namespace inflight::mx::detail
