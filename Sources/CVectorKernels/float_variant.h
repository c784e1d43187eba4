// The floating-point kernels of one instruction set, written once: 16 floats are a vector type that the compiler maps to one
// register (AVX-512) or two (AVX2). The including file defines VK_TARGET, the attribute of every function here, and
// VK_LOAD_TAIL(from, count, out), which loads fewer than 16 floats and zeros after them: they add nothing; and `load_halves`, which loads 16 of
// half precision as floats.
//
// The two vectors of running sums are added in the order of `vk_sum_in_order`.
#include "variants.h"
#include <string.h>

#pragma STDC FP_CONTRACT OFF
// Functions that take or return vectors are inlined, all of them: how they would be called does not matter.
#pragma clang diagnostic ignored "-Wpsabi"

typedef float floats __attribute__((vector_size(64), aligned(4)));

#define VK_INLINE VK_TARGET static inline __attribute__((always_inline))

typedef float floats8 __attribute__((vector_size(32)));
typedef float floats4 __attribute__((vector_size(16)));

VK_INLINE float fold(const floats *low, const floats *high) {
    floats all = *low + *high;
    floats8 eight = __builtin_shufflevector(all, all, 0, 1, 2, 3, 4, 5, 6, 7) + __builtin_shufflevector(all, all, 8, 9, 10, 11, 12, 13, 14, 15);
    floats4 four = __builtin_shufflevector(eight, eight, 0, 1, 2, 3) + __builtin_shufflevector(eight, eight, 4, 5, 6, 7);
    return (four[0] + four[2]) + (four[1] + four[3]);
}

#define VK_PRODUCT(a, b) ((a) * (b))
#define VK_SQUARE(a, b) (((a) - (b)) * ((a) - (b)))

typedef int32_t ints __attribute__((vector_size(64)));
typedef uint8_t bytes16 __attribute__((vector_size(16)));
typedef int8_t signed_bytes16 __attribute__((vector_size(16)));

// 16 elements of each type as floats, and fewer of them with zeros after them.
VK_INLINE floats load_float(const float *from) { return *(const floats *)from; }
VK_INLINE floats load_uint16_t(const uint16_t *from) {
    floats out;
    load_halves(from, (float *)&out);
    return out;
}
VK_INLINE floats load_uint8_t(const uint8_t *from) {
    bytes16 part;
    memcpy(&part, from, sizeof(part));
    return __builtin_convertvector(__builtin_convertvector(part, ints), floats);
}
VK_INLINE floats load_int8_t(const int8_t *from) {
    signed_bytes16 part;
    memcpy(&part, from, sizeof(part));
    return __builtin_convertvector(__builtin_convertvector(part, ints), floats);
}
VK_INLINE floats load_some_float(const float *from, size_t count) {
    floats out;
    VK_LOAD_TAIL(from, count, &out);
    return out;
}
#define VK_DEFINE_LOAD_SOME(TYPE)                                                                                            \
    VK_INLINE floats load_some_##TYPE(const TYPE *from, size_t count) {                                                      \
        TYPE part[16] = {0};                                                                                                 \
        memcpy(part, from, count * sizeof(TYPE));                                                                            \
        return load_##TYPE(part);                                                                                            \
    }
VK_DEFINE_LOAD_SOME(uint16_t)
VK_DEFINE_LOAD_SOME(uint8_t)
VK_DEFINE_LOAD_SOME(int8_t)

// Rows fetched ahead of the one being scored: enough lines are then under way to hide the memory's latency.
#define VK_FETCH_AHEAD 4

// One row against the query: `TERM` is what an element adds.
#define VK_DEFINE_REDUCTION(NAME, TERM, TYPE)                                                                                \
    VK_INLINE float NAME##_one(const float *a, const TYPE *b, size_t dimension) {                                            \
        floats low = {0}, high = {0};                                                                                        \
        size_t i = 0;                                                                                                        \
        for (; i + 32 <= dimension; i += 32) {                                                                               \
            floats x = load_##TYPE(b + i), y = load_##TYPE(b + i + 16);                                                      \
            low += TERM(*(const floats *)(a + i), x);                                                                        \
            high += TERM(*(const floats *)(a + i + 16), y);                                                                  \
        }                                                                                                                    \
        if (i + 16 <= dimension) {                                                                                           \
            floats x = load_##TYPE(b + i);                                                                                   \
            low += TERM(*(const floats *)(a + i), x);                                                                        \
            i += 16;                                                                                                         \
            if (i < dimension) {                                                                                             \
                floats y = load_some_float(a + i, dimension - i), z = load_some_##TYPE(b + i, dimension - i);                \
                high += TERM(y, z);                                                                                          \
            }                                                                                                                \
        } else if (i < dimension) {                                                                                          \
            floats x = load_some_float(a + i, dimension - i), y = load_some_##TYPE(b + i, dimension - i);                    \
            low += TERM(x, y);                                                                                               \
        }                                                                                                                    \
        return fold(&low, &high);                                                                                            \
    }                                                                                                                        \
    VK_TARGET static void NAME(const float *query, const void *rows, size_t count, size_t dimension, float *out) {           \
        for (size_t row = 0; row < count; row++) out[row] = NAME##_one(query, (const TYPE *)rows + row * dimension, dimension); \
    }                                                                                                                        \
    VK_TARGET static void NAME##_gather(                                                                                     \
        const float *query, const void *rows, const uint32_t *indices, size_t count, size_t dimension, float *out) {         \
        for (size_t i = 0; i < count; i++) {                                                                                 \
            if (i + VK_FETCH_AHEAD < count) {                                                                                \
                const char *next = (const char *)((const TYPE *)rows + (size_t)indices[i + VK_FETCH_AHEAD] * dimension);     \
                for (size_t byte = 0; byte < dimension * sizeof(TYPE); byte += 64) __builtin_prefetch(next + byte);          \
            }                                                                                                                \
            out[i] = NAME##_one(query, (const TYPE *)rows + (size_t)indices[i] * dimension, dimension);                      \
        }                                                                                                                    \
    }

#define VK_DEFINE_ROWS(NAME, TYPE)                                                                                           \
    VK_DEFINE_REDUCTION(NAME##_dot, VK_PRODUCT, TYPE)                                                                        \
    VK_DEFINE_REDUCTION(NAME##_squared_distance, VK_SQUARE, TYPE)                                                            \
    VK_TARGET static void NAME##_decode(const void *elements, size_t count, float *out) {                                    \
        const TYPE *from = (const TYPE *)elements;                                                                           \
        size_t i = 0;                                                                                                        \
        for (; i + 16 <= count; i += 16) *(floats *)(out + i) = load_##TYPE(from + i);                                       \
        if (i < count) {                                                                                                     \
            floats rest = load_some_##TYPE(from + i, count - i);                                                             \
            memcpy(out + i, &rest, (count - i) * sizeof(float));                                                             \
        }                                                                                                                    \
    }

VK_DEFINE_ROWS(floats, float)
VK_DEFINE_ROWS(halves, uint16_t)
VK_DEFINE_ROWS(uint8s, uint8_t)
VK_DEFINE_ROWS(int8s, int8_t)

VK_TARGET static float dot(const float *a, const float *b, size_t dimension) { return floats_dot_one(a, b, dimension); }
VK_TARGET static float squared_distance(const float *a, const float *b, size_t dimension) { return floats_squared_distance_one(a, b, dimension); }

// Least or greatest of 16.
VK_INLINE float extreme(const floats *of, int greatest) {
    floats all = *of;
#define VK_PICK(a, b) (greatest ? __builtin_elementwise_max(a, b) : __builtin_elementwise_min(a, b))
    floats8 eight = VK_PICK(__builtin_shufflevector(all, all, 0, 1, 2, 3, 4, 5, 6, 7), __builtin_shufflevector(all, all, 8, 9, 10, 11, 12, 13, 14, 15));
    floats4 four = VK_PICK(__builtin_shufflevector(eight, eight, 0, 1, 2, 3), __builtin_shufflevector(eight, eight, 4, 5, 6, 7));
    float a = VK_PICK(four[0], four[2]), b = VK_PICK(four[1], four[3]);
    return VK_PICK(a, b);
}

VK_TARGET static float to_bytes(const float *vector, const float *origin, size_t dimension, float *difference, uint8_t *out) {
    floats greatest = {0}, x, y;
    size_t i = 0;
    for (; i + 16 <= dimension; i += 16) {
        x = *(const floats *)(vector + i) - *(const floats *)(origin + i);
        *(floats *)(difference + i) = x;
        greatest = __builtin_elementwise_max(greatest, __builtin_elementwise_abs(x));
    }
    if (i < dimension) {
        VK_LOAD_TAIL(vector + i, dimension - i, &x);
        VK_LOAD_TAIL(origin + i, dimension - i, &y);
        x -= y;
        memcpy(difference + i, &x, (dimension - i) * sizeof(float));
        greatest = __builtin_elementwise_max(greatest, __builtin_elementwise_abs(x));
    }
    const float largest = extreme(&greatest, 1);
    return vk_round_bytes(difference, dimension, largest, out);
}

// The greater or the lesser of each lane and a bound; the bound where the lane is no number.
VK_INLINE floats at_least(floats value, float bound) { return __builtin_elementwise_max(value, (floats){0} + bound); }
VK_INLINE floats at_most(floats value, float bound) { return __builtin_elementwise_min(value, (floats){0} + bound); }

VK_TARGET static void dot_tables(
    const float *query, const float *centroids, const uint32_t *bounds, size_t subspaces, float *tables, float *lowest, float *highest) {
    for (size_t s = 0; s < subspaces; s++) {
        floats sum = {0};
        for (size_t i = bounds[s]; i < bounds[s + 1]; i++) sum += query[i] * *(const floats *)(centroids + i * VK_CENTROIDS);
        sum = at_most(at_least(sum, -VK_TABLE_LIMIT), VK_TABLE_LIMIT);
        memcpy(tables + s * VK_CENTROIDS, &sum, sizeof(sum));
    }
    size_t s = 0;
#ifdef VK_EXTREMES
    for (; s + 16 <= subspaces; s += 16) VK_EXTREMES(tables + s * VK_CENTROIDS, lowest + s, highest + s);
#endif
    for (; s < subspaces; s++) {
        const floats *table = (const floats *)(tables + s * VK_CENTROIDS);
        lowest[s] = extreme(table, 0);
        highest[s] = extreme(table, 1);
    }
}

VK_TARGET static void add_bytes(const uint8_t *bytes, size_t count, float factor, float *sum) {
    size_t i = 0;
    for (; i + 16 <= count; i += 16) {
        bytes16 part;
        memcpy(&part, bytes + i, sizeof(part));
        *(floats *)(sum + i) += __builtin_convertvector(__builtin_convertvector(part, ints) - 128, floats) * factor;
    }
    for (; i < count; i++) sum[i] += (float)((int32_t)bytes[i] - 128) * factor;
}

VK_TARGET static void encode(const float *vector, const float *centroids, const uint32_t *bounds, size_t subspaces, uint8_t *codes) {
    const ints lanes = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    for (size_t s = 0; s < subspaces; s++) {
        floats sum = {0};
        for (size_t i = bounds[s]; i < bounds[s + 1]; i++) {
            floats difference = vector[i] - *(const floats *)(centroids + i * VK_CENTROIDS);
            sum -= difference * difference;
        }
        sum = at_least(sum, VK_LEAST_SUM);
        ints others = sum < extreme(&sum, 1);
        // Lanes that are not the greatest lose against any lane number.
        codes[s] = (uint8_t)(__builtin_reduce_min((others & 15) | (lanes & ~others)) & 15);
    }
}


VK_TARGET static void quantize_tables(const float *tables, const float *lowest, size_t subspaces, float scale, uint8_t *bytes) {
    for (size_t s = 0; s < subspaces; s++) {
        floats scaled = (*(const floats *)(tables + s * VK_CENTROIDS) - lowest[s]) * scale;
        bytes16 packed = __builtin_convertvector(__builtin_convertvector(scaled + 0.5f, ints), bytes16);
        memcpy(bytes + s * VK_CENTROIDS, &packed, sizeof(packed));
    }
}
