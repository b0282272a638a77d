// SPDX-License-Identifier: Apache-2.0
#include "mx/node.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace inflight::mx::detail {

Node::~Node() {
  std::vector<Entry> ending = std::move(inputs);
  while (!ending.empty()) {
    const Entry last = std::move(ending.back());
    ending.pop_back();
    // Nobody else has it, so nobody else looks: its inputs are ours to take before it ends.
    if (last.node.use_count() != 1) continue;
    auto& theirs = const_cast<Node&>(*last.node).inputs;
    ending.insert(ending.end(), std::make_move_iterator(theirs.begin()),
                  std::make_move_iterator(theirs.end()));
    theirs.clear();
  }
}

Graph::Graph(const std::vector<Entry>& entries) {
  std::unordered_map<const Node*, std::size_t> number;
  // Deep first; a node gets its number after all its inputs.
  std::vector<std::pair<const Node*, std::size_t>> path;  // and the next input to look at
  for (const Entry& head : entries) {
    if (number.contains(head.node.get())) continue;
    path.emplace_back(head.node.get(), 0);
    while (!path.empty()) {
      auto& [node, next] = path.back();
      if (next < node->inputs.size()) {
        const Node* input = node->inputs[next++].node.get();
        if (!number.contains(input)) path.emplace_back(input, 0);
        continue;
      }
      if (number.emplace(node, nodes.size()).second) nodes.push_back(node);
      path.pop_back();
    }
  }
  std::vector<std::size_t> variable_of(nodes.size(), 0);
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    if (!nodes[i]->is_variable()) continue;
    variable_of[i] = variables.size();
    variables.push_back(i);
  }
  is_auxiliary.assign(variables.size(), false);
  is_weight.assign(variables.size(), false);
  std::vector<bool> elsewhere(variables.size(), false);
  inputs.resize(nodes.size());
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    const Node& node = *nodes[i];
    for (std::size_t k = 0; k < node.inputs.size(); ++k) {
      const std::size_t from = number.find(node.inputs[k].node.get())->second;
      inputs[i].push_back({from, node.inputs[k].index});
      if (!nodes[from]->is_variable()) continue;
      const std::size_t variable = variable_of[from];
      if (k + static_cast<std::size_t>(node.row->aux) >= node.inputs.size()) is_auxiliary[variable] = true;
      if (k < 32 && (node.row->weights >> k & 1U) != 0) {
        is_weight[variable] = true;
      } else {
        elsewhere[variable] = true;
      }
    }
  }
  for (const Entry& head : entries) {
    const std::size_t node = number.find(head.node.get())->second;
    heads.push_back({node, head.index});
    if (nodes[node]->is_variable()) elsewhere[variable_of[node]] = true;
  }
  for (std::size_t i = 0; i < variables.size(); ++i) is_weight[i] = is_weight[i] && !elsewhere[i];
}

std::string Graph::structure() const {
  std::string text;
  text.reserve(64 * nodes.size());
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    if (nodes[i]->is_variable()) {
      text += 'V';
      continue;
    }
    text += nodes[i]->row->name;
    text += '{';
    text += nodes[i]->params.canonical();
    text += '}';
    for (const Input& input : inputs[i])
      fmt::format_to(std::back_inserter(text), "{}.{},", input.node, input.index);
  }
  for (const Input& head : heads) fmt::format_to(std::back_inserter(text), ">{}.{}", head.node, head.index);
  return text;
}

std::vector<std::string> Graph::names(bool auxiliary) const {
  std::vector<std::string> result;
  for (std::size_t i = 0; i < variables.size(); ++i) {
    if (is_auxiliary[i] == auxiliary) result.push_back(nodes[variables[i]]->name);
  }
  return result;
}

Attributes operator_attributes(const Attributes& attributes) {
  Attributes result;
  for (const auto& [key, value] : attributes) {
    if (!key.starts_with("__")) result.emplace(key, value);
  }
  return result;
}

Result<std::shared_ptr<Node>> make_node(const OpRow& row, Attributes attributes, std::string name) {
  auto node = std::make_shared<Node>();
  node->row = &row;
  node->name = std::move(name);
  Result<Params> params = Params::read(row.name, row.attrs, operator_attributes(attributes));
  if (!params.ok()) return params.status();
  node->params = std::move(params).value();
  node->attributes = std::move(attributes);
  return node;
}

void add_missing_inputs(Node& node, std::size_t first) {
  const auto count = static_cast<std::size_t>(input_count(*node.row, node.params));
  node.inputs.resize(std::max(count, node.inputs.size()));
  for (std::size_t i = first; i < count; ++i) {
    if (node.inputs[i].node != nullptr) continue;
    auto variable = std::make_shared<Node>();
    variable->name = node.name + "_" + input_name(*node.row, node.params, static_cast<int>(i));
    node.inputs[i] = {std::move(variable), 0};
  }
}

std::string output_name(const Node& node, int index) {
  if (node.is_variable()) return node.name;
  const bool one = output_count(*node.row, node.params) == 1;
  return one ? node.name + "_output" : fmt::format("{}_output{}", node.name, index);
}

}  // namespace inflight::mx::detail
