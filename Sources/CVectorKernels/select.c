// Selection among keys.
#include "variants.h"

static inline void swap(uint64_t *a, uint64_t *b) {
    uint64_t t = *a;
    *a = *b;
    *b = t;
}

// Hoare's quickselect.
void vk_quickselect(uint64_t *keys, size_t count, size_t keep) {
    size_t low = 0, high = count;  // the boundary lies in low..<high
    while (keep > low && keep < high && high - low > 1) {
        // Median of three as the pivot: sorted and constant inputs stay linear.
        uint64_t a = keys[low], b = keys[low + (high - low) / 2], c = keys[high - 1];
        uint64_t pivot = a < b ? (b < c ? b : (a < c ? c : a)) : (a < c ? a : (b < c ? c : b));
        size_t i = low, j = high - 1;
        for (;;) {
            while (keys[i] > pivot) i++;
            while (keys[j] < pivot) j--;
            if (i >= j) break;
            swap(keys + i++, keys + j--);
        }
        // keys[low..<i] ≥ pivot ≥ keys[i..<high], apart from position j, which may hold the pivot itself.
        size_t split = j + 1;
        if (split >= high) split = high - 1;
        if (split <= low) split = low + 1;
        if (keep < split) high = split;
        else if (keep > split) low = split;
        else return;
    }
}

uint64_t vk_keep_largest(uint64_t *keys, size_t count, size_t keep) {
    vk_quickselect(keys, count, keep);
    uint64_t least = UINT64_MAX;
    for (size_t i = 0; i < keep && i < count; i++) least = keys[i] < least ? keys[i] : least;
    return least;
}

size_t vk_move_to_front(uint64_t *keys, size_t count, uint64_t least) {
    size_t end = 0;
    for (size_t i = 0; i < count; i++)
        if (keys[i] >= least) swap(keys + i, keys + end++);
    return end;
}

size_t vk_copy_above(const uint64_t *keys, size_t count, uint64_t least, uint64_t *out) {
    size_t copied = 0;
    for (size_t i = 0; i < count; i++) {
        out[copied] = keys[i];
        copied += keys[i] >= least;
    }
    return copied;
}

uint64_t vk_greatest(const uint64_t *keys, size_t count) {
    uint64_t most[4] = {0};
    size_t i = 0;
    for (; i + 4 <= count; i += 4)
        for (size_t lane = 0; lane < 4; lane++) most[lane] = keys[i + lane] > most[lane] ? keys[i + lane] : most[lane];
    for (; i < count; i++) most[0] = keys[i] > most[0] ? keys[i] : most[0];
    const uint64_t a = most[0] > most[1] ? most[0] : most[1], b = most[2] > most[3] ? most[2] : most[3];
    return a > b ? a : b;
}

uint32_t vk_last_row(const uint64_t *keys, size_t count) {
    uint32_t last[4] = {0};
    size_t i = 0;
    for (; i + 4 <= count; i += 4)
        for (size_t lane = 0; lane < 4; lane++) last[lane] = ~(uint32_t)keys[i + lane] > last[lane] ? ~(uint32_t)keys[i + lane] : last[lane];
    for (; i < count; i++) last[0] = ~(uint32_t)keys[i] > last[0] ? ~(uint32_t)keys[i] : last[0];
    const uint32_t a = last[0] > last[1] ? last[0] : last[1], b = last[2] > last[3] ? last[2] : last[3];
    return a > b ? a : b;
}
