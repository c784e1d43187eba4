// Selection among keys, eight at a time: included by avx512.c.

#define VK_SELECT_ROOM 2048
#define VK_RANKED_KEYS 32

VK_INLINE __mmask8 first_lanes(size_t count) { return count < 8 ? (__mmask8)((1u << count) - 1) : (__mmask8)0xff; }

// Keys are packed in a register and then stored: Zen 4 takes a hundred cycles to pack into memory. What is stored past them has to be overwritten.
VK_INLINE void pack(uint64_t *to, __mmask8 lanes, __m512i keys) { _mm512_storeu_si512(to, _mm512_maskz_compress_epi64(lanes, keys)); }

// The same, with nothing stored past them.
VK_INLINE void pack_exactly(uint64_t *to, __mmask8 lanes, __m512i keys) {
    _mm512_mask_storeu_epi64(to, first_lanes((size_t)__builtin_popcount(lanes)), _mm512_maskz_compress_epi64(lanes, keys));
}

// Few keys: each is kept whose rank, the number of greater ones, is below `keep`. No branch depends on a key.
VK_TARGET static void keep_ranked(uint64_t *keys, size_t count, size_t keep) {
    __m512i all[VK_RANKED_KEYS / 8];
    for (size_t v = 0; v < VK_RANKED_KEYS / 8; v++)
        all[v] = 8 * v < count ? _mm512_maskz_loadu_epi64(first_lanes(count - 8 * v), keys + 8 * v) : _mm512_setzero_si512();
    uint32_t chosen = 0;
    for (size_t i = 0; i < count; i++) {
        const __m512i key = _mm512_set1_epi64((long long)keys[i]);
        uint32_t greater = 0;
        for (size_t v = 0; v < VK_RANKED_KEYS / 8; v++) greater |= (uint32_t)_mm512_cmpgt_epu64_mask(all[v], key) << 8 * v;
        chosen |= (uint32_t)((size_t)__builtin_popcount(greater) < keep) << i;
    }
    if ((size_t)__builtin_popcount(chosen) != keep) {  // equal keys about the boundary
        vk_quickselect(keys, count, keep);
        return;
    }
    const uint32_t others = (uint32_t)((1ull << count) - 1) & ~chosen;
    size_t front = 0, back = keep;
    for (size_t v = 0; 8 * v < count; v++) {
        const __mmask8 taken = (__mmask8)(chosen >> 8 * v), left = (__mmask8)(others >> 8 * v);
        pack_exactly(keys + front, taken, all[v]);
        pack_exactly(keys + back, left, all[v]);
        front += (size_t)__builtin_popcount(taken);
        back += (size_t)__builtin_popcount(left);
    }
}

// A key that at least `keep` others reach, and not many more: the least of the maxima of 8, 16, 32 or 64 parts.
VK_INLINE uint64_t bound_for(const uint64_t *keys, size_t count, size_t keep) {
    const size_t registers = keep <= 8 ? 1 : keep <= 16 ? 2 : keep <= 32 ? 4 : 8;
    __m512i most[8];
    for (size_t r = 0; r < registers; r++) most[r] = _mm512_loadu_si512(keys + 8 * r);
    size_t i = 8 * registers;
    for (; i + 8 * registers <= count; i += 8 * registers)
        for (size_t r = 0; r < registers; r++) most[r] = _mm512_max_epu64(most[r], _mm512_loadu_si512(keys + i + 8 * r));
    __m512i least = most[0];
    for (size_t r = 1; r < registers; r++) least = _mm512_min_epu64(least, most[r]);
    return (uint64_t)_mm512_reduce_min_epu64(least);
}

VK_TARGET static uint64_t least_of(const uint64_t *keys, size_t count) {
    __m512i least = _mm512_set1_epi64(-1);
    for (size_t i = 0; i < count; i += 8) {
        const __mmask8 lanes = first_lanes(count - i);
        least = _mm512_mask_min_epu64(least, lanes, least, _mm512_maskz_loadu_epi64(lanes, keys + i));
    }
    return (uint64_t)_mm512_reduce_min_epu64(least);
}

VK_TARGET static size_t move_to_front(uint64_t *keys, size_t count, uint64_t least) {
    const __m512i bound = _mm512_set1_epi64((long long)least);
    size_t end = 0;
    for (size_t i = 0; i < count; i += 8) {
        uint32_t there = i + 8 <= count
            ? _mm512_cmpge_epu64_mask(_mm512_loadu_si512(keys + i), bound)
            : _mm512_mask_cmpge_epu64_mask(first_lanes(count - i), _mm512_maskz_loadu_epi64(first_lanes(count - i), keys + i), bound);
        for (; there; there &= there - 1) {
            const size_t from = i + (size_t)__builtin_ctz(there);
            const uint64_t key = keys[from];
            keys[from] = keys[end];
            keys[end++] = key;
        }
    }
    return end;
}

VK_TARGET static size_t copy_above(const uint64_t *keys, size_t count, uint64_t least, uint64_t *out) {
    const __m512i bound = _mm512_set1_epi64((long long)least);
    size_t copied = 0;
    size_t i = 0;
    for (; i + 8 <= count; i += 8) {
        const __m512i eight = _mm512_loadu_si512(keys + i);
        const __mmask8 there = _mm512_cmpge_epu64_mask(eight, bound);
        if (!there) continue;
        pack(out + copied, there, eight);
        copied += (size_t)__builtin_popcount(there);
    }
    for (; i < count; i++)
        if (keys[i] >= least) out[copied++] = keys[i];
    return copied;
}

// Few of many: the best of what fits, then what is above the least of them, cut again whenever it fills up.
static void select_largest(uint64_t *keys, size_t count, size_t keep);
VK_TARGET static void keep_few(uint64_t *keys, size_t count, size_t keep) {
    size_t filled = VK_SELECT_ROOM, i = VK_SELECT_ROOM;
    for (;;) {
        select_largest(keys, filled, keep);
        if (i == count) return;
        filled = keep;
        const __m512i bound = _mm512_set1_epi64((long long)least_of(keys, keep));
        while (i < count && filled + 8 <= VK_SELECT_ROOM) {
            const size_t eight = count - i < 8 ? count - i : 8;
            const __mmask8 lanes = first_lanes(eight);
            uint32_t greater = _mm512_mask_cmpgt_epu64_mask(lanes, _mm512_maskz_loadu_epi64(lanes, keys + i), bound);
            for (; greater; greater &= greater - 1) {
                const size_t from = i + (size_t)__builtin_ctz(greater);
                const uint64_t key = keys[from];
                keys[from] = keys[filled];
                keys[filled++] = key;
            }
            i += eight;
        }
    }
}

// Quickselect whose partition packs those that reach the pivot to the front and sets the others aside.
VK_TARGET static void select_largest(uint64_t *keys, size_t count, size_t keep) {
    uint64_t aside[VK_SELECT_ROOM + 8];
    while (keep > 0 && keep < count) {
        if (count <= VK_RANKED_KEYS) {
            keep_ranked(keys, count, keep);
            return;
        }
        if (count > VK_SELECT_ROOM) {
            if (keep <= VK_SELECT_ROOM / 2) keep_few(keys, count, keep);
            else vk_quickselect(keys, count, keep);
            return;
        }
        uint64_t pivot;
        if (keep <= 64 && 16 * keep <= count && count >= 128) pivot = bound_for(keys, count, keep);
        else {  // the median of three
            const uint64_t a = keys[0], b = keys[count / 2], c = keys[count - 1];
            pivot = a < b ? (b < c ? b : (a < c ? c : a)) : (a < c ? a : (b < c ? c : b));
        }
        const __m512i bound = _mm512_set1_epi64((long long)pivot);
        size_t above = 0, below = 0, i = 0;
        for (; i + 8 <= count; i += 8) {
            const __m512i eight = _mm512_loadu_si512(keys + i);
            const __mmask8 there = _mm512_cmpge_epu64_mask(eight, bound);
            const size_t taken = (size_t)__builtin_popcount(there);
            pack(keys + above, there, eight);
            pack(aside + below, (__mmask8)~there, eight);
            above += taken;
            below += 8 - taken;
        }
        for (; i < count; i++) {
            const uint64_t key = keys[i];
            if (key >= pivot) keys[above++] = key;
            else aside[below++] = key;
        }
        memcpy(keys + above, aside, below * sizeof(uint64_t));
        if (keep == above) return;
        if (keep > above) {
            keys += above;
            count = below;
            keep -= above;
        } else if (above < count) count = above;
        else {
            // The pivot is the least, and maybe not the only one: it goes last, and is left out.
            size_t last = count - 1;
            for (size_t j = 0; j < count; j++)
                if (keys[j] == pivot) {
                    keys[j] = keys[last];
                    keys[last] = pivot;
                    break;
                }
            count = last;
        }
    }
}

VK_TARGET static uint64_t keep_largest(uint64_t *keys, size_t count, size_t keep) {
    select_largest(keys, count, keep);
    return least_of(keys, keep < count ? keep : count);
}
