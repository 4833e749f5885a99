// fault.c: see fault.h.
#include "base/fault.h"

#ifdef THAW_FAULTS
#include "base/err.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { FAULTS_MAX = 16, WORD_MAX = 16, HANG_AFTER_S = 3, SLOW_S = 3600 };
enum { KILL = 1000, STOP, HANG, SLOW }; // besides errnos and THAW_FAULT_NAN

static const struct {
    const char *name;
    int what;
} whats[] = {{"kill", KILL},     {"stop", STOP},     {"hang", HANG},         {"slow", SLOW},
             {"eio", EIO},       {"enospc", ENOSPC}, {"edquot", EDQUOT},     {"erofs", EROFS},
             {"enoent", ENOENT}, {"enomem", ENOMEM}, {"nan", THAW_FAULT_NAN}};

static const struct {
    const char *name;
    bool call, numbers;
} sites[] = {{.name = "read"},
             {.name = "shuffle"},
             {.name = "merge"},
             {.name = "load"},
             {.name = "exchange"},
             {.name = "solve", .numbers = true},
             {.name = "measure"},
             {.name = "count"},
             {.name = "factor"},
             {.name = "step"},
             {.name = "rank"},
             {.name = "commit"},
             {.name = "publish"},
             {.name = "checkpoint"},
             {.name = "end"},
             {.name = "write", .call = true},
             {.name = "create", .call = true},
             {.name = "sync", .call = true},
             {.name = "rename", .call = true},
             {.name = "allocate", .call = true},
             {.name = "beat", .call = true}};

struct fault {
    int rank, what;
    long n;
    bool after; // and every later time
    char site[WORD_MAX];
    atomic_long passes;
};

static struct fault faults[FAULTS_MAX];
static int nfaults;
static atomic_int own_rank;
static pthread_once_t once = PTHREAD_ONCE_INIT;

// ---- Parsing ----

static bool find_what(const char *name, int *what) {
    for (size_t i = 0; i < sizeof whats / sizeof *whats; i++) {
        *what = whats[i].what;
        if (strcmp(name, whats[i].name) == 0) return true;
    }
    return false;
}

static bool site_can(const char *site, int what) {
    for (size_t i = 0; i < sizeof sites / sizeof *sites; i++)
        if (strcmp(site, sites[i].name) == 0)
            return what >= KILL || (what == THAW_FAULT_NAN ? sites[i].numbers : sites[i].call);
    return false;
}

// One RANK:SITE:N[:WHAT].
static bool parse(const char *text, struct fault *f) {
    char what[WORD_MAX] = "kill", *end;
    int at = -1;
    if (*text < '0' || *text > '9') return false;
    if (sscanf(text, "%d:%15[a-z]:%n", &f->rank, f->site, &at) != 2 || at < 0) return false;
    text += at;
    if (*text < '1' || *text > '9') return false;
    f->n = strtol(text, &end, 10);
    if ((f->after = *end == '+')) end++;
    if (*end == ':') {
        if (strlen(++end) >= sizeof what) return false;
        strcpy(what, end);
        end += strlen(end);
    }
    return *end == 0 && find_what(what, &f->what) && site_can(f->site, f->what);
}

// Rank 0 speaks; the others leave it the time to.
static void refuse(const char *text) {
    if (own_rank == 0)
        fprintf(stderr,
                "thaw: error: THAW_FAULT: '%s' is not RANK:SITE:N[:WHAT], or cannot fail like that: see "
                "src/base/fault.h\n",
                text);
    else
        sleep(1);
    _exit(THAW_EUSAGE);
}

static void read_environment(void) {
    const char *text = getenv("THAW_FAULT");
    char copy[512], *rest = copy;
    if (!text || !*text) return;
    if (strlen(text) >= sizeof copy) refuse(text);
    strcpy(copy, text);
    for (char *one; (one = strsep(&rest, ","));)
        if (nfaults == FAULTS_MAX || !parse(one, &faults[nfaults++])) refuse(one);
}

void thaw_fault_begin(int rank) {
    own_rank = rank;
    pthread_once(&once, read_environment);
}

// ---- Failing ----

static void sleep_through(time_t seconds) {
    struct timespec left = {.tv_sec = seconds};
    while (nanosleep(&left, &left) != 0 && errno == EINTR) continue;
}

// What thaw_fault returns.
static int fail(int what) {
    if (what == HANG) sleep_through(HANG_AFTER_S);
    if (what == SLOW) sleep_through(SLOW_S);
    if (what == KILL) kill(getpid(), SIGKILL);
    if (what == STOP || what == HANG) kill(getpid(), SIGSTOP);
    return what < KILL ? what : 0;
}

// call: the site is a call that can fail. Errnos are for such alone.
static int pass_site(const char *site, bool call) {
    int result = 0;
    pthread_once(&once, read_environment);
    for (int i = 0; i < nfaults; i++) {
        struct fault *f = &faults[i];
        if (f->rank != own_rank || strcmp(f->site, site) != 0) continue;
        if (f->what > 0 && f->what < KILL && !call) continue;
        const long pass = atomic_fetch_add(&f->passes, 1) + 1;
        if (pass == f->n || (f->after && pass > f->n)) result = fail(f->what);
    }
    return result;
}

int thaw_fault(const char *site) {
    return pass_site(site, false);
}

bool thaw_fault_call(const char *site) {
    const int why = pass_site(site, true);
    if (why > 0) errno = why;
    return why > 0;
}
#endif
