// npy.h: NumPy's .npy format (version 1.0 and 2.0 read, 1.0 written), the only format of bulk data;
// docs/formats.md. Files are little-endian, C order, the data 64-byte aligned. Readers trust nothing. Local;
// thread-safe on distinct objects.
#ifndef THAW_BASE_NPY_H
#define THAW_BASE_NPY_H

#include "base/err.h"
#include "base/file.h"

#include <stddef.h>
#include <stdint.h>

// Element types Thaw writes. THAW_NPY_BYTES is NumPy's "|S<width>".
enum thaw_npy_type {
    THAW_NPY_F32,
    THAW_NPY_F64,
    THAW_NPY_I32,
    THAW_NPY_I64,
    THAW_NPY_U8,
    THAW_NPY_U32,
    THAW_NPY_U64,
    THAW_NPY_BYTES
};

// An array of one or two dimensions: rows x cols (cols = 1 and ndim = 1 for a vector).
struct thaw_npy_shape {
    enum thaw_npy_type type;
    int ndim; // 1 or 2
    int64_t rows;
    int64_t cols;  // 1 when ndim is 1
    int64_t width; // bytes of one element (the id width for THAW_NPY_BYTES)
};
// Data bytes; shapes made by Thaw or accepted by the parser fit.
int64_t thaw_npy_nbytes(const struct thaw_npy_shape *s);

// Write the header into buf (at least 192 bytes); its length is a multiple of 64. Returns that length.
size_t thaw_npy_header(char buf[192], const struct thaw_npy_shape *s);

// Parse the header of a file or archive member of nbytes; *data is set to the offset of the first element.
// `name` is for messages. THAW_EDATA: bad magic, version, dictionary, Fortran order, big-endian or unknown
// type, negative or overflowing shape, or fewer data bytes than the shape says; more bytes than it says are
// refused as well.
int thaw_npy_parse(const uint8_t *bytes, int64_t nbytes, const char *name, struct thaw_npy_shape *shape,
                   int64_t *data, struct thaw_err *err);

// Stream an array into a file: create writes the header, the caller thaw_file_writes exactly nbytes of data,
// then commits. THAW_EIO, THAW_EMEM.
int thaw_npy_create(struct thaw_file_out **out, const char *path, const struct thaw_npy_shape *s,
                    struct thaw_err *err);
// The whole at once.
int thaw_npy_put(const char *path, const struct thaw_npy_shape *s, const void *data,
                 struct thaw_file_info *info, struct thaw_err *err);

// A mapped array. `data` points into the mapping.
struct thaw_npy {
    struct thaw_map map;
    struct thaw_npy_shape shape;
    const void *data;
};
// Map and parse; when expect is given also its length (not its checksums) is compared: O(1). THAW_ENOINPUT,
// THAW_EDATA.
int thaw_npy_open(struct thaw_npy *a, const char *path, const struct thaw_file_info *expect,
                  struct thaw_err *err);
void thaw_npy_close(struct thaw_npy *a);

#endif
