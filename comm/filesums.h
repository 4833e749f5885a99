// filesums.h: digests of input files, computed by all ranks together.
#ifndef THAW_COMM_FILESUMS_H
#define THAW_COMM_FILESUMS_H

#include "comm/world.h"
#include "partition/source.h"
#include "proto/thaw.pb-c.h"

// Collective. Append every file to run->inputs on rank 0, with the digest thaw_file_digest gives. Each rank
// reads an even share of the files' 16 MiB pieces once. THAW_ENOINPUT, THAW_EMEM.
int thaw_filesums_add(struct thaw_comm *c, const struct thaw_sources *s, Thaw__Run *run,
                      struct thaw_err *err);

#endif
