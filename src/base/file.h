// file.h: durable files. Everything Thaw writes goes to a temporary name beside its target, is fsynced, and
// is renamed; a reader never sees half a file. Paths are plain strings; messages name them. Local;
// thread-safe on distinct files.
//
// Errors, where nothing else is said: THAW_EIO of what writes, THAW_EUSAGE for a path that is too long,
// THAW_EMEM.
#ifndef THAW_BASE_FILE_H
#define THAW_BASE_FILE_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { THAW_PATH_MAX = 4096, THAW_SUM_CHUNK = 16 << 20 };

// What a finished file is: manifests store it so that readers can refuse damage by name and place.
struct thaw_file_info {
    int64_t nbytes;
    uint64_t *sums; // XXH3_64bits of each THAW_SUM_CHUNK bytes, the last chunk short; owned, free with
                    // thaw_file_info_clear
    int32_t nsums;
};
void thaw_file_info_clear(struct thaw_file_info *info);
// One 64-bit digest of the whole: XXH3 over the little-endian sums. The digest manifests compare inputs by.
uint64_t thaw_file_info_digest(const struct thaw_file_info *info);

// A file being written, checksummed on the way. Writes are buffered (1 MiB).
struct thaw_file_out;
int thaw_file_create(struct thaw_file_out **out, const char *path, struct thaw_err *err); // opens <path>.tmp
int thaw_file_write(struct thaw_file_out *f, const void *bytes, size_t n, struct thaw_err *err);
int64_t thaw_file_tell(const struct thaw_file_out *f);
// Announce the length of the whole file: commit refuses any other with THAW_EBUG.
void thaw_file_expect(struct thaw_file_out *f, int64_t nbytes);
// Flush, fsync, rename to the final name, close, fsync the folder; *info (may be NULL) is set. *f is freed
// also on failure.
int thaw_file_commit(struct thaw_file_out **f, struct thaw_file_info *info, struct thaw_err *err);
void thaw_file_discard(struct thaw_file_out **f); // close and unlink the temporary; NULL is fine

// Write a whole small file durably. Returns as commit.
int thaw_file_put(const char *path, const void *bytes, size_t n, struct thaw_file_info *info,
                  struct thaw_err *err);

// A read-only mapping of a whole file. An empty file maps to base = "", nbytes = 0.
struct thaw_map {
    const uint8_t *base;
    int64_t nbytes;
};
// THAW_ENOINPUT when it does not exist or is unreadable; directories and other special files are refused with
// THAW_EDATA.
int thaw_map_open(struct thaw_map *map, const char *path, struct thaw_err *err);
void thaw_map_close(struct thaw_map *map); // zeroes *map

// Compare a mapped file with what the manifest says. THAW_EDATA: "users-00003-of-00064.npy: checksum mismatch
// at byte 4096" (the start of the damaged chunk), or a wrong length.
int thaw_map_check(const struct thaw_map *map, const char *path, const struct thaw_file_info *expect,
                   struct thaw_err *err);

// thaw_file_info_digest of a regular file of any size, by reading it (streamed). nbytes may be NULL.
// THAW_ENOINPUT, THAW_EDATA.
int thaw_file_digest(const char *path, uint64_t *digest, int64_t *nbytes, struct thaw_err *err);

// Paths and folders. THAW_EUSAGE: a path that becomes longer than THAW_PATH_MAX - 1 bytes. THAW_EIO: the
// system refuses, or a file is in the way.
bool thaw_path_exists(const char *path);
int thaw_path_copy(char out[THAW_PATH_MAX], const char *path, struct thaw_err *err);
// dir "": the name alone.
int thaw_path_join(char out[THAW_PATH_MAX], const char *dir, const char *name, struct thaw_err *err);
int thaw_path_suffix(char out[THAW_PATH_MAX], const char *path, const char *suffix, struct thaw_err *err);
int thaw_dir_make(const char *path, struct thaw_err *err);   // mkdir -p; fine when it exists
int thaw_dir_check(const char *path, struct thaw_err *err);  // could files be made there? changes nothing
int thaw_dir_sync(const char *path, struct thaw_err *err);   // fsync a folder
int thaw_dir_remove(const char *path, struct thaw_err *err); // rm -r of a folder Thaw made; fine when absent
// Exchange the names of two folders in one step: false where there are not both, or the file system cannot.
bool thaw_dir_exchange(const char *a, const char *b);
// Point the symbolic link dir/name at `target` (a name inside dir) atomically: symlink under a temporary
// name, then rename.
int thaw_link_switch(const char *dir, const char *name, const char *target, struct thaw_err *err);

#endif
