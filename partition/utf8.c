// utf8.c: checking and converting text.
#include "partition/utf8.h"

#include <stdint.h>
#include <string.h>

static const uint64_t ones = UINT64_C(0x0101010101010101), highs = UINT64_C(0x8080808080808080);

// Eight bytes of printable ASCII? Bytes below 0x20 borrow into their high bit, 0x7f carries into it.
static bool all_plain(uint64_t w) {
    uint64_t low = w - ones * 0x20, del = w + ones;
    return ((w | low | del) & highs) == 0;
}

static uint64_t load8(const unsigned char *p) {
    uint64_t w;
    memcpy(&w, p, sizeof w);
    return w;
}

// One to seven bytes as a word in which each of them stands, in any order, some twice, and nothing but blanks
// besides.
static uint64_t load_short(const unsigned char *p, size_t n) {
    uint32_t low = p[0] | (uint32_t)p[n / 2] << 8 | (uint32_t)p[n - 1] << 16 | UINT32_C(0x20000000),
             high = low;
    if (n >= 4) {
        memcpy(&low, p, sizeof low);
        memcpy(&high, p + n - sizeof high, sizeof high);
    }
    return low | (uint64_t)high << 32;
}

// Nothing but printable ASCII? The last word overlaps the one before it.
static bool is_plain(const unsigned char *p, size_t n) {
    if (n < 8) return n == 0 || all_plain(load_short(p, n));
    for (size_t i = 0; i + 8 < n; i += 8)
        if (!all_plain(load8(p + i))) return false;
    return all_plain(load8(p + n - 8));
}

// Length of the well-formed sequence of two to four bytes at p, 0 when there is none (Unicode 15, table 3-7).
static size_t sequence(const unsigned char *p, size_t left) {
    unsigned char first = p[0];
    size_t length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
    if (first < 0xc2 || first > 0xf4 || length > left) return 0;
    unsigned char low = 0x80, high = 0xbf;
    if (first == 0xe0) low = 0xa0;
    if (first == 0xed) high = 0x9f;
    if (first == 0xf0) low = 0x90;
    if (first == 0xf4) high = 0x8f;
    if (p[1] < low || p[1] > high) return 0;
    for (size_t i = 2; i < length; i++)
        if ((p[i] & 0xc0) != 0x80) return 0;
    return length;
}

enum thaw_text thaw_utf8_check(const char *text, size_t n) {
    const unsigned char *p = (const unsigned char *)text;
    if (is_plain(p, n)) return THAW_TEXT_OK;
    for (size_t i = 0; i < n;) {
        if (p[i] < 0x20 || p[i] == 0x7f) return THAW_TEXT_CONTROL;
        size_t length = p[i] < 0x80 ? 1 : sequence(p + i, n - i);
        if (length == 0) return THAW_TEXT_BAD;
        i += length;
    }
    return THAW_TEXT_OK;
}

size_t thaw_latin1_to_utf8(char *out, size_t cap, const char *text, size_t n) {
    size_t need = n;
    for (size_t i = 0; i < n; i++) need += (unsigned char)text[i] >> 7;
    if (need > cap) return need;
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c < 0x80) {
            *out++ = (char)c;
        } else {
            *out++ = (char)(0xc0 | c >> 6);
            *out++ = (char)(0x80 | (c & 0x3f));
        }
    }
    return need;
}
