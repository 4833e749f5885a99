// utf8.h: text encodings of ids and names. Local; thread-safe; no allocation.
#ifndef THAW_PARTITION_UTF8_H
#define THAW_PARTITION_UTF8_H

#include <stdbool.h>
#include <stddef.h>

// What a string is. Control bytes are 0x00-0x1f and 0x7f; of control bytes and bad UTF-8 in one string either
// is reported.
enum thaw_text { THAW_TEXT_OK, THAW_TEXT_CONTROL, THAW_TEXT_BAD };

// Valid UTF-8 (no overlong forms, surrogates, or values above U+10FFFF) without control bytes? ASCII runs 8
// bytes at a time.
enum thaw_text thaw_utf8_check(const char *text, size_t n);

// Convert Latin-1 to UTF-8. Returns the length it needs, and writes that many bytes when cap suffices.
size_t thaw_latin1_to_utf8(char *out, size_t cap, const char *text, size_t n);

#endif
