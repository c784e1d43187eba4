#if defined(__x86_64__)
#include <immintrin.h>
#include <stdint.h>
#define VK_TARGET __attribute__((target("avx2,f16c")))
#define VK_LOAD_TAIL(from, count, out) load_tail((from), (count), (float *)(out))

VK_TARGET static inline __attribute__((always_inline)) void load_tail(const float *from, size_t count, float *out) {
    const __m256i lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    __m256i low = _mm256_cmpgt_epi32(_mm256_set1_epi32((int)count), lanes);
    __m256i high = _mm256_cmpgt_epi32(_mm256_set1_epi32((int)count - 8), lanes);
    _mm256_storeu_ps(out, _mm256_maskload_ps(from, low));
    _mm256_storeu_ps(out + 8, _mm256_maskload_ps(from + 8, high));
}

VK_TARGET static inline __attribute__((always_inline)) void load_halves(const uint16_t *from, float *out) {
    _mm256_storeu_ps(out, _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)from)));
    _mm256_storeu_ps(out + 8, _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(from + 8))));
}

#include "float_variant.h"

VK_INLINE int32_t sum_of(__m256i lanes) {
    __m128i four = _mm_add_epi32(_mm256_castsi256_si128(lanes), _mm256_extracti128_si256(lanes, 1));
    __m128i two = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0x4e));
    return _mm_cvtsi128_si32(_mm_add_epi32(two, _mm_shuffle_epi32(two, 0xb1)));
}

// Words, not bytes: the products of two bytes would saturate.
VK_INLINE int32_t byte_dot_one(const int8_t *query, const uint8_t *row, size_t dimension) {
    const __m256i all128 = _mm256_set1_epi16(128);
    __m256i sums = _mm256_setzero_si256();
    size_t i = 0;
    for (; i + 16 <= dimension; i += 16) {
        __m256i r = _mm256_sub_epi16(_mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *)(row + i))), all128);
        sums = _mm256_add_epi32(sums, _mm256_madd_epi16(r, _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(query + i)))));
    }
    int32_t sum = sum_of(sums);
    for (; i < dimension; i++) sum += ((int32_t)row[i] - 128) * query[i];
    return sum;
}

VK_TARGET static void score_bytes(const vk_bytes *bytes, uint64_t *keys, size_t count) {
    const size_t dimension = bytes->dimension;
    for (size_t i = 0; i < count; i++) {
        if (i + 2 * VK_FETCH_AHEAD < count) {
            const char *next = (const char *)(bytes->rows + (size_t)(uint32_t)~keys[i + 2 * VK_FETCH_AHEAD] * dimension);
            for (size_t byte = 0; byte < dimension; byte += 64) __builtin_prefetch(next + byte);
        }
        const uint32_t row = ~(uint32_t)keys[i];
        keys[i] = vk_byte_key(bytes, byte_dot_one(bytes->query, bytes->rows + (size_t)row * dimension, dimension), row);
    }
}

VK_TARGET static void nearest(
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

// The entries that 16 nibbles of one subspace look up, per half of the register.
VK_INLINE __m256i entries(__m256i nibbles, const uint8_t *low_table, const uint8_t *high_table) {
    __m256i table = _mm256_inserti128_si256(
        _mm256_castsi128_si256(_mm_loadu_si128((const __m128i *)low_table)), _mm_loadu_si128((const __m128i *)high_table), 1);
    return _mm256_shuffle_epi8(table, nibbles);
}

// Sums of the entries of one group: of rows 0–7 in `sums[0]`, of rows 8–15 in `sums[1]`, 32 bits each.
//
// The layout suits VPERMB, which this instruction set lacks: the four subspaces of a row are brought apart first.
VK_INLINE void add_group(const uint8_t *from, const uint8_t *tables, __m256i sums[2]) {
    const __m256i nibble = _mm256_set1_epi8(15);
    const __m256i apart = _mm256_setr_epi8(
        0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15, 0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    // A quarter holds 4 rows with 4 subspaces each; afterwards four bytes of each subspace stand together.
    __m256i a = _mm256_shuffle_epi8(_mm256_loadu_si256((const __m256i *)from), apart);
    __m256i b = _mm256_shuffle_epi8(_mm256_loadu_si256((const __m256i *)(from + 32)), apart);
    // Rows 0–3 and 8–11 of subspaces 0 1 | 4–7 and 12–15; then the four quarters of a subspace together.
    __m256i low = _mm256_unpacklo_epi32(a, b), high = _mm256_unpackhi_epi32(a, b);
    // low: [s0 r0-3, s0 r8-11, s1 r0-3, s1 r8-11 | s0 r4-7, s0 r12-15, s1 r4-7, s1 r12-15]; high: the same of s2, s3.
    __m256i s01 = _mm256_permute4x64_epi64(low, 0xd8), s23 = _mm256_permute4x64_epi64(high, 0xd8);
    // s01: [s0 r0-3 r8-11 r4-7 r12-15 | s1 …].
    for (int part = 0; part < 2; part++) {
        const uint8_t *table = tables + part * 64;
        __m256i x = _mm256_and_si256(part ? _mm256_srli_epi16(s01, 4) : s01, nibble);
        __m256i y = _mm256_and_si256(part ? _mm256_srli_epi16(s23, 4) : s23, nibble);
        x = entries(x, table, table + 16);
        y = entries(y, table + 32, table + 48);
        // Bytes of s0 and s2, of s1 and s3 side by side: one instruction adds each pair to words.
        const __m256i byte_ones = _mm256_set1_epi8(1);
        __m256i first = _mm256_maddubs_epi16(_mm256_unpacklo_epi8(x, y), byte_ones);   // rows 0-3, 8-11 per half
        __m256i second = _mm256_maddubs_epi16(_mm256_unpackhi_epi8(x, y), byte_ones);  // rows 4-7, 12-15 per half
        __m128i early = _mm_add_epi16(_mm256_castsi256_si128(first), _mm256_extracti128_si256(first, 1));
        __m128i late = _mm_add_epi16(_mm256_castsi256_si128(second), _mm256_extracti128_si256(second, 1));
        sums[0] = _mm256_add_epi32(sums[0], _mm256_cvtepu16_epi32(_mm_unpacklo_epi64(early, late)));
        sums[1] = _mm256_add_epi32(sums[1], _mm256_cvtepu16_epi32(_mm_unpackhi_epi64(early, late)));
    }
}

VK_TARGET static size_t scan(const vk_codes *codes, const vk_span *spans, size_t span_count, int32_t floor, uint64_t *keys) {
    const __m256i weight = _mm256_set1_epi32(codes->bias_weight), least = _mm256_set1_epi32(floor);
    size_t found = 0;
    for (size_t s = 0; s < span_count; s++) {
        const uint32_t begin = spans[s].begin, end = spans[s].end;
        const uint64_t *admitted = begin < codes->admitted_rows ? codes->admitted : 0;
        const uint8_t *span_codes = codes->codes + (size_t)spans[s].place * codes->groups * 4, *span_biases = codes->biases + spans[s].place;
        for (uint32_t first = begin; first < end; first += VK_BLOCK) {
            const uint32_t width = end - first < VK_BLOCK ? end - first : VK_BLOCK;
            uint32_t mask = (1u << width) - 1;
            if (admitted && !(mask &= vk_admitted(admitted, first, width))) continue;
            const uint8_t *from = span_codes + (size_t)(first - begin) * codes->groups * 4, *table = codes->tables;
            uint8_t part[64] = {0}, biases[VK_BLOCK] = {0};
            memcpy(biases, span_biases + (first - begin), width);
            __m256i sums[2];
            for (int half = 0; half < 2; half++) {
                __m256i bias = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(biases + half * 8)));
                sums[half] = _mm256_sub_epi32(_mm256_set1_epi32(spans[s].base), _mm256_srai_epi32(_mm256_mullo_epi32(bias, weight), 12));
            }
            for (size_t group = 0; group < codes->groups; group++, from += 4 * width, table += 128) {
                if (width < VK_BLOCK) memcpy(part, from, 4 * width);
                add_group(width < VK_BLOCK ? part : from, table, sums);
            }
            int32_t scores[VK_BLOCK];
            _mm256_storeu_si256((__m256i *)scores, sums[0]);
            _mm256_storeu_si256((__m256i *)(scores + 8), sums[1]);
            mask &= (uint32_t)_mm256_movemask_ps(_mm256_castsi256_ps(_mm256_cmpgt_epi32(sums[0], least))) |
                    (uint32_t)_mm256_movemask_ps(_mm256_castsi256_ps(_mm256_cmpgt_epi32(sums[1], least))) << 8;
            for (; mask; mask &= mask - 1) {
                const uint32_t row = (uint32_t)__builtin_ctz(mask);
                keys[found++] = vk_key(scores[row], first + row);
            }
        }
    }
    return found;
}

const vk_kernels vk_avx2 = {
    dot, squared_distance, VK_ROWS(floats), VK_ROWS(halves), VK_ROWS(uint8s), VK_ROWS(int8s), to_bytes, add_bytes, score_bytes,
    nearest, dot_tables, quantize_tables, encode, scan, vk_keep_largest, vk_move_to_front, vk_copy_above,
};
#endif
