// number.c: numbers and times in text.
#include "features/number.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

// Eight digits at once: checked, then paired up in three multiplications (D. Lemire's way).
static bool eight_digits(const char *p, uint64_t *out) {
    uint64_t w;
    memcpy(&w, p, sizeof w);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    w = __builtin_bswap64(w);
#endif
    uint64_t over = w + UINT64_C(0x4646464646464646), under = w - UINT64_C(0x3030303030303030);
    if ((over | under) & UINT64_C(0x8080808080808080)) return false;
    w = under * 10 + (under >> 8);
    *out = ((w & UINT64_C(0x000000ff000000ff)) * (100 + (UINT64_C(1000000) << 32)) +
            ((w >> 16) & UINT64_C(0x000000ff000000ff)) * (1 + (UINT64_C(10000) << 32))) >>
           32;
    return true;
}

// Digits from *p on, appended to *value: at most `limit` of them are read. Returns how many.
static inline ptrdiff_t take_digits(const char **p, const char *end, ptrdiff_t limit, uint64_t *value) {
    const char *start = *p, *q = *p;
    uint64_t eight;
    if (end - q > limit) end = q + limit;
    while (end - q >= 8 && eight_digits(q, &eight)) {
        *value = *value * 100000000 + eight;
        q += 8;
    }
    for (; q < end && is_digit(*q); q++) *value = *value * 10 + (uint64_t)(*q - '0');
    *p = q;
    return q - start;
}

static bool is_not_finite_word(const char *text, size_t n) {
    if (n > 0 && (*text == '-' || *text == '+')) text++, n--;
    return (n == 3 && (strncasecmp(text, "nan", 3) == 0 || strncasecmp(text, "inf", 3) == 0)) ||
           (n == 8 && strncasecmp(text, "infinity", 8) == 0);
}

// Anything the fast path leaves: exponents, many digits, words.
static enum thaw_number parse_slowly(const char *text, size_t n, double *out) {
    char buf[512];
    if (is_not_finite_word(text, n)) return THAW_NUMBER_NOT_FINITE;
    if (n == 0 || n >= sizeof buf) return THAW_NUMBER_BAD;
    for (size_t i = 0; i < n; i++)
        if (!is_digit(text[i]) && (text[i] == '\0' || strchr("+-.eE", text[i]) == NULL))
            return THAW_NUMBER_BAD;
    memcpy(buf, text, n);
    buf[n] = '\0';
    char *end;
    double v = strtod(buf, &end);
    if (end != buf + n) return THAW_NUMBER_BAD;
    if (!isfinite(v)) return THAW_NUMBER_NOT_FINITE;
    *out = v;
    return THAW_NUMBER_OK;
}

enum thaw_number thaw_number_parse(const char *text, size_t n, double *out) {
    static const double power[] = {1e0, 1e1, 1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                   1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15};
    if (n == 1 && is_digit(*text)) { // ratings and counts
        *out = *text - '0';
        return THAW_NUMBER_OK;
    }
    const char *p = text, *end = text + n;
    bool negative = n > 0 && *p == '-';
    if (n > 0 && (*p == '-' || *p == '+')) p++;
    uint64_t digits = 0;
    ptrdiff_t places = 0;
    if (end - p > 16) return parse_slowly(text, n, out);
    ptrdiff_t ndigits = take_digits(&p, end, 16, &digits);
    if (p < end && *p == '.') {
        p++;
        places = take_digits(&p, end, 16, &digits);
        ndigits += places;
    }
    // At most 15 digits: the integer and the power of ten are exact doubles, so one division rounds
    // correctly.
    if (p != end || ndigits == 0 || ndigits > 15) return parse_slowly(text, n, out);
    double v = (double)digits;
    if (places > 0) v /= power[places];
    *out = negative ? -v : v;
    return THAW_NUMBER_OK;
}

static int64_t days_from_date(int year, int month, int day) {
    // Years from March on, so that the leap day is a year's last; 400 years are 146,097 days.
    int64_t y = month <= 2 ? year - 1 : year;
    int64_t era = (y >= 0 ? y : y - 399) / 400, of_era = y - era * 400;
    int64_t of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

// A reader of fixed-width fields: digits(2) moves on only when there are two.
struct scan {
    const char *p, *end;
};

static bool digits(struct scan *s, int count, int *out) {
    if (s->end - s->p < count) return false;
    int v = 0;
    for (int i = 0; i < count; i++) {
        if (!is_digit(s->p[i])) return false;
        v = v * 10 + (s->p[i] - '0');
    }
    s->p += count;
    *out = v;
    return true;
}

static bool letter(struct scan *s, char c) {
    if (s->p == s->end || *s->p != c) return false;
    s->p++;
    return true;
}

static bool scan_date(struct scan *s, int64_t *out) {
    static const int length[] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int year, month, day;
    if (!digits(s, 4, &year) || !letter(s, '-') || !digits(s, 2, &month) || !letter(s, '-') ||
        !digits(s, 2, &day))
        return false;
    if (month < 1 || month > 12 || day < 1 || day > length[month - 1]) return false;
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    if (month == 2 && day == 29 && !leap) return false;
    *out = days_from_date(year, month, day) * 86400;
    return true;
}

// hh:mm[:ss[.fraction]]; a second of 60 is a leap second, the next minute's first.
static bool scan_clock(struct scan *s, int64_t *out) {
    int hour, minute, second = 0;
    if (!digits(s, 2, &hour) || !letter(s, ':') || !digits(s, 2, &minute)) return false;
    if (letter(s, ':')) {
        if (!digits(s, 2, &second)) return false;
        if (letter(s, '.') || letter(s, ',')) {
            const char *start = s->p;
            while (s->p < s->end && is_digit(*s->p)) s->p++;
            if (s->p == start) return false;
        }
    }
    if (hour > 23 || minute > 59 || second > 60) return false;
    *out += hour * 3600 + minute * 60 + second;
    return true;
}

// Z, +hh:mm, +hhmm, +hh or nothing.
static bool scan_offset(struct scan *s, int64_t *out) {
    if (s->p == s->end) return true;
    if (letter(s, 'Z') || letter(s, 'z')) return s->p == s->end;
    bool west = *s->p == '-';
    int hour, minute = 0;
    if (!letter(s, '-') && !letter(s, '+')) return false;
    if (!digits(s, 2, &hour)) return false;
    if (s->p < s->end) {
        (void)letter(s, ':');
        if (!digits(s, 2, &minute)) return false;
    }
    if (hour > 23 || minute > 59) return false;
    int64_t seconds = hour * 3600 + minute * 60;
    *out += west ? seconds : -seconds;
    return s->p == s->end;
}

static bool parse_iso(const char *text, size_t n, int64_t *out) {
    struct scan s = {text, text + n};
    if (!scan_date(&s, out)) return false;
    if (s.p == s.end) return true;
    if (!letter(&s, 'T') && !letter(&s, 't') && !letter(&s, ' ')) return false;
    return scan_clock(&s, out) && scan_offset(&s, out);
}

static bool parse_unix(const char *text, size_t n, int64_t *out) {
    const char *p = text, *end = text + n;
    bool negative = n > 0 && *p == '-', fraction = false;
    if (n > 0 && (*p == '-' || *p == '+')) p++;
    uint64_t seconds = 0;
    if (take_digits(&p, end, 15, &seconds) == 0) return false;
    if (p < end && *p == '.') {
        const char *point = ++p;
        for (; p < end && is_digit(*p); p++) fraction |= *p != '0';
        if (p == point) return false;
    }
    int64_t v = (int64_t)seconds;
    *out = negative ? -v - (fraction ? 1 : 0) : v;
    return p == end;
}

bool thaw_time_parse(const char *text, size_t n, int64_t *out) {
    int64_t v = 0;
    uint64_t eight;
    bool ok = n == 10 && is_digit(text[8]) && is_digit(text[9]) && eight_digits(text, &eight);
    if (ok) // 2001 and later
        v = (int64_t)(eight * 100) + (text[8] - '0') * 10 + (text[9] - '0');
    else
        ok = n >= 10 && text[4] == '-' ? parse_iso(text, n, &v) : parse_unix(text, n, &v);
    if (!ok || v < THAW_TIME_MIN || v > THAW_TIME_MAX) return false;
    *out = v;
    return true;
}
