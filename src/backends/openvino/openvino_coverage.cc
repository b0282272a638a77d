// SPDX-License-Identifier: Apache-2.0
#include <exception>
#include <openvino/core/model.hpp>
#include <openvino/runtime/core.hpp>

#include "backends/coverage_counter.h"
#include "backends/openvino/openvino_backend.h"
#include "model/network.h"
#include "model/openvino_error.h"

namespace inflight {
namespace {

constexpr const char* kDevice = "CPU";

}  // namespace

Result<Coverage> openvino_coverage(const Model* model) {
  if (model == nullptr)
    return Status(StatusCode::kUnsupported, "OpenVINO tells only which operators of a model it can compute");
  const std::shared_ptr<const ov::Model> network = inflight::network(*model);
  if (network == nullptr)
    return Status(StatusCode::kUnsupported, "only its inputs and outputs are known, and no operators");
  try {
    const ov::SupportedOpsMap supported = ov::Core().query_model(network, kDevice);
    CoverageCounter counter;
    for (const auto& node : network->get_ordered_ops()) {
      if (!CoverageCounter::counts(*node)) continue;
      if (supported.count(node->get_friendly_name()) > 0)
        counter.add_covered(*node);
      else
        counter.add_missing(*node, "OpenVINO cannot compute it on this device");
    }
    return counter.take();
  } catch (const std::exception& error) {
    return Status(StatusCode::kDeviceError, internal::distil_openvino_error(error.what()));
  }
}

}  // namespace inflight
