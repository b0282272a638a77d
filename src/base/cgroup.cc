// SPDX-License-Identifier: Apache-2.0
#include "base/cgroup.h"

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <fstream>
#include <limits>
#include <sstream>
#include <string_view>
#include <vector>

namespace inflight::internal {
namespace {

enum class Version : std::uint8_t { kV1, kV2 };

// A mounted hierarchy that can limit processor time, or the group of this process in one.
struct Hierarchy {
  Version version = Version::kV2;
  std::string group;        // of a mount: what lies at the mount point; of the process: its group
  std::string mount_point;  // of a mount
};

std::vector<std::string> split(std::string_view text, char separator) {
  std::vector<std::string> parts;
  std::istringstream stream{std::string(text)};
  for (std::string part; std::getline(stream, part, separator);) {
    if (!part.empty()) parts.push_back(std::move(part));
  }
  return parts;
}

bool contains(const std::vector<std::string>& words, std::string_view word) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

std::optional<std::int64_t> number(std::string_view text) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// mountinfo writes a space in a path as "\040", and so on.
std::string unescape(const std::string& text) {
  std::string path;
  for (std::size_t i = 0; i < text.size(); ++i) {
    int code = 0;
    if (text[i] == '\\' && i + 3 < text.size() &&
        std::from_chars(&text[i + 1], &text[i + 4], code, 8).ptr == &text[i + 4]) {
      path += static_cast<char>(code);
      i += 3;
    } else {
      path += text[i];
    }
  }
  return path;
}

// Lines such as "0::/user.slice" (v2) and "4:cpu,cpuacct:/docker/3ea2" (v1).
std::vector<Hierarchy> read_groups(const std::string& root) {
  std::vector<Hierarchy> groups;
  std::ifstream file(root + "/proc/self/cgroup");
  for (std::string line; std::getline(file, line);) {
    const std::size_t first = line.find(':');
    const std::size_t second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    if (!controllers.empty() && !contains(split(controllers, ','), "cpu")) continue;
    groups.push_back({controllers.empty() ? Version::kV2 : Version::kV1, line.substr(second + 1), ""});
  }
  return groups;
}

// Lines such as "36 35 0:30 /docker/3ea2 /sys/fs/cgroup/cpu rw,nosuid shared:9 - cgroup cgroup
// rw,cpu,cpuacct".
std::vector<Hierarchy> read_mounts(const std::string& root) {
  std::vector<Hierarchy> mounts;
  std::ifstream file(root + "/proc/self/mountinfo");
  for (std::string line; std::getline(file, line);) {
    const std::size_t dash = line.find(" - ");
    if (dash == std::string::npos) continue;
    const std::vector<std::string> place = split(line.substr(0, dash), ' ');
    const std::vector<std::string> kind = split(line.substr(dash + 3), ' ');
    if (place.size() < 5 || kind.empty()) continue;
    const bool v1 = kind[0] == "cgroup" && kind.size() >= 3 && contains(split(kind[2], ','), "cpu");
    if (!v1 && kind[0] != "cgroup2") continue;
    mounts.push_back({v1 ? Version::kV1 : Version::kV2, unescape(place[3]), unescape(place[4])});
  }
  return mounts;
}

// The names on the path from the group at the mount point down to `group`; no value: `group` is not below it.
// Parts ".." lead out of this process's namespace.
std::optional<std::vector<std::string>> way_down(const std::string& mounted, const std::string& group) {
  const std::vector<std::string> from = split(mounted, '/');
  const std::vector<std::string> to = split(group, '/');
  if (from.size() > to.size() || !std::equal(from.begin(), from.end(), to.begin())) return std::nullopt;
  std::vector<std::string> way(to.begin() + static_cast<std::ptrdiff_t>(from.size()), to.end());
  if (contains(way, "..")) return std::nullopt;
  return way;
}

std::string first_line(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

std::optional<int> quota_of(const std::string& folder, Version version) {
  std::vector<std::string> words;
  if (version == Version::kV2) {
    words = split(first_line(folder + "/cpu.max"), ' ');  // "150000 100000", "max 100000"
  } else {
    words = {first_line(folder + "/cpu.cfs_quota_us"), first_line(folder + "/cpu.cfs_period_us")};
  }
  if (words.size() != 2) return std::nullopt;
  const std::optional<std::int64_t> quota = number(words[0]);  // not "max"
  const std::optional<std::int64_t> period = number(words[1]);
  if (!quota || !period || *quota <= 0 || *period <= 0) return std::nullopt;
  const std::int64_t rounded_up = *quota / *period + (*quota % *period == 0 ? 0 : 1);
  return static_cast<int>(std::min<std::int64_t>(rounded_up, std::numeric_limits<int>::max()));
}

std::optional<int> smaller(std::optional<int> a, std::optional<int> b) {
  return a && b ? std::min(a, b) : (a ? a : b);
}

// The smallest quota of the group and of all groups around it, as far as they are mounted.
std::optional<int> quota_along(std::string folder, const std::vector<std::string>& way, Version version) {
  std::optional<int> quota = quota_of(folder, version);
  for (const std::string& part : way) {
    folder += "/" + part;
    quota = smaller(quota, quota_of(folder, version));
  }
  return quota;
}

}  // namespace

std::optional<int> processors_by_quota(const std::string& root) noexcept try {
  const std::vector<Hierarchy> mounts = read_mounts(root);
  std::optional<int> quota;
  for (const Hierarchy& process : read_groups(root)) {
    bool found = false;
    for (const Hierarchy& mount : mounts) {
      if (mount.version != process.version) continue;
      const auto way = way_down(mount.group, process.group);
      if (!way) continue;
      found = true;
      quota = smaller(quota, quota_along(root + mount.mount_point, *way, process.version));
    }
    // Some containers see the host's names of the groups, and only a mount of their own group.
    for (const Hierarchy& mount : mounts) {
      if (found || mount.version != process.version) continue;
      quota = smaller(quota, quota_of(root + mount.mount_point, process.version));
    }
  }
  return quota;
} catch (...) {
  return std::nullopt;  // no memory for the file names: as if there were no quota
}

}  // namespace inflight::internal
