// SPDX-License-Identifier: Apache-2.0
#include "model/fill_inputs.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <string_view>
#include <vector>

namespace inflight::internal {
namespace {

// The last part of a name ("serving_default_Image_Shape:0" has "image_shape"), in small letters.
bool is_called(const std::string& name, std::string_view wanted) {
  std::string plain = name.substr(0, name.find(':'));
  std::transform(plain.begin(), plain.end(), plain.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  if (!plain.ends_with(wanted)) return false;
  const std::size_t before = plain.size() - wanted.size();
  return before == 0 || std::isalnum(static_cast<unsigned char>(plain[before - 1])) == 0;
}

template <std::size_t N>
bool is_one_of(const std::string& name, const std::array<std::string_view, N>& wanted) {
  return std::any_of(wanted.begin(), wanted.end(),
                     [&name](std::string_view each) { return is_called(name, each); });
}

constexpr std::array<std::string_view, 8> kSizes = {"image_shape", "im_shape", "img_shape", "image_size",
                                                    "im_size",     "img_size", "image_hw",  "input_size"};
constexpr std::array<std::string_view, 3> kInfos = {"im_info", "image_info", "img_info"};
constexpr std::array<std::string_view, 2> kFactors = {"scale_factor", "im_scale"};
constexpr std::array<std::string_view, 5> kTraining = {"training", "is_training", "is_train", "phase_train",
                                                       "learning_phase"};

// The shape with a batch of 1 where that is open, or an empty optional's stand-in: false.
bool close(const ov::PartialShape& shape, std::size_t values, ov::Shape& to) {
  if (shape.rank().is_dynamic() || shape.size() > 2) return false;
  to.clear();
  for (std::size_t axis = 0; axis < shape.size(); ++axis) {
    const bool batch = shape.size() == 2 && axis == 0;
    if (shape[axis].is_static())
      to.push_back(static_cast<std::size_t>(shape[axis].get_length()));
    else
      to.push_back(batch ? 1 : values);
  }
  return ov::shape_size(to) == values;
}

}  // namespace

std::shared_ptr<ov::op::v0::Constant> filling_of(const ov::op::v0::Parameter& input, const std::string& name,
                                                 std::size_t height, std::size_t width) {
  const ov::element::Type type = input.get_element_type();
  if (!type.is_real() && !type.is_integral()) return nullptr;
  const auto h = static_cast<double>(height);
  const auto w = static_cast<double>(width);
  ov::Shape shape;
  const auto made = [&](const std::vector<double>& values) -> std::shared_ptr<ov::op::v0::Constant> {
    if (!close(input.get_partial_shape(), values.size(), shape)) return nullptr;
    return ov::op::v0::Constant::create(type, shape, values);
  };
  if (is_one_of(name, kSizes)) return made({h, w});
  if (is_one_of(name, kInfos)) return made({h, w, 1});
  if (is_one_of(name, kFactors)) {
    const auto two = made({1, 1});
    return two != nullptr ? two : made({1});
  }
  if (is_one_of(name, kTraining)) return made({0});
  return nullptr;
}

}  // namespace inflight::internal
