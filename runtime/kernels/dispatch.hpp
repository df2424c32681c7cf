// One loop, compiled for several instruction sets, the widest one of this machine chosen at the first call.
//
// A loop is a type with an always-inline call operator: dispatch() puts it into a function of each instruction set, so
// the compiler vectorises the same lines anew for each. Its bits are promised per instruction set: where there is a
// fused multiply-add the compiler may use it. g++ and clang both take this; clang 14 has no target_clones for C++.
#pragma once

#include <cstdlib>
#include <string_view>
#include <utility>

/// On every function that runs inside a dispatched loop: a function that is not inlined keeps the baseline's
/// instructions.
#define WEIR_INLINE inline __attribute__((always_inline))

/// Before a loop whose iterations touch different elements, even where it reads and writes the same buffer.
#if defined(__clang__)
#define WEIR_INDEPENDENT _Pragma("clang loop vectorize(assume_safety)")
#else
#define WEIR_INDEPENDENT _Pragma("GCC ivdep")
#endif

/// Before a loop over registers: of a few iterations, all of which shall stand side by side.
#if defined(__clang__)
#define WEIR_UNROLL _Pragma("clang loop unroll(full)")
#else
#define WEIR_UNROLL _Pragma("GCC unroll 16")
#endif

namespace weir::kernels {

#if defined(__x86_64__)

enum class Instructions { baseline, avx2, avx512 };

/// ONEDNN_MAX_CPU_ISA holds for our loops too: so one setting makes a machine compute like a smaller one.
inline Instructions allowed() {
  const char* const word = std::getenv("ONEDNN_MAX_CPU_ISA");
  const std::string_view most = word ? word : "";
  if (most.starts_with("AVX2")) return Instructions::avx2;
  return most == "AVX" || most == "SSE41" ? Instructions::baseline : Instructions::avx512;
}

inline Instructions instructions() {
  static const Instructions widest = [] {
    __builtin_cpu_init();
    const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
                        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw");
    const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    if (avx512 && allowed() == Instructions::avx512) return Instructions::avx512;
    return avx2 && allowed() != Instructions::baseline ? Instructions::avx2 : Instructions::baseline;
  }();
  return widest;
}

template <class Loop, class... Arguments>
__attribute__((target("avx2,fma"))) auto call_avx2(const Loop& loop, Arguments... arguments) {
  return loop(arguments...);
}

template <class Loop, class... Arguments>
__attribute__((target("avx2,fma,avx512f,avx512vl,avx512dq,avx512bw"))) auto call_avx512(const Loop& loop,
                                                                                        Arguments... arguments) {
  return loop(arguments...);
}

/// Arguments are plain values: pointers and numbers.
template <class Loop, class... Arguments>
auto dispatch(const Loop& loop, Arguments... arguments) {
  switch (instructions()) {
    case Instructions::avx512:
      return call_avx512(loop, arguments...);
    case Instructions::avx2:
      return call_avx2(loop, arguments...);
    case Instructions::baseline:
      break;
  }
  return loop(arguments...);
}

#else

template <class Loop, class... Arguments>
auto dispatch(const Loop& loop, Arguments... arguments) {
  return loop(arguments...);
}

#endif

}  // namespace weir::kernels
