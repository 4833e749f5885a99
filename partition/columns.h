// columns.h: names by which logs usually call their columns. Inside partition/ only. Local; thread-safe.
#ifndef THAW_PARTITION_COLUMNS_H
#define THAW_PARTITION_COLUMNS_H

#include "partition/event.h"

enum { THAW_ROLE_USER, THAW_ROLE_ITEM, THAW_ROLE_EVENT, THAW_ROLE_VALUE, THAW_ROLE_TIME, THAW_ROLES };

// How well known a name is for a role: 0 the best, -1 not at all. Case, '_', '-', '.' and blanks do not
// count.
int thaw_role_known(int role, const char *name, size_t n);

// Does a column specification by name ask for this name?
bool thaw_columns_ask(const char *spec, const char *name, size_t n);

#endif
