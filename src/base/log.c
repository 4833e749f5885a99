// log.c: notes, events and progress.
#include "base/log.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

struct thaw_log {
    bool quiet, tty;
    bool drawn; // a progress line stands on the terminal
    FILE *json; // NULL for none
    // The phase under way; what is "" between phases.
    char what[64], unit[24];
    int64_t total, done;
    int tenths; // reported already, when not a terminal
    double began_s, shown_s;
};

int thaw_log_open(struct thaw_log **log, bool quiet, const char *json_path, struct thaw_err *err) {
    struct thaw_log *l = calloc(1, sizeof *l);
    if (!l) return thaw_fail(err, THAW_EMEM, "cannot allocate the log");
    const char *term = getenv("TERM");
    l->quiet = quiet;
    l->tty = isatty(STDERR_FILENO) && term && strcmp(term, "dumb") != 0;
    if (json_path && !(l->json = fopen(json_path, "ae"))) {
        int code = thaw_fail_errno(err, THAW_EIO, "cannot open the log %s", json_path);
        free(l);
        return code;
    }
    *log = l;
    return THAW_OK;
}

void thaw_log_close(struct thaw_log **log) {
    if (!log || !*log) return;
    thaw_log_phase_end(*log);
    if ((*log)->json) fclose((*log)->json);
    free(*log);
    *log = NULL;
}

// ---- Lines ----

// Start a line for people; false when nobody listens.
static bool person(struct thaw_log *l) {
    if (!l || l->quiet) return false;
    if (l->drawn) fputs("\r\033[K", stderr);
    l->drawn = false;
    return true;
}

static bool begin_record(struct thaw_log *l, const char *event) {
    if (!l || !l->json) return false;
    struct timespec now;
    struct tm utc;
    char text[32];
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &utc);
    strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &utc);
    fprintf(l->json, "{\"time\":\"%s.%03dZ\",\"event\":\"%s\"", text, (int)(now.tv_nsec / 1000000), event);
    return true;
}

static void end_record(struct thaw_log *l) {
    fputs("}\n", l->json);
    if (fflush(l->json) == 0) return;
    int why = errno;
    fclose(l->json); // a full disk must not stop the job, nor fill the terminal
    l->json = NULL;
    if (person(l)) fprintf(stderr, "warning: cannot write the log, it ends here: %s\n", strerror(why));
}

static void put_escaped(struct thaw_log *l, const char *key, const char *text) {
    char escaped[4096];
    thaw_json_escape(escaped, sizeof escaped, text, (int64_t)strlen(text));
    fprintf(l->json, ",\"%s\":\"%s\"", key, escaped);
}

static void say(struct thaw_log *l, const char *event, const char *prefix, const char *format, va_list args) {
    char text[1024];
    vsnprintf(text, sizeof text, format, args);
    if (person(l)) fprintf(stderr, "%s%s\n", prefix, text);
    if (begin_record(l, event)) {
        put_escaped(l, "text", text);
        end_record(l);
    }
}

void thaw_log_note(struct thaw_log *log, const char *format, ...) {
    va_list args;
    va_start(args, format);
    say(log, "note", "", format, args);
    va_end(args);
}

void thaw_log_warn(struct thaw_log *log, const char *format, ...) {
    va_list args;
    va_start(args, format);
    say(log, "warning", "warning: ", format, args);
    va_end(args);
}

void thaw_log_event(struct thaw_log *log, const char *name, const char *fields, ...) {
    if (!begin_record(log, name)) return;
    if (fields && *fields) {
        va_list args;
        va_start(args, fields);
        fputc(',', log->json);
        vfprintf(log->json, fields, args);
        va_end(args);
    }
    end_record(log);
}

// ---- Progress ----

static void format_seconds(char *buf, size_t cap, double s) {
    int64_t t = s < 1e9 ? (int64_t)(s + 0.5) : 1000000000;
    if (t < 60)
        snprintf(buf, cap, "%" PRId64 " s", t);
    else if (t < 3600)
        snprintf(buf, cap, "%" PRId64 " min %02" PRId64 " s", t / 60, t % 60);
    else
        snprintf(buf, cap, "%" PRId64 " h %02" PRId64 " min", t / 3600, t / 60 % 60);
}

static void format_progress(const struct thaw_log *l, double seconds, char *buf, size_t cap) {
    char done[32], total[32], rate[32], left[48] = "";
    double per_s = seconds > 0 ? (double)l->done / seconds : 0;
    thaw_human_count(done, l->done);
    thaw_human_count(rate, (int64_t)per_s);
    if (l->total <= 0) {
        snprintf(buf, cap, "%s: %s %s, %s/s", l->what, done, l->unit, rate);
        return;
    }
    if (per_s > 0) {
        char eta[32];
        double rest = (double)(l->total - l->done) / per_s;
        format_seconds(eta, sizeof eta, rest > 0 ? rest : 0);
        snprintf(left, sizeof left, ", %s left", eta);
    }
    double percent = 100.0 * (double)l->done / (double)l->total;
    snprintf(buf, cap, "%s: %.0f %% (%s of %s %s, %s/s%s)", l->what, percent, done,
             thaw_human_count(total, l->total), l->unit, rate, left);
}

void thaw_log_phase(struct thaw_log *log, const char *what, int64_t total, const char *unit) {
    if (!log) return;
    thaw_log_phase_end(log);
    snprintf(log->what, sizeof log->what, "%s", what);
    snprintf(log->unit, sizeof log->unit, "%s", unit);
    log->total = total;
    log->done = 0;
    log->tenths = 0;
    log->began_s = log->shown_s = thaw_time_s();
    if (begin_record(log, "phase")) {
        put_escaped(log, "what", what);
        fprintf(log->json, ",\"total\":%" PRId64, total);
        put_escaped(log, "unit", unit);
        end_record(log);
    }
}

// Is a line due? On a terminal by time, otherwise by tenths of the total, or by time when that is unknown. A
// phase that takes less than a second needs no lines but that of its end.
static bool due(struct thaw_log *l, double now) {
    if (l->tty) return now - l->shown_s >= 0.1;
    if (l->total <= 0) return now - l->shown_s >= 10.0;
    if (now - l->began_s < 1.0) return false;
    int tenths = (int)(10.0 * (double)l->done / (double)l->total);
    if (tenths <= l->tenths || tenths >= 10) return false; // the end of the phase reports the whole
    l->tenths = tenths;
    return true;
}

// A line must not wrap, or it could not be rewritten.
static size_t terminal_width(size_t most) {
    struct winsize size;
    bool known = ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
    size_t width = known ? size.ws_col : 80;
    return width < most ? width : most;
}

void thaw_log_step(struct thaw_log *log, int64_t done) {
    if (!log || !log->what[0]) return;
    log->done = done;
    double now = thaw_time_s();
    if (log->quiet || !due(log, now)) return;
    char text[256];
    format_progress(log, now - log->began_s, text, log->tty ? terminal_width(sizeof text) : sizeof text);
    fprintf(stderr, log->tty ? "\r\033[K%s" : "%s\n", text);
    log->drawn = log->tty;
    log->shown_s = now;
}

void thaw_log_phase_end(struct thaw_log *log) {
    if (!log || !log->what[0]) return;
    double seconds = thaw_time_s() - log->began_s;
    char done[32], rate[32];
    thaw_human_count(done, log->done);
    thaw_human_count(rate, seconds > 0 ? (int64_t)((double)log->done / seconds) : 0);
    if (person(log))
        fprintf(stderr, "%s: %s %s in %.1f s (%s/s)\n", log->what, done, log->unit, seconds, rate);
    if (begin_record(log, "phase_end")) {
        put_escaped(log, "what", log->what);
        fprintf(log->json, ",\"done\":%" PRId64 ",\"seconds\":%.3f", log->done, seconds);
        end_record(log);
    }
    log->what[0] = '\0';
}

// ---- Texts ----

double thaw_time_s(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

char *thaw_human_bytes(char buf[16], int64_t nbytes) {
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double v = (double)nbytes;
    int unit = 0;
    while ((v >= 1023.95 || v <= -1023.95) && unit < 6) {
        v /= 1024;
        unit++;
    }
    snprintf(buf, 16, unit ? "%.1f %s" : "%.0f %s", v, units[unit]);
    return buf;
}

char *thaw_human_count(char buf[32], int64_t n) {
    char digits[24];
    int length = snprintf(digits, sizeof digits, "%" PRId64, n), out = 0;
    for (int i = 0; i < length; i++) {
        if (i > (digits[0] == '-') && (length - i) % 3 == 0) buf[out++] = ',';
        buf[out++] = digits[i];
    }
    buf[out] = '\0';
    return buf;
}

// Length of the UTF-8 character that starts at s, 0 when it is none (RFC 3629: no overlong forms, no
// surrogates).
static int utf8_length(const unsigned char *s, int64_t n) {
    if (s[0] < 0x80) return 1;
    int length = s[0] >= 0xf0 && s[0] <= 0xf4  ? 4
                 : s[0] >= 0xe0 && s[0] < 0xf0 ? 3
                 : s[0] >= 0xc2 && s[0] < 0xe0 ? 2
                                               : 0;
    if (length == 0 || length > n) return 0;
    for (int i = 1; i < length; i++)
        if ((s[i] & 0xc0) != 0x80) return 0;
    if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f)) return 0;
    if ((s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f)) return 0;
    return length;
}

// The escaped form of the character at s into piece; *used is how many bytes it stands for.
static int escape_one(char piece[8], const unsigned char *s, int64_t n, int *used) {
    static const char from[] = "\"\\\n\r\t", to[] = "\"\\nrt";
    const char *known = *s ? strchr(from, *s) : NULL;
    int length = utf8_length(s, n);
    *used = length ? length : 1;
    if (known) return snprintf(piece, 8, "\\%c", to[known - from]);
    if (length == 0) return snprintf(piece, 8, "\\ufffd");
    if (*s < 0x20 || *s == 0x7f) return snprintf(piece, 8, "\\u%04x", *s);
    memcpy(piece, s, (size_t)length);
    return length;
}

int64_t thaw_json_escape(char *out, int64_t cap, const char *text, int64_t n) {
    int64_t need = 0, written = 0;
    for (int64_t i = 0; i < n;) {
        char piece[8];
        int used, length = escape_one(piece, (const unsigned char *)text + i, n - i, &used);
        if (need == written && need + length < cap) {
            memcpy(out + written, piece, (size_t)length);
            written += length;
        }
        need += length;
        i += used;
    }
    if (cap > 0) out[written] = '\0';
    return need;
}
