#pragma once
#include <stddef.h>
#include <zlib.h>

// Inflates a raw deflate stream whole (`inflateInit2` is a macro). Returns the length of what came out, -1 for a damaged stream,
// -2 if there is more than `capacity`.
static inline ptrdiff_t zip_inflate(const unsigned char *input, size_t length, unsigned char *output, size_t capacity) {
    z_stream stream = {0};
    if (length > 0xffffffffu || capacity > 0xffffffffu || inflateInit2(&stream, -15) != Z_OK) return -1;
    stream.next_in = (unsigned char *)input;
    stream.avail_in = (uInt)length;
    stream.next_out = output;
    stream.avail_out = (uInt)capacity;
    int code = inflate(&stream, Z_FINISH);
    ptrdiff_t count = (ptrdiff_t)stream.total_out;
    int isFull = stream.avail_out == 0;
    inflateEnd(&stream);
    return code == Z_STREAM_END ? count : (code == Z_BUF_ERROR || code == Z_OK) && isFull ? -2 : -1;
}
