// watch.c: the watchdog's marks and thread.
#include "comm/watch_net.h"

#include "base/log.h"
#include "base/mem.h"
#include "comm/handle.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum {
    STACK = 1 << 20,
    FRESH_LOOKS = 3,     // looks without news after which a rank may be gone
    QUIET_LOOKS = 5,     // and at least this many after which it is
    QUIET_MOST_S = 60,   // but no longer
    WARN_LOOKS = 10,     // after which rank 0 tells of ranks that it never heard of
    LAG_S = 5,           // a rank that does not hear from rank 0 leaves it the first word
    STAGGER_S = 2,       // and so does a rank to each lower one
    STAGGER_MOST_S = 10, // but not to more of them than this takes
    END_AFTER_S = 2      // a rank that is told to end lets rank 0 end first
};
static const double IDLE_SHARE = 0.01;  // of a core: what stands still takes less
static const double ANSWERS_A_S = 1000; // of rank 0's, at most

// ---- Marks. MPI is one for a process, and so are they ----

static atomic_uint_fast64_t calls; // odd while a call waits; another number in each call
static _Atomic(const char *) phase = "start";

// The next odd number.
uint64_t thaw_wait_begin(void) {
    const uint64_t before = atomic_load_explicit(&calls, memory_order_relaxed);
    atomic_store_explicit(&calls, before + 1 + (before & 1), memory_order_relaxed);
    return before;
}

// The next even number; within an outer call, which goes on waiting, the next odd one.
void thaw_wait_end(uint64_t before) {
    const uint64_t now = atomic_load_explicit(&calls, memory_order_relaxed);
    atomic_store_explicit(&calls, now + 1 + (before & 1), memory_order_relaxed);
}

void thaw_watch_phase(const char *name) {
    atomic_store_explicit(&phase, name, memory_order_relaxed);
}

// ---- The thread ----

// Signs that a process works: any of these rises.
struct work {
    uint64_t calls;    // MPI's
    const char *phase; // or changes
    double cpu_s;      // of all threads but the watchdog
    int64_t disk;      // blocks read and written, pages fetched
};

// Where rank 0's watchdog listens, and what proves that one belongs to this job.
struct place {
    uint64_t nonce[2];
    char host[THAW_HOST_MAX];
    int32_t naddresses;
    struct thaw_address address[THAW_ADDRESSES_MAX];
};

struct thaw_watch {
    int rank, size;
    bool quiet, same_host; // as rank 0
    char job[24], host[THAW_HOST_MAX];
    double interval_s; // between two looks
    struct thaw_watch_limits limits;
    struct place rank0;
    struct thaw_net net;
    int stop_fd; // an event: the job is over
    bool running;
    pthread_t thread;
    // The thread's own from here on.
    double real_s, now_s, next_s; // now_s: its clock
    double judge_from_s;          // what was heard before is of the time when this process was stopped
    uint64_t seen;                // marks at the last look
    double since_s, waited_s;
    struct work work;       // signs of it at the last look
    double work_s, still_s; // when there was one, and for how long there has been none
    int answering;          // address of rank 0 that answers; -1 while none does
    double answered_s;
    double told_to_end_s; // when rank 0 said that the job stalled; 0: it has not
    // Rank 0:
    char *hosts;                // size x THAW_HOST_MAX
    struct thaw_watched *state; // size
    double *heard_s;            // size
    struct thaw_address *from;  // size
    bool warned;
};

// What the job spends stopped does not count, nor does what this thread spends waiting for a core.
static void advance_clock(struct thaw_watch *w) {
    const double real_s = thaw_time_s(), step = real_s - w->real_s, most = 2 * w->interval_s;
    w->real_s = real_s;
    w->now_s += step < most ? step : most;
    if (step > most) w->judge_from_s = w->now_s + QUIET_LOOKS * w->interval_s;
}

static double cpu_s(clockid_t of) {
    struct timespec t = {0};
    clock_gettime(of, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static struct work work_now(void) {
    struct rusage u = {0};
    getrusage(RUSAGE_SELF, &u);
    return (struct work){.calls = atomic_load_explicit(&calls, memory_order_relaxed),
                         .phase = atomic_load_explicit(&phase, memory_order_relaxed),
                         .cpu_s = cpu_s(CLOCK_PROCESS_CPUTIME_ID) - cpu_s(CLOCK_THREAD_CPUTIME_ID),
                         .disk = (int64_t)u.ru_inblock + u.ru_oublock + u.ru_majflt};
}

// A call that waits keeps a core busy, too; that is no work.
static void look_for_work(struct thaw_watch *w) {
    const struct work now = work_now(), before = w->work;
    const bool computes = now.cpu_s - before.cpu_s > IDLE_SHARE * w->interval_s && !(now.calls & 1);
    if (now.calls != before.calls || now.phase != before.phase || now.disk != before.disk || computes)
        w->work_s = w->now_s;
    w->work = now;
    w->still_s = w->now_s - w->work_s;
}

static void look(struct thaw_watch *w) {
    const uint64_t now = atomic_load_explicit(&calls, memory_order_relaxed);
    if (now != w->seen) w->since_s = w->now_s;
    w->seen = now;
    w->waited_s = now & 1 ? w->now_s - w->since_s : 0;
    look_for_work(w);
}

static void fill_phase(char out[THAW_PHASE_NAME]) {
    snprintf(out, THAW_PHASE_NAME, "%s", atomic_load_explicit(&phase, memory_order_relaxed));
}

// One line on standard error at once: the thread that owns the log may be the one that hangs.
static void say(const struct thaw_watch *w, const char *what, int rank, const char *host, const char *text) {
    char line[1024];
    const int n = snprintf(line, sizeof line, "%sthaw %s: %s: rank %d of %d (%s): %s\n",
                           isatty(STDERR_FILENO) ? "\r\033[K" : "", w->job, what, rank, w->size, host, text);
    (void)!write(STDERR_FILENO, line, n < (int)sizeof line ? (size_t)n : sizeof line - 1);
}

// ---- Rank 0 ----

static const char *host_of(const struct thaw_watch *w, int rank) {
    return w->hosts + (size_t)rank * THAW_HOST_MAX;
}

static void hear(struct thaw_watch *w, const struct thaw_beat *b, const struct thaw_address *from) {
    if (b->rank < 1 || b->rank >= w->size) return;
    struct thaw_watched *s = &w->state[b->rank];
    s->heard = true;
    s->gone |= b->kind == THAW_BEAT_GONE;
    s->waited_s = b->waited_s;
    s->still_s = b->still_s;
    memcpy(s->phase, b->phase, sizeof s->phase);
    w->heard_s[b->rank] = w->now_s;
    w->from[b->rank] = *from;
    struct thaw_beat answer = {.kind = THAW_BEAT_ANSWER, .rank = b->rank, .address = b->address};
    thaw_net_send(&w->net, from, &answer);
}

// " (and 3 more ranks)", or nothing.
static void say_more(char out[48], int n) {
    *out = 0;
    if (n > 0) snprintf(out, 48, " (and %d more rank%s)", n, n == 1 ? "" : "s");
}

static void explain(const struct thaw_watch *w, const struct thaw_verdict *v, char *text, size_t cap) {
    const struct thaw_watched *s = &w->state[v->rank];
    char more[48];
    say_more(more, v->more);
    switch (v->stall) {
    case THAW_STALL_SILENT:
        snprintf(text, cap,
                 "nothing has been heard of it%s for %.0f s, last in phase %s, while others waited %.0f s: "
                 "look at that host and process, then run the same command again",
                 more, s->silent_s, s->phase, v->waited_s);
        return;
    case THAW_STALL_BUSY:
        snprintf(text, cap,
                 "has kept the others waiting for %.0f s in phase %s%s: look at what holds it up there, or "
                 "allow more with --stall-timeout",
                 v->waited_s, s->phase, more);
        return;
    case THAW_STALL_STILL:
        snprintf(text, cap,
                 "has stood still for %.0f s in phase %s%s, and no rank waits for another: look whether the "
                 "file system answers, then run the same command again, or allow more with --stall-timeout",
                 v->waited_s, s->phase, more);
        return;
    case THAW_STALL_UNHEARD:
        snprintf(text, cap,
                 "the watchdog has never heard of it%s, and all others waited %.0f s: look at that host, and "
                 "whether UDP passes between the hosts",
                 more, v->waited_s);
        return;
    case THAW_STALL_NONE:
    case THAW_STALL_ALL:
        snprintf(text, cap,
                 "waits in phase %s, and all ranks wait for each other, for %.0f s by now: a message was "
                 "lost; run the same command again, and report it should it come back",
                 s->phase, v->waited_s);
    }
}

static void end_job(struct thaw_watch *w) {
    const struct timespec moment = {.tv_nsec = 200000000}; // for the launcher to take the line
    struct thaw_beat end = {.kind = THAW_BEAT_END};
    for (int r = 1; r < w->size; r++)
        if (w->state[r].heard) thaw_net_send(&w->net, &w->from[r], &end);
    nanosleep(&moment, NULL);
    _exit(THAW_ESTALLED);
}

static void warn_unheard(struct thaw_watch *w) {
    int unheard = 0, first = 0;
    char text[256], more[48];
    if (w->warned || w->now_s < WARN_LOOKS * w->interval_s) return;
    w->warned = true;
    for (int r = w->size - 1; r > 0; r--) {
        if (w->state[r].heard) continue;
        unheard++;
        first = r;
    }
    if (!unheard || w->quiet) return;
    say_more(more, unheard - 1);
    snprintf(text, sizeof text,
             "the watchdog does not hear it%s: a stall will end the job, but may not say why. Is UDP from "
             "that host to %s blocked?",
             more, w->host);
    say(w, "warning", first, host_of(w, first), text);
}

static void look_at_all(struct thaw_watch *w) {
    struct thaw_watched *own = &w->state[0];
    for (int r = 1; r < w->size; r++) w->state[r].silent_s = w->now_s - w->heard_s[r];
    own->waited_s = w->waited_s;
    own->still_s = w->still_s;
    fill_phase(own->phase);
    if (w->now_s < w->judge_from_s) return;
    const struct thaw_verdict v = thaw_watch_judge(w->state, w->size, &w->limits);
    if (v.stall != THAW_STALL_NONE) {
        char text[512];
        explain(w, &v, text, sizeof text);
        say(w, "error", v.rank, host_of(w, v.rank), text);
        end_job(w);
    }
    warn_unheard(w);
}

// ---- The other ranks ----

static void tell(struct thaw_watch *w, enum thaw_beat_kind kind) {
    const struct place *p = &w->rank0;
    struct thaw_beat b = {
        .kind = (int32_t)kind, .rank = w->rank, .waited_s = (float)w->waited_s, .still_s = (float)w->still_s};
    fill_phase(b.phase);
    if (w->answering >= 0 && w->now_s - w->answered_s > FRESH_LOOKS * w->interval_s) w->answering = -1;
    for (int i = 0; i < p->naddresses; i++) {
        if (w->answering >= 0 ? i != w->answering : p->address[i].loopback && !w->same_host) continue;
        b.address = i;
        thaw_net_send(&w->net, &p->address[i], &b);
    }
}

static void hear_rank0(struct thaw_watch *w, const struct thaw_beat *b) {
    if (b->kind == THAW_BEAT_END && w->told_to_end_s == 0) w->told_to_end_s = w->now_s;
    if (b->kind != THAW_BEAT_ANSWER || b->address < 0 || b->address >= w->rank0.naddresses) return;
    w->answering = b->address;
    w->answered_s = w->now_s;
}

// Rank 0 judges, unless nothing is heard of it. Then the lowest rank that waits too long speaks.
static void judge_alone(const struct thaw_watch *w) {
    const double over_s = w->waited_s - w->limits.timeout_s, silent_s = w->now_s - w->answered_s;
    const double later_s = STAGGER_S * (w->rank - 1.0);
    const double lag_s = LAG_S + (later_s < STAGGER_MOST_S ? later_s : STAGGER_MOST_S);
    const bool answered = w->answered_s > 0;
    char text[512], where[THAW_PHASE_NAME];
    if (over_s < lag_s || (answered && silent_s - w->limits.quiet_s < lag_s)) return;
    fill_phase(where);
    if (answered)
        snprintf(
            text, sizeof text,
            "nothing has been heard of it for %.0f s, while rank %d (%s) waited %.0f s in phase %s: look "
            "at that host and process, then run the same command again",
            silent_s, w->rank, w->host, w->waited_s, where);
    else
        snprintf(text, sizeof text,
                 "has waited %.0f s in phase %s, and its watchdog never reached that of rank 0 (%s): look at "
                 "that host, and whether UDP passes between the hosts",
                 w->waited_s, where, w->rank0.host);
    say(w, "error", answered ? 0 : w->rank, answered ? w->rank0.host : w->host, text);
    _exit(THAW_ESTALLED);
}

// ---- Running ----

struct thaw_beats thaw_watch_beats(int rank, int size) {
    return (struct thaw_beats){.first_s = rank / ANSWERS_A_S, .interval_s = 1 + size / ANSWERS_A_S};
}

static void receive_all(struct thaw_watch *w) {
    struct thaw_beat b;
    struct thaw_address from;
    for (int n = 0; n < 4 * w->size && thaw_net_receive(&w->net, &b, &from); n++) {
        if (w->rank == 0)
            hear(w, &b, &from);
        else
            hear_rank0(w, &b);
    }
}

static void *run(void *user) {
    struct thaw_watch *w = user;
    struct pollfd fds[] = {{w->stop_fd, POLLIN, 0}, {w->net.fd[0], POLLIN, 0}, {w->net.fd[1], POLLIN, 0}};
    w->real_s = thaw_time_s();
    w->next_s = thaw_watch_beats(w->rank, w->size).first_s;
    for (;;) {
        const double left_s = w->next_s - w->now_s;
        poll(fds, 3, left_s > 0 ? (int)(1000 * left_s) + 1 : 0);
        if (fds[0].revents) break;
        advance_clock(w);
        receive_all(w);
        if (w->now_s < w->next_s) continue;
        w->next_s = w->now_s + w->interval_s;
        look(w);
        if (w->rank == 0) {
            look_at_all(w);
            continue;
        }
        tell(w, THAW_BEAT_STATE);
        if (w->told_to_end_s > 0 && w->now_s - w->told_to_end_s >= END_AFTER_S) _exit(THAW_ESTALLED);
        judge_alone(w);
    }
    if (w->rank != 0) tell(w, THAW_BEAT_GONE);
    return NULL;
}

// ---- Beginning and end ----

static int start_thread(struct thaw_watch *w, struct thaw_err *err) {
    pthread_attr_t attributes;
    sigset_t all, old;
    if ((w->stop_fd = eventfd(0, EFD_CLOEXEC)) < 0)
        return thaw_fail_errno(err, THAW_EMEM, "cannot start the watchdog (--stall-timeout 0 does without)");
    sigfillset(&all);
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK);
    pthread_sigmask(SIG_SETMASK, &all, &old); // signals are the job's
    const int why = pthread_create(&w->thread, &attributes, run, w);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    pthread_attr_destroy(&attributes);
    errno = why;
    if (why)
        return thaw_fail_errno(err, THAW_EMEM, "cannot start the watchdog (--stall-timeout 0 does without)");
    pthread_setname_np(w->thread, "watchdog");
    w->running = true;
    return THAW_OK;
}

static int watch_new(struct thaw_watch **out, const struct thaw_comm *c, struct thaw_err *err) {
    struct thaw_watch *w = NULL;
    const size_t n = c->rank == 0 ? (size_t)c->size : 1;
    int code = thaw_alloc(&w, 1, sizeof *w, "the watchdog", err);
    if (code) return code;
    w->stop_fd = w->net.fd[0] = w->net.fd[1] = w->answering = -1;
    *out = w;
    code = thaw_alloc(&w->state, n, sizeof *w->state, "the watchdog", err);
    if (!code) code = thaw_alloc(&w->heard_s, n, sizeof *w->heard_s, "the watchdog", err);
    if (!code) code = thaw_alloc(&w->from, n, sizeof *w->from, "the watchdog", err);
    if (code) return code;
    w->state[0].heard = true;
    w->rank = c->rank;
    w->size = c->size;
    memcpy(w->host, c->host, sizeof w->host);
    return THAW_OK;
}

static void set_limits(struct thaw_watch *w, double timeout_s) {
    const double quarter = timeout_s / 4 < QUIET_MOST_S ? timeout_s / 4 : QUIET_MOST_S;
    w->interval_s = thaw_watch_beats(w->rank, w->size).interval_s;
    w->limits.timeout_s = timeout_s;
    w->limits.fresh_s = FRESH_LOOKS * w->interval_s;
    w->limits.quiet_s = quarter > QUIET_LOOKS * w->interval_s ? quarter : QUIET_LOOKS * w->interval_s;
}

// Rank 0 tells where it is.
static int fill_place(struct thaw_watch *w, struct thaw_err *err) {
    struct place *p = &w->rank0;
    memcpy(p->host, w->host, sizeof p->host);
    p->naddresses = thaw_net_addresses(&w->net, p->address);
    if (getrandom(p->nonce, sizeof p->nonce, 0) != sizeof p->nonce)
        return thaw_fail_errno(err, THAW_EBUG, "the system has no random numbers for the watchdog");
    return THAW_OK;
}

int thaw_watch_start(struct thaw_watch **out, struct thaw_comm *c, const char *job, double timeout_s,
                     bool quiet, struct thaw_err *err) {
    struct thaw_watch *w = NULL;
    int64_t nbytes = 0;
    int first = c->rank, code = thaw_comm_agree(c, watch_new(&w, c, err), err);
    if (code) goto done;
    snprintf(w->job, sizeof w->job, "%s", job);
    w->quiet = quiet;
    set_limits(w, timeout_s);
    thaw_net_open(&w->net);
    if ((code = thaw_comm_agree(c, c->rank == 0 ? fill_place(w, err) : THAW_OK, err))) goto done;
    thaw_comm_bcast(c, &w->rank0, sizeof w->rank0, 0);
    memcpy(w->net.nonce, w->rank0.nonce, sizeof w->net.nonce);
    MPI_Bcast(&first, 1, MPI_INT, 0, c->machine);
    w->same_host = first == 0;
    code = thaw_comm_gather(c, c->host, sizeof c->host, 0, (void **)&w->hosts, &nbytes, err);
    if (!code) code = thaw_comm_agree(c, start_thread(w, err), err);
done:
    if (code) thaw_watch_stop(&w);
    *out = w;
    return code;
}

void thaw_watch_stop(struct thaw_watch **out) {
    struct thaw_watch *w = *out;
    if (!w) return;
    if (w->running) {
        const uint64_t one = 1;
        (void)!write(w->stop_fd, &one, sizeof one);
        pthread_join(w->thread, NULL);
    }
    if (w->stop_fd >= 0) close(w->stop_fd);
    thaw_net_close(&w->net);
    free(w->hosts);
    free(w->state);
    free(w->heard_s);
    free(w->from);
    free(w);
    *out = NULL;
}
