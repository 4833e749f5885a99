// unpack.h: the bytes of a plain, gzip or zstd file as one stream. Local; a stream belongs to one thread.
#ifndef THAW_PARTITION_UNPACK_H
#define THAW_PARTITION_UNPACK_H

#include "partition/source.h"

// Local. What packing a file's first bytes (n of them) tell.
enum thaw_packing thaw_unpack_tell(const unsigned char *head, size_t n);

// Local. Open a file that had nbytes when it was listed; a plain one is read from byte `begin` on.
// THAW_ENOINPUT; THAW_EDATA when its length has changed; THAW_EMEM.
struct thaw_unpack;
int thaw_unpack_open(struct thaw_unpack **u, const struct thaw_source *file, int64_t begin,
                     struct thaw_err *err);
// Local. Fill buf with the next bytes: *got < cap only at the end of the file. THAW_ENOINPUT (read error, the
// file shrank), THAW_EDATA (damaged or truncated).
int thaw_unpack_read(struct thaw_unpack *u, char *buf, size_t cap, size_t *got, struct thaw_err *err);
int64_t thaw_unpack_disk_bytes(const struct thaw_unpack *u); // read from disk so far
void thaw_unpack_close(struct thaw_unpack **u);

#endif
