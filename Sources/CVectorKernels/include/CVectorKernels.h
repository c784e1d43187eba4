// Kernels over float vectors and 4-bit codes.
//
// Every kernel exists as a portable loop, which is the reference, and as variants for instruction sets that are chosen at
// run time. All variants of a kernel return the same bits: floating-point sums are kept in 32 running sums (element i goes
// to sum i mod 32), which are added in one fixed order, and a product is rounded before it is added (no FMA). So an answer
// does not depend on the machine that gives it.
#pragma once
#include <stddef.h>
#include <stdint.h>

#define VK_SUMS 32          // running sums of a floating-point reduction
#define VK_BLOCK 32         // rows of a block of codes
#define VK_GROUP 4          // subspaces whose codes share 64 bytes
#define VK_CENTROIDS 16     // values of a 4-bit code

typedef enum { VK_PORTABLE = 0, VK_AVX2 = 1, VK_AVX512 = 2 } vk_level;

// One instruction set's kernels.
typedef struct {
    // Inner product of two vectors.
    float (*dot)(const float *a, const float *b, size_t dimension);
    // Squared Euclidean distance of two vectors.
    float (*squared_distance)(const float *a, const float *b, size_t dimension);
    // The same for `count` rows that follow each other, `[count, dimension]`.
    void (*dot_rows)(const float *query, const float *rows, size_t count, size_t dimension, float *out);
    void (*squared_distance_rows)(const float *query, const float *rows, size_t count, size_t dimension, float *out);
    // The same for the `count` rows of `rows` that `indices` names; fetches ahead.
    void (*dot_gather)(const float *query, const float *rows, const uint32_t *indices, size_t count, size_t dimension, float *out);
    void (*squared_distance_gather)(const float *query, const float *rows, const uint32_t *indices, size_t count, size_t dimension, float *out);
    // Where a[i] − b[i] is largest: the first of equals, 0 if all differences are NaN.
    size_t (*largest_difference)(const float *a, const float *b, size_t count);
    // Similarities of each part of a query to the 16 centroids of its subspace: inner products, or negated squared distances.
    //
    // bounds:    `[subspaces + 1]`; subspace s has the elements bounds[s]..<bounds[s + 1] of the query, possibly none.
    // centroids: `[bounds[subspaces], 16]`: row i holds element i of the 16 centroids of its subspace.
    // tables:    output, `[subspaces, 16]`; lowest and highest, outputs, `[subspaces]`: the least and greatest of each row.
    void (*dot_tables)(const float *query, const float *centroids, const uint32_t *bounds, size_t subspaces, float *tables,
                       float *lowest, float *highest);
    void (*negated_distance_tables)(const float *query, const float *centroids, const uint32_t *bounds, size_t subspaces, float *tables,
                                    float *lowest, float *highest);
    // bytes[s][c] = (tables[s][c] − lowest[s]) · scale, rounded to the nearest; the caller sees to it that nothing exceeds 255.
    void (*quantize_tables)(const float *tables, const float *lowest, size_t subspaces, float scale, uint8_t *bytes);
    // The nearest centroid of each part of a vector, the first of equals; `centroids` and `bounds` as above.
    void (*encode)(const float *vector, const float *centroids, const uint32_t *bounds, size_t subspaces, uint8_t *codes);
    // Adds up 4-bit codes' table entries for `block_count` blocks of 32 rows and reports the rows whose sum is above `floor`.
    //
    // codes:  block-major; a block is `groups` × 64 bytes; byte 16·s + j of group g holds subspace 4·g + s of row j in its low
    //         nibble and of row j + 16 in its high nibble.
    // tables: `[groups · 4, 16]` bytes; the entries of a row never add up to more than 65535.
    // admitted: one word a block, bit j for row j; null admits all rows.
    // floor:  sums ≤ floor are left out; −1 reports every admitted row.
    // rows, sums: room for 32 · block_count; rows count from the first block's first row, ascending. Returns how many.
    size_t (*scan)(const uint8_t *codes, size_t groups, const uint8_t *tables, size_t block_count, const uint32_t *admitted,
                   int32_t floor, uint32_t *rows, uint16_t *sums);
} vk_kernels;

// The kernels for one instruction set; null if this processor lacks it.
const vk_kernels *vk_kernels_at(vk_level level);
// The fastest kernels that this processor runs.
const vk_kernels *vk_kernels_best(void);

// CRC-32C (Castagnoli, reflected, as in iSCSI and ext4) of `count` bytes after a checksum of what came before (0 at the start).
uint32_t vk_crc32c(uint32_t checksum, const void *bytes, size_t count);
// The same by the portable table: the reference.
uint32_t vk_crc32c_portable(uint32_t checksum, const void *bytes, size_t count);

// Moves the `keep` largest of `count` different keys to the front, in no order (Hoare's quickselect).
void vk_keep_largest(uint64_t *keys, size_t count, size_t keep);
