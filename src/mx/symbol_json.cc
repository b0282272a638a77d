// SPDX-License-Identifier: Apache-2.0
// Graphs as MXNet writes them (nnvm's SaveJSON), from version 0.8 on.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <system_error>
#include <utility>

#include "mx/node.h"

namespace inflight::mx {
namespace {

using detail::Entry;
using detail::Graph;
using detail::Node;
using Json = nlohmann::ordered_json;

constexpr int kMxnetVersion = 10901;

Status bad(std::string message) { return {StatusCode::kInvalidModel, "symbol: " + std::move(message)}; }

struct Reference {
  std::size_t node = 0;
  int output = 0;
};

// A node as the file has it, before it becomes one of ours.
struct Draft {
  std::string op;
  std::string name;
  Attributes attributes;
  std::vector<Reference> inputs;
};

// What MXNet keeps apart from an operator's own attributes, with and without the underlines.
constexpr std::array<std::string_view, 5> kHidden = {"ctx_group", "lr_mult", "wd_mult", "force_mirroring",
                                                     "mirror_stage"};

bool is_hidden(std::string_view key) {
  return std::any_of(kHidden.begin(), kHidden.end(),
                     [&](std::string_view word) { return key.ends_with(word); });
}

Result<Reference> read_reference(const Json& json, std::size_t nodes, std::string_view what) {
  const bool is_list = json.is_array() && !json.empty() && json.size() <= 3;
  if (!is_list || !json[0].is_number_integer() || (json.size() > 1 && !json[1].is_number_integer()))
    return bad(fmt::format("{}: want [node, output, version]", what));
  const auto node = json[0].get<std::int64_t>();
  const std::int64_t output = json.size() > 1 ? json[1].get<std::int64_t>() : 0;
  if (node < 0 || static_cast<std::size_t>(node) >= nodes)
    return bad(fmt::format("{}: got node {}, want one of {}", what, node, nodes));
  if (output < 0 || output > 65'536)
    return bad(fmt::format("{}: got output {}, want 0 or more", what, output));
  return Reference{static_cast<std::size_t>(node), static_cast<int>(output)};
}

Result<Draft> read_node(const Json& json, std::size_t index, std::size_t nodes) {
  const std::string what = fmt::format("node {}", index);
  if (!json.is_object()) return bad(what + ": want an object");
  Draft draft;
  for (const auto& [key, member] : {std::pair{"op", &draft.op}, std::pair{"name", &draft.name}}) {
    const auto found = json.find(key);
    if (found == json.end() || !found->is_string())
      return bad(fmt::format("{}: want a string \"{}\"", what, key));
    *member = found->get<std::string>();
  }
  for (const char* key : {"param", "attr", "attrs"}) {
    const auto found = json.find(key);
    if (found == json.end()) continue;
    if (!found->is_object())
      return bad(fmt::format("{} \"{}\": \"{}\": want an object", what, draft.name, key));
    for (const auto& [name, value] : found->items()) {
      if (!value.is_string())
        return bad(fmt::format("{} \"{}\": attribute {}: want a string", what, draft.name, name));
      const bool plain_hidden = is_hidden(name) && !name.starts_with("__");
      draft.attributes[plain_hidden ? "__" + name + "__" : name] = value.get<std::string>();
    }
  }
  const auto inputs = json.find("inputs");
  if (inputs == json.end() || !inputs->is_array())
    return bad(fmt::format("{} \"{}\": want a list \"inputs\"", what, draft.name));
  for (const Json& input : *inputs) {
    INFLIGHT_TRY_ASSIGN(const Reference reference,
                        read_reference(input, nodes, fmt::format("{} \"{}\": inputs", what, draft.name)));
    draft.inputs.push_back(reference);
  }
  if (draft.op == "null" && !draft.inputs.empty())
    return bad(fmt::format("{} \"{}\": a variable takes no inputs", what, draft.name));
  if (draft.name.empty()) return bad(what + ": it has no name");
  return draft;
}

// The nodes in an order in which each comes after its inputs.
Result<std::vector<std::size_t>> ordered(const std::vector<Draft>& drafts) {
  std::vector<std::size_t> waiting(drafts.size(), 0);
  std::vector<std::vector<std::size_t>> takers(drafts.size());
  std::vector<std::size_t> order;
  for (std::size_t i = 0; i < drafts.size(); ++i) {
    waiting[i] = drafts[i].inputs.size();
    for (const Reference& input : drafts[i].inputs) takers[input.node].push_back(i);
    if (waiting[i] == 0) order.push_back(i);
  }
  for (std::size_t next = 0; next < order.size(); ++next) {
    for (const std::size_t taker : takers[order[next]]) {
      if (--waiting[taker] == 0) order.push_back(taker);
    }
  }
  if (order.size() == drafts.size()) return order;
  const auto stuck =
      std::find_if(waiting.begin(), waiting.end(), [](std::size_t count) { return count > 0; });
  return bad(fmt::format("node \"{}\" is in or after a cycle",
                         drafts[static_cast<std::size_t>(stuck - waiting.begin())].name));
}

Result<std::shared_ptr<const Node>> finish_node(Draft draft,
                                                const std::vector<std::shared_ptr<const Node>>& made) {
  if (draft.op == "null") {
    auto variable = std::make_shared<Node>();
    variable->name = std::move(draft.name);
    variable->attributes = std::move(draft.attributes);
    return std::shared_ptr<const Node>(std::move(variable));
  }
  const std::string name = draft.name;
  INFLIGHT_TRY_ASSIGN(const detail::OpRow* const row, detail::find_row(draft.op));
  if (row->variadic && !draft.attributes.contains("num_args"))
    draft.attributes["num_args"] = std::to_string(draft.inputs.size());
  Result<std::shared_ptr<Node>> node =
      detail::make_node(*row, std::move(draft.attributes), std::move(draft.name));
  if (!node.ok()) return node.status().with_context(fmt::format("node \"{}\"", name));
  const auto count = static_cast<std::size_t>(detail::input_count(*row, (*node)->params));
  if (draft.inputs.size() > count)
    return bad(
        fmt::format("node \"{}\": got {} inputs, {} takes {}", name, draft.inputs.size(), draft.op, count));
  for (const Reference& input : draft.inputs) {
    const Node& from = *made[input.node];
    const int outputs = from.is_variable() ? 1 : detail::output_count(*from.row, from.params);
    if (input.output >= outputs)
      return bad(fmt::format("node \"{}\": got output {} of \"{}\", which has {}", name, input.output,
                             from.name, outputs));
    (*node)->inputs.push_back({made[input.node], input.output});
  }
  // Before version 0.9 the states did not stand in the file.
  detail::add_missing_inputs(**node, draft.inputs.size());
  return std::shared_ptr<const Node>(std::move(*node));
}

Result<Symbol> read_graph(const Json& json) {
  if (!json.is_object()) return bad("got JSON that is not an object");
  const auto nodes = json.find("nodes");
  const auto heads = json.find("heads");
  if (nodes == json.end() || !nodes->is_array() || heads == json.end() || !heads->is_array())
    return bad("it is no graph of MXNet's: want the lists \"nodes\" and \"heads\"");
  if (nodes->size() > Symbol::kNodesMax)
    return bad(fmt::format("got {} nodes, want at most {}", nodes->size(), Symbol::kNodesMax));
  std::vector<Draft> drafts;
  for (std::size_t i = 0; i < nodes->size(); ++i) {
    INFLIGHT_TRY_ASSIGN(Draft draft, read_node((*nodes)[i], i, nodes->size()));
    drafts.push_back(std::move(draft));
  }
  INFLIGHT_TRY_ASSIGN(const std::vector<std::size_t> order, ordered(drafts));
  std::vector<std::shared_ptr<const Node>> made(drafts.size());
  for (const std::size_t index : order) {
    INFLIGHT_TRY_ASSIGN(made[index], finish_node(std::move(drafts[index]), made));
  }
  std::vector<Entry> entries;
  for (const Json& head : *heads) {
    INFLIGHT_TRY_ASSIGN(const Reference reference, read_reference(head, made.size(), "heads"));
    const Node& from = *made[reference.node];
    const int outputs = from.is_variable() ? 1 : detail::output_count(*from.row, from.params);
    if (reference.output >= outputs)
      return bad(
          fmt::format("heads: got output {} of \"{}\", which has {}", reference.output, from.name, outputs));
    entries.push_back({made[reference.node], reference.output});
  }
  if (entries.empty()) return bad("it has no heads");
  return detail::symbol_of(std::move(entries));
}

}  // namespace

std::string Symbol::to_json() const {
  const Graph graph(detail::entries_of(*this));
  const auto first = [&] {
    std::vector<int> rows = {0};
    for (const Node* node : graph.nodes)
      rows.push_back(rows.back() +
                     (node->is_variable() ? 1 : detail::output_count(*node->row, node->params)));
    return rows;
  }();
  const auto reference = [](const Graph::Input& input) { return Json::array({input.node, input.index, 0}); };
  Json json;
  json["nodes"] = Json::array();
  for (std::size_t i = 0; i < graph.nodes.size(); ++i) {
    const Node& node = *graph.nodes[i];
    Json entry;
    entry["op"] = node.is_variable() ? "null" : std::string(node.row->name);
    entry["name"] = node.name;
    if (!node.attributes.empty()) entry["attrs"] = node.attributes;
    entry["inputs"] = Json::array();
    for (const Graph::Input& input : graph.inputs[i]) entry["inputs"].push_back(reference(input));
    json["nodes"].push_back(std::move(entry));
  }
  json["arg_nodes"] = graph.variables;
  json["node_row_ptr"] = first;
  json["heads"] = Json::array();
  for (const Graph::Input& head : graph.heads) json["heads"].push_back(reference(head));
  json["attrs"] = {{"mxnet_version", Json::array({"int", kMxnetVersion})}};
  // Names need not be UTF-8.
  return json.dump(2, ' ', false, Json::error_handler_t::replace);
}

Status Symbol::save(const std::string& path) const {
  std::ofstream file(path, std::ios::binary);
  file << to_json() << '\n';
  file.close();
  if (file) return {};
  return {StatusCode::kIoError, fmt::format("symbol \"{}\": it cannot be written: {}", path,
                                            std::generic_category().message(errno))};
}

Result<Symbol> Symbol::from_json(std::string_view text) {
  try {
    return read_graph(Json::parse(text));
  } catch (const Json::parse_error& error) {
    return bad(fmt::format("it is not JSON, or cut short, at byte {} of {}", error.byte, text.size()));
  } catch (const std::exception& error) {
    return bad(error.what());
  }
}

Result<Symbol> Symbol::load(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    const int reason = errno;
    return Status(reason == ENOENT ? StatusCode::kNotFound : StatusCode::kIoError,
                  fmt::format("symbol \"{}\": {}", path, std::generic_category().message(reason)));
  }
  const std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  if (file.bad()) return Status(StatusCode::kIoError, fmt::format("symbol \"{}\": it cannot be read", path));
  Result<Symbol> symbol = from_json(text);
  if (symbol.ok()) return symbol;
  return symbol.status().with_context(fmt::format("\"{}\"", path));
}

}  // namespace inflight::mx
