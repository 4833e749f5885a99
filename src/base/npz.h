// npz.h: NumPy's .npz: an uncompressed zip archive of .npy members, written so that every array's data is
// 64-byte aligned in the file and can be used from a memory map. ZIP64 always understood, written where a
// size needs it. docs/formats.md. Local; thread-safe on distinct objects; an open archive may be read by many
// threads. The writer stores each member with its CRC-32, as zip requires. Writing fails with THAW_EIO or
// THAW_EMEM.
#ifndef THAW_BASE_NPZ_H
#define THAW_BASE_NPZ_H

#include "base/npy.h"

struct thaw_npz_out;
int thaw_npz_create(struct thaw_npz_out **out, const char *path, struct thaw_err *err);
// Append an array at once. name has no ".npy" suffix; unique in the archive.
int thaw_npz_add(struct thaw_npz_out *z, const char *name, const struct thaw_npy_shape *s, const void *data,
                 struct thaw_err *err);
// Write the central directory and commit the file; *z is freed also on failure.
int thaw_npz_commit(struct thaw_npz_out **z, struct thaw_file_info *info, struct thaw_err *err);
void thaw_npz_discard(struct thaw_npz_out **z);

struct thaw_npz; // a mapped archive
// Map and read the directory; when expect is given its length is compared. THAW_ENOINPUT, THAW_EDATA.
int thaw_npz_open(struct thaw_npz **z, const char *path, const struct thaw_file_info *expect,
                  struct thaw_err *err);
// The array `name`: its shape, and *data into the mapping, valid until close. THAW_EDATA when absent or
// malformed.
int thaw_npz_get(const struct thaw_npz *z, const char *name, struct thaw_npy_shape *shape, const void **data,
                 struct thaw_err *err);
bool thaw_npz_has(const struct thaw_npz *z, const char *name);
// Compare with the manifest's checksums (reads the whole file). THAW_EDATA.
int thaw_npz_check(const struct thaw_npz *z, const struct thaw_file_info *expect, struct thaw_err *err);
void thaw_npz_close(struct thaw_npz **z);

#endif
