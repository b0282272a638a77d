// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <thread>

#include "cli/descriptor.h"
#include "cli/file_id.h"
#include "cli/output_file.h"

namespace inflight::cli {
namespace {

namespace fs = std::filesystem;

class Outputs : public testing::Test {
 protected:
  void SetUp() override {
    std::string folder = fs::temp_directory_path() / "inflight_outputs_XXXXXX";
    ASSERT_NE(mkdtemp(folder.data()), nullptr);
    folder_ = folder;
  }
  void TearDown() override { fs::remove_all(folder_); }

  std::string path(const std::string& name) const { return folder_ / name; }
  std::string write(const std::string& name, const std::string& text) const {
    std::ofstream(path(name)) << text;
    return path(name);
  }
  std::string read(const std::string& name) const {
    std::ifstream file(path(name));
    return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  }

  fs::path folder_;
};

TEST(DescriptorOfPath, KnowsTheNamesOfDescriptors) {
  EXPECT_EQ(descriptor_of_path("/dev/stdin"), 0);
  EXPECT_EQ(descriptor_of_path("/dev/stdout"), 1);
  EXPECT_EQ(descriptor_of_path("/dev/stderr"), 2);
  EXPECT_EQ(descriptor_of_path("/dev/fd/17"), 17);
  EXPECT_EQ(descriptor_of_path("/proc/self/fd/3"), 3);
  for (const char* const other : {"", "/dev/fd/", "/dev/fd/-1", "/dev/fd/1x", "/dev/fd/99999999999",
                                  "/dev/fd", "/dev/stdout2", "stdout", "/dev/null"}) {
    EXPECT_EQ(descriptor_of_path(other), -1) << other;
  }
}

TEST(Descriptor, SaysWhatFailed) {
  std::array<int, 2> ends{};
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, ends.data()), 0);
  Descriptor socket(ends[0]);
  std::string_view text = "text";
  EXPECT_EQ(socket.write(text), 0);
  EXPECT_TRUE(text.empty());
  ::close(ends[1]);
  text = "text";
  EXPECT_EQ(socket.write(text), EPIPE);  // and no SIGPIPE
  EXPECT_EQ(text, "text");
  EXPECT_FALSE(Descriptor::again(1'000'000));
  EXPECT_EQ(errno, EBADF);
}

TEST(Descriptor, WritesAllToASlowReader) {
  std::array<int, 2> ends{};
  ASSERT_EQ(pipe2(ends.data(), O_CLOEXEC), 0);
  const std::string sent(1'000'000, 'x');
  std::size_t got = 0;
  std::thread reader([&] {
    std::array<char, 1000> piece{};
    for (ssize_t count = 0; (count = ::read(ends[0], piece.data(), piece.size())) > 0;) {
      got += static_cast<std::size_t>(count);
    }
  });
  {
    Descriptor pipe = Descriptor::again(ends[1]);
    EXPECT_EQ(fcntl(ends[1], F_GETFL) & O_NONBLOCK, 0);
    ::close(ends[1]);
    std::string_view text = sent;
    EXPECT_EQ(pipe.write(text), 0);
  }
  reader.join();
  ::close(ends[0]);
  EXPECT_EQ(got, sent.size());
}

TEST_F(Outputs, AStreamKeepsTheFileUntilItsFirstWrite) {
  write("a", "old");
  Result<OutputFile> file = OutputFile::open("--results", path("a"));
  ASSERT_TRUE(file.ok());
  EXPECT_EQ(read("a"), "old");
  EXPECT_TRUE(file->write("new\n").ok());
  EXPECT_TRUE(file->write("newer\n").ok());
  EXPECT_EQ(read("a"), "new\nnewer\n");
  EXPECT_TRUE(file->close().ok());
}

TEST_F(Outputs, AFileIsMadeByItsFirstWrite) {
  Result<OutputFile> stream = OutputFile::open("--results", path("a"));
  Result<OutputFile> whole = OutputFile::open_whole("--json", path("b"));
  ASSERT_TRUE(stream.ok() && whole.ok());
  EXPECT_TRUE(fs::is_empty(folder_));
  EXPECT_TRUE(stream->write("").ok());
  EXPECT_TRUE(whole->write("text\n").ok());
  EXPECT_EQ(read("a"), "");
  EXPECT_EQ(read("b"), "text\n");
}

TEST_F(Outputs, ANameThatIsTooLongIsRefusedAtOnce) {
  EXPECT_FALSE(OutputFile::open("--results", path(std::string(256, 'a'))).ok());
  EXPECT_FALSE(OutputFile::open_whole("--json", path(std::string(256, 'a'))).ok());
  EXPECT_TRUE(OutputFile::open_whole("--json", path(std::string(255, 'a'))).ok());
}

TEST_F(Outputs, AWholeFileTakesTheNameAtOnce) {
  write("a", "old");
  Result<OutputFile> file = OutputFile::open_whole("--json", path("a"));
  ASSERT_TRUE(file.ok());
  std::ifstream before(path("a"));
  EXPECT_TRUE(file->write("new\n").ok());
  EXPECT_EQ(read("a"), "new\n");
  EXPECT_EQ(std::string(std::istreambuf_iterator<char>(before), {}), "old");
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_), {}), 1);
}

TEST_F(Outputs, ErrorsNameTheOptionAndTheFile) {
  const Result<OutputFile> file = OutputFile::open_whole("--json", path("no/a"));
  ASSERT_FALSE(file.ok());
  EXPECT_EQ(file.status().code(), StatusCode::kNotFound);
  EXPECT_EQ(file.status().message(),
            "--json: cannot write \"" + path("no/a") + "\": No such file or directory");
}

TEST_F(Outputs, LinksThatLeadNowhereEnd) {
  fs::create_symlink("b", path("a"));
  fs::create_symlink("a", path("b"));
  EXPECT_FALSE(behind_links(path("a")).empty());
  EXPECT_FALSE(OutputFile::open("--results", path("a")).ok());
  fs::create_symlink("c", path("d"));
  EXPECT_EQ(behind_links(path("d")), path("c"));
}

TEST_F(Outputs, AnOnnxFileCutInAnEntryHasNoFurtherFiles) {
  const std::string key("\x0a\x08location\x12", 11);
  const std::string model =
      write("m.onnx", key + "\x03w.d" + key + "\x7f" + "short" + key + "\xff\xff\xff\xff\xff" + key);
  EXPECT_EQ(files_of_model(model), (std::vector<std::string>{model, path("w.d")}));
}

}  // namespace
}  // namespace inflight::cli
