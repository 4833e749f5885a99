// gan_train.h: training of the conditional generator (src/gan) by all ranks together. docs/cold-start.md,
// "G".
//
// A minibatch is cut by sample number into slices, dealt to ranks; every rank holds the small networks, the
// item rows stay spread (comm/gan_items.h). All sums over slices and blocks of items are exact, so losses and
// weights are the same bits for any number of ranks and threads.
//
//   loss = negative log likelihood of what is to be predicted, per item
//          + latent_loss mean |u - real|^2 - adversary mean D(u_1),   u = mean of the draws u_1, u_2
// real is the user's whitened factor. With an adversary, critic_steps batches go to the critic before each
// step.
#ifndef THAW_COMM_GAN_TRAIN_H
#define THAW_COMM_GAN_TRAIN_H

#include "comm/gan_softmax.h"

enum { THAW_GAN_DRAWS = 2 }; // of noise, in training

enum thaw_gan_pooling { THAW_GAN_POOL_BOTH, THAW_GAN_POOL_MEAN, THAW_GAN_POOL_ATTENTION };

struct thaw_gan_config {
    struct thaw_gan_shape shape; // k, features, longest, noise, hidden
    int batch, rest, critic_steps;
    int64_t steps, sampled; // sampled: draws of the sampled softmax; 0: all items
    bool by_time;
    enum thaw_gan_pooling
        pooling; // of the known items; what is left out has weights of zero in the first layer
    double adversary, latent_loss, penalty, dropout, rate, weight_decay, averaging;
    double critic_rate; // the critic's learning rate over the generator's
    uint64_t seed;
};

// What training starts from. All borrowed; plans and h until the training is freed.
struct thaw_gan_data {
    const struct thaw_histories *h;
    const struct thaw_plan *users, *items; // items: thaw_gan_items_plan
    const float *user_rows, *item_rows;    // this rank's factors, `columns` floats a row, the first k used
    int columns;
    const int64_t *degree; // of this rank's items: training users
};

// p is the same on all ranks. Of all else each has its share (comm/gan_sums.h), until thaw_gan_gather.
// A node holds p once, in a window: a rank writes its share when all have the gradients it came from.
struct thaw_gan_net {
    size_t n;
    struct thaw_window *window;
    float *p, *m, *v, *averaged, *gradient; // averaged: the generator's only
};

struct thaw_gan_record {              // one step
    double loss, nll, latent, judged; // latent: mean |u - real|^2; judged: mean D(u_1)
    double fake, real, penalty;       // of the last critic step: mean D(fake), D(real), the penalty's term
    double variance;                  // of u over the minibatch, mean over coordinates; real users have 1
};

struct thaw_gan {
    struct thaw_comm *c;
    struct thaw_gan_config config;
    struct thaw_gan_layout layout, critic_layout;
    struct thaw_gan_items *items;
    struct thaw_episodes *episodes;
    struct thaw_gan_softmax *softmax;
    struct thaw_gan_net generator, critic;
    struct thaw_sums *sums, *critic_sums, *du_sums;
    float *real;                      // this rank's users x k, whitened
    int64_t step;                     // steps done
    struct thaw_gan_record *record;   // config.steps
    struct thaw_gan_scratch *scratch; // gan_train.c
    double seconds, wait_s;           // of this run's steps; wait: in communication, all included
    int64_t ran, nbytes;              // steps of this run, bytes handed to MPI
};

// Collective. Weights at their start. THAW_EDATA: no eligible user; factors without variance. THAW_EMEM.
int thaw_gan_new(struct thaw_gan **g, struct thaw_comm *c, const struct thaw_gan_config *config,
                 const struct thaw_gan_data *data, struct thaw_err *err);
void thaw_gan_free(struct thaw_gan **g);

// Collective. One step; *stop: some rank was asked to stop (thaw_comm_stop_requested). THAW_EDIVERGED: a loss
// or a gradient is not finite, or the latents have collapsed; rows of items may have moved by then, so what
// is left of the training is an earlier checkpoint. THAW_EMEM.
int thaw_gan_step(struct thaw_gan *g, bool *stop, struct thaw_err *err);
// Collective. Moments and averages of both networks, whole, to all ranks: before they are looked at.
void thaw_gan_gather(struct thaw_gan *g);

// Collective. real[users of this rank x k] = (u - mean) A with A'cov A = I over training users with
// interactions (others: zero); back (k x k, row-major, the same on all ranks): v back are the rows that score
// in these coordinates, (real) (v back)' = (u - mean) v'.
int thaw_gan_whiten(struct thaw_comm *c, const struct thaw_gan_data *data, int k, float *real, double *back,
                    struct thaw_err *err);

// Local; thread-safe. Standard normal noise of one draw: z[noise], keyed by (seed, row).
void thaw_gan_noise(float *z, int noise, uint64_t seed, uint64_t row);

// Private to gan_*.c: the parts of thaw_gan_new and thaw_gan_step.
int thaw_gan_start(struct thaw_gan *g, const struct thaw_gan_data *data, struct thaw_err *err);
struct thaw_gan_turn {
    bool under_way;
    int64_t number;
    float rate;
};
struct thaw_gan_scratch {
    int nthreads, nslices;        // slices of this rank
    struct thaw_gan_tape **tape;  // nslices
    struct thaw_gan_work **work;  // nthreads
    float **gradient;             // nthreads: of the larger net
    float *z;                     // nslices x draws x SLICE x noise
    float *known, *fixed;         // this rank's samples x longest x k
    float *drawn, *ddrawn;        // this rank's samples x draws x k, slice by slice, draw by draw
    float *adversary;             // this rank's samples x k: gradient of -adversary mean D
    float *u, *du;                // batch x k and log_scale; du: of this rank's samples
    float *judged;                // this rank's samples
    double (*term)[3];            // nslices: sums of a slice
    struct thaw_gan_slice *slice; // nslices: what a batch was cut into
    struct thaw_gan_turn turn;    // of the critic, whose gradient is under way
    struct thaw_wire *wire;       // latents on their way
    bool unsound;                 // a parameter of this rank is not finite any more
    double wait_s;
    int64_t nbytes;
};
// Collective. The critic's gradient on batch `number` goes on its way, and arrives while the generator makes
// the next batch's latents: in the midst of that thaw_gan_critic_learn makes the step, and its weights are
// with all ranks after thaw_gan_critic_settle (the next turn calls it too). Both do nothing when no gradient
// is under way. *sound, result: false when the critic diverged.
int thaw_gan_critic_turn(struct thaw_gan *g, int64_t number, float rate, bool *sound, struct thaw_err *err);
void thaw_gan_critic_learn(struct thaw_gan *g);
bool thaw_gan_critic_settle(struct thaw_gan *g);
// Collective. A batch is cut into scratch->slice; known rows are fetched, and latents made by all threads;
// meanwhile the critic learns.
void thaw_gan_make_latents(struct thaw_gan *g, const struct thaw_batch *batch, int draws, int64_t number);
// Collective. The optimiser's step of this rank's share of a bucket, whose gradient is there, by all threads.
// The new weights are on their way to all ranks until the sums are settled. false: a weight is not finite.
bool thaw_gan_net_learn(struct thaw_gan_net *net, struct thaw_sums *sums, int bucket,
                        const struct thaw_gan_adam *a, int64_t step, float rate, float keep);

// Local. Zero the first layer's weights (or their gradient) for the pooling that is left out: such weights
// stay zero.
void thaw_gan_pool(const struct thaw_gan *g, float *net);

#endif
