#if defined(__x86_64__)
#include <immintrin.h>
#include <stdint.h>
#define VK_TARGET __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vnni,avx2")))
#define VK_LOAD_TAIL(from, count, out) (*(out) = (floats)_mm512_maskz_loadu_ps((__mmask16)((1u << (count)) - 1), (from)))

VK_TARGET static inline __attribute__((always_inline)) void load_halves(const uint16_t *from, float *out) {
    _mm512_storeu_ps(out, _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)from)));
}

// The least (or greatest) of each of 16 rows of 16 floats: all rows at once, by halves.
#define VK_TREE(name, better)                                                                                                                   \
    VK_TARGET static inline __attribute__((always_inline)) __m512 name(const float *rows) {                                                     \
        __m512 quarters[4];                                                                                                                     \
        for (size_t q = 0; q < 4; q++) {                                                                                                        \
            const float *from = rows + 64 * q;                                                                                                  \
            __m512 a = _mm512_loadu_ps(from), b = _mm512_loadu_ps(from + 16), c = _mm512_loadu_ps(from + 32), d = _mm512_loadu_ps(from + 48);   \
            __m512d ab = _mm512_castps_pd(better(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b)));                                          \
            __m512d cd = _mm512_castps_pd(better(_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d)));                                          \
            quarters[q] = better(_mm512_castpd_ps(_mm512_unpacklo_pd(ab, cd)), _mm512_castpd_ps(_mm512_unpackhi_pd(ab, cd)));                   \
        }                                                                                                                                       \
        __m512 low = better(_mm512_shuffle_f32x4(quarters[0], quarters[1], 0x44), _mm512_shuffle_f32x4(quarters[0], quarters[1], 0xee));        \
        __m512 high = better(_mm512_shuffle_f32x4(quarters[2], quarters[3], 0x44), _mm512_shuffle_f32x4(quarters[2], quarters[3], 0xee));       \
        return better(_mm512_shuffle_f32x4(low, high, 0x88), _mm512_shuffle_f32x4(low, high, 0xdd));                                            \
    }
VK_TREE(least_of_rows, _mm512_min_ps)
VK_TREE(greatest_of_rows, _mm512_max_ps)
#define VK_EXTREMES(rows, lowest, highest) (_mm512_storeu_ps(lowest, least_of_rows(rows)), _mm512_storeu_ps(highest, greatest_of_rows(rows)))

#include "float_variant.h"
#include "fetch_ahead.h"

// The first `count` < 64 bytes; zeros after them.
VK_INLINE __m512i load_bytes(const void *from, size_t count) { return _mm512_maskz_loadu_epi8((1ull << count) - 1, from); }

VK_INLINE int32_t sum_of(__m512i lanes) { return _mm512_reduce_add_epi32(lanes); }

// Four sums at once: of a, b, c, d.
VK_INLINE __m128i sums_of(__m512i a, __m512i b, __m512i c, __m512i d) {
    __m512i ab = _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
    __m512i cd = _mm512_add_epi32(_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
    __m512i all = _mm512_add_epi32(_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd));
    __m256i half = _mm256_add_epi32(_mm512_castsi512_si256(all), _mm512_extracti64x4_epi64(all, 1));
    return _mm_add_epi32(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
}

// 128 times the sum of signed bytes: what the rows' offset of 128 adds to a product with them.
VK_INLINE int32_t offset_of(const int8_t *bytes, size_t count) {
    const __m512i all128 = _mm512_set1_epi8((char)128);
    __m512i sums = _mm512_setzero_si512();
    size_t i = 0;
    for (; i + 64 <= count; i += 64) sums = _mm512_dpbusd_epi32(sums, all128, _mm512_loadu_si512(bytes + i));
    if (i < count) sums = _mm512_dpbusd_epi32(sums, all128, load_bytes(bytes + i, count - i));
    return sum_of(sums);
}

// Rows scored at once: as many independent sums as hide the multiplication's latency.
#define VK_BYTE_ROWS 4

VK_TARGET static void score_bytes(const vk_bytes *bytes, uint64_t *keys, size_t count) {
    const size_t dimension = bytes->dimension, whole = dimension & ~(size_t)63, rest = dimension - whole;
    const int8_t *query = bytes->query;
    const int32_t offset = offset_of(query, dimension);
    const __m512i tail = load_bytes(query + whole, rest);
    const size_t lead = rows_ahead(bytes, 2 * VK_BYTE_ROWS);
    for (size_t i = 0; i < count && i < lead; i++) fetch_row(bytes, keys[i]);
    for (size_t i = 0; i < count; i += VK_BYTE_ROWS) {
        const size_t here = count - i < VK_BYTE_ROWS ? count - i : VK_BYTE_ROWS;
        uint32_t number[VK_BYTE_ROWS];
        const uint8_t *row[VK_BYTE_ROWS];
        for (size_t r = 0; r < VK_BYTE_ROWS; r++) {
            number[r] = ~(uint32_t)keys[r < here ? i + r : i];
            row[r] = bytes->rows + (size_t)number[r] * dimension;
            if (i + r + lead < count) fetch_row(bytes, keys[i + r + lead]);
        }
        __m512i a = _mm512_setzero_si512(), b = a, c = a, d = a;
        for (size_t e = 0; e < whole; e += 64) {
            __m512i part = _mm512_loadu_si512(query + e);
            a = _mm512_dpbusd_epi32(a, _mm512_loadu_si512(row[0] + e), part);
            b = _mm512_dpbusd_epi32(b, _mm512_loadu_si512(row[1] + e), part);
            c = _mm512_dpbusd_epi32(c, _mm512_loadu_si512(row[2] + e), part);
            d = _mm512_dpbusd_epi32(d, _mm512_loadu_si512(row[3] + e), part);
        }
        if (rest) {
            a = _mm512_dpbusd_epi32(a, load_bytes(row[0] + whole, rest), tail);
            b = _mm512_dpbusd_epi32(b, load_bytes(row[1] + whole, rest), tail);
            c = _mm512_dpbusd_epi32(c, load_bytes(row[2] + whole, rest), tail);
            d = _mm512_dpbusd_epi32(d, load_bytes(row[3] + whole, rest), tail);
        }
        int32_t products[VK_BYTE_ROWS];
        _mm_storeu_si128((__m128i *)products, _mm_sub_epi32(sums_of(a, b, c, d), _mm_set1_epi32(offset)));
        for (size_t r = 0; r < here; r++) keys[i + r] = vk_byte_key(bytes, products[r], number[r]);
    }
}

VK_INLINE __m512i load_part(const void *from, size_t count) { return count == 64 ? _mm512_loadu_si512(from) : load_bytes(from, count); }

// Lane 4·k + r of the result: the sum of sums[k][r].
VK_INLINE __m512i sums_of_all(__m512i sums[4][4]) {
    __m512i rows[4];
    for (size_t k = 0; k < 4; k++) {
        __m512i ab = _mm512_add_epi32(_mm512_unpacklo_epi32(sums[k][0], sums[k][1]), _mm512_unpackhi_epi32(sums[k][0], sums[k][1]));
        __m512i cd = _mm512_add_epi32(_mm512_unpacklo_epi32(sums[k][2], sums[k][3]), _mm512_unpackhi_epi32(sums[k][2], sums[k][3]));
        rows[k] = _mm512_add_epi32(_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd));
    }
    __m512i low = _mm512_add_epi32(_mm512_shuffle_i32x4(rows[0], rows[1], 0x44), _mm512_shuffle_i32x4(rows[0], rows[1], 0xee));
    __m512i high = _mm512_add_epi32(_mm512_shuffle_i32x4(rows[2], rows[3], 0x44), _mm512_shuffle_i32x4(rows[2], rows[3], 0xee));
    return _mm512_add_epi32(_mm512_shuffle_i32x4(low, high, 0x88), _mm512_shuffle_i32x4(low, high, 0xdd));
}

// Four rows with four centroids at a time: each register loaded serves four products. A lane keeps the best of every fourth centroid.
VK_TARGET static void nearest(
    const uint8_t *rows, const float *scales, size_t count, const vk_centroids *centroids, size_t dimension, uint32_t *out) {
    const __m512i quarter = _mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3);
    for (size_t i = 0; i < count; i += 4) {
        const size_t row_count = count - i < 4 ? count - i : 4;
        const uint8_t *row[4];
        float row_scales[4];
        for (size_t r = 0; r < 4; r++) {
            size_t here = r < row_count ? i + r : i;
            row[r] = rows + here * dimension;
            row_scales[r] = scales[here];
        }
        const __m512 unit = _mm512_broadcast_f32x4(_mm_loadu_ps(row_scales));
        __m512 best = _mm512_set1_ps(-__builtin_inff());
        __m512i chosen = _mm512_setzero_si512();
        for (size_t c = 0; c < centroids->count; c += 4) {
            const size_t width = centroids->count - c < 4 ? centroids->count - c : 4;
            const int8_t *centroid[4];
            for (size_t k = 0; k < 4; k++) centroid[k] = centroids->bytes + (k < width ? c + k : c) * dimension;
            __m512i sums[4][4];
            for (size_t k = 0; k < 4; k++)
                for (size_t r = 0; r < 4; r++) sums[k][r] = _mm512_setzero_si512();
            for (size_t e = 0; e < dimension; e += 64) {
                const size_t size = dimension - e < 64 ? dimension - e : 64;
                __m512i parts[4];
                for (size_t r = 0; r < 4; r++) parts[r] = load_part(row[r] + e, size);
                for (size_t k = 0; k < 4; k++) {
                    __m512i values = load_part(centroid[k] + e, size);
                    for (size_t r = 0; r < 4; r++) sums[k][r] = _mm512_dpbusd_epi32(sums[k][r], parts[r], values);
                }
            }
            const __mmask8 there = (__mmask8)((1u << width) - 1);
            __m512i offsets = _mm512_permutexvar_epi32(quarter, _mm512_castsi128_si512(_mm_maskz_loadu_epi32(there, centroids->offsets + c)));
            __m512 scale = _mm512_permutexvar_ps(quarter, _mm512_castps128_ps512(_mm_maskz_loadu_ps(there, centroids->scales + c)));
            __m512 half_norms = _mm512_permutexvar_ps(quarter, _mm512_castps128_ps512(_mm_maskz_loadu_ps(there, centroids->half_norms + c)));
            __m512 products = _mm512_cvtepi32_ps(_mm512_sub_epi32(sums_of_all(sums), offsets));
            __m512 score = _mm512_sub_ps(_mm512_mul_ps(products, _mm512_mul_ps(unit, scale)), half_norms);
            __mmask16 better = _mm512_cmp_ps_mask(score, best, _CMP_GT_OQ) & (__mmask16)((1u << 4 * width) - 1);
            best = _mm512_mask_mov_ps(best, better, score);
            chosen = _mm512_mask_add_epi32(chosen, better, quarter, _mm512_set1_epi32((int32_t)c));
        }
        float scores[16];
        uint32_t numbers[16];
        _mm512_storeu_ps(scores, best);
        _mm512_storeu_si512(numbers, chosen);
        for (size_t r = 0; r < row_count; r++) {
            size_t lane = r;
            for (size_t other = r + 4; other < 16; other += 4)
                if (scores[other] > scores[lane] || (scores[other] == scores[lane] && numbers[other] < numbers[lane])) lane = other;
            out[i + r] = numbers[lane];
        }
    }
}

// Groups whose tables fit into registers, two each of 32.
#define VK_HELD_GROUPS 8

// The sums of a block's rows, `width` of them, from `sums` on. One instruction looks up 64 nibbles in a table of 4 subspaces (VPERMB), one adds
// the four that belong to a row (VPDPBUSD). Meanwhile a line of what comes later is fetched for each one read.
//
// `streams`: see `fetch`.
//
// `groups` and `held`, where they are constants, let the compiler keep all tables in registers: three loads a group, of two halves each, are more than the rest of the work.
VK_INLINE __m512i add_codes(
    const uint8_t *tables, const __m512i *held, size_t groups, const uint8_t *from, size_t width, __m512i sums, const uint8_t *ahead, int streams) {
    const __m512i nibble = _mm512_set1_epi8(15), ones = _mm512_set1_epi8(1);
    const __m512i quarter = _mm512_set1_epi32(0x30201000);  // byte t of a row looks into quarter t of the table
    const __mmask16 there = (__mmask16)((1u << width) - 1);
    // Four sums, as each add waits for the one before it.
    __m512i sum[4] = {sums, _mm512_setzero_si512(), _mm512_setzero_si512(), _mm512_setzero_si512()};
#pragma clang loop unroll_count(VK_HELD_GROUPS)
    for (size_t group = 0; group < groups; group++, from += 4 * width, ahead += 64) {
        fetch(ahead, streams);
        __m512i pair = width == VK_BLOCK ? _mm512_loadu_si512(from) : _mm512_maskz_loadu_epi32(there, from);
        // 0xEA: (a and b) or c.
        __m512i l = _mm512_ternarylogic_epi32(pair, nibble, quarter, 0xEA);
        __m512i h = _mm512_ternarylogic_epi32(_mm512_srli_epi32(pair, 4), nibble, quarter, 0xEA);
        __m512i *low = sum + (group & 1), *high = low + 2;
        *low = _mm512_dpbusd_epi32(*low, _mm512_permutexvar_epi8(l, held ? held[2 * group] : _mm512_loadu_si512(tables + 128 * group)), ones);
        *high = _mm512_dpbusd_epi32(*high, _mm512_permutexvar_epi8(h, held ? held[2 * group + 1] : _mm512_loadu_si512(tables + 128 * group + 64)), ones);
    }
    return _mm512_add_epi32(_mm512_add_epi32(sum[0], sum[1]), _mm512_add_epi32(sum[2], sum[3]));
}

// The same of two whole blocks, one behind the other, where tables do not stay in registers: each is loaded once for both. Meanwhile two blocks are fetched,
// in a long span in the order in which their lines lie.
VK_INLINE void add_codes_twice(const uint8_t *tables, size_t groups, const uint8_t *from, __m512i sums[2], const uint8_t *ahead, const uint8_t *further, int streams) {
    const __m512i nibble = _mm512_set1_epi8(15), ones = _mm512_set1_epi8(1), quarter = _mm512_set1_epi32(0x30201000);
    __m512i low[2] = {sums[0], sums[1]}, high[2] = {_mm512_setzero_si512(), _mm512_setzero_si512()};
    const uint8_t *second = from + 64 * groups;
    const size_t step = streams && further == ahead + 64 * groups ? 128 : 64;
    if (step == 128) further = ahead + 64;
#pragma clang loop unroll_count(4)
    for (size_t group = 0; group < groups; group++, from += 64, second += 64, tables += 128, ahead += step, further += step) {
        fetch(ahead, streams);
        fetch(further, streams);
        const __m512i low_table = _mm512_loadu_si512(tables), high_table = _mm512_loadu_si512(tables + 64);
        for (size_t block = 0; block < 2; block++) {
            const __m512i pair = _mm512_loadu_si512(block ? second : from);
            const __m512i l = _mm512_ternarylogic_epi32(pair, nibble, quarter, 0xEA);
            const __m512i h = _mm512_ternarylogic_epi32(_mm512_srli_epi32(pair, 4), nibble, quarter, 0xEA);
            low[block] = _mm512_dpbusd_epi32(low[block], _mm512_permutexvar_epi8(l, low_table), ones);
            high[block] = _mm512_dpbusd_epi32(high[block], _mm512_permutexvar_epi8(h, high_table), ones);
        }
    }
    for (size_t block = 0; block < 2; block++) sums[block] = _mm512_add_epi32(low[block], high[block]);
}

// Stores the keys of the rows of a block that `mask` names; returns how many. What is stored past them is overwritten by the next.
VK_INLINE size_t report(__m512i sums, uint32_t mask, uint32_t first, uint64_t *keys) {
    const __m512i lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    __m512i rows = _mm512_add_epi32(lanes, _mm512_set1_epi32((int32_t)first));
    __m512i scores = _mm512_maskz_compress_epi32((__mmask16)mask, _mm512_xor_si512(sums, _mm512_set1_epi32((int32_t)0x80000000)));
    rows = _mm512_maskz_compress_epi32((__mmask16)mask, _mm512_xor_si512(rows, _mm512_set1_epi32(-1)));
    // Rows below scores in each key.
    __m512i early = _mm512_or_si512(
        _mm512_slli_epi64(_mm512_cvtepu32_epi64(_mm512_castsi512_si256(scores)), 32), _mm512_cvtepu32_epi64(_mm512_castsi512_si256(rows)));
    _mm512_storeu_si512(keys, early);
    const size_t found = (size_t)__builtin_popcount(mask);
    if (found > 8) {
        __m512i late = _mm512_or_si512(
            _mm512_slli_epi64(_mm512_cvtepu32_epi64(_mm512_extracti64x4_epi64(scores, 1)), 32),
            _mm512_cvtepu32_epi64(_mm512_extracti64x4_epi64(rows, 1)));
        _mm512_storeu_si512(keys + 8, late);
    }
    return found;
}

// The rows of one span; later ones are fetched meanwhile.
VK_INLINE size_t scan_span(
    const vk_codes *codes, size_t groups, const __m512i *held, vk_span span, vk_ahead *ahead, int32_t floor, uint64_t *keys) {
    const __m512i least = _mm512_set1_epi32(floor), weight = _mm512_set1_epi32(codes->bias_weight), base = _mm512_set1_epi32(span.base);
    const size_t row_size = 4 * groups;
    const uint32_t begin = span.begin, end = span.end;
    const uint64_t *admitted = begin < codes->admitted_rows ? codes->admitted : 0;
    const uint8_t *span_codes = codes->codes + span.place * row_size, *span_biases = codes->biases + span.place;
    size_t found = 0;
    for (uint32_t first = begin; first < end; first += VK_BLOCK) {
        const uint32_t width = end - first < VK_BLOCK ? end - first : VK_BLOCK;
        uint32_t mask = (1u << width) - 1;
        const uint8_t *from = span_codes + (first - begin) * row_size, *biases = span_biases + (first - begin);
        const int streams = ahead->streams;
        const uint8_t *next = step_ahead(ahead, codes, row_size, from);
        if (!held && !admitted && end - first >= 2 * VK_BLOCK) {
            const uint8_t *further = step_ahead(ahead, codes, row_size, from);
            __m512i sums[2];
            for (size_t block = 0; block < 2; block++) {
                const __m512i bias = _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(biases + block * VK_BLOCK)));
                sums[block] = _mm512_sub_epi32(base, _mm512_srai_epi32(_mm512_mullo_epi32(bias, weight), 12));
            }
            if (streams) add_codes_twice(codes->tables, groups, from, sums, next, further, 1);
            else add_codes_twice(codes->tables, groups, from, sums, next, further, 0);
            for (size_t block = 0; block < 2; block++) {
                const __mmask16 above = _mm512_cmpgt_epi32_mask(sums[block], least);
                if (above) found += report(sums[block], above, first + (uint32_t)block * VK_BLOCK, keys + found);
            }
            first += VK_BLOCK;
            continue;
        }
        __m512i bias = _mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8((__mmask16)mask, biases));
        if (admitted && !(mask &= vk_admitted(admitted, first, width))) continue;
        __m512i sums = _mm512_sub_epi32(base, _mm512_srai_epi32(_mm512_mullo_epi32(bias, weight), 12));
        sums = width != VK_BLOCK ? add_codes(codes->tables, held, groups, from, width, sums, next, 0)
               : streams         ? add_codes(codes->tables, held, groups, from, VK_BLOCK, sums, next, 1)
                                 : add_codes(codes->tables, held, groups, from, VK_BLOCK, sums, next, 0);
        mask &= _mm512_cmpgt_epi32_mask(sums, least);
        if (mask) found += report(sums, mask, first, keys + found);
    }
    return found;
}

VK_INLINE size_t scan_spans(
    const vk_codes *codes, size_t groups, int holds, const vk_span *spans, size_t span_count, int32_t floor, uint64_t *keys) {
    if (!span_count) return 0;
    __m512i tables[2 * VK_HELD_GROUPS];
    const __m512i *held = holds ? tables : 0;
    if (holds)
        for (size_t half = 0; half < 2 * groups; half++) tables[half] = _mm512_loadu_si512(codes->tables + 64 * half);
    vk_ahead ahead = {.span = spans, .end = spans + span_count};
    enter_span(&ahead, codes, 4 * groups);
    for (size_t bytes = 0; bytes < VK_BYTES_AHEAD; bytes += 4 * VK_BLOCK * groups) step_ahead(&ahead, codes, 4 * groups, codes->codes);
    size_t found = 0;
    for (size_t s = 0; s < span_count; s++) found += scan_span(codes, groups, held, spans[s], &ahead, floor, keys + found);
    return found;
}

// Tables of so many groups are copied to where no load crosses a line.
#define VK_ALIGNED_GROUPS 64

VK_TARGET static size_t scan(const vk_codes *codes, const vk_span *spans, size_t span_count, int32_t floor, uint64_t *keys) {
    switch (codes->groups) {
#define VK_HOLD(n) case n: return scan_spans(codes, n, 1, spans, span_count, floor, keys);
    VK_HOLD(1) VK_HOLD(2) VK_HOLD(3) VK_HOLD(4) VK_HOLD(5) VK_HOLD(6) VK_HOLD(7) VK_HOLD(8)
#undef VK_HOLD
    default: break;
    }
    if (codes->groups > VK_ALIGNED_GROUPS) return scan_spans(codes, codes->groups, 0, spans, span_count, floor, keys);
    _Alignas(64) uint8_t tables[128 * VK_ALIGNED_GROUPS];
    memcpy(tables, codes->tables, 128 * codes->groups);
    vk_codes aligned = *codes;
    aligned.tables = tables;
    return scan_spans(&aligned, codes->groups, 0, spans, span_count, floor, keys);
}

#include "avx512_select.h"

const vk_kernels vk_avx512 = {
    dot, squared_distance, VK_ROWS(floats), VK_ROWS(halves), VK_ROWS(uint8s), VK_ROWS(int8s), to_bytes, add_bytes, score_bytes,
    nearest, dot_tables, quantize_tables, encode, scan, keep_largest, move_to_front, copy_above,
};
#endif
