#define _GNU_SOURCE
#include "json_kernels.h"

#include <locale.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

// Powers beyond the 22nd are rounded once.
static const double powers_of_ten[] = {
    1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21,
    1e22, 1e23, 1e24, 1e25, 1e26, 1e27, 1e28, 1e29, 1e30, 1e31, 1e32, 1e33, 1e34, 1e35, 1e36, 1e37, 1e38, 1e39, 1e40, 1e41, 1e42, 1e43,
    1e44, 1e45, 1e46, 1e47, 1e48, 1e49, 1e50, 1e51, 1e52, 1e53, 1e54, 1e55, 1e56, 1e57,
};
enum { greatest_power = 57 };

static const uint64_t integer_powers[] = {1, 10, 100, 1000, 10000, 100000, 1000000, 10000000, 100000000};

static inline uint64_t load(const uint8_t *bytes) {
    uint64_t value;
    memcpy(&value, bytes, 8);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    value = __builtin_bswap64(value);
#endif
    return value;
}

// How many of eight bytes, from the first on, are digits.
static inline unsigned leading_digits(uint64_t bytes) {
    uint64_t other = ((bytes & 0xf0f0f0f0f0f0f0f0) | (((bytes + 0x0606060606060606) & 0xf0f0f0f0f0f0f0f0) >> 4)) ^ 0x3333333333333333;
    return other ? (unsigned)__builtin_ctzll(other) >> 3 : 8;
}

// The number that eight digits are, the first byte the highest.
static inline uint64_t eight_digits(uint64_t bytes) {
    bytes = (bytes & 0x0f0f0f0f0f0f0f0f) * 2561 >> 8;
    bytes = (bytes & 0x00ff00ff00ff00ff) * 6553601 >> 16;
    return (bytes & 0x0000ffff0000ffff) * 42949672960001 >> 32;
}

// Moves `text` behind its digits, which go into `mantissa`, modulo 2^64.
static inline const uint8_t *digits(const uint8_t *text, const uint8_t *end, uint64_t *mantissa) {
    uint64_t value = *mantissa;
    while (end - text >= 8) {
        uint64_t bytes = load(text);
        unsigned count = leading_digits(bytes);
        if (count == 8) {
            value = value * 100000000 + eight_digits(bytes);
            text += 8;
            continue;
        }
        if (count > 0) {
            // Moved to the end, with zeros of 0x30 before.
            bytes = bytes << (64 - 8 * count) | 0x3030303030303030 >> (8 * count);
            value = value * integer_powers[count] + eight_digits(bytes);
        }
        *mantissa = value;
        return text + count;
    }
    while (text < end && (uint8_t)(*text - '0') < 10) value = value * 10 + (uint8_t)(*text++ - '0');
    *mantissa = value;
    return text;
}

static float exact(const uint8_t *start, size_t length) {
    static _Thread_local locale_t plain;  // points in numbers are points
    if (!plain) plain = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    char small[128];
    char *copy = length < sizeof small ? small : malloc(length + 1);
    if (!copy) return NAN;
    memcpy(copy, start, length);
    copy[length] = 0;
    float value = strtof_l(copy, NULL, plain);
    if (copy != small) free(copy);
    return value;
}

// One number; null, with `*failed` where it goes wrong, if there is none.
static inline const uint8_t *number(const uint8_t *start, const uint8_t *end, float *output, const uint8_t **failed) {
    const uint8_t *text = start;
    bool negative = text < end && *text == '-';
    text += negative;
    const uint8_t *first = text;
    uint64_t mantissa = 0;
    if (text < end && *text == '0') {
        text++;
    } else {
        text = digits(text, end, &mantissa);
        if (text == first) return *failed = text, NULL;
    }
    size_t count = (size_t)(text - first);
    ptrdiff_t power = 0;
    if (text < end && *text == '.') {
        const uint8_t *fraction = ++text;
        text = digits(text, end, &mantissa);
        if (text == fraction) return *failed = text, NULL;
        power = fraction - text;
        count += (size_t)(text - fraction);
    }
    if (text < end && (*text | 0x20) == 'e') {
        text++;
        bool below = text < end && *text == '-';
        if (text < end && (*text == '-' || *text == '+')) text++;
        const uint8_t *exponent = text;
        ptrdiff_t value = 0;
        for (; text < end && (uint8_t)(*text - '0') < 10; text++)
            if (value < 100000) value = value * 10 + (*text - '0');
        if (text == exponent) return *failed = text, NULL;
        power += below ? -value : value;
    }
    if (count > 19) {
        // Zeros before the first other digit take no room.
        const uint8_t *digit = first;
        while (digit < text && (*digit == '0' || *digit == '.')) count -= *digit++ == '0';
        if (count > 19) return *output = exact(start, (size_t)(text - start)), text;
    }
    if (mantissa == 0) return *output = negative ? -0.0f : 0.0f, text;
    if (power < -greatest_power || power > greatest_power) return *output = exact(start, (size_t)(text - start)), text;
    double value = power < 0 ? (double)mantissa / powers_of_ten[-power] : (double)mantissa * powers_of_ten[power];
    uint64_t bits;
    memcpy(&bits, &value, 8);
    // Bits that a float does not have, as the distance from the tie between two floats; below 2^-125 it has fewer, above 2^127 it may overflow.
    int64_t distance = (int64_t)(bits & 0x1fffffff) - 0x10000000;
    if ((distance >= -4 && distance <= 4) || value < 0x1p-125 || value > 0x1p127) return *output = exact(start, (size_t)(text - start)), text;
    *output = negative ? -(float)value : (float)value;
    return text;
}

static inline const uint8_t *skip_space(const uint8_t *text, const uint8_t *end) {
    while (text < end && (*text == ' ' || *text == '\n' || *text == '\r' || *text == '\t')) text++;
    return text;
}

jk_outcome jk_floats(const uint8_t *text, size_t length, size_t *position, float *output, size_t capacity, size_t *count) {
    const uint8_t *end = text + length, *next = text + *position, *failed = NULL;
    jk_outcome outcome = JK_FULL;
    size_t read = 0;
    next = skip_space(next, end);
    while (read < capacity) {
        const uint8_t *behind = number(next, end, output + read, &failed);
        if (!behind) {
            next = failed;
            outcome = JK_OTHER;
            break;
        }
        read++;
        next = skip_space(behind, end);
        if (next < end && *next == ',') {
            next = skip_space(next + 1, end);
            continue;
        }
        outcome = next < end && *next == ']' ? JK_END : JK_OTHER;
        next += outcome == JK_END;
        break;
    }
    *position = (size_t)(next - text);
    *count = read;
    return outcome;
}

// Whether a byte may be the end of plain text; more than those that are, so that a block costs three comparisons.
static inline int is_special(uint8_t byte) {
    uint8_t folded = byte | 0x20;  // "[" and "]" are "{" and "}" without it, "\" is "|"
    return (byte == '"') | (folded == '{') | (folded == '}') | (folded == '|');
}

size_t jk_plain(const uint8_t *text, size_t length) {
    size_t position = 0;
    while (length - position >= 64) {
        uint8_t found = 0;
        for (size_t i = 0; i < 64; i++) found |= (uint8_t)is_special(text[position + i]);
        if (found) break;
        position += 64;
    }
    while (position < length && !is_special(text[position])) position++;
    return position;
}
