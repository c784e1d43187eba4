// What the kernels of one instruction set ask memory for before they come to it, written once. Included after `float_variant.h`.
#include "variants.h"

// How far ahead rows are fetched, in bytes, with the two lines that lie elsewhere for each.
#define VK_ROW_BYTES_AHEAD 8192

// How many rows that is, at least `least`.
VK_INLINE size_t rows_ahead(const vk_bytes *bytes, size_t least) {
    const size_t some = VK_ROW_BYTES_AHEAD / (bytes->dimension + 128);
    return some < least ? least : some;
}

VK_INLINE void fetch_row(const vk_bytes *bytes, uint64_t key) {
    const uint32_t number = ~(uint32_t)key;
    const char *row = (const char *)(bytes->rows + (size_t)number * bytes->dimension);
    for (size_t byte = 0; byte < bytes->dimension; byte += 64) __builtin_prefetch(row + byte);
    __builtin_prefetch(bytes->scales + number);
    __builtin_prefetch(bytes->biases + number);
}

// `streams`: Within a span longer than what is fetched ahead of it, lines pass the outer caches by: each line that they take in drives another out, which costs a tenth of
// the bandwidth. Rows of the spans of a search are short, and asked for again.
VK_INLINE void fetch(const uint8_t *line, int streams) {
    if (streams) __builtin_prefetch(line, 0, 0);
    else __builtin_prefetch(line);
}

// How far ahead of what is read rows are fetched, in bytes.
#define VK_BYTES_AHEAD 8192
// Bytes of a row of which sixteen are few enough to fetch them all, though a span ends before.
#define VK_SHORT_ROW 32

// The block of rows that is fetched next: it walks the spans as the scan does, ahead of it, so that the distance is the same across spans of all lengths.
typedef struct {
    const vk_span *span, *end;
    const uint8_t *codes, *biases;
    // From that block on to the end of its span.
    size_t rows;
    // Whether the span is longer than the distance, see `fetch`.
    int streams;
} vk_ahead;

VK_INLINE void enter_span(vk_ahead *ahead, const vk_codes *codes, size_t row_size) {
    ahead->rows = ahead->span->end - ahead->span->begin;
    ahead->codes = codes->codes + ahead->span->place * row_size;
    ahead->biases = codes->biases + ahead->span->place;
    ahead->streams = ahead->rows * row_size > VK_BYTES_AHEAD;
}

// Fetches that block's biases and goes on to the next one, once for each block that is read: did it take two at a time where the scan does, it would fall behind, as spans of its own end between them.
//
// @return where 64 bytes are to be fetched for each group that is read; of a narrow block of long rows all were, and it is `read`: a whole block from there on would be a multiple of it.
VK_INLINE const uint8_t *step_ahead(vk_ahead *ahead, const vk_codes *codes, size_t row_size, const uint8_t *read) {
    const uint8_t *next = ahead->codes;
    fetch(ahead->biases, ahead->streams);
    if (ahead->rows > VK_BLOCK) {
        ahead->codes += VK_BLOCK * row_size;
        ahead->biases += VK_BLOCK;
        ahead->rows -= VK_BLOCK;
        return next;
    }
    if (ahead->rows < VK_BLOCK && row_size > VK_SHORT_ROW) {
        for (size_t byte = 0; byte < ahead->rows * row_size; byte += 64) __builtin_prefetch(next + byte);
        next = read;
    }
    if (ahead->span + 1 < ahead->end) {
        ahead->span++;
        enter_span(ahead, codes, row_size);
    } else {
        ahead->rows = 0;  // nothing is left
    }
    return next;
}
