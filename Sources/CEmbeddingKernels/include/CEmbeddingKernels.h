// The arithmetic of a BERT-like encoder on one thread.
//
// Activations lie with the tokens along the vector lanes, 16 to a block: what is summed over features (layer norm,
// softmax, pooling) then needs no sum across lanes. An activation matrix is addressed by two strides, in floats: element
// (feature f, token t) is at `block_stride * (t / 16) + row_stride * f + t % 16`. Two layouts are used:
//   blocked: block_stride = 16 * features, row_stride = 16: what a matrix product reads best;
//   plain:   block_stride = 16, row_stride = tokens rounded up: what attention needs, because texts begin at any lane.
// The kernels are compiled for several instruction sets; the caller chooses one at run time.
#pragma once
#include <stddef.h>
#include <stdint.h>

#if defined(__clang__)
#pragma clang assume_nonnull begin
#endif

enum { CE_LANES = 16, CE_WEIGHT_ROWS = 8 };

typedef enum { CE_STORE = 0, CE_STORE_GELU = 1, CE_ADD = 2 } ce_epilogue;

/// Rearranges a row-major weight matrix `[outputs, inputs]` for ce_linear: groups of 8 rows, `[outputs / 8, inputs, 8]`.
/// `outputs` must be a multiple of 8.
void ce_pack(const float *weights, size_t outputs, size_t inputs, float scale, float *packed);

typedef enum { CE_PORTABLE = 0, CE_AVX2 = 1, CE_AVX512 = 2 } ce_level;

/// One instruction set's kernels. All levels agree to float rounding: sums have the same order, fused additions differ.
typedef struct {
    /// y = weights · x + bias, for `blocks` × 16 tokens. CE_STORE_GELU applies the exact (erf) GELU, CE_ADD adds to what y holds.
    void (*linear)(
        const float *packed, const float *bias, size_t outputs, size_t inputs, const float *x, size_t x_block_stride,
        size_t x_row_stride, float *y, size_t y_block_stride, size_t y_row_stride, size_t blocks, ce_epilogue epilogue);
    /// Multi-head attention of one text over plain activations: `qkv` holds q, k and v one below the other, `[3 * heads * width]`
    /// rows, from the text's first token on; q is already scaled. Reads up to 31 tokens past `tokens`, writes none of them.
    /// `width` must be a multiple of 8; `scratch` has room for `32 * tokens` floats.
    void (*attention)(
        const float *qkv, size_t row_stride, size_t heads, size_t width, size_t tokens, float *output, size_t output_row_stride,
        float *scratch);
    /// Layer normalization over the features of each token of blocked activations, in place. `features` must be a multiple of 4.
    void (*layer_norm)(float *x, size_t features, size_t blocks, const float *weight, const float *bias, float epsilon);
} ce_kernels;

/// The kernels for one instruction set; null if this processor lacks it.
const ce_kernels *_Nullable ce_kernels_at(ce_level level);

#if defined(__clang__)
#pragma clang assume_nonnull end
#endif
