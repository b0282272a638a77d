// SPDX-License-Identifier: Apache-2.0
// Counts the operators of a network by type, those that a device lacks among them.
#pragma once

#include <map>
#include <openvino/core/node.hpp>
#include <openvino/op/util/op_types.hpp>
#include <set>
#include <string>
#include <string_view>
#include <utility>

#include "inflight/backend.h"

namespace inflight {

class CoverageCounter {
 public:
  // Inputs, outputs and constants are no operators.
  static bool counts(const ov::Node& node) {
    return !ov::op::util::is_parameter(&node) && !ov::op::util::is_constant(&node) &&
           !ov::op::util::is_output(&node);
  }

  void add_covered(const ov::Node& node) { ++type_of(node).count; }
  void add_missing(const ov::Node& node, std::string_view why) {
    OperatorCoverage& one = type_of(node);
    ++one.count;
    if (one.missing++ > 0) return;
    one.first_missing = node.get_friendly_name();
    one.why = why;
  }
  // A type that is known, of no network. The same type may come in several versions.
  void add_known(const std::string& type, const std::string& version) {
    types_[type].one.type = type;
    types_[type].versions.insert(version);
  }

  Coverage take() {
    Coverage coverage;
    for (auto& [type, counted] : types_) {
      for (const std::string& version : counted.versions)
        counted.one.versions += (counted.one.versions.empty() ? "" : ", ") + version;
      coverage.operators.push_back(std::move(counted.one));
    }
    types_.clear();
    return coverage;
  }

 private:
  struct Counted {
    OperatorCoverage one;
    std::set<std::string> versions;
  };

  OperatorCoverage& type_of(const ov::Node& node) {
    const ov::DiscreteTypeInfo& info = node.get_type_info();
    add_known(info.name, info.version_id == nullptr ? "" : info.version_id);
    return types_[info.name].one;
  }

  std::map<std::string, Counted> types_;
};

}  // namespace inflight
