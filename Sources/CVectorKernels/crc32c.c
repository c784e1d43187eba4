#include "CVectorKernels.h"
#include <string.h>

// Slicing by 8: table[k][b] is the checksum of byte b followed by k zero bytes (Kounavis, Berry, "Novel table lookup-based
// algorithms for high-performance CRC generation", IEEE Transactions on Computers 2008).
static uint32_t table[8][256];

__attribute__((constructor)) static void fill_table(void) {
    for (uint32_t byte = 0; byte < 256; byte++) {
        uint32_t value = byte;
        for (int bit = 0; bit < 8; bit++) value = value >> 1 ^ (value & 1 ? 0x82f63b78u : 0);
        table[0][byte] = value;
    }
    for (int k = 1; k < 8; k++)
        for (int byte = 0; byte < 256; byte++) table[k][byte] = table[k - 1][byte] >> 8 ^ table[0][table[k - 1][byte] & 255];
}

uint32_t vk_crc32c_portable(uint32_t checksum, const void *bytes, size_t count) {
    const uint8_t *p = bytes;
    uint32_t state = ~checksum;
    for (; count >= 8; count -= 8, p += 8) {
        uint32_t low = state ^ ((uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24);
        state = table[7][low & 255] ^ table[6][low >> 8 & 255] ^ table[5][low >> 16 & 255] ^ table[4][low >> 24] ^ table[3][p[4]] ^
                table[2][p[5]] ^ table[1][p[6]] ^ table[0][p[7]];
    }
    for (; count > 0; count--, p++) state = state >> 8 ^ table[0][(state ^ *p) & 255];
    return ~state;
}

#if defined(__x86_64__)
#include <immintrin.h>

__attribute__((target("sse4.2"))) static uint32_t crc32c_sse42(uint32_t checksum, const void *bytes, size_t count) {
    const uint8_t *p = bytes;
    uint64_t state = (uint32_t)~checksum;
    for (; count >= 8; count -= 8, p += 8) {
        uint64_t word;
        memcpy(&word, p, 8);
        state = _mm_crc32_u64(state, word);
    }
    for (; count > 0; count--, p++) state = _mm_crc32_u8((uint32_t)state, *p);
    return ~(uint32_t)state;
}

uint32_t vk_crc32c(uint32_t checksum, const void *bytes, size_t count) {
    if (__builtin_cpu_supports("sse4.2")) return crc32c_sse42(checksum, bytes, count);
    return vk_crc32c_portable(checksum, bytes, count);
}
#else
uint32_t vk_crc32c(uint32_t checksum, const void *bytes, size_t count) { return vk_crc32c_portable(checksum, bytes, count); }
#endif
