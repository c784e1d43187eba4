// Hoare's quickselect.
#include "variants.h"

static inline void swap(uint64_t *a, uint64_t *b) {
    uint64_t t = *a;
    *a = *b;
    *b = t;
}

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
