// facts.h: a list of named values, printed as text, CSV or a JSON object; and what a folder of Thaw holds, as
// such a list. Local; one thread.
#ifndef THAW_JOBS_FACTS_H
#define THAW_JOBS_FACTS_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct thaw_fact {
    const char *key; // borrowed
    char *value;     // owned
    bool number;     // not quoted in JSON
    bool list;       // facts of one key in a row are an array in JSON
};
struct thaw_facts {
    struct thaw_fact *fact; // n
    int n;
    size_t cap;
};
// key is kept, so a literal or as long-lived; value is copied. THAW_EMEM.
int thaw_facts_add(struct thaw_facts *f, const char *key, const char *value, struct thaw_err *err);
int thaw_facts_add_item(struct thaw_facts *f, const char *key, const char *value, struct thaw_err *err);
int thaw_facts_add_i64(struct thaw_facts *f, const char *key, int64_t value, struct thaw_err *err);
int thaw_facts_add_real(struct thaw_facts *f, const char *key, double value, struct thaw_err *err);
// The value of the first fact of this key, NULL when there is none.
const char *thaw_facts_find(const struct thaw_facts *f, const char *key);
void thaw_facts_clear(struct thaw_facts *f);

// format: THAW_FORMAT_*. Text: aligned lines "key  value". CSV: lines key,value without a header, with
// `name,` before each where name is not NULL. JSON: one object on a line.
void thaw_facts_print(FILE *out, int format, const char *name, const struct thaw_facts *f);

// What the folder holds, by its manifest and the presence and length of the files that names. A folder of
// versions is described by its current one. Keys: docs/operations.md. THAW_ENOINPUT: nothing that a job of
// Thaw finished; THAW_EDATA: a damaged manifest.
int thaw_facts_of_folder(struct thaw_facts *f, const char *folder, struct thaw_err *err);

// Whose result lies in the folder, or a version of it, by the names of its files: "prepare". NULL: nobody's.
const char *thaw_folder_job(const char *folder);

#endif
