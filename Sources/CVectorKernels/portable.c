// The reference: plain loops that say what every variant has to compute.
#include "CVectorKernels.h"
#include "variants.h"

#pragma STDC FP_CONTRACT OFF

float vk_sum_in_order(const float sums[VK_SUMS]) {
    float folded[VK_SUMS];
    for (size_t i = 0; i < VK_SUMS; i++) folded[i] = sums[i];
    for (size_t half = VK_SUMS / 2; half > 0; half /= 2)
        for (size_t i = 0; i < half; i++) folded[i] = folded[i] + folded[i + half];
    return folded[0];
}

static float half_value(uint16_t half) {
    uint32_t sign = (uint32_t)(half & 0x8000) << 16, exponent = half >> 10 & 31, fraction = half & 0x3ff;
    uint32_t bits = exponent == 31 ? 0xffu << 23 | fraction << 13 : (exponent + 112) << 23 | fraction << 13;
    float value = (float)fraction * 0x1p-24f;  // of a subnormal number
    if (exponent == 0) memcpy(&bits, &value, sizeof bits);
    bits |= sign;
    memcpy(&value, &bits, sizeof value);
    return value;
}

#define VK_SAME(x) (x)
#define VK_NUMBER(x) ((float)(x))

#define VK_DEFINE_ROWS(NAME, TYPE, VALUE)                                                                                     \
    static float NAME##_dot_one(const float *a, const TYPE *b, size_t dimension) {                                           \
        float sums[VK_SUMS] = {0};                                                                                           \
        for (size_t i = 0; i < dimension; i++) sums[i % VK_SUMS] += a[i] * VALUE(b[i]);                                      \
        return vk_sum_in_order(sums);                                                                                        \
    }                                                                                                                        \
    static float NAME##_squared_distance_one(const float *a, const TYPE *b, size_t dimension) {                              \
        float sums[VK_SUMS] = {0};                                                                                           \
        for (size_t i = 0; i < dimension; i++) {                                                                             \
            float difference = a[i] - VALUE(b[i]);                                                                           \
            sums[i % VK_SUMS] += difference * difference;                                                                    \
        }                                                                                                                    \
        return vk_sum_in_order(sums);                                                                                        \
    }                                                                                                                        \
    VK_DEFINE_LOOPS(NAME##_dot, TYPE)                                                                                        \
    VK_DEFINE_LOOPS(NAME##_squared_distance, TYPE)                                                                           \
    static void NAME##_decode(const void *elements, size_t count, float *out) {                                              \
        for (size_t i = 0; i < count; i++) out[i] = VALUE(((const TYPE *)elements)[i]);                                      \
    }

#define VK_DEFINE_LOOPS(NAME, TYPE)                                                                                          \
    static void NAME(const float *query, const void *rows, size_t count, size_t dimension, float *out) {                     \
        for (size_t row = 0; row < count; row++) out[row] = NAME##_one(query, (const TYPE *)rows + row * dimension, dimension); \
    }                                                                                                                        \
    static void NAME##_gather(                                                                                               \
        const float *query, const void *rows, const uint32_t *indices, size_t count, size_t dimension, float *out) {         \
        for (size_t i = 0; i < count; i++)                                                                                   \
            out[i] = NAME##_one(query, (const TYPE *)rows + (size_t)indices[i] * dimension, dimension);                      \
    }

VK_DEFINE_ROWS(floats, float, VK_SAME)
VK_DEFINE_ROWS(halves, uint16_t, half_value)
VK_DEFINE_ROWS(uint8s, uint8_t, VK_NUMBER)
VK_DEFINE_ROWS(int8s, int8_t, VK_NUMBER)

static int32_t byte_dot_one(const int8_t *query, const uint8_t *row, size_t dimension) {
    int32_t sum = 0;
    for (size_t i = 0; i < dimension; i++) sum += ((int32_t)row[i] - 128) * query[i];
    return sum;
}

static float to_bytes(const float *vector, const float *origin, size_t dimension, float *difference, uint8_t *out) {
    float largest = 0;
    for (size_t i = 0; i < dimension; i++) {
        difference[i] = vector[i] - origin[i];
        float magnitude = __builtin_fabsf(difference[i]);
        if (magnitude > largest) largest = magnitude;
    }
    return vk_round_bytes(difference, dimension, largest, out);
}

static void score_bytes(const vk_bytes *bytes, uint64_t *keys, size_t count) {
    for (size_t i = 0; i < count; i++) {
        uint32_t row = ~(uint32_t)keys[i];
        keys[i] = vk_byte_key(bytes, byte_dot_one(bytes->query, bytes->rows + (size_t)row * bytes->dimension, bytes->dimension), row);
    }
}

static void nearest(
    const uint8_t *rows, const float *scales, size_t count, const vk_centroids *centroids, size_t dimension, uint32_t *out) {
    for (size_t i = 0; i < count; i++) {
        float best = -__builtin_inff();
        out[i] = 0;
        for (size_t c = 0; c < centroids->count; c++) {
            int32_t product = byte_dot_one(centroids->bytes + c * dimension, rows + i * dimension, dimension);
            float score = (float)product * (scales[i] * centroids->scales[c]) - centroids->half_norms[c];
            if (score > best) {
                best = score;
                out[i] = (uint32_t)c;
            }
        }
    }
}

static void add_bytes(const uint8_t *bytes, size_t count, float factor, float *sum) {
    for (size_t i = 0; i < count; i++) sum[i] += (float)((int32_t)bytes[i] - 128) * factor;
}

static void finish_table(const float *table, float *lowest, float *highest) {
    *lowest = *highest = table[0];
    for (size_t c = 1; c < VK_CENTROIDS; c++) {
        if (table[c] < *lowest) *lowest = table[c];
        if (table[c] > *highest) *highest = table[c];
    }
}

static void dot_tables(
    const float *query, const float *centroids, const uint32_t *bounds, size_t subspaces, float *tables, float *lowest, float *highest) {
    for (size_t s = 0; s < subspaces; s++, tables += VK_CENTROIDS) {
        for (size_t c = 0; c < VK_CENTROIDS; c++) {
            float sum = 0;
            for (size_t i = bounds[s]; i < bounds[s + 1]; i++) sum += query[i] * centroids[i * VK_CENTROIDS + c];
            tables[c] = !(sum >= -VK_TABLE_LIMIT) ? -VK_TABLE_LIMIT : sum > VK_TABLE_LIMIT ? VK_TABLE_LIMIT : sum;
        }
        finish_table(tables, lowest + s, highest + s);
    }
}

static void quantize_tables(const float *tables, const float *lowest, size_t subspaces, float scale, uint8_t *bytes) {
    for (size_t s = 0; s < subspaces; s++)
        for (size_t c = 0; c < VK_CENTROIDS; c++) {
            float scaled = (tables[s * VK_CENTROIDS + c] - lowest[s]) * scale;
            bytes[s * VK_CENTROIDS + c] = (uint8_t)(int32_t)(scaled + 0.5f);
        }
}

static void encode(const float *vector, const float *centroids, const uint32_t *bounds, size_t subspaces, uint8_t *codes) {
    for (size_t s = 0; s < subspaces; s++) {
        float best = -__builtin_inff();
        codes[s] = 0;
        for (size_t c = 0; c < VK_CENTROIDS; c++) {
            float sum = 0;
            for (size_t i = bounds[s]; i < bounds[s + 1]; i++) {
                float difference = vector[i] - centroids[i * VK_CENTROIDS + c];
                sum -= difference * difference;
            }
            if (!(sum >= VK_LEAST_SUM)) sum = VK_LEAST_SUM;
            if (sum > best) {
                best = sum;
                codes[s] = (uint8_t)c;
            }
        }
    }
}

static size_t scan(const vk_codes *codes, const vk_span *spans, size_t span_count, int32_t floor, uint64_t *keys) {
    size_t found = 0;
    for (size_t s = 0; s < span_count; s++)
        for (uint32_t row = spans[s].begin; row < spans[s].end; row++) {
            if (codes->admitted && row < codes->admitted_rows && !(codes->admitted[row / 64] >> row % 64 & 1)) continue;
            const uint32_t place = (row - spans[s].begin) % VK_BLOCK, first = row - place;
            const size_t width = spans[s].end - first < VK_BLOCK ? spans[s].end - first : VK_BLOCK, at = (size_t)spans[s].place + (first - spans[s].begin);
            const uint8_t *block = codes->codes + at * codes->groups * 4;
            int32_t score = spans[s].base - (codes->biases[at + place] * codes->bias_weight >> 12);
            for (size_t subspace = 0; subspace < codes->groups * VK_GROUP; subspace++) {
                uint8_t pair = block[subspace / 8 * 4 * width + place * 4 + subspace % 4];
                score += codes->tables[subspace * VK_CENTROIDS + (subspace % 8 < 4 ? pair & 15 : pair >> 4)];
            }
            if (score > floor) keys[found++] = vk_key(score, row);
        }
    return found;
}

void vk_table_range(const float *lowest, const float *highest, size_t subspaces, float *base, float *widest) {
    float sums[8] = {0}, most[8] = {0};
    size_t s = 0;
    for (; s + 8 <= subspaces; s += 8)
        for (size_t lane = 0; lane < 8; lane++) {
            const float width = highest[s + lane] - lowest[s + lane];
            sums[lane] += lowest[s + lane];
            most[lane] = width > most[lane] ? width : most[lane];
        }
    for (size_t lane = 0; s < subspaces; s++, lane++) {
        const float width = highest[s] - lowest[s];
        sums[lane] += lowest[s];
        most[lane] = width > most[lane] ? width : most[lane];
    }
    *base = ((sums[0] + sums[4]) + (sums[1] + sums[5])) + ((sums[2] + sums[6]) + (sums[3] + sums[7]));
    *widest = 0;
    for (size_t lane = 0; lane < 8; lane++) *widest = most[lane] > *widest ? most[lane] : *widest;
}

const vk_kernels vk_portable = {
    floats_dot_one, floats_squared_distance_one, VK_ROWS(floats), VK_ROWS(halves), VK_ROWS(uint8s), VK_ROWS(int8s), to_bytes, add_bytes, score_bytes,
    nearest, dot_tables, quantize_tables, encode, scan, vk_keep_largest, vk_move_to_front, vk_copy_above,
};
