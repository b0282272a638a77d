// SPDX-License-Identifier: Apache-2.0
// Symbol: a network as MXNet describes it, without memory and without a device.
#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "inflight/mx/operator.h"
#include "inflight/status.h"
#include "inflight/tensor.h"

namespace inflight::mx {

class Symbol;

namespace detail {
struct Node;
// One output of a node.
struct Entry {
  std::shared_ptr<const Node> node;
  int index = 0;
};
const std::vector<Entry>& entries_of(const Symbol& symbol);
Symbol symbol_of(std::vector<Entry> entries);
}  // namespace detail

struct VariableOptions {
  std::optional<Shape> shape = {};  // what infer_shape() starts from
  std::optional<DType> dtype = {};
  Attributes attributes = {};  // the user's own
};

// What infer_shape() found, in the order of list_arguments(), list_outputs() and list_auxiliary_states(). A
// shape that does not follow from what was given is empty.
struct ShapeInference {
  bool complete = false;  // all are there
  std::vector<std::optional<Shape>> arguments;
  std::vector<std::optional<Shape>> outputs;
  std::vector<std::optional<Shape>> auxiliary_states;
};

struct TypeInference {
  std::vector<DType> arguments;
  std::vector<DType> outputs;
  std::vector<DType> auxiliary_states;
};

// One or more outputs of a graph of operators and variables. A value: copies share the graph, which never
// changes.
//   thread   any; one object is like an int: no writing it while another thread reads it
//   bound    Symbol::kNodesMax nodes in a graph that is read from a file
class Symbol {
 public:
  static constexpr std::size_t kNodesMax = 1'000'000;

  // An input of an operator: by name, or by place where the name is "".
  struct Input;

  Symbol() noexcept = default;  // names nothing: only operator bool may be called

  // A place for an array.
  //   errors   kInvalidArgument: no name
  static Result<Symbol> variable(std::string name, const VariableOptions& options = {});
  // All outputs of several symbols as one.
  //   errors   kInvalidArgument: none, or an empty symbol
  static Result<Symbol> group(const std::vector<Symbol>& symbols);
  // Applies an operator. Inputs that are not given become variables "NAME_weight" and so on.
  //   op           a name or alias of the table (list_operators())
  //   attributes   those of the operator; keys that begin with "__" are the user's
  //   name         "": one as MXNet's NameManager makes it, counted for each thread: "fullyconnected0"
  //   errors       kUnsupported: MXNet has the operator, this library does not; kInvalidArgument: no such
  //                operator, attribute or input, a value that cannot be read, an input with several outputs,
  //                or too many inputs
  static Result<Symbol> apply(std::string_view op, const std::vector<Input>& inputs,
                              Attributes attributes = {}, std::string name = "");
  // This graph with variables replaced, by name; each replacement has one output.
  //   errors   kInvalidArgument: a name that no variable has, or several outputs
  Result<Symbol> compose(const std::map<std::string, Symbol>& variables) const;

  explicit operator bool() const noexcept { return entries_ != nullptr; }
  // Of the node, where all outputs are of one; else "".
  std::string name() const;
  std::size_t output_count() const noexcept;
  // One output as a symbol: by place, or by a name of list_outputs().
  //   errors   kNotFound
  Result<Symbol> output(std::size_t index) const;
  Result<Symbol> output(std::string_view name) const;
  // The outputs of all nodes, variables included, inner ones first.
  Symbol internals() const;
  // What the nodes of the outputs take as inputs; empty where that is nothing.
  Symbol children() const;

  // Names, in the order in which a walk that goes deep first meets them.
  std::vector<std::string> list_arguments() const;
  std::vector<std::string> list_auxiliary_states() const;
  std::vector<std::string> list_inputs() const;  // both, as they come
  std::vector<std::string> list_outputs() const;

  // Of the node, where all outputs are of one.
  std::optional<std::string> attribute(const std::string& key) const;
  Attributes attributes() const;
  // Of all nodes that have any, by node name.
  std::map<std::string, Attributes> all_attributes() const;

  // Shapes of everything, from those of some arguments or states by name.
  //   partial   what does not follow is no error: it stays empty
  //   errors    kInvalidArgument: a name that the graph does not have or has twice, shapes that do not fit an
  //             operator (the message names operator and input or attribute)
  Result<ShapeInference> infer_shape(const std::map<std::string, Shape>& known, bool partial = false) const;
  // Element types likewise; an argument of which nothing tells the type is f32.
  Result<TypeInference> infer_type(const std::map<std::string, DType>& known) const;

  // The graph as MXNet 1.9 writes it.
  std::string to_json() const;
  //   errors   kIoError
  Status save(const std::string& path) const;
  // Reads what MXNet wrote, 0.8 to 1.9.
  //   errors   kInvalidModel: not JSON, cut short, not a graph, or one with a cycle; kUnsupported,
  //            kInvalidArgument: an operator or attribute that is not offered
  static Result<Symbol> from_json(std::string_view text);
  //   errors   kNotFound, kIoError: the file; as from_json()
  static Result<Symbol> load(const std::string& path);

 private:
  friend const std::vector<detail::Entry>& detail::entries_of(const Symbol& symbol);
  friend Symbol detail::symbol_of(std::vector<detail::Entry> entries);

  std::shared_ptr<const std::vector<detail::Entry>> entries_;
};

struct Symbol::Input {
  std::string name;
  Symbol symbol;
};

}  // namespace inflight::mx
