// SPDX-License-Identifier: Apache-2.0
#include "vision/labels.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <fstream>

namespace inflight::vision {
namespace {

std::string text_of(const Result<Labels>& labels) {
  if (!labels.ok()) return labels.status().to_string();
  std::string text;
  for (std::size_t i = 0; i < labels->count(); ++i) {
    text += std::string(labels->name(static_cast<std::int64_t>(i)).value_or("-")) + "|";
  }
  return text;
}

std::string parsed(std::string_view text) { return text_of(Labels::parse(text)); }

TEST(Labels, OneALine) {
  EXPECT_EQ(parsed("cat\ndog\n"), "cat|dog|");
  EXPECT_EQ(parsed("cat\r\ndog\r\n\r\n"), "cat|dog|");
  EXPECT_EQ(parsed("cat\rdog"), "cat|dog|");
  EXPECT_EQ(parsed("\xEF\xBB\xBF"
                   "cat\n  traffic light \t\n"),
            "cat|traffic light|");
  EXPECT_EQ(parsed("cat\n\ndog\n\n\n"), "cat|-|dog|");
  EXPECT_EQ(parsed("\n\nb\n"), "-|-|b|");
  EXPECT_EQ(parsed("n01440764 tench, Tinca tinca\nC#\n"), "n01440764 tench, Tinca tinca|C#|");
  EXPECT_EQ(parsed("Käse\n犬\n"), "Käse|犬|");
  EXPECT_EQ(parsed("one"), "one|");
}

TEST(Labels, NumberAndNameALine) {
  EXPECT_EQ(parsed("0 cat\n1 dog\n"), "cat|dog|");
  EXPECT_EQ(parsed("3: dog\n1: cat\n"), "-|cat|-|dog|");
  EXPECT_EQ(parsed("1\tcat\n2,dog\n"), "-|cat|dog|");
  // Not every line has a number, so numbers are part of the names.
  EXPECT_EQ(parsed("7 up\ncoke\n"), "7 up|coke|");
  EXPECT_EQ(parsed("0\n1\n2\n"), "0|1|2|");
}

TEST(Labels, Json) {
  EXPECT_EQ(parsed(R"(["cat", "dog"])"), "cat|dog|");
  EXPECT_EQ(parsed(R"( {"1": "cat", "0": "d\"og"} )"), "d\"og|cat|");
  EXPECT_EQ(parsed("\xEF\xBB\xBF[\"a\"]"), "a|");
}

TEST(Labels, MapOfUltralytics) {
  EXPECT_EQ(parsed("{0: 'person', 1: \"baker's\", 10: 'it\\'s'}"), "person|baker's|-|-|-|-|-|-|-|-|it's|");
  EXPECT_EQ(parsed("{0: 'a',}"), "a|");
}

TEST(Labels, Refusals) {
  for (const auto& [text, why] :
       std::vector<std::pair<std::string, std::string>>{{"", "holds no names"},
                                                        {"\n \r\n\t\n", "holds no names"},
                                                        {"\xEF\xBB\xBF", "holds no names"},
                                                        {"[]", "holds no names"},
                                                        {"{}", "holds no names"},
                                                        {std::string("a\0b", 3), "not UTF-8"},
                                                        {"a\xFF\xFE", "not UTF-8"},
                                                        {"\xFF\xFE"
                                                         "c\0a\0t\0",
                                                         "not UTF-8"},  // UTF-16
                                                        {R"(["a", 3])", "entry 1 is no name"},
                                                        {R"(["a", ["b"]])", "neither a list"},
                                                        {R"({"a": "b"})", "not one from numbers"},
                                                        {R"({"0": 1})", "not one from numbers"},
                                                        {R"(["a")", "neither a list"},
                                                        {R"({0: 'a', 0: 'b'})", "number 0 stands twice"},
                                                        {"1 a\n1 b\n", "number 1 stands twice"},
                                                        {"{0: 'a}", "neither a list"},
                                                        {"99999999999 a", "want 0 to 1000000000"},
                                                        {std::string(100'000, '['), "neither a list"}}) {
    const Result<Labels> labels = Labels::parse(text);
    ASSERT_FALSE(labels.ok()) << text;
    EXPECT_EQ(labels.status().code(), StatusCode::kInvalidArgument);
    EXPECT_NE(labels.status().to_string().find(why), std::string::npos) << labels.status().to_string();
  }
}

TEST(Labels, Limits) {
  std::string names;
  for (std::size_t i = 0; i < Labels::kCountMax; ++i) names += "a\n";
  EXPECT_TRUE(Labels::parse(names).ok());
  EXPECT_FALSE(Labels::parse(names + "a\n").ok());
  EXPECT_TRUE(Labels::parse(std::string(Labels::kBytesMax, 'a')).ok());
  EXPECT_FALSE(Labels::parse(std::string(Labels::kBytesMax + 1, 'a')).ok());
}

TEST(Labels, Files) {
  const std::string path = testing::TempDir() + "labels_test.txt";
  std::ofstream(path) << "cat\ndog\n";
  EXPECT_EQ(text_of(Labels::read(path)), "cat|dog|");
  std::ofstream(path) << "";
  EXPECT_NE(text_of(Labels::read(path)).find("labels_test.txt\": holds no names"), std::string::npos);
  std::remove(path.c_str());
  EXPECT_EQ(Labels::read(path).status().code(), StatusCode::kNotFound);
  EXPECT_EQ(Labels::read(testing::TempDir()).status().code(), StatusCode::kNotFound);
}

TEST(Labels, Shifted) {
  const Labels labels = *Labels::parse("???\nperson\ncar\n");
  EXPECT_EQ(labels.shifted(-1).name(0), "person");
  EXPECT_EQ(labels.shifted(-1).count(), 2U);
  EXPECT_EQ(labels.shifted(2).name(4), "car");
  EXPECT_EQ(labels.name(-1), std::nullopt);
  EXPECT_EQ(labels.name(3), std::nullopt);
}

}  // namespace
}  // namespace inflight::vision
