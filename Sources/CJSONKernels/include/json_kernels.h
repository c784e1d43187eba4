// What a JSON reader spends its time on: numbers, and finding where an element ends.
#pragma once
#include <stddef.h>
#include <stdint.h>

typedef enum {
    JK_END = 0,    // a "]" closed the array; the position is behind it
    JK_FULL = 1,   // `capacity` numbers were read and others follow; the position is at the next
    JK_OTHER = 2,  // what stands at the position is no number, comma or "]" where one has to be
} jk_outcome;

// Reads the numbers of an array from `*position`, which is behind its "[" or at a number, as the nearest floats, rounded as strtof does
// (to even; infinite where one does not fit). The grammar is RFC 8259's: what strtof takes beyond it is JK_OTHER. Counts them in `*count`.
//
// Digits go by eights (D. Lemire, "Number Parsing at a Gigabyte per Second", SPE 2021). Significand and power of ten as doubles, multiplied
// or divided, are wrong by less than 4 units in the last of 53 bits; unless the 29 bits that a float does not have lie so near a tie,
// that decides, else strtof does. Reads no byte at or behind `length`. Cost: about 10 ns for a number of 18 digits.
jk_outcome jk_floats(const uint8_t *text, size_t length, size_t *position, float *output, size_t capacity, size_t *count);

// How many bytes from `text` on are none of " [ \ ] { | }, which may begin or end an element or a string. O(length), 64 at a time.
size_t jk_plain(const uint8_t *text, size_t length);
