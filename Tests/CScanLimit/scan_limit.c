#include "CScanLimit.h"

#if defined(__x86_64__)
#include <immintrin.h>

// As many independent sums as hide the latency of an add.
#define BLOCKS 4
// How far ahead of what is read spans are fetched, in bytes: the best of 0, 4, 8, 12, 16 and 24 KiB.
#define READ_AHEAD 8192

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

__attribute__((target("avx512f"))) static uint64_t read_all(const uint8_t *bytes, const size_t *bounds, size_t count) {
    __m512i sum = _mm512_setzero_si512();
    size_t next = 0, place = bounds[0];  // what is fetched: as far ahead as there
    for (size_t line = 0; line < READ_AHEAD / 64 && next < count; line++) {
        __builtin_prefetch(bytes + place);
        if ((place += 64) >= bounds[2 * next + 1] && ++next < count) place = bounds[2 * next];
    }
    for (size_t span = 0; span < count; span++) {
        for (size_t at = bounds[2 * span]; at < bounds[2 * span + 1]; at += 64) {
            if (next < count) {
                __builtin_prefetch(bytes + place);
                if ((place += 64) >= bounds[2 * next + 1] && ++next < count) place = bounds[2 * next];
            }
            sum = _mm512_add_epi64(sum, _mm512_loadu_si512(bytes + at));
        }
    }
    return (uint64_t)_mm512_reduce_add_epi64(sum);
}

uint64_t read_spans(const uint8_t *bytes, const size_t *bounds, size_t count) {
    if (!count || !__builtin_cpu_supports("avx512f")) return 0;
    return read_all(bytes, bounds, count);
}

uint64_t scan_limit(size_t groups) {
    if (!__builtin_cpu_supports("avx512vbmi") || !__builtin_cpu_supports("avx512vnni")) return 0;
    return limit(groups);
}
#else
uint64_t scan_limit(size_t groups) { return 0; }
uint64_t read_spans(const uint8_t *bytes, const size_t *bounds, size_t count) { return 0; }
#endif
