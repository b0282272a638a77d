// SPDX-License-Identifier: Apache-2.0
#include "inflight/mx/symbol.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <set>
#include <unordered_map>
#include <utility>

#include "base/user_code.h"
#include "mx/lower.h"
#include "mx/node.h"

namespace inflight::mx {

using detail::Entry;
using detail::Graph;
using detail::Node;

namespace detail {

const std::vector<Entry>& entries_of(const Symbol& symbol) {
  static const std::vector<Entry> none;
  return symbol.entries_ == nullptr ? none : *symbol.entries_;
}

Symbol symbol_of(std::vector<Entry> entries) {
  Symbol symbol;
  if (!entries.empty()) symbol.entries_ = std::make_shared<const std::vector<Entry>>(std::move(entries));
  return symbol;
}

}  // namespace detail

namespace {

using detail::entries_of;
using detail::symbol_of;

// As MXNet's NameManager: the operator's name in small letters and a count, for each thread.
std::string automatic_name(std::string_view op) {
  thread_local std::unordered_map<std::string, std::size_t> counts;
  std::string hint(op);
  for (char& c : hint) c = static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
  return fmt::format("{}{}", hint, counts[hint]++);
}

// All outputs of a node.
std::vector<Entry> outputs_of(const std::shared_ptr<const Node>& node) {
  const int count = node->is_variable() ? 1 : detail::output_count(*node->row, node->params);
  std::vector<Entry> entries;
  for (int i = 0; i < count; ++i) entries.push_back({node, i});
  return entries;
}

// The one node of a symbol, or null.
const Node* only_node(const std::vector<Entry>& entries) {
  if (entries.empty()) return nullptr;
  for (const Entry& entry : entries) {
    if (entry.node != entries[0].node) return nullptr;
  }
  return entries[0].node.get();
}

Status wrong_input(std::string_view op, std::string_view name, std::string_view what) {
  return {StatusCode::kInvalidArgument, fmt::format("operator {} \"{}\": {}", op, name, what)};
}

// Where an input named `name` goes, or nothing.
std::optional<std::size_t> place_of(const Node& node, std::string_view name) {
  const int count = detail::input_count(*node.row, node.params);
  for (int i = 0; i < count; ++i) {
    if (detail::input_name(*node.row, node.params, i) == name) return static_cast<std::size_t>(i);
  }
  return std::nullopt;
}

Status place_inputs(Node& node, std::string_view op, const std::vector<Symbol::Input>& inputs) {
  const auto count = static_cast<std::size_t>(detail::input_count(*node.row, node.params));
  node.inputs.resize(count);
  std::size_t next = 0;
  for (const Symbol::Input& input : inputs) {
    const auto& entries = entries_of(input.symbol);
    std::size_t place = next;
    if (!input.name.empty()) {
      const auto found = place_of(node, input.name);
      if (!found.has_value()) {
        std::vector<std::string> names;
        for (std::size_t i = 0; i < count; ++i)
          names.push_back(detail::input_name(*node.row, node.params, static_cast<int>(i)));
        return wrong_input(op, node.name,
                           fmt::format("got an input {}, which it does not have; it has {}", input.name,
                                       fmt::join(names, ", ")));
      }
      place = *found;
    } else {
      ++next;
    }
    if (place >= count)
      return wrong_input(op, node.name, fmt::format("got {} inputs, want at most {}", inputs.size(), count));
    if (entries.size() != 1) {
      return wrong_input(
          op, node.name,
          fmt::format("input {}: got a symbol of {} outputs, want one of them",
                      detail::input_name(*node.row, node.params, static_cast<int>(place)), entries.size()));
    }
    if (node.inputs[place].node != nullptr) {
      return wrong_input(op, node.name,
                         fmt::format("input {} is given twice",
                                     detail::input_name(*node.row, node.params, static_cast<int>(place))));
    }
    node.inputs[place] = entries[0];
  }
  return {};
}

}  // namespace

Result<Symbol> Symbol::variable(std::string name, const VariableOptions& options) {
  if (name.empty()) return Status(StatusCode::kInvalidArgument, "variable: got no name");
  auto node = std::make_shared<Node>();
  node->name = std::move(name);
  node->attributes = options.attributes;
  if (options.shape.has_value())
    node->attributes["__shape__"] =
        fmt::format("({}{})", fmt::join(options.shape->dims(), ", "), options.shape->rank() == 1 ? "," : "");
  if (options.dtype.has_value()) {
    const auto flag = detail::mxnet_dtype_flag(*options.dtype);
    if (!flag.has_value()) {
      return Status(StatusCode::kInvalidArgument,
                    fmt::format("variable \"{}\": dtype: got {}, which MXNet does not have", node->name,
                                dtype_name(*options.dtype)));
    }
    node->attributes["__dtype__"] = std::to_string(*flag);
  }
  return symbol_of({{std::move(node), 0}});
}

Result<Symbol> Symbol::group(const std::vector<Symbol>& symbols) {
  std::vector<Entry> entries;
  for (const Symbol& symbol : symbols) {
    if (!symbol) return Status(StatusCode::kInvalidArgument, "group: got an empty symbol");
    entries.insert(entries.end(), entries_of(symbol).begin(), entries_of(symbol).end());
  }
  if (entries.empty())
    return Status(StatusCode::kInvalidArgument, "group: got no symbols, want one at least");
  return symbol_of(std::move(entries));
}

Result<Symbol> Symbol::apply(std::string_view op, const std::vector<Input>& inputs, Attributes attributes,
                             std::string name) {
  return inflight::internal::call_user([&]() -> Result<Symbol> {
    INFLIGHT_TRY_ASSIGN(const detail::OpRow* const row, detail::find_row(op));
    if (row->variadic && !attributes.contains("num_args"))
      attributes["num_args"] = std::to_string(inputs.size());
    if (name.empty()) name = automatic_name(op);
    INFLIGHT_TRY_ASSIGN(const std::shared_ptr<Node> node,
                        detail::make_node(*row, std::move(attributes), std::move(name)));
    INFLIGHT_TRY(place_inputs(*node, op, inputs));
    detail::add_missing_inputs(*node, 0);
    return symbol_of(outputs_of(node));
  });
}

Result<Symbol> Symbol::compose(const std::map<std::string, Symbol>& variables) const {
  return inflight::internal::call_user([&]() -> Result<Symbol> {
    const Graph graph(entries_of(*this));
    std::vector<std::shared_ptr<const Node>> made(graph.nodes.size());
    std::vector<int> shift(graph.nodes.size(), 0);  // a replacement may be another output than the first
    std::size_t used = 0;
    for (std::size_t i = 0; i < graph.nodes.size(); ++i) {
      const Node& old = *graph.nodes[i];
      const auto found = old.is_variable() ? variables.find(old.name) : variables.end();
      if (found != variables.end()) {
        const auto& entries = entries_of(found->second);
        if (entries.size() != 1) {
          return Status(StatusCode::kInvalidArgument,
                        fmt::format("compose: variable \"{}\": got a symbol of {} outputs, "
                                    "want one of them",
                                    old.name, entries.size()));
        }
        made[i] = entries[0].node;
        shift[i] = entries[0].index;
        ++used;
        continue;
      }
      const auto copy = std::make_shared<Node>(old);
      for (std::size_t k = 0; k < copy->inputs.size(); ++k) {
        const Graph::Input input = graph.inputs[i][k];
        copy->inputs[k] = {made[input.node], input.index + shift[input.node]};
      }
      made[i] = copy;
    }
    if (used < variables.size()) {
      const auto names = list_inputs();
      for (const auto& [name, symbol] : variables) {
        if (std::find(names.begin(), names.end(), name) == names.end())
          return Status(StatusCode::kInvalidArgument,
                        fmt::format("compose: there is no variable \"{}\"", name));
      }
    }
    std::vector<Entry> heads;
    for (const Graph::Input& head : graph.heads)
      heads.push_back({made[head.node], head.index + shift[head.node]});
    return symbol_of(std::move(heads));
  });
}

std::string Symbol::name() const {
  const Node* node = only_node(entries_of(*this));
  return node == nullptr ? "" : node->name;
}

std::size_t Symbol::output_count() const noexcept { return entries_of(*this).size(); }

Result<Symbol> Symbol::output(std::size_t index) const {
  const auto& entries = entries_of(*this);
  if (index < entries.size()) return symbol_of({entries[index]});
  return Status(StatusCode::kNotFound,
                fmt::format("symbol: got output {}, want less than {}", index, entries.size()));
}

Result<Symbol> Symbol::output(std::string_view name) const {
  for (const Entry& entry : entries_of(*this)) {
    if (detail::output_name(*entry.node, entry.index) == name) return symbol_of({entry});
  }
  return Status(StatusCode::kNotFound, fmt::format("symbol: there is no output \"{}\"", name));
}

Symbol Symbol::internals() const {
  const auto& entries = entries_of(*this);
  const Graph graph(entries);
  // A shared pointer to each node: from whatever takes it.
  std::unordered_map<const Node*, std::shared_ptr<const Node>> shares;
  for (const Entry& entry : entries) shares.emplace(entry.node.get(), entry.node);
  for (const Node* node : graph.nodes) {
    for (const Entry& input : node->inputs) shares.emplace(input.node.get(), input.node);
  }
  std::vector<Entry> all;
  for (const Node* node : graph.nodes) {
    for (Entry& entry : outputs_of(shares[node])) all.push_back(std::move(entry));
  }
  return symbol_of(std::move(all));
}

Symbol Symbol::children() const {
  std::vector<Entry> all;
  std::set<const Node*> seen;
  for (const Entry& entry : entries_of(*this)) {
    if (seen.insert(entry.node.get()).second)
      all.insert(all.end(), entry.node->inputs.begin(), entry.node->inputs.end());
  }
  return symbol_of(std::move(all));
}

std::vector<std::string> Symbol::list_arguments() const { return Graph(entries_of(*this)).names(false); }
std::vector<std::string> Symbol::list_auxiliary_states() const {
  return Graph(entries_of(*this)).names(true);
}

std::vector<std::string> Symbol::list_inputs() const {
  const Graph graph(entries_of(*this));
  std::vector<std::string> names;
  for (const std::size_t variable : graph.variables) names.push_back(graph.nodes[variable]->name);
  return names;
}

std::vector<std::string> Symbol::list_outputs() const {
  std::vector<std::string> names;
  for (const Entry& entry : entries_of(*this)) names.push_back(detail::output_name(*entry.node, entry.index));
  return names;
}

std::optional<std::string> Symbol::attribute(const std::string& key) const {
  const Attributes all = attributes();
  const auto found = all.find(key);
  if (found == all.end()) return std::nullopt;
  return found->second;
}

Attributes Symbol::attributes() const {
  const Node* node = only_node(entries_of(*this));
  return node == nullptr ? Attributes() : node->attributes;
}

std::map<std::string, Attributes> Symbol::all_attributes() const {
  std::map<std::string, Attributes> all;
  const Graph graph(entries_of(*this));
  for (const Node* node : graph.nodes) {
    if (!node->attributes.empty()) all[node->name] = node->attributes;
  }
  return all;
}

namespace {

// Values by name, in the order of the graph's variables.
template <typename T>
Result<std::vector<std::optional<T>>> by_variable(const Graph& graph, const std::map<std::string, T>& known,
                                                  std::string_view what) {
  std::vector<std::optional<T>> values;
  std::set<std::string_view> names;
  for (const std::size_t variable : graph.variables) {
    const std::string& name = graph.nodes[variable]->name;
    if (!names.insert(name).second)
      return Status(StatusCode::kInvalidArgument,
                    fmt::format("{}: two variables have the name \"{}\"", what, name));
    const auto found = known.find(name);
    values.push_back(found == known.end() ? std::nullopt : std::optional<T>(found->second));
  }
  for (const auto& [name, value] : known) {
    if (!names.contains(name))
      return Status(StatusCode::kInvalidArgument, fmt::format("{}: there is no argument \"{}\"", what, name));
  }
  return values;
}

}  // namespace

Result<ShapeInference> Symbol::infer_shape(const std::map<std::string, Shape>& known, bool partial) const {
  return inflight::internal::call_user([&]() -> Result<ShapeInference> {
    const Graph graph(entries_of(*this));
    INFLIGHT_TRY_ASSIGN(const detail::Shapes shapes, by_variable(graph, known, "infer_shape"));
    INFLIGHT_TRY_ASSIGN(const detail::DTypes types,
                        detail::infer_dtypes(graph, detail::DTypes(graph.variables.size())));
    INFLIGHT_TRY_ASSIGN(const detail::Inferred inferred, detail::infer_shapes(graph, shapes, types));
    ShapeInference result;
    result.complete = inferred.complete;
    for (std::size_t i = 0; i < graph.variables.size(); ++i)
      (graph.is_auxiliary[i] ? result.auxiliary_states : result.arguments).push_back(inferred.variables[i]);
    result.outputs = inferred.outputs;
    if (partial || result.complete) return result;
    std::vector<std::string> missing;
    for (std::size_t i = 0; i < graph.variables.size(); ++i) {
      if (!inferred.variables[i].has_value()) missing.push_back(graph.nodes[graph.variables[i]]->name);
    }
    return Status(StatusCode::kInvalidArgument,
                  fmt::format("infer_shape: the shapes of {} do not follow from those given",
                              fmt::join(missing, ", ")));
  });
}

Result<TypeInference> Symbol::infer_type(const std::map<std::string, DType>& known) const {
  return inflight::internal::call_user([&]() -> Result<TypeInference> {
    const Graph graph(entries_of(*this));
    INFLIGHT_TRY_ASSIGN(const detail::DTypes given, by_variable(graph, known, "infer_type"));
    INFLIGHT_TRY_ASSIGN(const detail::DTypes types, detail::infer_dtypes(graph, given));
    TypeInference result;
    for (std::size_t i = 0; i < graph.variables.size(); ++i) {
      const DType type = *types[detail::first_entry(graph)[graph.variables[i]]];
      (graph.is_auxiliary[i] ? result.auxiliary_states : result.arguments).push_back(type);
    }
    const auto first = detail::first_entry(graph);
    for (const Graph::Input& head : graph.heads)
      result.outputs.push_back(*types[first[head.node] + static_cast<std::size_t>(head.index)]);
    return result;
  });
}

}  // namespace inflight::mx
