// resume.c: see resume.h.
#include "jobs/resume.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SETTINGS = 32, SETTING_TEXT = 48 };

struct settings {
    int n;
    struct {
        const char *name;
        char text[SETTING_TEXT];
    } at[SETTINGS];
};

static void put_text(struct settings *s, const char *name, const char *text) {
    s->at[s->n].name = name;
    snprintf(s->at[s->n++].text, SETTING_TEXT, "%s", text);
}

static void put_real(struct settings *s, const char *name, double value) {
    char text[SETTING_TEXT];
    snprintf(text, sizeof text, "%.15g", value);
    put_text(s, name, text);
}

// `missing`: where a run of an older version did not know the option.
static const char *option_or(const Thaw__Run *run, const char *name, const char *missing) {
    for (size_t i = 0; run && i < run->n_options; i++)
        if (strcmp(run->options[i]->name, name) == 0) return run->options[i]->value;
    return missing;
}

static const char *option(const Thaw__Run *run, const char *name) {
    return option_or(run, name, "");
}

static void put_holdout(struct settings *s, const Thaw__Als *a) {
    char text[SETTING_TEXT];
    uint64_t mix = 0; // the list's ids rise: equal lists have equal mixes
    for (size_t i = 0; i < a->n_holdout_ids; i++) mix = mix * 0x9e3779b97f4a7c15u + a->holdout_ids[i];
    put_real(s, "holdout-users", a->holdout);
    if (a->holdout > 0) put_real(s, "holdout-seed", (double)a->holdout_seed);
    snprintf(text, sizeof text, "%zu ids (%016" PRIx64 ")", a->n_holdout_ids, mix);
    put_text(s, "holdout-list", text);
}

static void put_virtual(struct settings *s, const Thaw__Als *a) {
    char text[SETTING_TEXT];
    put_real(s, "virtual-weight", a->virtual_weight);
    snprintf(text, sizeof text, "%s (digest %016" PRIx64 ")",
             a->virtual_users ? "with users" : "interactions", a->virtual_digest);
    put_text(s, "virtual", a->virtual_weight > 0 ? text : "none");
}

static void settings_of(struct settings *s, const Thaw__Model *m) {
    static const char *const models[] = {"implicit hu", "implicit rendle", "explicit"};
    static const char *const strengths[] = {"raw", "log", "binary"};
    const Thaw__Als *a = m->als;
    const char *solver = option(m->run, "solver");
    *s = (struct settings){0};
    put_text(s, "model", (unsigned)a->model < 3 ? models[a->model] : "unknown");
    put_real(s, "factors", a->factors);
    put_text(s, "biases", a->biases ? "yes" : "no");
    put_real(s, "regularization", a->regularization);
    if (a->model != THAW__ALS__MODEL__EXPLICIT) {
        put_real(s, "alpha", atof(option(m->run, "alpha"))); // 0: they follow from the data
        put_real(s, "unobserved-weight", atof(option(m->run, "unobserved-weight")));
        put_real(s, "reg-exponent", a->reg_exponent);
        put_text(s, "strength", (unsigned)a->strength < 3 ? strengths[a->strength] : "unknown");
    }
    put_real(s, "seed", (double)a->seed);
    put_holdout(s, a);
    put_virtual(s, a);
    put_text(s, "solver", solver);
    put_text(s, "gather", option(m->run, "gather"));
    if (strcmp(solver, "cholesky") != 0) {
        put_text(s, "cg-steps", option(m->run, "cg-steps"));
        put_text(s, "cg-item-steps", option_or(m->run, "cg-item-steps", "0"));
        put_text(s, "relaxation", option_or(m->run, "relaxation", "1"));
        put_text(s, "cg-tolerance", option(m->run, "cg-tolerance"));
    }
}

int thaw_resume_check(const char *dir, const Thaw__Model *old, const Thaw__Model *now, struct thaw_err *err) {
    struct settings a, b;
    if (old->dataset_digest != now->dataset_digest)
        return thaw_fail(err, THAW_EDATA,
                         "%s was trained on another dataset (%s, digest %016" PRIx64
                         ") than %s (digest %016" PRIx64 "): name another --out, or --force to start anew",
                         dir, old->dataset, old->dataset_digest, now->dataset, now->dataset_digest);
    settings_of(&a, old);
    settings_of(&b, now);
    for (int i = 0; i < b.n;
         i++) // models of different kinds differ in an early setting, before the lists part
        if (i >= a.n || strcmp(a.at[i].text, b.at[i].text) != 0)
            return thaw_fail(
                err, THAW_EUSAGE,
                "%s was trained with %s %s, this run says %s: name another --out, or --force to start anew",
                dir, b.at[i].name, i < a.n ? a.at[i].text : "?", b.at[i].text);
    return THAW_OK;
}
