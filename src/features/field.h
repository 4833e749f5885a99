// field.h: a field of delimited text. Header only; local; thread-safe.
#ifndef THAW_FEATURES_FIELD_H
#define THAW_FEATURES_FIELD_H

#include <stddef.h>

// Borrowed bytes: of a line, or of the scratch buffer (an unescaped quoted field). Not terminated, not
// trimmed.
struct thaw_field {
    const char *text;
    size_t n;
};

// Without leading and trailing spaces and tabs.
static inline struct thaw_field thaw_field_trim(struct thaw_field f) {
    if (f.n > 0 && f.text[0] > ' ' && f.text[f.n - 1] > ' ') return f; // most are plain text
    while (f.n > 0 && (f.text[0] == ' ' || f.text[0] == '\t')) f.text++, f.n--;
    while (f.n > 0 && (f.text[f.n - 1] == ' ' || f.text[f.n - 1] == '\t')) f.n--;
    return f;
}

#endif
