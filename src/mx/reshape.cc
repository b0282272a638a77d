// SPDX-License-Identifier: Apache-2.0
#include "mx/reshape.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <numeric>

namespace inflight::mx::detail {
namespace {

using Ints = std::vector<std::int64_t>;

std::int64_t product(const Ints& values) {
  return std::accumulate(values.begin(), values.end(), std::int64_t{1}, [](std::int64_t a, std::int64_t b) {
    std::int64_t result = 0;
    return __builtin_mul_overflow(a, b, &result) ? std::int64_t{-1} : result;
  });
}

// Walks along the codes and the shape that they take from.
class Reshaping {
 public:
  Reshaping(const Ints& from, const Ints& codes) : from_(from), codes_(codes) {}

  Result<Ints> run() {
    for (std::size_t i = 0; i < codes_.size(); ++i) {
      INFLIGHT_TRY(take(i));
    }
    if (inferred_.has_value()) {
      const std::int64_t others = product(result_);
      if (others <= 0 || product(from_) % others != 0)
        return misfit("extents that leave a whole number for -1");
      result_[*inferred_] = product(from_) / others;
    }
    if (product(result_) != product(from_)) return misfit("as many elements");
    return result_;
  }

 private:
  Status misfit(std::string_view want) const {
    return {StatusCode::kInvalidArgument, fmt::format("attribute shape: got ({}) for [{}], want {}",
                                                      fmt::join(codes_, ", "), fmt::join(from_, ","), want)};
  }

  // Whether `count` more extents are there to take.
  bool left(std::size_t count) const { return next_ + count <= from_.size(); }

  Status take(std::size_t& i) {
    const std::int64_t code = codes_[i];
    if (code > 0) {
      result_.push_back(code);
      ++next_;
    } else if (code == 0) {
      if (!left(1)) return misfit("0 only where there is an extent to keep");
      result_.push_back(from_[next_++]);
    } else if (code == -1) {
      if (inferred_.has_value()) return misfit("-1 once at most");
      inferred_ = result_.size();
      result_.push_back(1);
      ++next_;
    } else if (code == -2) {
      while (left(1)) result_.push_back(from_[next_++]);
    } else if (code == -3) {
      if (!left(2)) return misfit("-3 only where there are two extents to merge");
      result_.push_back(from_[next_] * from_[next_ + 1]);
      next_ += 2;
    } else if (code == -4) {
      return split(i);
    } else {
      return misfit("extents and the codes 0, -1, -2, -3 and -4");
    }
    return {};
  }

  Status split(std::size_t& i) {
    if (i + 2 >= codes_.size() || !left(1))
      return misfit("-4, an extent to split, and two extents after the -4");
    const std::int64_t whole = from_[next_++];
    std::int64_t a = codes_[++i];
    std::int64_t b = codes_[++i];
    if (a == -1 && b > 0) a = whole / b;
    if (b == -1 && a > 0) b = whole / a;
    if (a <= 0 || b <= 0 || a > whole || a * b != whole)
      return misfit("two extents after -4 whose product is the one");
    result_.push_back(a);
    result_.push_back(b);
    return {};
  }

  const Ints& from_;
  const Ints& codes_;
  std::size_t next_ = 0;  // the extent that the next code takes
  Ints result_;
  std::optional<std::size_t> inferred_;
};

}  // namespace

Result<Ints> reshape_by_codes(Ints from, Ints codes, bool reverse) {
  if (reverse) {
    std::reverse(from.begin(), from.end());
    std::reverse(codes.begin(), codes.end());
  }
  INFLIGHT_TRY_ASSIGN(Ints result, Reshaping(from, codes).run());
  if (reverse) std::reverse(result.begin(), result.end());
  return result;
}

Result<std::vector<AxisSlice>> slice_axes(const Ints& from, const OptionalInts& begin,
                                          const OptionalInts& end, const OptionalInts& step) {
  if (begin.size() != end.size() || (!step.empty() && step.size() != begin.size()) ||
      begin.size() > from.size()) {
    return Status(
        StatusCode::kInvalidArgument,
        fmt::format(
            "attributes begin, end, step: got {}, {} and {} elements, want as many of each, {} at most",
            begin.size(), end.size(), step.size(), from.size()));
  }
  std::vector<AxisSlice> slices;
  for (std::size_t i = 0; i < from.size(); ++i) {
    const std::int64_t length = from[i];
    AxisSlice slice{0, length, 1};
    if (i < begin.size()) {
      const std::int64_t s = step.empty() ? 1 : step[i].value_or(1);
      if (s == 0) return Status(StatusCode::kInvalidArgument, "attribute step: got 0, want another number");
      const auto clamp = [&](std::int64_t at) {
        return std::clamp(at < 0 ? at + length : at, std::int64_t{s > 0 ? 0 : -1},
                          s > 0 ? length : length - 1);
      };
      const std::int64_t first = begin[i].has_value() ? clamp(*begin[i]) : (s > 0 ? 0 : length - 1);
      const std::int64_t last = end[i].has_value() ? clamp(*end[i]) : (s > 0 ? length : -1);
      const std::int64_t distance = s > 0 ? last - first : first - last;
      slice = {first, distance <= 0 ? 0 : (distance - 1) / std::abs(s) + 1, s};
    }
    if (slice.count == 0) {
      return Status(
          StatusCode::kInvalidArgument,
          fmt::format("attributes begin, end: nothing is left of axis {} of [{}]", i, fmt::join(from, ",")));
    }
    slices.push_back(slice);
  }
  return slices;
}

}  // namespace inflight::mx::detail
