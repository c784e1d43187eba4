// The kernels once, for one instruction set. Included by variants.c with NAME(x), TARGET and LINEAR_ROWS set.
// No include guard: it is meant to be included several times.

#define INLINE static inline __attribute__((always_inline)) TARGET

// Cody-Waite reduction and a polynomial of degree 6 (Cephes expf); relative error below 2e-7.
INLINE v16 NAME(exp)(v16 x) {
    x = __builtin_elementwise_min(__builtin_elementwise_max(x, (v16){} - 87.0f), (v16){} + 88.0f);
    const float magic = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer, left in the low bits
    v16 shifted = x * 1.44269504088896341f + magic;
    v16 n = shifted - magic;
    v16 r = x - n * 0.693359375f;
    r = r - n * -2.12194440e-4f;
    v16 p = r * 1.9875691500e-4f + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * (r * r) + r + 1.0f;
    return (v16)((i16)p + ((i16)shifted << 23));
}

// x/2 (1 + erf(x/√2)); erf after Abramowitz and Stegun 7.1.26, absolute error below 1.5e-7.
INLINE v16 NAME(gelu)(v16 x) {
    v16 z = x * 0.70710678118654752f;
    v16 a = (v16)((i16)z & 0x7FFFFFFF);
    v16 t = 1.0f / (a * 0.3275911f + 1.0f);
    v16 p = t * 1.061405429f - 1.453152027f;
    p = p * t + 1.421413741f;
    p = p * t - 0.284496736f;
    p = p * t + 0.254829592f;
    v16 erf = 1.0f - p * t * NAME(exp)(-a * a);
    erf = (v16)((i16)erf | ((i16)z & (int)0x80000000));
    return 0.5f * x * (erf + 1.0f);
}

// `rows` × `columns` vectors of the product; both are constants, so that the sums stay in registers.
INLINE void NAME(linear_tile)(
    const float *packed, const float *bias, size_t inputs, const float *x, size_t x_block_stride, size_t x_row_stride,
    float *y, size_t y_block_stride, size_t y_row_stride, ce_epilogue epilogue, const int rows, const int columns) {
    v16 sum[CE_WEIGHT_ROWS][3];
#pragma unroll
    for (int r = 0; r < rows; r++)
#pragma unroll
        for (int c = 0; c < columns; c++) sum[r][c] = (v16){} + bias[r];
    for (size_t k = 0; k < inputs; k++) {
        v16 column[3];
#pragma unroll
        for (int c = 0; c < columns; c++) column[c] = *(const v16 *)(x + c * x_block_stride + k * x_row_stride);
#pragma unroll
        for (int r = 0; r < rows; r++)
#pragma unroll
            for (int c = 0; c < columns; c++) sum[r][c] += column[c] * packed[k * CE_WEIGHT_ROWS + r];
    }
#pragma unroll
    for (int r = 0; r < rows; r++)
#pragma unroll
        for (int c = 0; c < columns; c++) {
            v16 *target = (v16 *)(y + c * y_block_stride + r * y_row_stride);
            if (epilogue == CE_STORE) *target = sum[r][c];
            else if (epilogue == CE_ADD) *target += sum[r][c];
            else *target = NAME(gelu)(sum[r][c]);
        }
}

TARGET static void NAME(linear)(
    const float *packed, const float *bias, size_t outputs, size_t inputs, const float *x, size_t x_block_stride,
    size_t x_row_stride, float *y, size_t y_block_stride, size_t y_row_stride, size_t blocks, ce_epilogue epilogue) {
    // A group of weight rows stays in the first cache while all tokens pass: weights come from memory once a call.
    for (size_t n = 0; n < outputs; n += LINEAR_ROWS) {
        const float *w = packed + n / CE_WEIGHT_ROWS * CE_WEIGHT_ROWS * inputs + n % CE_WEIGHT_ROWS;
        const float *xb = x;
        float *yb = y + n * y_row_stride;
        size_t left = blocks;
#define TILE(columns) \
    NAME(linear_tile)(w, bias + n, inputs, xb, x_block_stride, x_row_stride, yb, y_block_stride, y_row_stride, epilogue, \
                      LINEAR_ROWS, columns)
        for (; left >= LINEAR_COLUMNS; left -= LINEAR_COLUMNS) {
            TILE(LINEAR_COLUMNS);
            xb += LINEAR_COLUMNS * x_block_stride;
            yb += LINEAR_COLUMNS * y_block_stride;
        }
        if (LINEAR_COLUMNS > 2 && left == 2) TILE(2);
        else if (left == 1) TILE(1);
#undef TILE
    }
}

// 32 queries of one head (two vectors): scores, softmax, weighted sum of v. All sums run down the lanes.
INLINE void NAME(attention_tile)(
    const float *q, const float *k, const float *v, size_t row_stride, size_t width, size_t tokens, float *scores, float *output,
    size_t output_row_stride, size_t valid) {
    v16 highest[2] = {(v16){} - 3.0e38f, (v16){} - 3.0e38f};
    size_t j = 0;
    for (; j < tokens; j += 8) {
        // The last group reaches up to 7 tokens past the end; its surplus scores are not stored.
        v16 sum[8][2] = {};
        for (size_t d = 0; d < width; d++) {
            v16 q0 = *(const u16v *)(q + d * row_stride), q1 = *(const u16v *)(q + d * row_stride + 16);
            const float *kd = k + d * row_stride + j;
#pragma unroll
            for (int i = 0; i < 8; i++) {
                sum[i][0] += q0 * kd[i];
                sum[i][1] += q1 * kd[i];
            }
        }
#pragma unroll
        for (int i = 0; i < 8; i++) {
            if (j + i >= tokens) break;
#pragma unroll
            for (int c = 0; c < 2; c++) {
                ((v16 *)scores)[(j + i) * 2 + c] = sum[i][c];
                highest[c] = __builtin_elementwise_max(highest[c], sum[i][c]);
            }
        }
    }
    v16 total[2] = {};
    for (j = 0; j < tokens; j++)
#pragma unroll
        for (int c = 0; c < 2; c++) {
            v16 weight = NAME(exp)(((v16 *)scores)[j * 2 + c] - highest[c]);
            ((v16 *)scores)[j * 2 + c] = weight;
            total[c] += weight;
        }
    v16 share[2] = {1.0f / total[0], 1.0f / total[1]};
    for (size_t d = 0; d < width; d += 8) {
        v16 sum[8][2] = {};
        for (j = 0; j < tokens; j++) {
            v16 p0 = ((v16 *)scores)[j * 2], p1 = ((v16 *)scores)[j * 2 + 1];
            const float *vj = v + d * row_stride + j;
#pragma unroll
            for (int i = 0; i < 8; i++) {
                sum[i][0] += p0 * vj[i * row_stride];
                sum[i][1] += p1 * vj[i * row_stride];
            }
        }
#pragma unroll
        for (int i = 0; i < 8; i++) {
            float row[32] __attribute__((aligned(64)));
            ((v16 *)row)[0] = sum[i][0] * share[0];
            ((v16 *)row)[1] = sum[i][1] * share[1];
            __builtin_memcpy(output + (d + i) * output_row_stride, row, valid * sizeof(float));
        }
    }
}

TARGET static void NAME(attention)(
    const float *qkv, size_t row_stride, size_t heads, size_t width, size_t tokens, float *output, size_t output_row_stride,
    float *scratch) {
    for (size_t h = 0; h < heads; h++) {
        const float *q = qkv + h * width * row_stride;
        const float *k = q + heads * width * row_stride, *v = k + heads * width * row_stride;
        for (size_t i = 0; i < tokens; i += 32)
            NAME(attention_tile)(
                q + i, k, v, row_stride, width, tokens, scratch, output + h * width * output_row_stride + i,
                output_row_stride, tokens - i < 32 ? tokens - i : 32);
    }
}

TARGET static void NAME(layer_norm)(
    float *x, size_t features, size_t blocks, const float *weight, const float *bias, float epsilon) {
    for (size_t b = 0; b < blocks; b++) {
        v16 *block = (v16 *)(x + b * features * CE_LANES);
        v16 sum[4] = {};  // four at a time: one alone would chain each addition to the last
        for (size_t f = 0; f < features; f += 4)
            for (int i = 0; i < 4; i++) sum[i] += block[f + i];
        v16 mean = (sum[0] + sum[1] + sum[2] + sum[3]) / (float)features;
        v16 squares[4] = {};
        for (size_t f = 0; f < features; f += 4)
            for (int i = 0; i < 4; i++) squares[i] += (block[f + i] - mean) * (block[f + i] - mean);
        v16 variance = (squares[0] + squares[1] + squares[2] + squares[3]) / (float)features;
        v16 scale;
        for (int i = 0; i < CE_LANES; i++) scale[i] = 1.0f / __builtin_sqrtf(variance[i] + epsilon);
        for (size_t f = 0; f < features; f++) block[f] = (block[f] - mean) * scale * weight[f] + bias[f];
    }
}

#undef INLINE
