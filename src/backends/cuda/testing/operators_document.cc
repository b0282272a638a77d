// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/testing/operators_document.h"

#include <fmt/format.h>

#include <array>
#include <map>
#include <openvino/opsets/opset.hpp>
#include <set>
#include <string_view>

#include "backends/cuda/kernel_builder.h"
#include "backends/cuda/lowering.h"

namespace inflight::cuda::testing {
namespace {

constexpr std::array<std::string_view, 3> kPlain{"opset1::Constant", "opset1::Parameter", "opset1::Result"};

// By type: "opset1, opset8".
using Versions = std::map<std::string, std::string>;

void add(Versions& versions, const std::string& name) {
  const std::size_t at = name.find("::");
  std::string& text = versions[name.substr(at + 2)];
  if (!text.empty()) text += ", ";
  text += name.substr(0, at);
}

std::string section(std::string_view title, const Versions& versions) {
  std::string text = fmt::format("\n## {}\n\n| operator | versions |\n|---|---|\n", title);
  for (const auto& [type, list] : versions) text += fmt::format("| {} | {} |\n", type, list);
  return text;
}

template <typename List>
Versions versions_of(const List& names) {
  Versions versions;
  for (const auto& name : names) add(versions, std::string(name));
  return versions;
}

}  // namespace

std::string operators_document() {
  std::set<std::string> left;
  for (const auto& [name, opset] : ov::get_available_opsets()) {
    for (const auto& info : opset().get_types_info())
      left.insert(fmt::format("{}::{}", info.version_id, info.name));
  }
  for (const std::string& name : covered_operators()) left.erase(name);
  for (const auto name : step_operators()) left.erase(std::string(name));
  for (const auto name : replaced_operators()) left.erase(std::string(name));
  for (const auto name : kPlain) left.erase(std::string(name));
  std::string text =
      "# Operators on a GPU\n\n"
      "What the CUDA backend computes of the operators of OpenVINO, to which every model comes down. Shapes "
      "must be\n"
      "known before run time. `inflight` names an operator that is missing when it loads the model. Some "
      "values of an\n"
      "attribute may be missing where the operator is covered; loading says that too.\n\n"
      "A test prints this page and compares it with the file: `lower_file operators` writes it.\n";
  text +=
      section("By libraries, with bias, residual and activation in one step", versions_of(step_operators()));
  text += section("By generated kernels, many operators in one", versions_of(covered_operators()));
  text += section("Folded, or replaced by the operators above", versions_of(replaced_operators()));
  text += section("Not covered", versions_of(left));
  return text;
}

}  // namespace inflight::cuda::testing
