#if defined(__x86_64__)
#include <immintrin.h>
#define VK_TARGET __attribute__((target("avx2")))
#define VK_LOAD_TAIL(from, count, out) load_tail((from), (count), (float *)(out))

VK_TARGET static inline __attribute__((always_inline)) void load_tail(const float *from, size_t count, float *out) {
    const __m256i lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    __m256i low = _mm256_cmpgt_epi32(_mm256_set1_epi32((int)count), lanes);
    __m256i high = _mm256_cmpgt_epi32(_mm256_set1_epi32((int)count - 8), lanes);
    _mm256_storeu_ps(out, _mm256_maskload_ps(from, low));
    _mm256_storeu_ps(out + 8, _mm256_maskload_ps(from + 8, high));
}

#include "float_variant.h"

// Splits the bytes of a look-up's results into sums of 16 bits: the odd rows by a shift; the even rows get the whole word
// added, whose upper byte is taken off again at the end (the arithmetic is modulo 2^16).
VK_INLINE void add_bytes(__m256i bytes, __m256i *words, __m256i *odd) {
    *words = _mm256_add_epi16(*words, bytes);
    *odd = _mm256_add_epi16(*odd, _mm256_srli_epi16(bytes, 8));
}

// The two halves of the register hold different subspaces of the same 16 rows.
VK_INLINE void store_sums(__m256i words, __m256i odd, uint16_t *out) {
    __m256i even = _mm256_sub_epi16(words, _mm256_slli_epi16(odd, 8));
    __m128i e = _mm_add_epi16(_mm256_castsi256_si128(even), _mm256_extracti128_si256(even, 1));
    __m128i o = _mm_add_epi16(_mm256_castsi256_si128(odd), _mm256_extracti128_si256(odd, 1));
    _mm_store_si128((__m128i *)out, _mm_unpacklo_epi16(e, o));
    _mm_store_si128((__m128i *)(out + 8), _mm_unpackhi_epi16(e, o));
}

// Bit i: out[i] ≥ least, as unsigned 16-bit numbers.
VK_INLINE uint32_t at_least(const uint16_t *sums, uint16_t least) {
    __m256i bound = _mm256_set1_epi16((short)least);
    __m256i a = _mm256_load_si256((const __m256i *)sums), b = _mm256_load_si256((const __m256i *)(sums + 16));
    a = _mm256_cmpeq_epi16(_mm256_max_epu16(a, bound), a);
    b = _mm256_cmpeq_epi16(_mm256_max_epu16(b, bound), b);
    __m256i packed = _mm256_permute4x64_epi64(_mm256_packs_epi16(a, b), 0xd8);
    return (uint32_t)_mm256_movemask_epi8(packed);
}

VK_TARGET static size_t scan(
    const uint8_t *codes, size_t groups, const uint8_t *tables, size_t block_count, const uint32_t *admitted, int32_t floor,
    uint32_t *rows, uint16_t *sums) {
    if (floor >= 65535) return 0;
    const __m256i nibble = _mm256_set1_epi8(15);
    const uint16_t least = (uint16_t)(floor < 0 ? 0 : floor + 1);
    size_t found = 0;
    for (size_t block = 0; block < block_count; block++, codes += groups * 64) {
        if (admitted && !admitted[block]) continue;
        __m256i low = _mm256_setzero_si256(), low_odd = low, high = low, high_odd = low;
        for (size_t half = 0; half < groups * 2; half++) {
            __m256i table = _mm256_loadu_si256((const __m256i *)(tables + half * 32));
            __m256i pair = _mm256_loadu_si256((const __m256i *)(codes + half * 32));
            add_bytes(_mm256_shuffle_epi8(table, _mm256_and_si256(pair, nibble)), &low, &low_odd);
            add_bytes(_mm256_shuffle_epi8(table, _mm256_and_si256(_mm256_srli_epi16(pair, 4), nibble)), &high, &high_odd);
        }
        _Alignas(32) uint16_t block_sums[VK_BLOCK];
        store_sums(low, low_odd, block_sums);
        store_sums(high, high_odd, block_sums + 16);
        uint32_t mask = at_least(block_sums, least);
        if (admitted) mask &= admitted[block];
        found = report(mask, block_sums, block, found, rows, sums);
    }
    return found;
}

const vk_kernels vk_avx2 = {
    dot, squared_distance, dot_rows, squared_distance_rows, dot_gather, squared_distance_gather, largest_difference,
    dot_tables, negated_distance_tables,
    quantize_tables, encode, scan,
};
#endif
