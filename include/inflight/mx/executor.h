// SPDX-License-Identifier: Apache-2.0
// Executor: a symbol with arrays, which computes.
#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "inflight/backend.h"
#include "inflight/mx/ndarray.h"
#include "inflight/mx/symbol.h"
#include "inflight/status.h"

namespace inflight::mx {

namespace detail {
struct ExecutorState;
}

struct BindOptions {
  // Where it computes, and where all arrays are.
  Device device = Device::cpu();
  // Of the heavy operators. MXNet computes in f32.
  Precision precision = Precision::kF32;
};

// Runs a symbol on arrays. Binding is cheap: programs are shared by all executors of graphs of one structure,
// whatever the names, with arrays of the same types and shapes, the same device and precision. They are kept
// in a cache (DESIGN.md, every limit), compiled by the engine's threads, and run at the same time.
//
// A value: copies are handles to the same executor.
//   thread   any; forwards of one executor follow each other as they are called
class Executor {
 public:
  using Named = std::vector<std::pair<std::string, NDArray>>;

  Executor() noexcept = default;  // names nothing: only operator bool may be called

  // Binds arrays, which are shared, not copied: a forward reads what they name when it is called.
  //   arguments, states   in the order of list_arguments() and list_auxiliary_states(); or by name
  //   errors              kInvalidArgument: an array is missing, unknown, or of a type or shape that does not
  //                       fit (the message names it), or is on another device than the options say; as
  //                       Symbol::infer_shape; as load_backend()
  static Result<Executor> bind(const Symbol& symbol, const std::vector<NDArray>& arguments,
                               const std::vector<NDArray>& states = {}, const BindOptions& options = {});
  static Result<Executor> bind(const Symbol& symbol, const std::map<std::string, NDArray>& arguments,
                               const std::map<std::string, NDArray>& states = {},
                               const BindOptions& options = {});
  // Makes the arrays, of zeros, from shapes and types of some arguments by name.
  static Result<Executor> simple_bind(const Symbol& symbol, const std::map<std::string, Shape>& shapes,
                                      const std::map<std::string, DType>& types = {},
                                      const BindOptions& options = {});

  explicit operator bool() const noexcept { return state_ != nullptr; }

  // Orders one inference of what the arguments name now, and returns. Its results are new arrays, which later
  // forwards leave alone.
  //   inputs     assigned to the arguments of these names first (NDArray::assign; shapes are the same)
  //   is_train   true is refused
  //   returns    the outputs, still to come, in the order of list_outputs()
  //   errors     kInvalidArgument: an input of no argument's name, or of another shape; kUnsupported:
  //              is_train; kOverloaded: too many operations are pending (DESIGN.md, every limit)
  Result<std::vector<NDArray>> forward(const std::map<std::string, NDArray>& inputs = {},
                                       bool is_train = false) const;
  // Of the last forward; before the first, zeros of their types and shapes.
  Result<std::vector<NDArray>> outputs() const;

  const Symbol& symbol() const noexcept;
  std::vector<NDArray> arg_arrays() const;
  std::vector<NDArray> aux_arrays() const;
  Named arg_dict() const;
  Named aux_dict() const;
  Result<Named> output_dict() const;

  // Assigns arrays to arguments and states by name.
  //   allow_extra   names that the symbol does not have are passed over
  //   errors        kInvalidArgument: such a name, or a shape that does not fit
  Status copy_params_from(const std::map<std::string, NDArray>& arguments,
                          const std::map<std::string, NDArray>& states = {}, bool allow_extra = false) const;
  // An executor of the same symbol for other shapes of some arguments. Arrays whose shapes stay are shared;
  // others are new, of zeros.
  //   partial_shaping   arguments that are not named may change their shapes, too
  //   allow_up_sizing   arrays may grow
  //   errors            kInvalidArgument: a change that was not allowed; as Symbol::infer_shape
  Result<Executor> reshape(const std::map<std::string, Shape>& shapes, bool partial_shaping = false,
                           bool allow_up_sizing = false) const;

 private:
  explicit Executor(std::shared_ptr<detail::ExecutorState> state) noexcept : state_(std::move(state)) {}
  static Result<Executor> make(const Symbol& symbol, std::vector<NDArray> variables,
                               const BindOptions& options);

  std::shared_ptr<detail::ExecutorState> state_;
};

}  // namespace inflight::mx
