// published.h: the versions of a tables folder, OUT/v000001 and so on, with `current` pointing at one. Local;
// rank 0 calls it.
#ifndef THAW_JOBS_PUBLISHED_H
#define THAW_JOBS_PUBLISHED_H

#include "base/err.h"

#include <stdint.h>

enum { THAW_PUBLISHED_NAME = 32 };

// "v000001" + suffix into name; returns name.
char *thaw_published_name(char name[THAW_PUBLISHED_NAME], int number, const char *suffix);
// The number after the newest version in OUT, 1 for a folder that is empty or absent; and the digest of the
// model that `current` was made from, 0 when there is no intact one. THAW_ENOINPUT when OUT cannot be read.
int thaw_published_next(const char *out, int *number, uint64_t *model_digest, struct thaw_err *err);
// Make OUT and an empty OUT/<name>.tmp; what interrupted runs left behind is removed.
int thaw_published_begin(const char *out, int number, struct thaw_err *err);
// OUT/<name>.tmp becomes OUT/<name> and current; all but the newest `keep` versions are removed.
int thaw_published_commit(const char *out, int number, int keep, struct thaw_err *err);

#endif
