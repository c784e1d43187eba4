// Chooses the kernels, before main runs.
#include "variants.h"

static const vk_kernels *best = &vk_portable;

const vk_kernels *vk_kernels_at(vk_level level) {
    switch (level) {
    case VK_PORTABLE: return &vk_portable;
#if defined(__x86_64__)
    case VK_AVX2: return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("f16c") ? &vk_avx2 : 0;
    case VK_AVX512:
        // Ice Lake, Zen 4 and later.
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
                       __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vbmi") && __builtin_cpu_supports("avx512vnni")
                   ? &vk_avx512
                   : 0;
#endif
    default: return 0;
    }
}

__attribute__((constructor)) static void choose(void) {
#if defined(__x86_64__)
    __builtin_cpu_init();
#endif
    for (int level = VK_AVX512; level > VK_PORTABLE; level--) {
        const vk_kernels *kernels = vk_kernels_at((vk_level)level);
        if (kernels) {
            best = kernels;
            return;
        }
    }
}

const vk_kernels *vk_kernels_best(void) { return best; }

int vk_kernels_use(vk_level level) {
    const vk_kernels *kernels = vk_kernels_at(level);
    if (kernels) best = kernels;
    return kernels != 0;
}
