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

typedef struct {
    const char *name;
    __typeof__(ce_linear) *linear;
    __typeof__(ce_attention) *attention;
    __typeof__(ce_layer_norm) *layer_norm;
} variant;

static const variant *chosen(void) {
    static const variant portable = {"portable", portable_linear, portable_attention, portable_layer_norm};
#if defined(__x86_64__)
    static const variant avx2 = {"avx2", avx2_linear, avx2_attention, avx2_layer_norm};
    static const variant avx512 = {"avx512", avx512_linear, avx512_attention, avx512_layer_norm};
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl"))
        return &avx512;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return &avx2;
#endif
    return &portable;
}

void ce_pack(const float *weights, size_t outputs, size_t inputs, float scale, float *packed) {
    for (size_t n = 0; n < outputs; n += CE_WEIGHT_ROWS)
        for (size_t k = 0; k < inputs; k++)
            for (size_t r = 0; r < CE_WEIGHT_ROWS; r++) *packed++ = weights[(n + r) * inputs + k] * scale;
}

void ce_linear(
    const float *packed, const float *bias, size_t outputs, size_t inputs, const float *x, size_t x_block_stride,
    size_t x_row_stride, float *y, size_t y_block_stride, size_t y_row_stride, size_t blocks, ce_epilogue epilogue) {
    chosen()->linear(
        packed, bias, outputs, inputs, x, x_block_stride, x_row_stride, y, y_block_stride, y_row_stride, blocks, epilogue);
}

void ce_attention(
    const float *qkv, size_t row_stride, size_t heads, size_t width, size_t tokens, float *output, size_t output_row_stride,
    float *scratch) {
    chosen()->attention(qkv, row_stride, heads, width, tokens, output, output_row_stride, scratch);
}

void ce_layer_norm(float *x, size_t features, size_t blocks, const float *weight, const float *bias, float epsilon) {
    chosen()->layer_norm(x, features, blocks, weight, bias, epsilon);
}

const char *ce_instruction_set(void) { return chosen()->name; }
