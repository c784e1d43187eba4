#if defined(__x86_64__)
#include <immintrin.h>
#define VK_TARGET __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2")))
#define VK_LOAD_TAIL(from, count, out) (*(out) = (floats)_mm512_maskz_loadu_ps((__mmask16)((1u << (count)) - 1), (from)))

#include "float_variant.h"

// As in avx2.c, with the four subspaces of a group in the four quarters of a register.
VK_INLINE void add_bytes(__m512i bytes, __m512i *words, __m512i *odd) {
    *words = _mm512_add_epi16(*words, bytes);
    *odd = _mm512_add_epi16(*odd, _mm512_srli_epi16(bytes, 8));
}

VK_INLINE __m128i fold_quarters(__m512i words) {
    __m256i half = _mm256_add_epi16(_mm512_castsi512_si256(words), _mm512_extracti64x4_epi64(words, 1));
    return _mm_add_epi16(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
}

VK_INLINE __m256i row_sums(__m512i words, __m512i odd) {
    __m128i e = fold_quarters(_mm512_sub_epi16(words, _mm512_slli_epi16(odd, 8)));
    __m128i o = fold_quarters(odd);
    return _mm256_set_m128i(_mm_unpackhi_epi16(e, o), _mm_unpacklo_epi16(e, o));
}

VK_TARGET static size_t scan(
    const uint8_t *codes, size_t groups, const uint8_t *tables, size_t block_count, const uint32_t *admitted, int32_t floor,
    uint32_t *rows, uint16_t *sums) {
    if (floor >= 65535) return 0;
    const __m512i nibble = _mm512_set1_epi8(15);
    const __m512i least = _mm512_set1_epi16((short)(floor < 0 ? 0 : floor + 1));
    size_t found = 0;
    for (size_t block = 0; block < block_count; block++, codes += groups * 64) {
        if (admitted && !admitted[block]) continue;
        __m512i low = _mm512_setzero_si512(), low_odd = low, high = low, high_odd = low;
        for (size_t group = 0; group < groups; group++) {
            __m512i table = _mm512_loadu_si512(tables + group * 64);
            __m512i pair = _mm512_loadu_si512(codes + group * 64);
            add_bytes(_mm512_shuffle_epi8(table, _mm512_and_si512(pair, nibble)), &low, &low_odd);
            add_bytes(_mm512_shuffle_epi8(table, _mm512_and_si512(_mm512_srli_epi16(pair, 4), nibble)), &high, &high_odd);
        }
        __m512i all = _mm512_inserti64x4(_mm512_castsi256_si512(row_sums(low, low_odd)), row_sums(high, high_odd), 1);
        uint32_t mask = _mm512_cmpge_epu16_mask(all, least);
        if (admitted) mask &= admitted[block];
        if (!mask) continue;
        _Alignas(64) uint16_t block_sums[VK_BLOCK];
        _mm512_store_si512(block_sums, all);
        found = report(mask, block_sums, block, found, rows, sums);
    }
    return found;
}

const vk_kernels vk_avx512 = {
    dot, squared_distance, dot_rows, squared_distance_rows, dot_gather, squared_distance_gather, largest_difference,
    dot_tables, negated_distance_tables,
    quantize_tables, encode, scan,
};
#endif
