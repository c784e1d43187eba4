// What the files of this target share.
#pragma once
#include "CVectorKernels.h"

extern const vk_kernels vk_portable;
#if defined(__x86_64__)
extern const vk_kernels vk_avx2;
extern const vk_kernels vk_avx512;
#endif

// Adds 32 running sums: the upper half onto the lower, five times.
float vk_sum_in_order(const float sums[VK_SUMS]);
