// evaluate_blend.c: the numbers of models and baselines in a file, and in words.
#include "base/file.h"
#include "jobs/evaluation.h"
#include "proto/pack.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

// A path as a folder and a name.
static int split(const char *path, char dir[THAW_PATH_MAX], const char **name, struct thaw_err *err) {
    const char *slash = strrchr(path, '/');
    const size_t n = slash ? (size_t)(slash - path) : 0;
    if (n >= THAW_PATH_MAX) return thaw_fail(err, THAW_EUSAGE, "%s: path too long", path);
    if (slash && n)
        snprintf(dir, THAW_PATH_MAX, "%.*s", (int)n, path);
    else
        snprintf(dir, THAW_PATH_MAX, "%s", slash ? "/" : ".");
    *name = slash ? slash + 1 : path;
    return THAW_OK;
}

// The numbers of an entry; where it has none for the baselines, those measured elsewhere.
static void adopt(Thaw__Known *to, const Thaw__Known *from) {
    Thaw__Known own = *from;
    if (own.ials_factors == 0) thaw_baseline_default_known(&own, to->known);
    own.known = to->known;
    *to = own;
}

int thaw_study_blend_read(struct thaw_study *s, const char *path, struct thaw_err *err) {
    char dir[THAW_PATH_MAX];
    const char *name;
    ProtobufCMessage *m = NULL;
    int32_t known[THAW_KNOWN_MAX];
    int code = split(path, dir, &name, err);
    if (!code) code = thaw_pack_read(dir, name, &thaw__blend__descriptor, &m, err);
    if (code) return code;
    s->blend = (Thaw__Blend *)m;
    if (s->blend->n_known == 0 || s->blend->n_known > THAW_KNOWN_MAX)
        return thaw_fail(err, THAW_EDATA, "%s: %zu numbers of known items, expected 1 to %d", path,
                         s->blend->n_known, THAW_KNOWN_MAX);
    if (s->blend->dataset_digest != s->e->dataset->digest) {
        if (!s->e->o->force)
            return thaw_fail(err, THAW_EDATA,
                             "%s: tuned on another dataset than %s: tune it anew, or take it all the same "
                             "with --force",
                             path, s->e->dataset->dir);
        thaw_log_warn(s->e->ctx->log, "%s: tuned on another dataset than %s; taken as --force says", path,
                      s->e->dataset->dir);
    }
    for (size_t i = 0; i < s->blend->n_known; i++) known[i] = s->blend->known[i]->known;
    for (int i = 0; i < s->e->nknown; i++)
        adopt(&s->known[i], s->blend->known[thaw_cold_nearest(known, s->blend->n_known, s->known[i].known)]);
    s->samples = s->blend->samples;
    return THAW_OK;
}

int thaw_study_blend_write(const struct thaw_study *s, const char *path, struct thaw_err *err) {
    char dir[THAW_PATH_MAX];
    const char *name;
    Thaw__Known own[THAW_KNOWN_MAX], *list[THAW_KNOWN_MAX];
    Thaw__Blend b = THAW__BLEND__INIT;
    memcpy(own, s->known, sizeof own);
    for (int i = 0; i < s->e->nknown; i++) list[i] = &own[i];
    b.format = 1;
    b.dataset_digest = s->e->dataset->digest;
    b.n_known = (size_t)s->e->nknown;
    b.known = list;
    b.samples = s->samples;
    int code = split(path, dir, &name, err);
    if (!code) code = thaw_dir_make(dir, err);
    return code ? code : thaw_pack_write(dir, name, &b.base, err);
}

void thaw_study_print_known(const struct thaw_study *s, FILE *out) {
    fprintf(out, "numbers: %s\n",
            s->tuned         ? "tuned on the validation users"
            : s->e->o->blend ? s->e->o->blend
                             : "those measured on MovieLens 1M (--tune fits them to this dataset)");
    if (s->wanted[THAW_SYSTEM_CELLS])
        fprintf(out, "  cells %s: strength %g, others %g x %g\n", s->cells.names, s->known[0].cell_strength,
                s->known[0].cell_others, s->known[0].cell_weight);
    for (int i = 0; i < s->e->nknown; i++) {
        const Thaw__Known *k = &s->known[i];
        fprintf(out, "  n = %d:", k->known);
        if (k->known > 0) {
            fprintf(out, " knn shrink %g, power %g;", k->knn_shrink, k->knn_power);
            fprintf(out, " EASE ridge %g;", k->ease);
            fprintf(out, " iALS %d factors, a0 %g, lambda %g, fold-in a0 %g, lambda %g;", k->ials_factors,
                    k->ials_unobserved, k->ials_regularization, k->unobserved_weight, k->regularization);
        }
        if (s->wanted[THAW_SYSTEM_PRIOR])
            fprintf(out, " P a %g, b %g;", k->prior_unobserved, k->prior_weight);
        if (s->wanted[THAW_SYSTEM_TYPES])
            fprintf(out, " T own %g, background %g, sharpness %g, profile %g;", k->types_own,
                    k->types_background, k->types_sharpness, k->types_profile);
        if (k->episodic > 0) fprintf(out, " E ridge %g;", k->episodic);
        if (s->wanted[THAW_SYSTEM_VIRTUAL])
            fprintf(out, " virtual weight %g, a0 %g, lambda %g;", k->virtual_weight, k->virtual_unobserved,
                    k->virtual_regularization);
        fprintf(out, " P:E:G:T %g:%g:%g:%g\n", k->prior, k->association, k->generator, k->types);
    }
}
