// Kernels over float vectors, byte vectors and 4-bit codes.
//
// Every kernel exists as a portable loop, which is the reference, and as variants for instruction sets that are chosen at
// run time. All variants of a kernel return the same bits: floating-point sums are kept in 32 running sums (element i goes
// to sum i mod 32), which are added in one fixed order, and a product is rounded before it is added (no FMA); sums over
// bytes and codes are integers. So an answer does not depend on the machine that gives it.
#pragma once
#include <stddef.h>
#include <stdint.h>

#define VK_SUMS 32          // running sums of a floating-point reduction
#define VK_BLOCK 16         // rows of a block of codes at most
#define VK_GROUP 8          // subspaces whose codes share 64 bytes
#define VK_CENTROIDS 16     // values of a 4-bit code

typedef enum { VK_PORTABLE = 0, VK_AVX2 = 1, VK_AVX512 = 2 } vk_level;

// Rows begin..<end, whose codes stand at `place` and after it, scored from `base` on; they are as they were laid out, or whole blocks of those.
typedef struct {
    uint32_t begin, end, place;
    int32_t base;
} vk_span;

// What a scan of codes reads.
typedef struct {
    // 4 · groups bytes a row, in blocks: every 16 rows of a span from its first on, and what is left. A block of w rows is `[groups, 4 · w]`: byte
    // 4·j + t of group g holds subspace 8·g + t of its row j in the low nibble and subspace 8·g + 4 + t in the high nibble.
    const uint8_t *codes;
    size_t groups;
    // One byte a place: what is taken off its sum, in units of `bias_weight` / 4096.
    const uint8_t *biases;
    int32_t bias_weight;
    // `[groups · 8, 16]`: what each code of each subspace adds.
    const uint8_t *tables;
    // Bit i: whether row i may be reported; null admits all. Spans are below `admitted_rows`, or beyond: then all of their rows may.
    const uint64_t *admitted;
    size_t admitted_rows;
} vk_codes;

// Byte vectors and what they are compared with.
typedef struct {
    const int8_t *query;        // `[dimension]`
    float query_scale, weight;
    const uint8_t *rows;        // `[any, dimension]`
    const float *scales, *biases;
    size_t dimension;
} vk_bytes;

// What byte vectors are assigned to.
typedef struct {
    const int8_t *bytes;        // `[count, dimension]`
    const float *scales;        // element e of centroid c stands for bytes[c][e] · scales[c]
    const float *half_norms;
    const int32_t *offsets;     // 128 · the sum of each centroid's bytes
    size_t count;
} vk_centroids;

// Comparisons of a float query with rows of one type of element. An element is converted to float, which is exact; then all is as with floats.
typedef struct {
    // Inner products, and squared Euclidean distances, with `count` rows that follow each other, `[count, dimension]`.
    void (*dot)(const float *query, const void *rows, size_t count, size_t dimension, float *out);
    void (*squared_distance)(const float *query, const void *rows, size_t count, size_t dimension, float *out);
    // The same for the `count` rows of `rows` that `indices` names; fetches ahead.
    void (*dot_gather)(const float *query, const void *rows, const uint32_t *indices, size_t count, size_t dimension, float *out);
    void (*squared_distance_gather)(const float *query, const void *rows, const uint32_t *indices, size_t count, size_t dimension, float *out);
    // The floats that `count` elements stand for.
    void (*decode)(const void *elements, size_t count, float *out);
} vk_rows;

// One instruction set's kernels.
typedef struct {
    // Inner product of two vectors.
    float (*dot)(const float *a, const float *b, size_t dimension);
    // Squared Euclidean distance of two vectors.
    float (*squared_distance)(const float *a, const float *b, size_t dimension);
    // Rows of float, of IEEE half precision, of uint8_t, of int8_t.
    vk_rows floats, halves, uint8s, int8s;
    // Rounds a vector to bytes: out[e] = (vector[e] − origin[e]) / scale + 128, to the nearest; returns the scale, the largest
    // magnitude / 127, or 0 (and bytes of 128) if that is no normal number. difference: output, vector − origin; may be `vector`.
    float (*to_bytes)(const float *vector, const float *origin, size_t dimension, float *difference, uint8_t *out);
    // sum[e] += float(bytes[e] − 128) · factor.
    void (*add_bytes)(const uint8_t *bytes, size_t count, float factor, float *sum);
    // Scores each key's row by its bytes: float(Σ (row[e] − 128) · query[e]) · (query_scale · scale) − weight · bias, −∞ for NaN;
    // replaces the key by one with that score, see `vk_float_key`. Fetches ahead.
    void (*score_bytes)(const vk_bytes *bytes, uint64_t *keys, size_t count);
    // For each of `count` byte vectors the centroid with the greatest inner product less half its squared norm, the first of
    // equals. out[i] = argmax over c of float(Σ (rows[i][e] − 128) · bytes[c][e]) · (scales[i] · centroids.scales[c]) − half_norms[c].
    void (*nearest)(const uint8_t *rows, const float *scales, size_t count, const vk_centroids *centroids, size_t dimension, uint32_t *out);
    // Inner products of each part of a query with the 16 centroids of its subspace.
    //
    // bounds:    `[subspaces + 1]`; subspace s has the elements bounds[s]..<bounds[s + 1] of the query, possibly none.
    // centroids: `[bounds[subspaces], 16]`: row i holds element i of the 16 centroids of its subspace.
    // tables:    output, `[subspaces, 16]`; lowest and highest, outputs, `[subspaces]`: the least and greatest of each row.
    //            Within ±1e38, also where products overflow; what is no number is −1e38.
    void (*dot_tables)(const float *query, const float *centroids, const uint32_t *bounds, size_t subspaces, float *tables,
                       float *lowest, float *highest);
    // bytes[s][c] = (tables[s][c] − lowest[s]) · scale, rounded to the nearest; the caller sees to it that nothing exceeds 255.
    void (*quantize_tables)(const float *tables, const float *lowest, size_t subspaces, float scale, uint8_t *bytes);
    // The nearest centroid of each part of a vector, the first of equals; `centroids` and `bounds` as above.
    void (*encode)(const float *vector, const float *centroids, const uint32_t *bounds, size_t subspaces, uint8_t *codes);
    // Scores the rows of spans by their codes: base + the sum of their tables' entries − (bias · bias_weight) >> 12.
    //
    // Reports the admitted rows whose score is above `floor`, spans in order and rows ascending, as keys: the score with its
    // sign bit flipped in the upper 32 bits, the row's complement in the lower. So a greater key is a better score or, of
    // equals, a smaller row. keys: room for all rows of the spans and 15 more. Returns how many. Scores must fit 32 bits.
    size_t (*scan)(const vk_codes *codes, const vk_span *spans, size_t span_count, int32_t floor, uint64_t *keys);
    // Moves the `keep` largest of `count` keys to the front, in no order; returns the least of them, UINT64_MAX if there is none.
    uint64_t (*keep_largest)(uint64_t *keys, size_t count, size_t keep);
    // Exchanges each key of at least `least` with the first that is not; returns how many there are: they are in front, in their order.
    size_t (*move_to_front)(uint64_t *keys, size_t count, uint64_t least);
    // Copies the keys of at least `least`, in their order; returns how many. out: room for 8 more than those, or `keys` itself.
    size_t (*copy_above)(const uint64_t *keys, size_t count, uint64_t least, uint64_t *out);
} vk_kernels;

// The kernels for one instruction set; null if this processor lacks it.
const vk_kernels *vk_kernels_at(vk_level level);
// The fastest kernels that this processor runs, or those that were asked for.
const vk_kernels *vk_kernels_best(void);
// Makes an instruction set's kernels the best, to measure what other processors get; before there are threads. Returns 0 and does nothing if this processor lacks it.
int vk_kernels_use(vk_level level);

// The greatest key, 0 of none.
uint64_t vk_greatest(const uint64_t *keys, size_t count);

// The greatest of the rows of keys, 0 of none.
uint32_t vk_last_row(const uint64_t *keys, size_t count);

// Of tables' lowest and highest entries: the sum of the lowest, in one order everywhere, and the greatest distance.
void vk_table_range(const float *lowest, const float *highest, size_t subspaces, float *base, float *widest);

// CRC-32C (Castagnoli, reflected, as in iSCSI and ext4) of `count` bytes after a checksum of what came before (0 at the start).
uint32_t vk_crc32c(uint32_t checksum, const void *bytes, size_t count);
// The same by the portable table: the reference.
uint32_t vk_crc32c_portable(uint32_t checksum, const void *bytes, size_t count);
