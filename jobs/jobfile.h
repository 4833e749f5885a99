// jobfile.h: job files of `thaw run`: INI, one section per step, keys are the options of that job. Local; one
// thread.
#ifndef THAW_JOBS_JOBFILE_H
#define THAW_JOBS_JOBFILE_H

#include "base/err.h"
#include "base/opt.h"

#include <stdbool.h>
#include <stddef.h>

// A growing list of owned words, for argument vectors.
struct thaw_words {
    char **word;
    int n;
    size_t cap;
};
int thaw_words_add(struct thaw_words *w, struct thaw_err *err, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void thaw_words_clear(struct thaw_words *w);

struct thaw_jobfile_entry {
    char *section, *key, *value;
    int line; // 0: from --set
};
struct thaw_jobfile {
    char *path, *dir; // of the file; what its relative paths start from
    struct thaw_jobfile_entry *entry;
    int nentries;
    size_t entry_cap;
    struct thaw_words sections; // in the file, empty ones too
    int *section_line;          // of each
    size_t section_cap;
};

// THAW_ENOINPUT; THAW_EUSAGE "demo.ini:12: ...": not INI, a line too long, a key given twice in a section.
int thaw_jobfile_read(struct thaw_jobfile *f, const char *path, struct thaw_err *err);
// "section.key=value" from the command line, in place of what the file says. THAW_EUSAGE.
int thaw_jobfile_set(struct thaw_jobfile *f, const char *assignment, struct thaw_err *err);
void thaw_jobfile_clear(struct thaw_jobfile *f);

bool thaw_jobfile_has(const struct thaw_jobfile *f, const char *section);
const struct thaw_jobfile_entry *thaw_jobfile_find(const struct thaw_jobfile *f, const char *section,
                                                   const char *key);
// A path of an entry: absolute ones as they are; in the file relative to the file's folder, in --set to the
// current one.
int thaw_jobfile_path(const struct thaw_jobfile *f, const struct thaw_jobfile_entry *e, const char *word,
                      struct thaw_words *out, struct thaw_err *err);

// Is this option the name of a file or folder (or of several)?
bool thaw_opt_is_path(const struct thaw_opt *o);
const struct thaw_opt *thaw_opt_find(const struct thaw_cmd *cmd, const char *name);

// Every key of the job's section is one of its options with a legal value. THAW_EUSAGE "demo.ini:12: [train]
// ...".
int thaw_jobfile_check(const struct thaw_jobfile *f, const struct thaw_cmd *cmd, struct thaw_err *err);
// The section as the words of a command line. Patterns in lists of files are expanded now.
int thaw_jobfile_words(const struct thaw_jobfile *f, const struct thaw_cmd *cmd, struct thaw_words *out,
                       struct thaw_err *err);
// Add --name=path for each file a pattern matches, or for the pattern itself when it matches none.
int thaw_words_add_files(struct thaw_words *out, const char *name, const char *pattern, struct thaw_err *err);

#endif
