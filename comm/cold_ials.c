// cold_ials.c: iALS as a baseline.
#include "comm/cold_ials.h"

void thaw_ials_begin(struct thaw_ials *t, struct thaw_comm *c, const struct thaw_dataset *d,
                     const Thaw__Als *als, int64_t exchange_bytes) {
    *t = (struct thaw_ials){.c = c, .dataset = d, .als = *als, .exchange_bytes = exchange_bytes};
    t->als.model = THAW__ALS__MODEL__IMPLICIT_RENDLE;
    t->als.reg_exponent = 1;
    t->als.biases = false;
}

static int load(struct thaw_ials *t, const struct thaw_als_config config[2], struct thaw_err *err) {
    const struct thaw_half_options exchange = {.exchange_bytes = t->exchange_bytes};
    if (t->loaded) thaw_interactions_clear(&t->in);
    t->loaded = false;
    const int code = thaw_interactions_load(&t->in, t->c, t->dataset, &t->als, config, &exchange, err);
    t->loaded = !code;
    return code;
}

// Collective. A signal ends it between two sweeps.
static int sweep(struct thaw_ials *t, struct thaw_err *err) {
    if (thaw_comm_stop_agreed(t->c))
        return thaw_fail(err, THAW_ESTOPPED, "stopped on request: the same command begins anew");
    return thaw_fit_iterate(t->fit, err);
}

int thaw_ials_train(struct thaw_ials *t, int factors, double unobserved, double regularization,
                    struct thaw_err *err) {
    if (t->fit && factors == t->factors && unobserved == t->unobserved && regularization == t->regularization)
        return THAW_OK;
    const int before = t->loaded ? t->als.factors : 0;
    t->als.factors = factors;
    t->als.unobserved_weight = unobserved;
    t->als.regularization = regularization;
    const struct thaw_als_config exact = thaw_als_config_of(&t->als, THAW_ALS_CHOLESKY, THAW_ALS_F32, 1, 0),
                                 config[2] = {exact, exact};
    thaw_fit_free(&t->fit);
    int code = thaw_comm_agree(t->c, thaw_als_check(&exact, err), err);
    if (!code && before != factors) code = load(t, config, err);
    if (!code) code = thaw_fit_new(&t->fit, t->c, config, &t->in, t->als.seed, err);
    if (!code) code = thaw_fit_begin(t->fit, err);
    for (int i = 0; !code && i < THAW_IALS_SWEEPS; i++) code = sweep(t, err);
    if (code) {
        thaw_fit_free(&t->fit);
        return code;
    }
    t->factors = factors;
    t->unobserved = unobserved;
    t->regularization = regularization;
    return THAW_OK;
}

struct thaw_heldout_model thaw_ials_model(const struct thaw_ials *t, double unobserved,
                                          double regularization) {
    struct thaw_heldout_model m = {.config = t->fit->config[THAW_USERS],
                                   .items = &t->in.plan[THAW_ITEMS],
                                   .rows = t->fit->rows[THAW_ITEMS],
                                   .gramian = t->fit->gramian[THAW_ITEMS],
                                   .budget_bytes = t->exchange_bytes,
                                   .stoppable = true};
    m.config.unobserved = unobserved;
    m.config.lambda = regularization;
    return m;
}

void thaw_ials_clear(struct thaw_ials *t) {
    thaw_fit_free(&t->fit);
    if (t->loaded) thaw_interactions_clear(&t->in);
    t->loaded = false;
}
