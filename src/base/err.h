// err.h: how every fallible function of Thaw reports a failure.
//
// A function that can fail returns an enum thaw_code (0 is success) and fills a struct thaw_err. The first
// cause wins: a thaw_err that already holds a failure is not overwritten. Outputs are set only on success.
// Library code never prints, never exits and never asserts on input.
//
// Local; thread-safe as long as threads do not share one thaw_err.
#ifndef THAW_BASE_ERR_H
#define THAW_BASE_ERR_H

#include <stdarg.h>
#include <stddef.h>

// Codes are the exit statuses of the programs (sysexits.h where it has one).
enum thaw_code {
    THAW_OK = 0,
    THAW_EUSAGE = 64,    // bad command line or job file
    THAW_EDATA = 65,     // input is there but wrong: bad lines, unknown id, damaged file
    THAW_ENOINPUT = 66,  // input is missing or unreadable
    THAW_ESTALLED = 69,  // a rank stopped answering, or kept the others waiting too long
    THAW_EBUG = 70,      // a broken invariant inside Thaw
    THAW_EMEM = 71,      // not enough memory
    THAW_EIO = 74,       // writing, syncing or renaming failed
    THAW_ESTOPPED = 75,  // stopped on request with a checkpoint: requeue
    THAW_EDISAGREE = 76, // ranks were given different options or inputs
    THAW_EDIVERGED = 79, // a non-finite value in training (77 is ctest's "skipped")
};

enum { THAW_ERR_TEXT = 480, THAW_ERR_FILE = 24 };

struct thaw_err {
    int code; // THAW_OK while nothing has failed
    int rank; // the failing rank, -1 outside MPI
    int line; // source line that raised it
    char file[THAW_ERR_FILE];
    char text[THAW_ERR_TEXT]; // one line: what, where, what to do; no newline
};

// The value a thaw_err starts with.
#define THAW_ERR_INIT ((struct thaw_err){.rank = -1})

// Fill err (unless it holds an earlier failure, or is NULL) and return code:
//     return thaw_fail(err, THAW_EDATA, "%s: checksum mismatch at byte %" PRId64, path, at);
#define thaw_fail(err, code, ...) thaw_fail_at((err), (code), __FILE__, __LINE__, __VA_ARGS__)

// The same, with ": <strerror(errno)>" appended; errno is read first. ENOMEM becomes THAW_EMEM.
#define thaw_fail_errno(err, code, ...) thaw_fail_errno_at((err), (code), __FILE__, __LINE__, __VA_ARGS__)

int thaw_fail_at(struct thaw_err *err, int code, const char *file, int line, const char *format, ...)
    __attribute__((format(printf, 5, 6)));
int thaw_fail_errno_at(struct thaw_err *err, int code, const char *file, int line, const char *format, ...)
    __attribute__((format(printf, 5, 6)));

// A short name of a code for logs: "bad data". Never NULL.
const char *thaw_code_name(int code);

#endif
