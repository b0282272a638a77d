// SPDX-License-Identifier: Apache-2.0
// The nodes of a symbol's graph, and walks over them.
#pragma once

#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "inflight/mx/symbol.h"
#include "mx/op_table.h"

namespace inflight::mx::detail {

// A variable or an application of an operator. Immutable once others can see it.
struct Node {
  const OpRow* row = nullptr;  // null: a variable
  std::string name;
  Attributes attributes;  // as given, the user's included
  Params params;          // of an operator
  std::vector<Entry> inputs;

  Node() = default;
  Node(const Node&) = default;
  Node& operator=(const Node&) = delete;
  ~Node();  // ends long chains without deep recursion

  bool is_variable() const noexcept { return row == nullptr; }
};

// A graph in the order in which its nodes can be computed, with everything by number.
struct Graph {
  struct Input {
    std::size_t node = 0;
    int index = 0;
  };
  std::vector<const Node*> nodes;  // inputs before what takes them
  std::vector<std::vector<Input>> inputs;
  std::vector<Input> heads;
  std::vector<std::size_t> variables;  // all, in order
  std::vector<bool> is_auxiliary;      // one a variable
  std::vector<bool> is_weight;         // one a variable: taken by weights' places of operators only

  explicit Graph(const std::vector<Entry>& entries);
  // What operators the graph has and how they hang together: the same text for graphs that differ in names
  // only.
  std::string structure() const;
  std::vector<std::string> names(bool auxiliary) const;
};

// The attributes of an operator without the user's own.
Attributes operator_attributes(const Attributes& attributes);
// Makes a node of an operator, without inputs yet.
//   errors   as Symbol::apply
Result<std::shared_ptr<Node>> make_node(const OpRow& row, Attributes attributes, std::string name);
// Adds variables for the inputs from `first` on.
void add_missing_inputs(Node& node, std::size_t first);
std::string output_name(const Node& node, int index);

}  // namespace inflight::mx::detail
