// SPDX-License-Identifier: Apache-2.0
// Arrays from and for other libraries, without a copy, by the DLPack ABI. Python has the same as __dlpack__() and
// inflight.from_dlpack().
//
//   NDArray array = *from_dlpack(tensor);                                 // memory of the host, or of a device
//   DLManagedTensorVersioned* given = *to_dlpack(prediction.output(0));   // its deleter gives it back
//
// On a GPU there is an order to keep, and neither side waits for it on the host:
//   in    the producer lets dlpack_stream() wait for its work (cudaStreamWaitEvent) before it hands the tensor over. The
//         array is ready once the device has come that far.
//   out   an array that can be read has been computed, so the consumer has nothing to wait for. What it puts into its
//         stream before it calls the deleter is done before the memory is used again.
#pragma once

#include <cstdint>

#include "inflight/ndarray.h"
#include "inflight/status.h"
#include "inflight/tensor.h"

// Of dlpack.h, which the caller brings.
struct DLManagedTensor;
struct DLManagedTensorVersioned;

namespace inflight {

// An array over a tensor's memory. Nobody may write there until the array and what was made of it are gone.
//   tensor    dense, row by row. On success its deleter is called once, when the last reference to the memory goes, on
//             any thread. On an error it is left as it was.
//   returns   in memory of the host: ready at once. Of a device: see above.
//   errors    kInvalidArgument: null, not dense, a negative extent, or an element type without a DType; kUnsupported:
//             another DLPack version than 1, or memory of a device that is neither CUDA's nor the host's;
//             as DeviceArrays::open()
Result<NDArray> from_dlpack(DLManagedTensorVersioned* tensor);
Result<NDArray> from_dlpack(DLManagedTensor* tensor);

// The elements for another library, to read: a version never changes. The flag for that (read-only) is set.
//   stream    where the consumer uses them, as __dlpack__() takes it: 1: the legacy default stream; 2: the per-thread one;
//             -1: it calls the deleter only when the device is done; else a CUstream. No matter for the host.
//   returns   a tensor that keeps the version until its deleter is called, on any thread
//   errors    kNotReady; the version's own failure; kInvalidArgument: no stream of the device; kUnsupported: memory of a
//             device that DLPack has no name for; kOutOfMemory
Result<DLManagedTensorVersioned*> to_dlpack(const NDArray& array, std::intptr_t stream = 1);

// The stream of a device, as a CUstream, that work on a tensor is to be ordered before; 0 for the host.
//   errors    as DeviceArrays::open()
Result<std::uintptr_t> dlpack_stream(Device device);

}  // namespace inflight
