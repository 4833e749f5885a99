// versions.h: the version folders of a model, OUT/iteration-000010 and so on; private to model.c. Local.
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
// Turn OUT/<name>.tmp into version `number`, replacing one of that number, and point `current` at it.
int thaw_version_commit(const char *out, int number, struct thaw_err *err);
// Remove all versions but `number` (-1: all, and `current`) and `before` (-1: the newest below `number`), and
// what killed runs left.
int thaw_versions_prune(const char *out, int number, int before, struct thaw_err *err);

#endif
