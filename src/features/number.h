// number.h: numbers and times in text. Local; thread-safe; no allocation; the text need not be terminated.
#ifndef THAW_FEATURES_NUMBER_H
#define THAW_FEATURES_NUMBER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum thaw_number { THAW_NUMBER_OK, THAW_NUMBER_BAD, THAW_NUMBER_NOT_FINITE };

// A decimal number such as "5", "-1.25", "+3e8", correctly rounded to double; no blanks around it, no
// hexadecimal. "nan", "inf", "infinity" in any case and values beyond double are NOT_FINITE. *out is set only
// when OK.
enum thaw_number thaw_number_parse(const char *text, size_t n, double *out);

// The range of times that are accepted: 1900-01-01T00:00:00Z .. 2200-01-01T00:00:00Z.
#define THAW_TIME_MIN INT64_C(-2208988800)
#define THAW_TIME_MAX INT64_C(7258118400)

// Unix seconds ("874965758", "874965758.25") or ISO 8601 ("2011-12-01", "2011-12-01 08:26",
// "2011-12-01T08:26:03.5+01:00",
// "...Z"; no offset is UTC). Fractions are floored. False when it is neither, no such date, or out of range.
bool thaw_time_parse(const char *text, size_t n, int64_t *out);

#endif
