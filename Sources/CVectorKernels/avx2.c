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
#include "fetch_ahead.h"

// Four sums at once: of a, b, c, d.
VK_INLINE __m128i sums_of(__m256i a, __m256i b, __m256i c, __m256i d) {
    __m256i all = _mm256_hadd_epi32(_mm256_hadd_epi32(a, b), _mm256_hadd_epi32(c, d));
    return _mm_add_epi32(_mm256_castsi256_si128(all), _mm256_extracti128_si256(all, 1));
}

VK_INLINE __m256i words(const uint8_t *from) { return _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *)from)); }
VK_INLINE __m256i signed_words(const int8_t *from) { return _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)from)); }

// The products of `query_count` vectors of signed bytes with `row_count` rows of bytes, `[query_count, row_count]`, four or eight of them; rows' offset of 128 is in them. Words, not
// bytes: the products of two bytes would saturate.
VK_INLINE void byte_dots(
    const int8_t *const *queries, size_t query_count, const uint8_t *const *rows, size_t row_count, size_t dimension, int32_t *products) {
    static const int16_t last[32] = {[16] = -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1};
    __m256i sums[8];
    for (size_t pair = 0; pair < query_count * row_count; pair++) sums[pair] = _mm256_setzero_si256();
    // What is left after whole registers is read with some of what was before it, which counts nothing.
    for (size_t e = 0; dimension >= 16 && e < dimension; e += 16) {
        const size_t at = e + 16 <= dimension ? e : dimension - 16;
        __m256i parts[4];
        for (size_t r = 0; r < row_count; r++) parts[r] = words(rows[r] + at);
        for (size_t q = 0; q < query_count; q++) {
            __m256i values = signed_words(queries[q] + at);
            if (at < e) values = _mm256_and_si256(values, _mm256_loadu_si256((const __m256i *)(last + (dimension - e))));
            for (size_t r = 0; r < row_count; r++) sums[q * row_count + r] = _mm256_add_epi32(sums[q * row_count + r], _mm256_madd_epi16(parts[r], values));
        }
    }
    for (size_t pair = 0; pair < query_count * row_count; pair += 4)
        _mm_storeu_si128((__m128i *)(products + pair), sums_of(sums[pair], sums[pair + 1], sums[pair + 2], sums[pair + 3]));
    for (size_t q = 0; q < query_count && dimension < 16; q++)
        for (size_t r = 0; r < row_count; r++)
            for (size_t e = 0; e < dimension; e++) products[q * row_count + r] += (int32_t)rows[r][e] * queries[q][e];
}

// Rows scored at once.
#define VK_BYTE_ROWS 4

VK_TARGET static void score_bytes(const vk_bytes *bytes, uint64_t *keys, size_t count) {
    const size_t lead = rows_ahead(bytes, 2 * VK_BYTE_ROWS);
    int32_t offset = 0;
    for (size_t e = 0; e < bytes->dimension; e++) offset += 128 * bytes->query[e];
    for (size_t i = 0; i < count && i < lead; i++) fetch_row(bytes, keys[i]);
    for (size_t i = 0; i < count; i += VK_BYTE_ROWS) {
        const size_t here = count - i < VK_BYTE_ROWS ? count - i : VK_BYTE_ROWS;
        uint32_t number[VK_BYTE_ROWS];
        const uint8_t *rows[VK_BYTE_ROWS];
        for (size_t r = 0; r < VK_BYTE_ROWS; r++) {
            number[r] = ~(uint32_t)keys[r < here ? i + r : i];
            rows[r] = bytes->rows + (size_t)number[r] * bytes->dimension;
            if (i + r + lead < count) fetch_row(bytes, keys[i + r + lead]);
        }
        int32_t products[VK_BYTE_ROWS];
        byte_dots(&bytes->query, 1, rows, VK_BYTE_ROWS, bytes->dimension, products);
        for (size_t r = 0; r < here; r++) keys[i + r] = vk_byte_key(bytes, products[r] - offset, number[r]);
    }
}

// Two rows with four centroids at a time: each register loaded serves two or four products.
VK_TARGET static void nearest(
    const uint8_t *rows, const float *scales, size_t count, const vk_centroids *centroids, size_t dimension, uint32_t *out) {
    for (size_t i = 0; i < count; i += 2) {
        const size_t row_count = count - i < 2 ? 1 : 2;
        const uint8_t *pair[2] = {rows + i * dimension, rows + (i + row_count - 1) * dimension};
        float best[2] = {-__builtin_inff(), -__builtin_inff()};
        uint32_t chosen[2] = {0, 0};
        for (size_t c = 0; c < centroids->count; c += 4) {
            const size_t width = centroids->count - c < 4 ? centroids->count - c : 4;
            const int8_t *four[4];
            for (size_t k = 0; k < 4; k++) four[k] = centroids->bytes + (k < width ? c + k : c) * dimension;
            int32_t products[8];
            byte_dots(four, 4, pair, 2, dimension, products);
            for (size_t k = 0; k < width; k++) {
                for (size_t r = 0; r < row_count; r++) {
                    const float product = (float)(products[2 * k + r] - centroids->offsets[c + k]);
                    const float score = product * (scales[i + r] * centroids->scales[c + k]) - centroids->half_norms[c + k];
                    if (score > best[r]) {
                        best[r] = score;
                        chosen[r] = (uint32_t)(c + k);
                    }
                }
            }
        }
        for (size_t r = 0; r < row_count; r++) out[i + r] = chosen[r];
    }
}

// Adds the entries of one group to sums of 16 bits: of its bytes at even places, and at odd ones. `even` takes the odd bytes along, 256 times; see `widen`.
//
// The layout suits VPERMB, which this instruction set lacks: the four subspaces of a row are brought apart first.
VK_INLINE void add_group(__m256i a, __m256i b, const uint8_t *tables, __m256i *even, __m256i *odd) {
    const __m256i nibble = _mm256_set1_epi8(15);
    const __m256i apart = _mm256_setr_epi8(
        0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15, 0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    // A quarter holds 4 rows with 4 subspaces each; afterwards four bytes of each subspace stand together.
    a = _mm256_shuffle_epi8(a, apart);
    b = _mm256_shuffle_epi8(b, apart);
    // Rows 0–3 and 8–11 of subspaces 0 1 | 4–7 and 12–15; then the four quarters of a subspace together.
    __m256i low = _mm256_unpacklo_epi32(a, b), high = _mm256_unpackhi_epi32(a, b);
    // low: [s0 r0-3, s0 r8-11, s1 r0-3, s1 r8-11 | s0 r4-7, s0 r12-15, s1 r4-7, s1 r12-15]; high: the same of s2, s3.
    const __m256i both[2] = {_mm256_permute4x64_epi64(low, 0xd8), _mm256_permute4x64_epi64(high, 0xd8)};
    // [s0 r0-3 r8-11 r4-7 r12-15 | s1 …], and of s2, s3: each half looks into the table of its subspace, which stand one behind the other.
    for (size_t part = 0; part < 2; part++) {
        for (size_t half = 0; half < 2; half++) {
            const __m256i nibbles = _mm256_and_si256(part ? _mm256_srli_epi16(both[half], 4) : both[half], nibble);
            const __m256i found = _mm256_shuffle_epi8(_mm256_loadu_si256((const __m256i *)(tables + 64 * part + 32 * half)), nibbles);
            *even = _mm256_add_epi16(*even, found);
            *odd = _mm256_add_epi16(*odd, _mm256_srli_epi16(found, 8));
        }
    }
}

// Groups whose entries add up to less than 2^16 for each row.
#define VK_NARROW_GROUPS 32

// Adds what `add_group` has gathered to the sums of rows 0–7 and 8–15.
VK_INLINE void widen(__m256i even, __m256i odd, __m256i sums[2]) {
    even = _mm256_sub_epi16(even, _mm256_slli_epi16(odd, 8));
    // Rows 0 2 8 10 4 6 12 14, and one more each.
    const __m128i e = _mm_add_epi16(_mm256_castsi256_si128(even), _mm256_extracti128_si256(even, 1));
    const __m128i o = _mm_add_epi16(_mm256_castsi256_si128(odd), _mm256_extracti128_si256(odd, 1));
    const __m128i low = _mm_unpacklo_epi16(e, o), high = _mm_unpackhi_epi16(e, o);
    sums[0] = _mm256_add_epi32(sums[0], _mm256_cvtepu16_epi32(_mm_unpacklo_epi64(low, high)));
    sums[1] = _mm256_add_epi32(sums[1], _mm256_cvtepu16_epi32(_mm_unpackhi_epi64(low, high)));
}

// The sums of a block's rows, `width` of them, added to `sums`; a line of what comes later is fetched for each one read.
VK_INLINE void add_codes(const uint8_t *tables, size_t groups, const uint8_t *from, size_t width, __m256i sums[2], const uint8_t *ahead, int streams) {
    const __m256i lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7), wide = _mm256_set1_epi32((int)width);
    const __m256i low = _mm256_cmpgt_epi32(wide, lanes), high = _mm256_cmpgt_epi32(_mm256_sub_epi32(wide, _mm256_set1_epi32(8)), lanes);
    for (size_t first = 0; first < groups; first += VK_NARROW_GROUPS) {
        const size_t end = groups - first < VK_NARROW_GROUPS ? groups : first + VK_NARROW_GROUPS;
        __m256i even = _mm256_setzero_si256(), odd = even;
        for (size_t group = first; group < end; group++, from += 4 * width, ahead += 64) {
            fetch(ahead, streams);
            const __m256i a = width == VK_BLOCK ? _mm256_loadu_si256((const __m256i *)from) : _mm256_maskload_epi32((const int *)from, low);
            const __m256i b = width == VK_BLOCK ? _mm256_loadu_si256((const __m256i *)(from + 32)) : _mm256_maskload_epi32((const int *)(from + 32), high);
            add_group(a, b, tables + 128 * group, &even, &odd);
        }
        widen(even, odd, sums);
    }
}

VK_TARGET static size_t scan(const vk_codes *codes, const vk_span *spans, size_t span_count, int32_t floor, uint64_t *keys) {
    if (!span_count) return 0;
    const __m256i weight = _mm256_set1_epi32(codes->bias_weight), least = _mm256_set1_epi32(floor);
    const size_t groups = codes->groups, row_size = 4 * groups;
    vk_ahead ahead = {.span = spans, .end = spans + span_count};
    enter_span(&ahead, codes, row_size);
    for (size_t bytes = 0; bytes < VK_BYTES_AHEAD; bytes += VK_BLOCK * row_size) step_ahead(&ahead, codes, row_size, codes->codes);
    size_t found = 0;
    for (size_t s = 0; s < span_count; s++) {
        const uint32_t begin = spans[s].begin, end = spans[s].end;
        const uint64_t *admitted = begin < codes->admitted_rows ? codes->admitted : 0;
        const uint8_t *span_codes = codes->codes + spans[s].place * row_size, *span_biases = codes->biases + spans[s].place;
        for (uint32_t first = begin; first < end; first += VK_BLOCK) {
            const uint32_t width = end - first < VK_BLOCK ? end - first : VK_BLOCK;
            uint32_t mask = (1u << width) - 1;
            const uint8_t *from = span_codes + (first - begin) * row_size, *biases = span_biases + (first - begin);
            const int streams = ahead.streams;
            const uint8_t *next = step_ahead(&ahead, codes, row_size, from);
            if (admitted && !(mask &= vk_admitted(admitted, first, width))) continue;
            uint8_t part[VK_BLOCK] = {0};
            if (width != VK_BLOCK) biases = memcpy(part, biases, width);
            __m256i sums[2];
            for (int half = 0; half < 2; half++) {
                __m256i bias = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(biases + half * 8)));
                sums[half] = _mm256_sub_epi32(_mm256_set1_epi32(spans[s].base), _mm256_srai_epi32(_mm256_mullo_epi32(bias, weight), 12));
            }
            if (width != VK_BLOCK) add_codes(codes->tables, groups, from, width, sums, next, 0);
            else if (streams) add_codes(codes->tables, groups, from, VK_BLOCK, sums, next, 1);
            else add_codes(codes->tables, groups, from, VK_BLOCK, sums, next, 0);
            mask &= (uint32_t)_mm256_movemask_ps(_mm256_castsi256_ps(_mm256_cmpgt_epi32(sums[0], least))) |
                    (uint32_t)_mm256_movemask_ps(_mm256_castsi256_ps(_mm256_cmpgt_epi32(sums[1], least))) << 8;
            if (!mask) continue;
            int32_t scores[VK_BLOCK];
            _mm256_storeu_si256((__m256i *)scores, sums[0]);
            _mm256_storeu_si256((__m256i *)(scores + 8), sums[1]);
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
