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

static float dot(const float *a, const float *b, size_t dimension) {
    float sums[VK_SUMS] = {0};
    for (size_t i = 0; i < dimension; i++) sums[i % VK_SUMS] += a[i] * b[i];
    return vk_sum_in_order(sums);
}

static float squared_distance(const float *a, const float *b, size_t dimension) {
    float sums[VK_SUMS] = {0};
    for (size_t i = 0; i < dimension; i++) {
        float difference = a[i] - b[i];
        sums[i % VK_SUMS] += difference * difference;
    }
    return vk_sum_in_order(sums);
}

static void dot_rows(const float *query, const float *rows, size_t count, size_t dimension, float *out) {
    for (size_t row = 0; row < count; row++) out[row] = dot(query, rows + row * dimension, dimension);
}

static void squared_distance_rows(const float *query, const float *rows, size_t count, size_t dimension, float *out) {
    for (size_t row = 0; row < count; row++) out[row] = squared_distance(query, rows + row * dimension, dimension);
}

static void dot_gather(const float *query, const float *rows, const uint32_t *indices, size_t count, size_t dimension, float *out) {
    for (size_t i = 0; i < count; i++) out[i] = dot(query, rows + (size_t)indices[i] * dimension, dimension);
}

static void squared_distance_gather(
    const float *query, const float *rows, const uint32_t *indices, size_t count, size_t dimension, float *out) {
    for (size_t i = 0; i < count; i++) out[i] = squared_distance(query, rows + (size_t)indices[i] * dimension, dimension);
}

static size_t largest_difference(const float *a, const float *b, size_t count) {
    size_t best = 0;
    float largest = -__builtin_inff();
    for (size_t i = 0; i < count; i++) {
        float difference = a[i] - b[i];
        if (difference > largest) {
            largest = difference;
            best = i;
        }
    }
    return best;
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
            tables[c] = sum;
        }
        finish_table(tables, lowest + s, highest + s);
    }
}

static void negated_distance_tables(
    const float *query, const float *centroids, const uint32_t *bounds, size_t subspaces, float *tables, float *lowest, float *highest) {
    for (size_t s = 0; s < subspaces; s++, tables += VK_CENTROIDS) {
        for (size_t c = 0; c < VK_CENTROIDS; c++) {
            float sum = 0;
            for (size_t i = bounds[s]; i < bounds[s + 1]; i++) {
                float difference = query[i] - centroids[i * VK_CENTROIDS + c];
                sum -= difference * difference;
            }
            tables[c] = sum;
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
        float table[VK_CENTROIDS], lowest, highest;
        uint32_t part[2] = {0, bounds[s + 1] - bounds[s]};
        negated_distance_tables(vector + bounds[s], centroids + bounds[s] * VK_CENTROIDS, part, 1, table, &lowest, &highest);
        uint8_t nearest = 0;
        while (nearest < VK_CENTROIDS - 1 && table[nearest] != highest) nearest++;
        codes[s] = nearest;
    }
}

static size_t scan(
    const uint8_t *codes, size_t groups, const uint8_t *tables, size_t block_count, const uint32_t *admitted, int32_t floor,
    uint32_t *rows, uint16_t *sums) {
    size_t found = 0;
    for (size_t block = 0; block < block_count; block++, codes += groups * 64) {
        for (size_t row = 0; row < VK_BLOCK; row++) {
            if (admitted && !(admitted[block] >> row & 1)) continue;
            int32_t sum = 0;
            for (size_t subspace = 0; subspace < groups * VK_GROUP; subspace++) {
                uint8_t pair = codes[subspace * 16 + row % 16];
                sum += tables[subspace * VK_CENTROIDS + (row < 16 ? pair & 15 : pair >> 4)];
            }
            if (sum <= floor) continue;
            rows[found] = (uint32_t)(block * VK_BLOCK + row);
            sums[found++] = (uint16_t)sum;
        }
    }
    return found;
}

const vk_kernels vk_portable = {
    dot, squared_distance, dot_rows, squared_distance_rows, dot_gather, squared_distance_gather, largest_difference,
    dot_tables, negated_distance_tables,
    quantize_tables, encode, scan,
};
