// What the files of this target share.
#pragma once
#include "CVectorKernels.h"
#include <string.h>

#pragma STDC FP_CONTRACT OFF

extern const vk_kernels vk_portable;
#if defined(__x86_64__)
extern const vk_kernels vk_avx2;
extern const vk_kernels vk_avx512;
#endif

// The members of a `vk_rows`.
#define VK_ROWS(NAME) {NAME##_dot, NAME##_squared_distance, NAME##_dot_gather, NAME##_squared_distance_gather, NAME##_decode}

// Adds 32 running sums: the upper half onto the lower, five times.
float vk_sum_in_order(const float sums[VK_SUMS]);

// See `scan`.
static inline uint64_t vk_key(int32_t score, uint32_t row) { return (uint64_t)((uint32_t)score ^ 0x80000000u) << 32 | (uint32_t)~row; }

// As `vk_key`, with a float whose bits are changed so that they compare as an integer.
static inline uint64_t vk_float_key(float score, uint32_t row) {
    uint32_t bits;
    if (score != score) score = -__builtin_inff();
    memcpy(&bits, &score, sizeof bits);
    bits = bits >> 31 ? ~bits : bits | 0x80000000u;
    return (uint64_t)bits << 32 | (uint32_t)~row;
}

static inline uint64_t vk_byte_key(const vk_bytes *bytes, int32_t product, uint32_t row) {
    float scaled = (float)product * (bytes->query_scale * bytes->scales[row]), bias = bytes->weight * bytes->biases[row];
    return vk_float_key(scaled - bias, row);
}

// Where products overflow, sums are infinite or no number, and comparisons with those differ between instructions. Entries of tables keep
// within this, so that their differences are finite, too; what is no number counts as the least.
#define VK_TABLE_LIMIT 1e38f
// The same for what `encode` compares, negative squared distances.
#define VK_LEAST_SUM (-0x1.fffffep127f)

// See `to_bytes`: what remains once the largest magnitude is known.
static inline float vk_round_bytes(const float *difference, size_t dimension, float largest, uint8_t *out) {
    float scale = largest / 127;
    int fits = scale >= 0x1p-126f && scale <= 0x1.fffffep127f;
    if (!fits) {
        memset(out, 128, dimension);
        return 0;
    }
    // Rounded down from half above; 128.5 keeps the number positive.
    float inverse = 1 / scale;
    for (size_t i = 0; i < dimension; i++) out[i] = (uint8_t)(int32_t)(difference[i] * inverse + 128.5f);
    return scale;
}

void vk_quickselect(uint64_t *keys, size_t count, size_t keep);
uint64_t vk_keep_largest(uint64_t *keys, size_t count, size_t keep);
size_t vk_move_to_front(uint64_t *keys, size_t count, uint64_t least);
size_t vk_copy_above(const uint64_t *keys, size_t count, uint64_t least, uint64_t *out);

// The bits of a bitmap for `width` ≤ 16 rows from `row` on.
static inline uint32_t vk_admitted(const uint64_t *admitted, uint32_t row, uint32_t width) {
    uint64_t bits = admitted[row / 64] >> row % 64;
    if (row % 64 + width > 64) bits |= admitted[row / 64 + 1] << (64 - row % 64);
    return (uint32_t)bits & ((1u << width) - 1);
}
