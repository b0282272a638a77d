// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/kernel_source.h"

#include <fmt/format.h>

#include "base/check.h"

namespace inflight::cuda {
namespace {

// The parts of the two preludes that differ. The conversions of f16 are single instructions, which NVRTC's
// headers write in the same way; without them, a source needs no header.
constexpr std::string_view kCudaWords = R"(
#define KERNEL __global__
#define BOUNDS(threads) __launch_bounds__(threads)
#define DEVICE __device__ __forceinline__
// What a kernel ahead writes is read after a wait, but what is known to stay as it is may be read before it.
#if __CUDA_ARCH__ >= 900
#define RESTRICT
#else
#define RESTRICT __restrict__
#endif
#define SHARED __shared__
#define UNROLL _Pragma("unroll")
#define ON_DEVICE(gpu, host) gpu
// A kernel may be launched before the one ahead of it has ended, for which it waits before it reads or writes; and it says
// from when on the next one may be launched.
#if __CUDA_ARCH__ >= 900
#define WAIT_FOR_WORK_AHEAD() asm volatile("griddepcontrol.wait;" ::: "memory")
#define LET_NEXT_COME() asm volatile("griddepcontrol.launch_dependents;" ::: "memory")
#else
#define WAIT_FOR_WORK_AHEAD()
#define LET_NEXT_COME()
#endif
DEVICE float load_f16(const unsigned short* p) {
  float value; asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(*p)); return value;
}
DEVICE unsigned short to_f16(float value) {
  unsigned short bits; asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(value)); return bits;
}
DEVICE float bits_float(unsigned bits) { return __uint_as_float(bits); }
DEVICE unsigned float_bits(float value) { return __float_as_uint(value); }
DEVICE double bits_double(long long bits) { return __longlong_as_double(bits); }
)";

constexpr std::string_view kHostWords = R"(
#include <math.h>
#include <string.h>
#define KERNEL
#define BOUNDS(threads)
#define DEVICE static inline
#define RESTRICT
#define SHARED static
#define UNROLL
#define ON_DEVICE(gpu, host) host
namespace {
struct Dim3 { unsigned x, y, z; };
Dim3 threadIdx{0, 0, 0}, blockIdx{0, 0, 0}, blockDim{1, 1, 1}, gridDim{1, 1, 1};
}
DEVICE void __syncthreads() {}
DEVICE float bits_float(unsigned bits) { float value; memcpy(&value, &bits, 4); return value; }
DEVICE unsigned float_bits(float value) { unsigned bits; memcpy(&bits, &value, 4); return bits; }
DEVICE double bits_double(long long bits) { double value; memcpy(&value, &bits, 8); return value; }
DEVICE float load_f16(const unsigned short* p) {
  const unsigned bits = *p, sign = (bits & 0x8000u) << 16, exponent = (bits >> 10) & 31u, fraction = bits & 1023u;
  if (exponent == 31) return bits_float(sign | 0x7f800000u | fraction << 13);
  if (exponent == 0) return bits_float(sign | float_bits((float)fraction * 5.9604644775390625e-8f));
  return bits_float(sign | (exponent + 112u) << 23 | fraction << 13);
}
DEVICE unsigned short to_f16(float value) {
  const unsigned bits = float_bits(value), sign = bits >> 16 & 0x8000u, size = bits & 0x7fffffffu;
  if (size > 0x7f800000u) return (unsigned short)(sign | 0x7e00u);
  if (size >= 0x477ff000u) return (unsigned short)(sign | 0x7c00u);
  if (size < 0x38800000u) return (unsigned short)(sign | (unsigned)(int)rintf(bits_float(size) * 16777216.0f));
  return (unsigned short)(sign | (size + 0xfffu + (size >> 13 & 1u) - 0x38000000u) >> 13);
}
)";

constexpr std::string_view kMemoryWords = R"(
template <class T, int N> struct alignas(sizeof(T) * N > 16 ? 16 : sizeof(T) * N) Pack { T at[N]; };
DEVICE void store_f16(unsigned short* p, float value) { *p = to_f16(value); }
DEVICE float load_bf16(const unsigned short* p) { return bits_float((unsigned)*p << 16); }
DEVICE unsigned short to_bf16(float value) {
  const unsigned bits = float_bits(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return (unsigned short)(bits >> 16 | 0x40u);
  return (unsigned short)((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}
DEVICE void store_bf16(unsigned short* p, float value) { *p = to_bf16(value); }
DEVICE float round_f16(float value) { const unsigned short bits = to_f16(value); return load_f16(&bits); }
DEVICE float round_bf16(float value) { const unsigned short bits = to_bf16(value); return load_bf16(&bits); }
#define F_INF bits_float(0x7f800000u)
#define F_NAN bits_float(0x7fc00000u)
)";

constexpr std::string_view kMathWords = R"(
#define MATH(name, f, d) \
  DEVICE float name(float x) { return f(x); } DEVICE double name(double x) { return d(x); } \
  template <class T> DEVICE T name(T x) { return (T)d((double)x); }
MATH(m_exp, expf, exp) MATH(m_expm1, expm1f, expm1) MATH(m_log, logf, log) MATH(m_log1p, log1pf, log1p)
MATH(m_sqrt, sqrtf, sqrt) MATH(m_sin, sinf, sin) MATH(m_cos, cosf, cos) MATH(m_tan, tanf, tan)
MATH(m_asin, asinf, asin) MATH(m_acos, acosf, acos) MATH(m_atan, atanf, atan)
MATH(m_sinh, sinhf, sinh) MATH(m_cosh, coshf, cosh) MATH(m_tanh, tanhf, tanh)
MATH(m_asinh, asinhf, asinh) MATH(m_acosh, acoshf, acosh) MATH(m_atanh, atanhf, atanh) MATH(m_erf, erff, erf)
#undef MATH
#define MATH(name, f, d) \
  DEVICE float name(float x) { return f(x); } DEVICE double name(double x) { return d(x); } \
  template <class T> DEVICE T name(T x) { return x; }
MATH(m_floor, floorf, floor) MATH(m_ceil, ceilf, ceil) MATH(m_rint, rintf, rint) MATH(m_round, roundf, round)
MATH(m_trunc, truncf, trunc)
#undef MATH
template <class T> DEVICE T m_abs(T x) { return x < (T)0 ? (T)-x : x; }
DEVICE float m_abs(float x) { return fabsf(x); }
DEVICE double m_abs(double x) { return fabs(x); }
template <class T> DEVICE T m_max(T a, T b) { return a > b ? a : b; }
template <class T> DEVICE T m_min(T a, T b) { return a < b ? a : b; }
template <class T> DEVICE T m_sign(T x) { return (T)((x > (T)0) - (x < (T)0)); }
template <class T> DEVICE T m_sigmoid(T x) { return (T)1 / ((T)1 + m_exp((T)-x)); }
template <class T> DEVICE T m_softplus(T x) { return x > (T)0 ? x + m_log1p(m_exp((T)-x)) : m_log1p(m_exp(x)); }
template <class T> DEVICE T m_gelu(T x) { return (T)0.5 * x * ((T)1 + m_erf(x * (T)0.70710678118654752)); }
template <class T> DEVICE T m_gelu_tanh(T x) {
  return (T)0.5 * x * ((T)1 + m_tanh((T)0.79788456080286536 * (x + (T)0.044715 * x * x * x)));
}
template <class T> DEVICE T m_div(T a, T b) {
  return b == (T)0 ? (T)0 : b == (T)-1 ? (T)(0ull - (unsigned long long)a) : (T)(a / b);
}
DEVICE float m_div(float a, float b) { return a / b; }
DEVICE double m_div(double a, double b) { return a / b; }
template <class T> DEVICE T m_mod(T a, T b) { return b == (T)0 || b == (T)-1 ? (T)0 : (T)(a % b); }
DEVICE unsigned char m_mod(unsigned char a, unsigned char b) { return b == 0 ? 0 : a % b; }
DEVICE unsigned short m_mod(unsigned short a, unsigned short b) { return b == 0 ? 0 : a % b; }
DEVICE unsigned m_mod(unsigned a, unsigned b) { return b == 0 ? 0 : a % b; }
DEVICE unsigned long long m_mod(unsigned long long a, unsigned long long b) { return b == 0 ? 0 : a % b; }
DEVICE float m_mod(float a, float b) { return fmodf(a, b); }
DEVICE double m_mod(double a, double b) { return fmod(a, b); }
template <class T> DEVICE T m_floor_mod(T a, T b) {
  const T rest = m_mod(a, b);
  return rest != (T)0 && (rest < (T)0) != (b < (T)0) ? (T)(rest + b) : rest;
}
template <class T> DEVICE T m_floor_div(T a, T b) {
  const T quotient = m_div(a, b), rest = m_mod(a, b);
  return rest != (T)0 && (rest < (T)0) != (b < (T)0) ? (T)(quotient - 1) : quotient;
}
template <class T> DEVICE T m_pow(T a, T b) { return (T)pow((double)a, (double)b); }
DEVICE float m_pow(float a, float b) { return powf(a, b); }
DEVICE bool m_isnan(double x) { return x != x; }
DEVICE bool m_isinf(double x) { return x - x != 0 && x == x; }
template <class T> DEVICE T clamp_index(T i, T low, T high) { return i < low ? low : i > high ? high : i; }
template <class T> DEVICE T reflect_index(T i, T n) {
  if (n == 1) return 0;
  const T period = 2 * (n - 1);
  i %= period;
  if (i < 0) i += period;
  return i < n ? i : period - i;
}
template <class T> DEVICE T symmetric_index(T i, T n) {
  i %= 2 * n;
  if (i < 0) i += 2 * n;
  return i < n ? i : 2 * n - 1 - i;
}
)";

constexpr std::string_view kReduceWords = R"(
struct Sum { template <class T> DEVICE_MEMBER T operator()(T a, T b) const { return (T)(a + b); } };
struct Prod { template <class T> DEVICE_MEMBER T operator()(T a, T b) const { return (T)(a * b); } };
struct Max { template <class T> DEVICE_MEMBER T operator()(T a, T b) const { return a > b ? a : b; } };
struct Min { template <class T> DEVICE_MEMBER T operator()(T a, T b) const { return a < b ? a : b; } };
struct And { template <class T> DEVICE_MEMBER T operator()(T a, T b) const { return (T)(a && b); } };
struct Or { template <class T> DEVICE_MEMBER T operator()(T a, T b) const { return (T)(a || b); } };
// A value and where it was: `first` says which of two comes first. Equal values are ordered by their place.
template <class T> struct Ranked { T value; long long at; };
template <bool kMax, class T> DEVICE bool ranks_before(T a, long long i, T b, long long j) {
  if (a == b) return i < j;
  return kMax ? a > b : a < b;
}
template <bool kMax> struct First {
  template <class T> DEVICE_MEMBER Ranked<T> operator()(Ranked<T> a, Ranked<T> b) const {
    if (a.at < 0) return b;
    if (b.at < 0) return a;
    return ranks_before<kMax>(a.value, a.at, b.value, b.at) ? a : b;
  }
};
)";

constexpr std::string_view kCudaReduce = R"(
template <class T> DEVICE T shuffle_xor(T value, int mask) { return __shfl_xor_sync(0xffffffffu, value, mask); }
DEVICE unsigned char shuffle_xor(unsigned char value, int mask) {
  return (unsigned char)__shfl_xor_sync(0xffffffffu, (int)value, mask);
}
DEVICE signed char shuffle_xor(signed char value, int mask) {
  return (signed char)__shfl_xor_sync(0xffffffffu, (int)value, mask);
}
DEVICE short shuffle_xor(short value, int mask) { return (short)__shfl_xor_sync(0xffffffffu, (int)value, mask); }
DEVICE unsigned short shuffle_xor(unsigned short value, int mask) {
  return (unsigned short)__shfl_xor_sync(0xffffffffu, (int)value, mask);
}
template <class T> DEVICE Ranked<T> shuffle_xor(Ranked<T> value, int mask) {
  return Ranked<T>{shuffle_xor(value.value, mask), shuffle_xor(value.at, mask)};
}
// blockDim.x is a multiple of 32. The result is the same, to the bit, in all threads.
template <class T, class F> DEVICE T block_reduce(T value, F f) {
  for (int mask = 16; mask > 0; mask >>= 1) value = f(value, shuffle_xor(value, mask));
  if (blockDim.x <= 32) return value;
  __shared__ T parts[32];
  __syncthreads();  // the parts of the reduction before this one are read
  if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = value;
  __syncthreads();
  value = parts[0];
  for (int k = 1; k < (int)blockDim.x / 32; ++k) value = f(value, parts[k]);
  return value;
}
// Over the threads of the block whose numbers are the same modulo kLanes.
template <int kLanes, class T, class F> DEVICE T lane_reduce(T value, F f) {
  if (kLanes == 1) return block_reduce(value, f);
  __shared__ T parts[1024];
  __syncthreads();
  parts[threadIdx.x] = value;
  __syncthreads();
  value = parts[threadIdx.x % kLanes];
  for (int k = threadIdx.x % kLanes + kLanes; k < (int)blockDim.x; k += kLanes) value = f(value, parts[k]);
  return value;
}
// The sum of `value` over the threads up to this one; `total` gets that over all threads.
template <class T> DEVICE T block_scan(T value, T& total) {
  __shared__ T parts[1024];
  __syncthreads();
  parts[threadIdx.x] = value;
  __syncthreads();
  for (unsigned step = 1; step < blockDim.x; step <<= 1) {
    const T before = threadIdx.x >= step ? parts[threadIdx.x - step] : (T)0;
    __syncthreads();
    parts[threadIdx.x] = (T)(parts[threadIdx.x] + before);
    __syncthreads();
  }
  total = parts[blockDim.x - 1];
  return parts[threadIdx.x];
}
)";

constexpr std::string_view kHostReduce = R"(
template <class T, class F> DEVICE T block_reduce(T value, F) { return value; }
template <int kLanes, class T, class F> DEVICE T lane_reduce(T value, F) { return value; }
template <class T> DEVICE T block_scan(T value, T& total) { return total = value; }
)";

std::string assemble(std::string_view words, std::string_view member, std::string_view reduce) {
  return fmt::format("{}{}{}#define DEVICE_MEMBER {}{}{}", words, kMemoryWords, kMathWords, member,
                     kReduceWords, reduce);
}

}  // namespace

std::string_view cuda_prelude() {
  static const std::string text = assemble(kCudaWords, "__device__ __forceinline__", kCudaReduce);
  return text;
}

std::string_view host_prelude() {
  static const std::string text = assemble(kHostWords, "inline", kHostReduce);
  return text;
}

std::string replaced(std::string text, std::string_view word, std::string_view with) {
  for (std::size_t at = text.find(word); at != std::string::npos; at = text.find(word, at + with.size()))
    text.replace(at, word.size(), with);
  return text;
}

std::string join_kernels(std::string_view prelude, const std::vector<std::string>& sources) {
  std::string text(prelude);
  for (std::size_t i = 0; i < sources.size(); ++i)
    text += fmt::format("\n#define run run_{}\n{}\n#undef run\n", i, sources[i]);
  return text;
}

std::string cuda_source(const std::vector<std::string>& sources) {
  std::vector<std::string> early = sources;
  for (std::string& source : early) {
    if (source.find("next_is_early") != std::string::npos) continue;
    const std::size_t close = source.find(')', source.find(" run("));
    INFLIGHT_CHECK(close != std::string::npos);
    // The next one comes at once: kernels that do not say otherwise are small, so that it finds room.
    source.insert(source.find('{', close) + 1, " if (next_is_early) LET_NEXT_COME(); WAIT_FOR_WORK_AHEAD();");
    source.insert(close, ", const int next_is_early");
  }
  return join_kernels(cuda_prelude(), early);
}

}  // namespace inflight::cuda
