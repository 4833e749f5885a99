// decimal.h: floats as text, fast. Local; thread-safe.
#ifndef THAW_BASE_DECIMAL_H
#define THAW_BASE_DECIMAL_H

#include <stddef.h>

enum { THAW_FORMAT_F32_MAX = 48 };

// Write x with the fewest digits (at most 9) that read back as the same float, such as 0.1, -12.5, 3.4e-07,
// nan. Not terminated; returns the length. About 40 ns, where printf takes several times that.
size_t thaw_format_f32(char out[THAW_FORMAT_F32_MAX], float x);

#endif
