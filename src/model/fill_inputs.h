// SPDX-License-Identifier: Apache-2.0
// Inputs beside the picture whose value follows from it.
#pragma once

#include <cstddef>
#include <memory>
#include <openvino/op/constant.hpp>
#include <openvino/op/parameter.hpp>
#include <string>

namespace inflight::internal {

// What an input is to be, or null where nothing but the caller can tell:
//
//   image_shape, im_shape, image_size, ...   [1,2] or [2]            height and width of the network's image
//                                            input
//   im_info, image_info                      [1,3] or [3]            height, width and 1
//   scale_factor                             [1,2], [2], [1], []     1
//   training, is_training, phase_train, ...  one value               0
//
// So boxes come in pixels of the network's input.
//   name    as the network calls the input
std::shared_ptr<ov::op::v0::Constant> filling_of(const ov::op::v0::Parameter& input, const std::string& name,
                                                 std::size_t height, std::size_t width);

}  // namespace inflight::internal
