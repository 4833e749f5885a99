// evaluate_picture.c: NDCG against the number of known items, drawn by gnuplot.
#include "base/file.h"
#include "jobs/evaluation.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

// Colours that stay apart for most eyes: greys for baselines, after Okabe & Ito for models.
static const struct {
    const char *colour;
    int point, dash;
} style[THAW_SYSTEMS] = {
    [THAW_SYSTEM_POPULARITY] = {"#bbbbbb", 1, 3},
    [THAW_SYSTEM_CELLS] = {"#999999", 2, 3},
    [THAW_SYSTEM_KNN] = {"#777777", 4, 2},
    [THAW_SYSTEM_EASE] = {"#555555", 6, 2},
    [THAW_SYSTEM_IALS] = {"#000000", 8, 1},
    [THAW_SYSTEM_PRIOR] = {"#e69f00", 5, 1},
    [THAW_SYSTEM_ASSOCIATION] = {"#56b4e9", 7, 1},
    [THAW_SYSTEM_GENERATOR] = {"#009e73", 9, 1},
    [THAW_SYSTEM_TYPES] = {"#0072b2", 3, 1},
    [THAW_SYSTEM_ENSEMBLE] = {"#d55e00", 13, 1},
    [THAW_SYSTEM_VIRTUAL] = {"#cc79a7", 11, 1},
    [THAW_SYSTEM_GENERATOR_WITHOUT] = {"#009e73", 10, 3},
    [THAW_SYSTEM_ENSEMBLE_WITHOUT] = {"#d55e00", 12, 3},
};

static const struct {
    const char *ending, *terminal;
} terminals[] = {
    {".svg", "svg size 900,600 dynamic background '#ffffff' font 'Helvetica,15'"},
    {".png", "pngcairo size 900,600 font 'Helvetica,11'"},
    {".pdf", "pdfcairo size 6,4 font 'Helvetica,11'"},
};

static const char *terminal_of(const char *path) {
    const size_t n = strlen(path);
    for (size_t i = 0; i < sizeof terminals / sizeof *terminals; i++)
        if (n > 4 && strcmp(path + n - 4, terminals[i].ending) == 0) return terminals[i].terminal;
    return NULL;
}

int thaw_study_picture_check(const char *path, struct thaw_err *err) {
    if (terminal_of(path)) return THAW_OK;
    return thaw_fail(err, THAW_EUSAGE, "--picture %s: a name that ends in .svg, .png or .pdf", path);
}

static bool drawn(const struct thaw_study_row *r, int cutoff) {
    return r->cutoff == cutoff && strcmp(r->metric, "NDCG") == 0;
}

// Data: a block of lines "place known value low high" for each system. The places are numbered, as the
// numbers of known items often grow fast.
static int write_data(const struct thaw_study *s, FILE *out, const struct thaw_study_row *rows, int nrows,
                      int cutoff, int blocks[THAW_SYSTEMS]) {
    int nblocks = 0;
    for (int system = 0; system < THAW_SYSTEMS; system++) {
        blocks[system] = -1;
        for (int i = 0; i < nrows; i++) {
            const struct thaw_study_row *r = &rows[i];
            if ((int)r->system != system || !drawn(r, cutoff)) continue;
            if (blocks[system] < 0) {
                fprintf(out, "%s# %s\n", nblocks ? "\n\n" : "", thaw_system_name[system]);
                blocks[system] = nblocks++;
            }
            int place = 0;
            while (s->e->known[place] != r->known) place++;
            fprintf(out, "%d %d %.6f %.6f %.6f\n", place, r->known, r->value.value, r->value.low,
                    r->value.high);
        }
    }
    return nblocks;
}

// A name in a script: within single quotes, which are doubled.
static void quoted(FILE *out, const char *text) {
    fputc('\'', out);
    for (; *text; text++) {
        if (*text == '\'') fputc('\'', out);
        fputc(*text, out);
    }
    fputc('\'', out);
}

static void write_script(const struct thaw_study *s, FILE *out, const char *path, const char *data,
                         int cutoff, const int blocks[THAW_SYSTEMS], int nblocks) {
    fprintf(out, "set terminal %s\nset output ", terminal_of(path));
    quoted(out, path);
    fprintf(out, "\nset key outside right center reverse Left noenhanced\nset grid ytics back lt 1 lc rgb "
                 "'#dddddd' lw 0.7\nset border 3\n");
    fprintf(out, "set tics nomirror\nset xlabel 'known items'\nset ylabel 'NDCG\\@%d'\n", cutoff);
    fprintf(out, "set xrange [-0.3:%g]\nset xtics (", s->e->nknown - 0.7);
    for (int i = 0; i < s->e->nknown; i++) fprintf(out, "%s'%d' %d", i ? ", " : "", s->e->known[i], i);
    fprintf(out, ")\nplot ");
    for (int i = 0; i < THAW_SYSTEMS; i++) {
        if (blocks[i] < 0) continue;
        // Side by side by a little, so that intervals can be told apart.
        const double shift = nblocks > 1 ? 0.44 * ((double)blocks[i] / (nblocks - 1) - 0.5) : 0;
        quoted(out, data);
        fprintf(out,
                " index %d using ($1%+.3f):3:4:5 with yerrorlines title '%s' lc rgb '%s' pt %d dt %d lw 1.5 "
                "ps 0.8%s",
                blocks[i], shift, thaw_system_name[i], style[i].colour, style[i].point, style[i].dash,
                blocks[i] + 1 < nblocks ? ", \\\n     " : "\n");
    }
}

// 0: drawn.
static int draw(const char *script) {
    int status = 0;
    const pid_t child = fork();
    if (child < 0) return -1;
    if (child == 0) {
        execlp("gnuplot", "gnuplot", script, (char *)NULL);
        _exit(127);
    }
    while (waitpid(child, &status, 0) < 0)
        if (errno != EINTR) return -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int put_text(const char *path, char **text, size_t *n, FILE *memory, struct thaw_err *err) {
    if (memory) fclose(memory);
    const int code = memory && *text ? thaw_file_put(path, *text, *n, NULL, err)
                                     : thaw_fail(err, THAW_EMEM, "not enough memory for a picture");
    free(*text);
    *text = NULL;
    return code;
}

int thaw_study_picture(const struct thaw_study *s, const char *path, const struct thaw_study_row *rows,
                       int nrows, struct thaw_err *err) {
    const int cutoff = s->e->cutoff[s->e->ncutoffs - 1];
    char data[THAW_PATH_MAX], script[THAW_PATH_MAX], *text = NULL;
    size_t n = 0;
    int blocks[THAW_SYSTEMS], nblocks = 0;
    int code = thaw_path_suffix(data, path, ".dat", err);
    if (!code) code = thaw_path_suffix(script, path, ".gp", err);
    if (code) return code;
    FILE *memory = open_memstream(&text, &n);
    if (memory) nblocks = write_data(s, memory, rows, nrows, cutoff, blocks);
    code = put_text(data, &text, &n, memory, err);
    if (code) return code;
    memory = open_memstream(&text, &n);
    if (memory) write_script(s, memory, path, data, cutoff, blocks, nblocks);
    if ((code = put_text(script, &text, &n, memory, err))) return code;
    const int status = draw(script);
    if (status == 127)
        thaw_log_warn(s->e->ctx->log,
                      "%s is not drawn: gnuplot is not installed (Debian: gnuplot-nox); its script is %s",
                      path, script);
    else if (status)
        thaw_log_warn(s->e->ctx->log, "%s is not drawn: gnuplot failed on %s (status %d)", path, script,
                      status);
    return THAW_OK;
}
