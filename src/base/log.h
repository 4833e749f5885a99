// log.h: what people and machines read while a job runs. stderr is for people (rank 0 only), --log FILE gets
// JSON lines. stdout belongs to results and is never touched here. Local; call from one thread at a time.
#ifndef THAW_BASE_LOG_H
#define THAW_BASE_LOG_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

struct thaw_log;

// quiet: nothing to people (ranks other than 0, or --quiet). json_path: NULL for none, appended to.
int thaw_log_open(struct thaw_log **log, bool quiet, const char *json_path, struct thaw_err *err);
void thaw_log_close(struct thaw_log **log);

// One line for people, prefixed with nothing; also an {"event":"note","text":...} line. log may be NULL
// everywhere.
void thaw_log_note(struct thaw_log *log, const char *format, ...) __attribute__((format(printf, 2, 3)));
// Warnings are prefixed "warning: ".
void thaw_log_warn(struct thaw_log *log, const char *format, ...) __attribute__((format(printf, 2, 3)));
// A machine-only record: {"time":..., "event":NAME, <fields>}; `fields` is a JSON fragment such as
// "\"loss\":1.5,\"k\":3".
void thaw_log_event(struct thaw_log *log, const char *name, const char *fields, ...)
    __attribute__((format(printf, 3, 4)));

// Progress of a phase: on a terminal one rewritten line with rate and ETA at most 10 times a second,
// otherwise one line per 10 % after the first second. total <= 0 when unknown. `unit` is plural ("rows",
// "MB"). thaw_log_phase starts one, thaw_log_step reports work done.
void thaw_log_phase(struct thaw_log *log, const char *what, int64_t total, const char *unit);
void thaw_log_step(struct thaw_log *log, int64_t done);
void thaw_log_phase_end(struct thaw_log *log);

double thaw_time_s(void);                             // monotonic seconds
char *thaw_human_bytes(char buf[16], int64_t nbytes); // "1.5 GiB"; returns buf
char *thaw_human_count(char buf[32], int64_t n);      // "1,000,209"; returns buf
// Write the n bytes of text JSON-escaped, without quotes, to out (cap bytes, terminated; cut between
// characters when it does not fit); returns the length it needed. Bytes that are not UTF-8 become U+FFFD.
int64_t thaw_json_escape(char *out, int64_t cap, const char *text, int64_t n);

#endif
