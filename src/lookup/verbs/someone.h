// someone.h: someone the tables do not know, as people describe them on a command line or in a table: a
// profile and a history. Used by the verbs recommend and batch. Local; one thread.
#ifndef THAW_LOOKUP_SOMEONE_H
#define THAW_LOOKUP_SOMEONE_H

#include "lookup/verbs/verb.h"

struct thaw_someone {
    struct thaw_lookup_profile *profile;
    int64_t *items; // n, each once, in the order in which they became known
    float *strengths;
    double *times; // n, when times are given
    int64_t n;
    size_t items_cap, strengths_cap, times_cap;
};
int thaw_someone_new(struct thaw_someone *p, struct thaw_session *s, struct thaw_err *err);
void thaw_someone_clear(struct thaw_someone *p);
void thaw_someone_forget(struct thaw_someone *p); // ready for the next one

// NAME=VALUE entries between commas: a comma begins a new entry where NAME= follows, NAME without blanks,
// commas and quotes; a value in double quotes is taken whole ("" for a quote). What the tables do not know is
// told on stderr and contributes nothing. THAW_EUSAGE: an entry without "=", a quote without its end.
int thaw_someone_profile(struct thaw_someone *p, struct thaw_session *s, const char *word,
                         struct thaw_err *err);
// One field of the profile. *told (may be NULL): how many warnings are left, so that a long table is not all
// warnings.
int thaw_someone_field(struct thaw_someone *p, struct thaw_session *s, int field, const char *value, size_t n,
                       int64_t *told, struct thaw_err *err);
// Tell that there is no such field, and which there are.
void thaw_someone_no_field(struct thaw_session *s, const char *name, size_t n);
// One item. Known already: its strength grows and its time is the earlier one.
int thaw_someone_item(struct thaw_someone *p, int64_t item, float strength, double time,
                      struct thaw_err *err);
void thaw_someone_sort(struct thaw_someone *p); // by times, equal ones as they are

// A number of a list; what: "--strengths", for the message. THAW_EUSAGE.
int thaw_someone_number(const char *what, const char *word, size_t n, double *out, struct thaw_err *err);

// "auto|ensemble|P|E|G|fold-in|T" as a method; auto: the ensemble where there is a model for it. THAW_EUSAGE
// when the tables lack the model.
#define THAW_METHODS "auto|ensemble|P|E|G|fold-in|T"
int thaw_someone_method(struct thaw_session *s, int choice, enum thaw_lookup_method *m, struct thaw_err *err);

// Options of both verbs, into the fields method, explore, scale, seed and with_seen of T; three have a help
// of the verb's own.
#define THAW_SOMEONE_OPTIONS(T, METHOD, EXPLORE, SEEN)                                                       \
    THAW_OPTION_CHOICE(T, "method", method, "METHOD", "auto", THAW_METHODS, METHOD),                         \
        THAW_OPTION_CHOICE(T, "explore", explore, "HOW", "none", "none|ucb|thompson", EXPLORE),              \
        THAW_OPTION(T, REAL, "explore-scale", scale, "X", "1", 0, 1e6,                                       \
                    "How much of the doubt is added, in standard deviations."),                              \
        THAW_OPT_NUMBER(T, "seed", 0, seed, "0", 0, 1e15,                                                    \
                        "Seed of the draws of thompson and of G's noise."),                                  \
        THAW_OPTION(T, FLAG, "with-seen", with_seen, NULL, NULL, 0, 0, SEEN)

#endif
