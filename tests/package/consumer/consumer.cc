// SPDX-License-Identifier: Apache-2.0
// A program outside the tree that uses the installed package: it runs the model in its first argument on the
// CPU, and opens plugins.
#include <inflight/inflight.h>

#include <cstdio>
#include <vector>

namespace {

int fail(const inflight::Status& status) {
  std::fprintf(stderr, "consumer: %s\n", status.to_string().c_str());
  return 1;
}

// Opens the plugin that is built beside this program, and with it the one that is installed.
int open_plugins() {
  const auto device = inflight::Device::parse("tiny");
  if (!device.ok()) return fail(device.status());
  const auto backend = inflight::load_backend(*device, {.plugin_folders = {PLUGINS}});
  if (!backend.ok()) return fail(backend.status());
  return (*backend)->name() == "null" ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fputs("usage: consumer MODEL\n", stderr);
    return 2;
  }
  const inflight::Result<inflight::Model> model = inflight::Model::load(argv[1]);
  if (!model.ok()) return fail(model.status());
  inflight::Result<inflight::Predictor> predictor =
      inflight::Predictor::create(*model, {.in_flight_limit = 4});
  if (!predictor.ok()) return fail(predictor.status());

  const inflight::TensorSpec& input = predictor->inputs()[0];
  const std::vector<float> zeros(input.shape.elements());
  std::vector<inflight::Prediction> predictions;
  for (int i = 0; i < 4; ++i) {
    const auto array = inflight::NDArray::copy_of({zeros.data(), input.dtype, input.shape}).value();
    const auto prediction = predictor->submit(inflight::Frame::of(array));
    if (!prediction.ok()) return fail(prediction.status());
    predictions.push_back(*prediction);
  }
  for (const inflight::Prediction& prediction : predictions) {
    if (const inflight::Status status = prediction.wait(); !status.ok()) return fail(status);
  }
  const auto output = predictions[0].output(0).read();
  if (!output.ok()) return fail(output.status());
  std::printf("%s: %zu bytes of output, on %s\n", argv[1], output->bytes(),
              predictor->device_description().c_str());
  if (predictor->statistics().completed != 4) return 1;
  return open_plugins();
}
