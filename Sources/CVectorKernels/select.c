// Selection among keys.
#include "variants.h"

// Moves those of at least `least` to the front; returns how many. No branch depends on a key: half of them would be guessed wrong.
static size_t partition(uint64_t *keys, size_t count, uint64_t least) {
    size_t above = 0;
    for (size_t i = 0; i < count; i++) {
        const uint64_t key = keys[i];
        keys[i] = keys[above];
        keys[above] = key;
        above += key >= least;
    }
    return above;
}

// A key that at least `keep` ≤ 64 others reach, and of many not many more: the least of the maxima of 8, 16, 32 or 64 parts.
static uint64_t bound_for(const uint64_t *keys, size_t count, size_t keep) {
    const size_t parts = keep <= 8 ? 8 : keep <= 16 ? 16 : keep <= 32 ? 32 : 64;
    uint64_t most[64];
    memcpy(most, keys, parts * sizeof *most);
    for (size_t i = parts; i + parts <= count; i += parts)
        for (size_t part = 0; part < parts; part++) most[part] = keys[i + part] > most[part] ? keys[i + part] : most[part];
    uint64_t least = most[0];
    for (size_t part = 1; part < parts; part++) least = most[part] < least ? most[part] : least;
    return least;
}

void vk_quickselect(uint64_t *keys, size_t count, size_t keep) {
    while (keep > 0 && keep < count) {
        uint64_t pivot;
        if (keep <= 64 && count >= 128 && count >= 16 * keep) pivot = bound_for(keys, count, keep);
        else {  // the median of three: sorted inputs stay linear
            const uint64_t a = keys[0], b = keys[count / 2], c = keys[count - 1];
            pivot = a < b ? (b < c ? b : (a < c ? c : a)) : (a < c ? a : (b < c ? c : b));
        }
        size_t above = partition(keys, count, pivot);
        if (above == count) {
            // The pivot is the least, and maybe not the only one.
            if (pivot == UINT64_MAX) return;
            above = partition(keys, count, pivot + 1);
            if (above <= keep) return;
        }
        if (above == keep) return;
        if (above > keep) count = above;
        else {
            keys += above;
            count -= above;
            keep -= above;
        }
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
    for (size_t i = 0; i < count; i++) {
        const uint64_t key = keys[i], other = keys[end];
        const int there = key >= least;
        keys[i] = there ? other : key;
        keys[end] = there ? key : other;
        end += (size_t)there;
    }
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
