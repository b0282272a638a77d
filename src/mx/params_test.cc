// SPDX-License-Identifier: Apache-2.0
#include "inflight/mx/params.h"

#include <cstring>
#include <filesystem>
#include <random>

#include "mx_test_support.h"

namespace inflight::mx {
namespace {

template <typename... T>
std::vector<std::byte> packed(T... parts) {
  std::vector<std::byte> bytes;
  const auto append = [&](auto part) {
    const auto* from = reinterpret_cast<const std::byte*>(&part);
    bytes.insert(bytes.end(), from, from + sizeof part);
  };
  (append(parts), ...);
  return bytes;
}

TEST(MxArrayFile, ReadsBackWhatItWrites) {
  const ArrayFile file = {
      {"arg:w", "aux:m", "i"},
      {counted({2, 3}), NDArray::full({4}, 2, DType::kF64).value(), array<std::int64_t>({1}, {-5})}};
  const std::string path = ::testing::TempDir() + "arrays.params";
  ASSERT_TRUE(save(path, file).ok());
  const ArrayFile again = load(path).value();
  EXPECT_EQ(again.names, file.names);
  expect_near(values(again.arrays[0]), {0, 1, 2, 3, 4, 5}, "w");
  EXPECT_EQ(again.arrays[0].shape(), (Shape{2, 3}));
  EXPECT_EQ(values<double>(again.arrays[1]), (std::vector<double>{2, 2, 2, 2}));
  EXPECT_EQ(values<std::int64_t>(again.arrays[2])[0], -5);
  const ArrayFile list = load_bytes(save_bytes({{}, {counted({2})}}).value()).value();
  EXPECT_TRUE(list.names.empty());
  EXPECT_EQ(list.arrays.size(), 1U);
  std::filesystem::remove(path);
  expect_clear(load(path).status(), StatusCode::kNotFound, path);
  expect_clear(load(::testing::TempDir()).status(), StatusCode::kIoError, "array file");
  expect_clear(save("/nowhere/x", file), StatusCode::kIoError, "/nowhere/x");
  expect_clear(save_bytes({{"a"}, {}}).status(), StatusCode::kInvalidArgument, "got 1 names for 0 arrays");
}

// As MXNet 1.9 writes nd.save("x", [nd.array([1, 2])]), by hand from its sources.
TEST(MxArrayFile, WritesMxnetsFormat) {
  const auto want = packed(std::uint64_t{0x112}, std::uint64_t{0}, std::uint64_t{1},
                           std::uint32_t{0xF993fac9}, std::int32_t{0}, std::int32_t{1}, std::int64_t{2},
                           std::int32_t{1}, std::int32_t{0}, std::int32_t{0}, 1.0F, 2.0F, std::uint64_t{0});
  EXPECT_EQ(save_bytes({{}, {array({2}, {1, 2})}}).value(), want);
}

TEST(MxArrayFile, ReadsAllVersions) {
  const auto with = [](const std::vector<std::byte>& one) {
    auto bytes = packed(std::uint64_t{0x112}, std::uint64_t{0}, std::uint64_t{1});
    bytes.insert(bytes.end(), one.begin(), one.end());
    const auto names = packed(std::uint64_t{0});
    bytes.insert(bytes.end(), names.begin(), names.end());
    return bytes;
  };
  const auto first = load_bytes(with(packed(std::uint32_t{1}, std::uint32_t{2}, 1, 0, 0, 1.0F, 2.0F)));
  expect_near(values(first->arrays[0]), {1, 2}, "first");
  const auto second = load_bytes(with(packed(std::uint32_t{0xF993fac8}, 1, std::int64_t{2}, 1, 0, 4, 7, 8)));
  EXPECT_EQ(values<std::int32_t>(second->arrays[0]), (std::vector<std::int32_t>{7, 8}));
  const auto scalar = load_bytes(with(packed(std::uint32_t{0xF993faca}, 0, 0, 1, 0, 0, 3.0F)));
  EXPECT_EQ(scalar->arrays[0].shape(), Shape());
  EXPECT_FALSE(load_bytes(with(packed(std::uint32_t{0xF993fac9}, 0, 0)))->arrays[0]) << "none";
  expect_clear(load_bytes(with(packed(std::uint32_t{0xF993fac9}, 1))).status(), StatusCode::kUnsupported,
               "sparse array");
  expect_clear(load_bytes(with(packed(std::uint32_t{0xF993fac9}, 0, 1, std::int64_t{2}, 1, 0, 77))).status(),
               StatusCode::kUnsupported, "element type 77");
  expect_clear(
      load_bytes(with(packed(std::uint32_t{0xF993fac9}, 0, 1, std::int64_t{1} << 40, 1, 0, 0))).status(),
      StatusCode::kInvalidModel, "it is cut short");
  expect_clear(load_bytes(with(packed(std::uint32_t{0xF993fac9}, 0, 2, std::int64_t{1} << 40,
                                      std::int64_t{1} << 40, 1, 0, 0)))
                   .status(),
               StatusCode::kInvalidModel, "array file");
  expect_clear(load_bytes(with(packed(std::uint32_t{0xF993fac9}, 0, 1, std::int64_t{-2}, 1, 0, 0))).status(),
               StatusCode::kInvalidModel, "an extent of -2");
}

TEST(MxArrayFile, DamagedFilesNeverCrash) {
  const auto whole = save_bytes({{"a", "b"}, {counted({2, 3}), array<std::uint8_t>({3}, {1, 2, 3})}}).value();
  for (std::size_t length = 0; length < whole.size(); ++length) {
    const auto file = load_bytes({whole.data(), length});
    ASSERT_FALSE(file.ok()) << length;
    EXPECT_EQ(file.status().code(), StatusCode::kInvalidModel) << file.status().to_string();
  }
  std::mt19937 random(9);
  for (int round = 0; round < 5000; ++round) {
    auto bytes = whole;
    for (int i = 0; i <= round % 3; ++i) bytes[random() % bytes.size()] = static_cast<std::byte>(random());
    const auto file = load_bytes(bytes);
    if (file.ok()) continue;
    EXPECT_EQ(file.status().message().find('\n'), std::string_view::npos);
  }
  auto longer = whole;
  longer.push_back({});
  expect_clear(load_bytes(longer).status(), StatusCode::kInvalidModel, "1 bytes after its end");
  expect_clear(load_bytes(packed(std::uint64_t{7})).status(), StatusCode::kInvalidModel,
               "got 0x7 at its start");
}

}  // namespace
}  // namespace inflight::mx
