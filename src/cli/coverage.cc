// SPDX-License-Identifier: Apache-2.0
#include "cli/coverage.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "cli/text.h"

namespace inflight::cli {
namespace {

std::string type_text(const OperatorCoverage& one) {
  return one.versions.empty() ? one.type : fmt::format("{} ({})", one.type, one.versions);
}

std::string first_text(const OperatorCoverage& one) {
  return fmt::format("\"{}\": {}", one_line(one.first_missing), one.why);
}

}  // namespace

std::vector<std::pair<std::string, std::string>> coverage_lines(const Coverage& coverage) {
  std::vector<std::pair<std::string, std::string>> lines;
  for (const OperatorCoverage& one : coverage.operators) {
    const std::string type = type_text(one);
    if (one.missing == one.count && one.missing > 0)
      lines.emplace_back("missing", fmt::format("{} {}, the first {}", one.missing, type, first_text(one)));
    else if (one.missing > 0)
      lines.emplace_back(
          "missing", fmt::format("{} of {} {}, the first {}", one.missing, one.count, type, first_text(one)));
    else
      lines.emplace_back("covered", one.count > 0 ? fmt::format("{} {}", one.count, type) : type);
  }
  return lines;
}

nlohmann::ordered_json coverage_json(const Coverage& coverage) {
  nlohmann::ordered_json operators = nlohmann::ordered_json::array();
  for (const OperatorCoverage& one : coverage.operators) {
    nlohmann::ordered_json json = {
        {"type", one.type}, {"versions", one.versions}, {"count", one.count}, {"missing", one.missing}};
    if (one.missing > 0) {
      json["first_missing"] = one.first_missing;
      json["why"] = one.why;
    }
    operators.push_back(std::move(json));
  }
  return operators;
}

Status coverage_status(const Coverage& coverage, Device device) {
  std::size_t all = 0;
  std::size_t missing = 0;
  const OperatorCoverage* first = nullptr;
  for (const OperatorCoverage& one : coverage.operators) {
    all += one.count;
    missing += one.missing;
    if (one.missing > 0 && first == nullptr) first = &one;
  }
  if (first == nullptr) return {};
  return {StatusCode::kUnsupported,
          fmt::format("device \"{}\" cannot compute {} of {} operators: {} {}", device.to_string(), missing,
                      all, first->type, first_text(*first))};
}

}  // namespace inflight::cli
