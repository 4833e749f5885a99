// evaluate_fit.c: baselines that a study fits itself, in a folder of its own.
#include "base/file.h"
#include "base/mem.h"
#include "comm/associate.h"
#include "jobs/evaluation.h"
#include "jobs/hold.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// ---- The folder ----

// Collective. Below --work, else beside the model, where all ranks see it.
static int make_scratch(struct thaw_study *s, struct thaw_err *err) {
    if (s->scratch_made) return THAW_OK;
    const char *base = s->e->o->work ? s->e->o->work : s->e->model_dir;
    size_t n = strlen(base);
    while (n > 1 && base[n - 1] == '/') n--;
    const int got = snprintf(s->scratch, sizeof s->scratch, "%.*s%s", (int)n, base,
                             s->e->o->work ? "/scratch" : ".evaluate");
    int code =
        got < (int)sizeof s->scratch ? THAW_OK : thaw_fail(err, THAW_EUSAGE, "%s: path too long", base);
    code = thaw_comm_agree(s->c, code, err);
    if (!code && !s->e->o->work) code = thaw_hold(&s->lock, s->e->ctx, "evaluate", s->scratch, err);
    if (code) return code;
    if (thaw_comm_rank(s->c) == 0) {
        code = thaw_dir_remove(s->scratch, err);
        if (!code) code = thaw_dir_make(s->scratch, err);
    }
    s->scratch_made = true;
    return thaw_comm_agree(s->c, code, err);
}

// Collective. Rank 0's message to everybody.
static int share_manifest(struct thaw_study *s, Thaw__Association **m, struct thaw_err *err) {
    const bool root = thaw_comm_rank(s->c) == 0;
    int64_t n = root ? (int64_t)thaw__association__get_packed_size(*m) : 0;
    uint8_t *bytes = NULL;
    thaw_comm_bcast(s->c, &n, sizeof n, 0);
    int code = thaw_comm_agree(s->c, thaw_alloc(&bytes, (size_t)n, 1, "a manifest", err), err);
    if (code) return code;
    if (root) thaw__association__pack(*m, bytes);
    thaw_comm_bcast(s->c, bytes, n, 0);
    if (!root) *m = thaw__association__unpack(NULL, (size_t)n, bytes);
    free(bytes);
    code = *m ? THAW_OK : thaw_fail(err, THAW_EMEM, "not enough memory for a manifest");
    return thaw_comm_agree(s->c, code, err);
}

// ---- Fitting ----

static int open_fitted(struct thaw_study *s, const char *dir, const Thaw__Association *m,
                       struct thaw_cold **cold, struct thaw_err *err) {
    struct thaw_cold_source source;
    thaw_study_source(s, &source);
    source.association_dir = dir;
    source.association = m;
    return thaw_cold_open(cold, &source, err);
}

int thaw_study_fit(struct thaw_study *s, Thaw__Association__Method method, const int *known,
                   const double *ridge, int nknown, const char *name, Thaw__Association **manifest,
                   struct thaw_cold **cold, struct thaw_err *err) {
    static const double no_power[THAW_KNOWN_MAX];
    const struct thaw_associate_config config = {.method = method,
                                                 .known = known,
                                                 .regularization = ridge,
                                                 .power = no_power,
                                                 .nknown = nknown,
                                                 .profile_regularization = 60,
                                                 .single = true,
                                                 .profile = s->histories.profile.columns > 0};
    char dir[THAW_PATH_MAX];
    double residual;
    int code = make_scratch(s, err);
    if (code) return code;
    code = thaw_path_join(dir, s->scratch, name, err);
    if (!code && thaw_comm_rank(s->c) == 0) code = thaw_dir_make(dir, err);
    code = thaw_comm_agree(s->c, code, err);
    if (!code)
        code = thaw_associate_fit(s->c, &config, &s->histories, &s->e->plan[THAW_ITEMS], dir, manifest,
                                  &residual, err);
    if (!code) code = share_manifest(s, manifest, err);
    if (code) return code;
    (*manifest)->dataset_digest = s->e->dataset->digest;
    return cold ? thaw_comm_agree(s->c, open_fitted(s, dir, *manifest, cold, err), err) : THAW_OK;
}

void thaw_study_drop(struct thaw_study *s, const char *name, Thaw__Association **manifest,
                     struct thaw_cold **cold) {
    char dir[THAW_PATH_MAX];
    if (cold) thaw_cold_close(cold);
    if (manifest && *manifest) thaw__association__free_unpacked(*manifest, NULL);
    if (manifest) *manifest = NULL;
    if (!s->scratch_made) return;
    thaw_comm_barrier(s->c); // nobody reads it any more
    if (thaw_comm_rank(s->c) != 0) return;
    if (!name)
        thaw_dir_remove(s->scratch, NULL);
    else if (!thaw_path_join(dir, s->scratch, name, NULL))
        thaw_dir_remove(dir, NULL);
}

int thaw_study_ease(struct thaw_study *s, double ridge, struct thaw_err *err) {
    const int none = 0;
    if (s->ease && s->ease_ridge == ridge) return THAW_OK;
    thaw_study_drop(s, "ease", &s->ease_manifest, &s->ease);
    s->ease_ridge = ridge;
    return thaw_study_fit(s, THAW__ASSOCIATION__METHOD__EASE, &none, &ridge, 1, "ease", &s->ease_manifest,
                          &s->ease, err);
}

int thaw_study_neighbors(struct thaw_study *s, struct thaw_err *err) {
    const int none = 0;
    const double shrink = 0;
    char dir[THAW_PATH_MAX];
    Thaw__Association *manifest = NULL;
    if (s->neighbors.part) return THAW_OK;
    int code =
        thaw_study_fit(s, THAW__ASSOCIATION__METHOD__KNN, &none, &shrink, 1, "knn", &manifest, NULL, err);
    if (manifest) thaw__association__free_unpacked(manifest, NULL);
    if (code) return code;
    code = thaw_path_join(dir, s->scratch, "knn", err);
    if (!code) code = thaw_neighbors_open(&s->neighbors, dir, &s->e->plan[THAW_ITEMS], &s->popularity, err);
    return thaw_comm_agree(s->c, code, err);
}
