// augment_report.c: what thaw augment says of its training.
#include "base/mem.h"
#include "comm/spread.h"
#include "jobs/augment.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

void thaw_augment_print_start(const struct thaw_augment *a) {
    const struct thaw_gan_config *c = &a->config;
    char users[32], items[32], sampled[64] = "";
    if (c->sampled) snprintf(sampled, sizeof sampled, ", softmax over %" PRId64 " draws", c->sampled);
    thaw_log_note(
        a->ctx->log,
        "%s users to learn from, %s items%s; %zu weights in the networks, %d features, noise %d; episodes "
        "in %s order",
        thaw_human_count(users, thaw_episodes_users(a->gan->episodes)),
        thaw_human_count(items, thaw_plan_rows(&a->plan[THAW_ITEMS])), sampled, a->gan->generator.n,
        c->shape.features, c->shape.noise, c->by_time ? "time" : "random");
}

void thaw_augment_print_step(const struct thaw_augment *a) {
    const struct thaw_gan *g = a->gan;
    const struct thaw_gan_record *r = &g->record[g->step - 1];
    const int64_t steps = g->config.steps;
    char critic[96] = "";
    thaw_log_event(a->ctx->log, "step",
                   "\"step\":%" PRId64 ",\"loss\":%.17g,\"nll\":%.17g,\"latent\":%.17g,\"judged\":%.17g,"
                   "\"fake\":%.17g,\"real\":%.17g,\"penalty\":%.17g,\"variance\":%.17g",
                   g->step, r->loss, r->nll, r->latent, r->judged, r->fake, r->real, r->penalty, r->variance);
    if (g->step * 10 / steps == (g->step - 1) * 10 / steps && g->step != 1) return;
    if (g->config.adversary > 0)
        snprintf(critic, sizeof critic, "; critic: real %.3f, made %.3f, penalty %.3f", r->real, r->fake,
                 r->penalty);
    thaw_log_note(a->ctx->log,
                  "step %" PRId64 "/%" PRId64 ": loss %.5f, likelihood %.5f, latent %.2f, variance %.3f%s",
                  g->step, steps, r->loss, r->nll, r->latent, r->variance, critic);
}

int thaw_augment_print_end(struct thaw_augment *a, struct thaw_err *err) {
    const struct thaw_gan *g = a->gan;
    const double x[4] = {g->seconds, g->wait_s, (double)g->nbytes, (double)thaw_mem_peak_bytes()};
    struct thaw_spread s[4];
    char sent[16], peak[16];
    const int code = thaw_spread(a->c, x, 4, s, err);
    if (code || g->ran == 0) return code;
    const double rate = (double)(g->ran * g->config.batch) / s[0].max;
    const double exposed = s[0].mean > 0 ? s[1].mean / s[0].mean : 0, bytes = s[2].mean / (double)g->ran;
    thaw_log_note(a->ctx->log,
                  "%" PRId64
                  " steps in %.1f s: %.0f samples/s, %.2f ms a step, %.1f %% of it waiting, %s a rank and "
                  "step sent; peak memory of a rank %s",
                  g->ran, s[0].max, rate, 1e3 * s[0].max / (double)g->ran, 100 * exposed,
                  thaw_human_bytes(sent, (int64_t)bytes), thaw_human_bytes(peak, (int64_t)s[3].max));
    thaw_log_event(a->ctx->log, "summary",
                   "\"steps\":%" PRId64 ",\"seconds\":%.6f,\"samples_per_s\":%.3f,\"exposed\":%.6f,"
                   "\"sent_bytes\":%.0f,\"peak_bytes\":%.0f",
                   g->ran, s[0].max, rate, exposed, bytes, s[3].max);
    return THAW_OK;
}

int thaw_augment_write_losses(const struct thaw_augment *a, const char *dir, struct thaw_err *err) {
    const struct thaw_gan *g = a->gan;
    char path[THAW_PATH_MAX], *text = NULL;
    size_t nbytes = 0;
    int code = thaw_path_join(path, dir, "losses.csv", err);
    if (code) return code;
    FILE *out = open_memstream(&text, &nbytes);
    if (!out) return thaw_fail_errno(err, THAW_EMEM, "no memory for the losses");
    fprintf(out, "step,loss,nll,latent,judged,fake,real,penalty,variance\n");
    for (int64_t i = 0; i < g->step; i++) {
        const struct thaw_gan_record *r = &g->record[i];
        fprintf(out, "%" PRId64 ",%.9g,%.9g,%.9g,%.9g,%.9g,%.9g,%.9g,%.9g\n", i + 1, r->loss, r->nll,
                r->latent, r->judged, r->fake, r->real, r->penalty, r->variance);
    }
    fclose(out);
    code = text ? thaw_file_put(path, text, nbytes, NULL, err)
                : thaw_fail_errno(err, THAW_EMEM, "no memory for the losses");
    free(text);
    return code;
}

int thaw_augment_report_realism(const struct thaw_augment *a, const struct thaw_realism *r,
                                struct thaw_err *err) {
    char path[THAW_PATH_MAX], text[1024];
    int code = thaw_path_join(path, a->out.work, "realism.csv", err);
    if (code) return code;
    const int n =
        snprintf(text, sizeof text,
                 "measure,virtual,real\n"
                 "users,%" PRId64 ",%" PRId64 "\n"
                 "items of a user,%.6f,%.6f\n"
                 "popularity: distance from all users,%.6f,%.6f\n"
                 "variance of latents,%.6f,1\n"
                 "told apart by the nearest latent,%.6f,0.5\n"
                 "told apart by a discriminant (AUC),%.6f,0.5\n"
                 "similarity to the nearest other user,%.6f,%.6f\n"
                 "copies,%.6f,%.6f\n",
                 r->users, r->users, r->degree, r->real_degree, r->popularity, r->real_popularity,
                 r->variance, r->told, r->auc, r->nearest, r->real_nearest, r->copies, r->real_copies);
    thaw_log_note(a->ctx->log,
                  "%" PRId64
                  " virtual users beside as many real ones: popularity off by %.3f (real %.3f), variance of "
                  "latents %.3f, told apart %.3f (chance 0.5; by a discriminant %.3f), most similar user "
                  "%.3f (real %.3f), copies %.4f",
                  r->users, r->popularity, r->real_popularity, r->variance, r->told, r->auc, r->nearest,
                  r->real_nearest, r->copies);
    thaw_log_event(
        a->ctx->log, "realism",
        "\"users\":%" PRId64 ",\"degree\":%.17g,\"real_degree\":%.17g,\"popularity\":%.17g,"
        "\"real_popularity\":%.17g,\"variance\":%.17g,\"told\":%.17g,\"auc\":%.17g,\"nearest\":%.17g,"
        "\"real_nearest\":%.17g,\"copies\":%.17g,\"real_copies\":%.17g",
        r->users, r->degree, r->real_degree, r->popularity, r->real_popularity, r->variance, r->told, r->auc,
        r->nearest, r->real_nearest, r->copies, r->real_copies);
    return thaw_file_put(path, text, (size_t)n, NULL, err);
}
