// SPDX-License-Identifier: Apache-2.0
#include "base/cgroup.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

namespace inflight::internal {
namespace {

// A file system in a folder of the test's own.
class Quota : public testing::Test {
 protected:
  Quota() {
    root_ = (std::filesystem::temp_directory_path() / "inflight_cgroup_XXXXXX").string();
    EXPECT_NE(mkdtemp(root_.data()), nullptr);
  }
  ~Quota() override { std::filesystem::remove_all(root_); }

  void write(const std::string& path, const std::string& text) {
    const std::filesystem::path file = root_ + path;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file) << text;
  }
  void v2(const std::string& group, const std::string& mounted = "/") {
    write("/proc/self/cgroup", "0::" + group + "\n");
    write("/proc/self/mountinfo", "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n30 22 0:26 " +
                                      mounted +
                                      " /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n");
  }
  void v1(const std::string& group, const std::string& mounted = "/") {
    write("/proc/self/cgroup",
          "12:pids:/elsewhere\n4:cpu,cpuacct:" + group + "\n1:name=systemd:/elsewhere\n");
    write("/proc/self/mountinfo",
          "40 22 0:31 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n"
          "41 22 0:32 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n"
          "42 22 0:33 " +
              mounted + " /sys/fs/cgroup/cpu,cpuacct rw,nosuid shared:9 - cgroup cgroup rw,cpu,cpuacct\n");
  }
  void v1_quota(const std::string& folder, const std::string& quota, const std::string& period) {
    write("/sys/fs/cgroup/cpu,cpuacct" + folder + "/cpu.cfs_quota_us", quota + "\n");
    write("/sys/fs/cgroup/cpu,cpuacct" + folder + "/cpu.cfs_period_us", period + "\n");
  }
  std::optional<int> processors() const { return processors_by_quota(root_); }

 private:
  std::string root_;
};

TEST_F(Quota, V2IsTheGroupsOwn) {
  v2("/user.slice/job");
  write("/sys/fs/cgroup/user.slice/job/cpu.max", "300000 100000\n");
  EXPECT_EQ(processors(), 3);
}

TEST_F(Quota, RoundsUp) {
  v2("/job");
  write("/sys/fs/cgroup/job/cpu.max", "150000 100000\n");
  EXPECT_EQ(processors(), 2);
  write("/sys/fs/cgroup/job/cpu.max", "1000 100000\n");
  EXPECT_EQ(processors(), 1);
  write("/sys/fs/cgroup/job/cpu.max", "100000 100000\n");
  EXPECT_EQ(processors(), 1);
}

TEST_F(Quota, V2IsTheSmallestOfAllParents) {
  v2("/outer/middle/inner");
  write("/sys/fs/cgroup/outer/cpu.max", "200000 100000\n");
  write("/sys/fs/cgroup/outer/middle/cpu.max", "max 100000\n");
  write("/sys/fs/cgroup/outer/middle/inner/cpu.max", "800000 100000\n");
  EXPECT_EQ(processors(), 2);
}

TEST_F(Quota, V2MaxIsNone) {
  v2("/job");
  write("/sys/fs/cgroup/job/cpu.max", "max 100000\n");
  EXPECT_EQ(processors(), std::nullopt);
}

TEST_F(Quota, V2InANamespaceIsAtTheMountPoint) {
  v2("/");
  write("/sys/fs/cgroup/cpu.max", "250000 100000\n");
  EXPECT_EQ(processors(), 3);
}

TEST_F(Quota, AMountOfAGroupBeginsThere) {
  v2("/docker/3ea2/job", "/docker/3ea2");
  write("/sys/fs/cgroup/cpu.max", "400000 100000\n");
  write("/sys/fs/cgroup/job/cpu.max", "500000 100000\n");
  EXPECT_EQ(processors(), 4);
}

TEST_F(Quota, AGroupOutsideWhatIsMountedFallsBackOnTheMountPoint) {
  v2("/docker/3ea2", "/docker/another");
  write("/sys/fs/cgroup/cpu.max", "400000 100000\n");
  EXPECT_EQ(processors(), 4);
}

TEST_F(Quota, NeverFollowsPartsThatLeadOutOfTheNamespace) {
  v2("/../../job");
  write("/sys/fs/cgroup/cpu.max", "400000 100000\n");
  write("/sys/job/cpu.max", "100000 100000\n");
  write("/job/cpu.max", "100000 100000\n");
  EXPECT_EQ(processors(), 4);
}

TEST_F(Quota, AMountFromOutsideTheNamespaceIsFollowed) {
  v2("/../job", "/..");
  write("/sys/fs/cgroup/job/cpu.max", "200000 100000\n");
  EXPECT_EQ(processors(), 2);
}

TEST_F(Quota, AnotherGroupsMountDoesNotCount) {
  v2("/docker/mine");
  write("/proc/self/mountinfo",
        "30 22 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"
        "31 22 0:26 /docker/other /watched rw - cgroup2 cgroup2 rw\n");
  write("/sys/fs/cgroup/docker/mine/cpu.max", "600000 100000\n");
  write("/watched/cpu.max", "100000 100000\n");
  EXPECT_EQ(processors(), 6);
}

TEST_F(Quota, MountPointsMayHaveSpaces) {
  v2("/job");
  write("/proc/self/mountinfo", "30 22 0:26 / /my\\040groups rw - cgroup2 cgroup2 rw\n");
  write("/my groups/job/cpu.max", "200000 100000\n");
  EXPECT_EQ(processors(), 2);
}

TEST_F(Quota, V1IsTheGroupsOwn) {
  v1("/docker/3ea2");
  v1_quota("/docker/3ea2", "250000", "100000");
  EXPECT_EQ(processors(), 3);
}

TEST_F(Quota, V1IsTheSmallestOfAllParents) {
  v1("/outer/inner");
  v1_quota("", "-1", "100000");
  v1_quota("/outer", "50000", "50000");
  v1_quota("/outer/inner", "400000", "100000");
  EXPECT_EQ(processors(), 1);
}

TEST_F(Quota, V1WithoutAQuotaIsNone) {
  v1("/docker/3ea2");
  v1_quota("/docker/3ea2", "-1", "100000");
  EXPECT_EQ(processors(), std::nullopt);
}

TEST_F(Quota, V1MountOfAGroupBeginsThere) {
  v1("/docker/3ea2", "/docker/3ea2");
  v1_quota("", "200000", "100000");
  EXPECT_EQ(processors(), 2);
}

TEST_F(Quota, HybridCountsV1sQuota) {
  v1("/job");
  write("/proc/self/cgroup", "4:cpu,cpuacct:/job\n0::/init.scope\n");
  write("/proc/self/mountinfo",
        "42 22 0:33 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
        "43 22 0:34 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n");
  write("/sys/fs/cgroup/unified/init.scope/cgroup.procs", "1\n");
  v1_quota("/job", "200000", "100000");
  EXPECT_EQ(processors(), 2);
}

TEST_F(Quota, MissingFilesAreNone) {
  EXPECT_EQ(processors(), std::nullopt);
  v2("/gone");
  EXPECT_EQ(processors(), std::nullopt);
  write("/proc/self/mountinfo", "");
  EXPECT_EQ(processors(), std::nullopt);
  v1("/gone");
  EXPECT_EQ(processors(), std::nullopt);
}

TEST_F(Quota, GarbageIsNone) {
  v2("/job");
  for (const char* text : {"", "\n", "100000", "100000 0\n", "0 100000\n", "-5 100000\n", "1e5 100000\n",
                           "100000 100000 100000\n", "99999999999999999999 100000\n", "x y\n"}) {
    write("/sys/fs/cgroup/job/cpu.max", text);
    EXPECT_EQ(processors(), std::nullopt) << '"' << text << '"';
  }
  write("/sys/fs/cgroup/job/cpu.max", "9000000000000000000 1\n");
  EXPECT_EQ(processors(), 2147483647);
  for (const char* text : {"", ":", "::", "0:", "0::", "x", "\n\n", "4:cpu"}) {
    write("/proc/self/cgroup", text);
    EXPECT_EQ(processors(), std::nullopt) << '"' << text << '"';
  }
  v2("/job");
  for (const char* text : {"", " - ", "30 22 - cgroup2", "30 22 0:26 / /sys/fs/cgroup rw cgroup2 cgroup2 rw",
                           "30 22 0:26 / /sys/fs/cgroup rw - ", "30 22 0:26 \\04 \\999 rw - cgroup2 a b"}) {
    write("/proc/self/mountinfo", text);
    EXPECT_EQ(processors(), std::nullopt) << '"' << text << '"';
  }
}

}  // namespace
}  // namespace inflight::internal
