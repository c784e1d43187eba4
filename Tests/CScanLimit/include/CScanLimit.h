#pragma once
#include <stddef.h>
#include <stdint.h>

/// The look-ups and adds of a scan of so many groups of 64 bytes of codes, on registers alone: what the kernel's loads, prefetches and
/// results come on top of.
///
/// @return a sum that depends on all of them; 0 at once where the processor has no AVX-512 with VBMI and VNNI.
uint64_t scan_limit(size_t groups);

/// Reads spans of bytes in the order given, each line fetched well before.
///
/// @param bounds `[count, 2]`: where a span begins and ends; the loads may go 63 bytes beyond.
/// @return a sum that depends on all of them; 0 at once where the processor has no AVX-512.
uint64_t read_spans(const uint8_t *bytes, const size_t *bounds, size_t count);
