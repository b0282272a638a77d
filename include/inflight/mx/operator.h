// SPDX-License-Identifier: Apache-2.0
// The operators of MXNet that this library offers, as data: for those who generate functions or documents
// from them.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "inflight/status.h"

namespace inflight::mx {

// Attributes of an operator or a variable, as MXNet writes them: {"kernel": "(3, 3)", "no_bias": "True"}.
using Attributes = std::map<std::string, std::string>;

struct OperatorAttribute {
  std::string name;
  std::string type;  // "int", "tuple of ints", "{max, avg}", ...
  bool required = false;
  std::string fallback;  // what holds where it is not given; as MXNet writes it
};

struct OperatorInfo {
  std::string name;                  // as graphs in files call it: "FullyConnected"
  std::vector<std::string> aliases;  // what else finds it
  std::vector<OperatorAttribute> attributes;
  // The names of all inputs that it can have, auxiliary states last. One name "args" where it takes any
  // number.
  std::vector<std::string> inputs;
  std::vector<std::string> auxiliary;  // those of them that are states
  bool variadic = false;               // takes any number of inputs
};

// All operators, by name.
//   thread   any
std::vector<OperatorInfo> list_operators();
// One of them, by name or alias.
//   errors   kUnsupported: MXNet has it and this library does not (the message says what to use instead);
//            kInvalidArgument: no such operator (the message names those of similar names)
Result<OperatorInfo> find_operator(std::string_view name);

}  // namespace inflight::mx
