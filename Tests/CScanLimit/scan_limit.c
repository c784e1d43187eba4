#include "CScanLimit.h"

#if defined(__x86_64__)
#include <immintrin.h>

// As many independent sums as hide the latency of an add.
#define BLOCKS 4

__attribute__((target("avx512f,avx512bw,avx512vbmi,avx512vnni"))) static uint64_t limit(size_t groups) {
    const __m512i nibble = _mm512_set1_epi8(15), ones = _mm512_set1_epi8(1), quarter = _mm512_set1_epi32(0x30201000);
    __m512i table = _mm512_set1_epi32(0x5b3d1f07), other = _mm512_set1_epi32(0x11223344), codes = _mm512_set1_epi32(0x76543210);
    __m512i low[BLOCKS], high[BLOCKS];
    for (size_t b = 0; b < BLOCKS; b++) low[b] = high[b] = _mm512_setzero_si512();
    for (size_t group = 0; group < groups; group += BLOCKS) {
        for (size_t b = 0; b < BLOCKS; b++) {
            __asm__ volatile("" : "+v"(codes), "+v"(table), "+v"(other));  // as if they were new
            __m512i l = _mm512_ternarylogic_epi32(codes, nibble, quarter, 0xEA);
            __m512i h = _mm512_ternarylogic_epi32(_mm512_srli_epi32(codes, 4), nibble, quarter, 0xEA);
            low[b] = _mm512_dpbusd_epi32(low[b], _mm512_permutexvar_epi8(l, table), ones);
            high[b] = _mm512_dpbusd_epi32(high[b], _mm512_permutexvar_epi8(h, other), ones);
        }
    }
    __m512i sum = _mm512_setzero_si512();
    for (size_t b = 0; b < BLOCKS; b++) sum = _mm512_add_epi32(sum, _mm512_add_epi32(low[b], high[b]));
    return (uint32_t)_mm512_reduce_add_epi32(sum);
}

uint64_t scan_limit(size_t groups) {
    if (!__builtin_cpu_supports("avx512vbmi") || !__builtin_cpu_supports("avx512vnni")) return 0;
    return limit(groups);
}
#else
uint64_t scan_limit(size_t groups) { return 0; }
#endif
