// npy.c: headers of NumPy arrays.
#include "base/npy.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *descr;
    int width; // also the alignment
} types[] = {
    [THAW_NPY_F32] = {"<f4", 4}, [THAW_NPY_F64] = {"<f8", 8}, [THAW_NPY_I32] = {"<i4", 4},
    [THAW_NPY_I64] = {"<i8", 8}, [THAW_NPY_U8] = {"|u1", 1},  [THAW_NPY_U32] = {"<u4", 4},
    [THAW_NPY_U64] = {"<u8", 8},
};

int64_t thaw_npy_nbytes(const struct thaw_npy_shape *s) {
    return s->rows * s->cols * s->width;
}

size_t thaw_npy_header(char buf[192], const struct thaw_npy_shape *s) {
    char descr[16], shape[48], dict[192];
    if (s->type == THAW_NPY_BYTES)
        snprintf(descr, sizeof descr, "|S%" PRId32, (int32_t)s->width);
    else
        snprintf(descr, sizeof descr, "%s", types[s->type].descr);
    if (s->ndim == 1)
        snprintf(shape, sizeof shape, "(%" PRId64 ",)", s->rows);
    else
        snprintf(shape, sizeof shape, "(%" PRId64 ", %" PRId64 ")", s->rows, s->cols);
    int n =
        snprintf(dict, sizeof dict, "{'descr': '%s', 'fortran_order': False, 'shape': %s, }", descr, shape);
    size_t total = (10 + (size_t)n + 1 + 63) / 64 * 64, rest = total - 10;
    memset(buf, ' ', total);
    memcpy(buf, "\x93NUMPY\x01\x00", 8);
    buf[8] = (char)(rest & 0xff);
    buf[9] = (char)(rest >> 8);
    memcpy(buf + 10, dict, (size_t)n);
    buf[total - 1] = '\n';
    return total;
}

// ---- The parser: a cursor over the header's text, a Python dictionary ----

struct cursor {
    const uint8_t *at, *end;
};

static void skip_space(struct cursor *c) {
    while (c->at < c->end && (*c->at == ' ' || *c->at == '\t' || *c->at == '\n' || *c->at == '\r')) c->at++;
}

// Is the next token this character? Then step over it.
static bool take(struct cursor *c, char want) {
    skip_space(c);
    if (c->at == c->end || *c->at != (uint8_t)want) return false;
    c->at++;
    return true;
}

// A quoted string without escapes; text points into the header.
static bool take_string(struct cursor *c, const char **text, size_t *n) {
    char quote = '\'';
    if (!take(c, quote) && !take(c, quote = '"')) return false;
    const uint8_t *close = memchr(c->at, quote, (size_t)(c->end - c->at));
    if (!close) return false;
    *text = (const char *)c->at;
    *n = (size_t)(close - c->at);
    c->at = close + 1;
    return true;
}

static bool take_count(struct cursor *c, int64_t *value) {
    skip_space(c);
    const uint8_t *start = c->at;
    int64_t v = 0;
    for (; c->at < c->end && *c->at >= '0' && *c->at <= '9'; c->at++)
        if (__builtin_mul_overflow(v, 10, &v) || __builtin_add_overflow(v, *c->at - '0', &v)) return false;
    *value = v;
    return c->at > start;
}

static bool take_word(struct cursor *c, const char *word) {
    skip_space(c);
    size_t n = strlen(word);
    if ((size_t)(c->end - c->at) < n || memcmp(c->at, word, n) != 0) return false;
    c->at += n;
    return true;
}

// "(rows,)" or "(rows, cols)".
static bool take_shape(struct cursor *c, struct thaw_npy_shape *s) {
    if (!take(c, '(') || !take_count(c, &s->rows) || !take(c, ',')) return false;
    s->ndim = 1;
    s->cols = 1;
    if (take(c, ')')) return true;
    s->ndim = 2;
    if (!take_count(c, &s->cols)) return false;
    take(c, ',');
    return take(c, ')');
}

static bool set_type(struct thaw_npy_shape *s, const char *descr, size_t n) {
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        if (strlen(types[i].descr) != n || memcmp(types[i].descr, descr, n) != 0) continue;
        s->type = (enum thaw_npy_type)i;
        s->width = types[i].width;
        return true;
    }
    struct cursor c = {(const uint8_t *)descr, (const uint8_t *)descr + n};
    s->type = THAW_NPY_BYTES;
    return take_word(&c, "|S") && take_count(&c, &s->width) && c.at == c.end && s->width >= 1 &&
           s->width <= INT32_MAX;
}

// One value of the dictionary; returns what is wrong with it, NULL when nothing is.
static const char *take_value(struct cursor *c, const char *key, size_t n, struct thaw_npy_shape *s,
                              int *seen) {
    static const char *const keys[] = {"descr", "fortran_order", "shape"};
    const char *text;
    size_t length;
    int which = 0;
    while (which < 3 && (strlen(keys[which]) != n || memcmp(keys[which], key, n) != 0)) which++;
    if (which == 3 || (*seen & 1 << which)) return "the header has an unknown or repeated key";
    *seen |= 1 << which;
    if (which == 0) {
        if (!take_string(c, &text, &length)) return "the element type is not a plain one";
        return set_type(s, text, length) ? NULL
                                         : "the element type is not a little-endian one that Thaw knows";
    }
    if (which == 1) {
        if (take_word(c, "True")) return "the array is in Fortran order";
        return take_word(c, "False") ? NULL : "fortran_order is not True or False";
    }
    return take_shape(c, s) ? NULL : "the shape is not that of an array of one or two dimensions";
}

static const char *take_dict(struct cursor *c, struct thaw_npy_shape *s) {
    int seen = 0;
    if (!take(c, '{')) return "the header is not a dictionary";
    while (!take(c, '}')) {
        const char *key;
        size_t n;
        if (!take_string(c, &key, &n) || !take(c, ':')) return "the header is not a dictionary";
        const char *wrong = take_value(c, key, n, s, &seen);
        if (wrong) return wrong;
        if (take(c, ',')) continue;
        if (!take(c, '}')) return "the header is not a dictionary";
        break;
    }
    skip_space(c);
    if (c->at != c->end) return "something follows the header's dictionary";
    return seen == 7 ? NULL : "the header lacks a key";
}

// Find the dictionary's text behind magic and version.
static const char *take_frame(const uint8_t *bytes, int64_t nbytes, struct cursor *c) {
    if (nbytes < 10 || memcmp(bytes, "\x93NUMPY", 6) != 0) return "this is no NumPy array";
    bool two = bytes[6] == 2;
    if ((bytes[6] != 1 && !two) || bytes[7] != 0) return "only versions 1.0 and 2.0 of the format are known";
    int64_t start = two ? 12 : 10, length = bytes[8] | bytes[9] << 8;
    if (nbytes < start) return "the file ends within its header";
    if (two) length |= (int64_t)bytes[10] << 16 | (int64_t)bytes[11] << 24;
    if (length > nbytes - start) return "the file ends within its header";
    *c = (struct cursor){bytes + start, bytes + start + length};
    return NULL;
}

int thaw_npy_parse(const uint8_t *bytes, int64_t nbytes, const char *name, struct thaw_npy_shape *shape,
                   int64_t *data, struct thaw_err *err) {
    struct cursor c;
    struct thaw_npy_shape s = {0};
    int64_t need;
    const char *wrong = take_frame(bytes, nbytes, &c);
    if (!wrong) wrong = take_dict(&c, &s);
    if (wrong) return thaw_fail(err, THAW_EDATA, "%s: %s", name, wrong);
    int64_t have = bytes + nbytes - c.end;
    if (__builtin_mul_overflow(s.rows, s.cols, &need) || __builtin_mul_overflow(need, s.width, &need) ||
        need != have)
        return thaw_fail(err, THAW_EDATA,
                         "%s: has %" PRId64 " bytes of data, which is not %" PRId64 " x %" PRId64
                         " elements of %" PRId64,
                         name, have, s.rows, s.cols, s.width);
    if (s.type != THAW_NPY_BYTES && (uintptr_t)c.end % (uintptr_t)s.width != 0)
        return thaw_fail(err, THAW_EDATA, "%s: the data is not aligned to its %" PRId64 "-byte elements",
                         name, s.width);
    *shape = s;
    *data = c.end - bytes;
    return THAW_OK;
}

// ---- Files ----

int thaw_npy_create(struct thaw_file_out **out, const char *path, const struct thaw_npy_shape *s,
                    struct thaw_err *err) {
    char header[192];
    size_t n = thaw_npy_header(header, s);
    int code = thaw_file_create(out, path, err);
    if (code != THAW_OK) return code;
    thaw_file_expect(*out, (int64_t)n + thaw_npy_nbytes(s));
    return thaw_file_write(*out, header, n, err); // fits the buffer: cannot fail
}

int thaw_npy_put(const char *path, const struct thaw_npy_shape *s, const void *data,
                 struct thaw_file_info *info, struct thaw_err *err) {
    struct thaw_file_out *f;
    int code = thaw_npy_create(&f, path, s, err);
    if (code != THAW_OK) return code;
    code = thaw_file_write(f, data, (size_t)thaw_npy_nbytes(s), err);
    if (code == THAW_OK) return thaw_file_commit(&f, info, err);
    thaw_file_discard(&f);
    return code;
}

int thaw_npy_open(struct thaw_npy *a, const char *path, const struct thaw_file_info *expect,
                  struct thaw_err *err) {
    struct thaw_npy opened = {0};
    int64_t data;
    int code = thaw_map_open(&opened.map, path, err);
    if (code != THAW_OK) return code;
    if (expect && expect->nbytes != opened.map.nbytes)
        code = thaw_fail(err, THAW_EDATA, "%s: has %" PRId64 " bytes, its manifest says %" PRId64, path,
                         opened.map.nbytes, expect->nbytes);
    else
        code = thaw_npy_parse(opened.map.base, opened.map.nbytes, path, &opened.shape, &data, err);
    if (code != THAW_OK) {
        thaw_map_close(&opened.map);
        return code;
    }
    opened.data = opened.map.base + data;
    *a = opened;
    return THAW_OK;
}

void thaw_npy_close(struct thaw_npy *a) {
    thaw_map_close(&a->map);
    *a = (struct thaw_npy){0};
}
