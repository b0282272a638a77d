// SPDX-License-Identifier: Apache-2.0
// The share of the processors that a container may use, by the quotas of Linux control groups, v1 and v2.
#pragma once

#include <optional>
#include <string>

namespace inflight::internal {

// How many processors the quotas of this process's control groups allow, rounded up: the smallest quota among
// its group and all the groups around it, in every hierarchy that limits processor time. A quota of 150% is
// two.
//   root      where the file system begins: "", except in tests, which build a tree of their own
//   returns   at least 1; no value: no quota is set, or none can be read
//   source    Linux, Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/; cgroups(7), proc(5)
std::optional<int> processors_by_quota(const std::string& root) noexcept;

}  // namespace inflight::internal
