#include "CEmbeddingKernels.h"

typedef float v16 __attribute__((vector_size(64)));
typedef int32_t i16 __attribute__((vector_size(64)));
typedef float u16v __attribute__((vector_size(64), aligned(4)));  // at any address

// Vectors are passed between functions that are always inlined; no call with that ABI remains.
#pragma clang diagnostic ignored "-Wpsabi"

// Rows × columns of a tile are as many sums as the instruction set has registers for.
#define NAME(x) portable_##x
#define TARGET
#define LINEAR_ROWS 4
#define LINEAR_COLUMNS 1
#include "variant.h"
#undef NAME
#undef TARGET

#if defined(__x86_64__)
#define NAME(x) avx2_##x
#define TARGET __attribute__((target("avx2,fma")))
#include "variant.h"
#undef NAME
#undef TARGET
#undef LINEAR_ROWS
#undef LINEAR_COLUMNS

#define NAME(x) avx512_##x
#define TARGET __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,fma"), min_vector_width(512)))
#define LINEAR_ROWS 8
#define LINEAR_COLUMNS 3
#include "variant.h"
#undef NAME
#undef TARGET
#endif

void ce_pack(const float *weights, size_t outputs, size_t inputs, float scale, float *packed) {
    for (size_t n = 0; n < outputs; n += CE_WEIGHT_ROWS)
        for (size_t k = 0; k < inputs; k++)
            for (size_t r = 0; r < CE_WEIGHT_ROWS; r++) *packed++ = weights[(n + r) * inputs + k] * scale;
}

const ce_kernels *ce_kernels_at(ce_level level) {
    static const ce_kernels portable = {portable_linear, portable_attention, portable_layer_norm};
    if (level == CE_PORTABLE) return &portable;
#if defined(__x86_64__)
    static const ce_kernels avx2 = {avx2_linear, avx2_attention, avx2_layer_norm};
    static const ce_kernels avx512 = {avx512_linear, avx512_attention, avx512_layer_norm};
    if (level == CE_AVX2 && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return &avx2;
    if (level == CE_AVX512 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
        return &avx512;
#endif
    return 0;
}
