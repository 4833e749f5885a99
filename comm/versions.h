// versions.h: the version folders of a model, OUT/iteration-000010 and so on; private to model*.c. Local.
#ifndef THAW_COMM_VERSIONS_H
#define THAW_COMM_VERSIONS_H

#include "base/err.h"

#include <stdint.h>

enum { THAW_VERSION_NAME = 40 };

struct thaw_versions {
    int *number; // falling; owned
    int n;
    int current; // what OUT/current names, -1 for nothing of ours
};
// "iteration-000010" + suffix into name; returns name.
char *thaw_version_name(char name[THAW_VERSION_NAME], int number, const char *suffix);
// A folder that does not exist has no versions. THAW_ENOINPUT when it cannot be read.
int thaw_versions_list(struct thaw_versions *v, const char *out, struct thaw_err *err);
void thaw_versions_clear(struct thaw_versions *v);
// Turn OUT/<name>.tmp, whole and synced, into version `number`, in place of one of that number. At no moment
// is there neither: the two are exchanged, or, where the file system cannot, the older one stands aside as
// <name>.old, from where thaw_versions_recover takes it back.
int thaw_version_place(const char *out, int number, struct thaw_err *err);
// Point `current` at version `number`.
int thaw_version_publish(const char *out, int number, struct thaw_err *err);
// What killed runs left: a version that stood aside takes its place again, anything unfinished is removed.
int thaw_versions_recover(const char *out, struct thaw_err *err);
// Remove all versions but `number` (-1: all, and `current`) and `before` (-1: the newest below `number`), and
// what killed runs left.
int thaw_versions_prune(const char *out, int number, int before, struct thaw_err *err);

#endif
