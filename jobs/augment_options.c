// augment_options.c: the options of thaw augment, and the training they describe.
#include "jobs/augment.h"

enum { EPISODES_AUTO, EPISODES_TIME, EPISODES_RANDOM, MANY_ITEMS = 100000, NEGATIVES = 16384, NOISE = 64 };

#define OPTION(KIND, NAME, FIELD, ARG, DEF, MIN, MAX, HELP)                                                  \
    THAW_OPTION(struct thaw_augment_options, KIND, NAME, FIELD, ARG, DEF, MIN, MAX, HELP)

static const struct thaw_opt options_table[] = {
    THAW_OPTION_REQUIRED(struct thaw_augment_options, TEXT, "model", model, "DIR",
                         "Model that 'thaw train' wrote: where users and items lie, and who is held out."),
    THAW_OPTION_REQUIRED(struct thaw_augment_options, TEXT, "out", out, "DIR",
                         "Folder of the generator. While it is trained, OUT.checkpoint holds checkpoints."),
    OPTION(TEXT, "data", data, "DIR", NULL, 0, 0,
           "The dataset the model was trained on; by default where training found it."),
    OPTION(
        REAL, "adversary", adversary, "W", "0.03", 0, 1e6,
        "Weight of the critic's judgement in the generator's loss. It makes draws differ as real users do; "
        "ranking it hardly changes. 0 trains without a critic."),
    OPTION(REAL, "latent-loss", latent_loss, "W", "0.01", 0, 1e6,
           "Weight of the squared distance between a user's latent and the trained factors."),
    OPTION(INT, "noise", noise, "N", "-1", -1, 65536,
           "Width of the noise behind each draw; 0: every draw is the same. -1 takes 64 with the adversary, "
           "else 0."),
    OPTION(INT, "hidden", hidden, "N", "256", 8, 65536, "Width of the networks' layers."),
    OPTION(INT, "known", known, "N", "10", 1, 1000,
           "Most known items of a user: episodes know 0 to N, longer histories are cut to the first N."),
    THAW_OPTION_CHOICE(
        struct thaw_augment_options, "episodes", episodes, "ORDER", "auto", "auto|time|random",
        "Which items of a training user are known: the first in time, or random ones. It must be what "
        "new users' histories are like. auto takes time where the dataset has times."),
    THAW_OPTION_CHOICE(
        struct thaw_augment_options, "pooling", pooling, "WORD", "both", "both|mean|attention",
        "How the generator sees known items: their mean, the profile's attention over them, or "
        "both."),
    OPTION(INT, "rest", rest, "N", "5", 1, 1000000,
           "Least items left to predict; training users with fewer interactions take no part."),
    OPTION(INT, "steps", steps, "N", "650", 1, 1e12, "Steps of training."),
    OPTION(INT, "batch", batch, "N", "256", 1, 1 << 20, "Users of a step."),
    OPTION(REAL, "rate", rate, "R", "1e-3", 1e-12, 1e3,
           "Learning rate at the beginning; it falls to a twentieth along a cosine."),
    OPTION(REAL, "weight-decay", weight_decay, "W", "1e-5", 0, 1e3,
           "Pull of the generator's weights to zero."),
    OPTION(REAL, "dropout", dropout, "P", "0.1", 0, 0.99,
           "Share of the generator's inputs left out while training."),
    OPTION(REAL, "averaging", averaging, "A", "0.995", 0, 0.999999,
           "The weights that are kept are running averages; this is their memory."),
    OPTION(INT, "critic-steps", critic_steps, "N", "2", 1, 100,
           "Steps of the critic before each of the generator."),
    OPTION(REAL, "critic-rate", critic_rate, "X", "1", 1e-6, 1e6,
           "The critic's learning rate over the generator's."),
    OPTION(REAL, "penalty", penalty, "W", "10", 0, 1e6, "Weight of the critic's gradient penalty."),
    OPTION(INT, "sampled-softmax", sampled, "N", "-1", -1, 1e9,
           "Draw N items a step by popularity^0.75 instead of comparing with all. 0: all items. -1: all, but "
           "16384 "
           "draws where there are more than 100,000 items."),
    OPTION(INT, "virtual-below", virtual_below, "N", "10", 0, 1e9,
           "Training users with fewer than N interactions get virtual ones. 0: nobody."),
    OPTION(INT, "virtual-items", virtual_items, "N", "50", 1, 100000, "Virtual interactions of such a user."),
    OPTION(INT, "virtual-draws", virtual_draws, "N", "16", 1, 1024,
           "Draws of noise whose mean latent virtual interactions are decoded from."),
    OPTION(REAL, "virtual-users", virtual_users, "F", "0", 0, 1000,
           "Make whole virtual users too: F for each training user, drawn one by one."),
    OPTION(INT, "seed", seed, "S", "1", 0, 0x1p53, "Seed of everything that is drawn."),
    OPTION(INT, "checkpoint-every", checkpoint_every, "N", "0", 0, 1e12,
           "Save every N steps. 0: not by count."),
    OPTION(REAL, "checkpoint-minutes", checkpoint_minutes, "M", "10", 0, 1e6,
           "Save when so many minutes have gone by since the last time. 0: not by time."),
    OPTION(FLAG, "force", force, NULL, NULL, 0, 0,
           "Replace what is in --out, and forget checkpoints of a training with other options."),
    THAW_JOB_OPTIONS(struct thaw_augment_options),
};

const struct thaw_cmd thaw_augment_command = {
    .program = "thaw",
    .name = "augment",
    .summary = "train a conditional GAN that behaves like users, and let it",
    .operands = "",
    .description =
        "Trains a generator: from a profile, up to --known known items and noise to a latent in the model's "
        "space, "
        "decoded to probabilities of all items. It learns from episodes of training users (this much is "
        "known, "
        "predict the rest) by likelihood, by the distance to the trained factors, and by a critic (WGAN with "
        "gradient penalty) that tells draws from real users.\n\n"
        "Writes the generator, which 'thaw evaluate' and the tables use for users nobody knows yet; virtual "
        "interactions for users with few real ones, for 'thaw train --virtual' and as a readable list; on "
        "request "
        "whole virtual users; and a report of the losses and of how real draws look.\n\n"
        "A minibatch is cut over ranks, and item rows stay spread. Losses and files are the same bytes for "
        "any "
        "number of ranks and threads.\n\n"
        "Interrupted (SIGTERM, SIGUSR1, or worse), run the same command again, on as many ranks as you like: "
        "it goes "
        "on from the newest checkpoint and ends with the same bytes. After a signal the exit status is 75. A "
        "loss "
        "that is not finite, or latents that are all the same, stop all ranks with status 79; checkpoints "
        "from before it stay in OUT.checkpoint.",
    .files = "OUT/manifest.pb: What was trained, from what, by which run.\n"
             "OUT/generator.net.npy: The networks' averaged weights.\n"
             "OUT/generator.items-00000-of-00064.npy: A row for each item: embedding, decoder, bias.\n"
             "OUT/losses.csv: The losses of every step.\n"
             "OUT/realism.csv: How real draws look.\n"
             "OUT/latents.made.npy: Latents drawn for 1024 training users with --known known items.\n"
             "OUT/latents.real.npy: The latents that these users have.\n"
             "OUT/virtual: Virtual interactions, for 'thaw train --virtual'.\n"
             "OUT/virtual/users-00000-of-00064.csv, extra-...: The same to read: user,item,weight.\n"
             "OUT.checkpoint: Checkpoints, while training is not finished.",
    .examples =
        "thaw augment --model run/model --out run/generator\n"
        "mpirun -n 4 thaw augment --model run/model --out run/generator --adversary 0 --latent-loss 0",
    THAW_CMD_OPTIONS(struct thaw_augment_options, options_table),
};

int thaw_augment_describe(struct thaw_augment *a, struct thaw_err *err) {
    const struct thaw_augment_options *o = a->o;
    const Thaw__Dataset *d = a->dataset->manifest;
    const int64_t items = thaw_dataset_rows(a->dataset, THAW_ITEMS), k = a->model->manifest->als->factors;
    if (o->episodes == EPISODES_TIME && !d->has_time)
        return thaw_fail(err, THAW_EUSAGE, "--episodes time: %s has no times", a->dataset->dir);
    if (o->batch * (o->known + 1) * 2 * k > INT32_MAX)
        return thaw_fail(err, THAW_EUSAGE, "--batch x --known x factors is too large: lower --batch");
    a->config = (struct thaw_gan_config){.shape = {.k = (int)k,
                                                   .features = d->users->features,
                                                   .longest = (int)o->known,
                                                   .noise = (int)(o->noise >= 0      ? o->noise
                                                                  : o->adversary > 0 ? NOISE
                                                                                     : 0),
                                                   .hidden = (int)o->hidden},
                                         .batch = (int)o->batch,
                                         .rest = (int)o->rest,
                                         .critic_steps = (int)o->critic_steps,
                                         .steps = o->steps,
                                         .sampled = o->sampled >= 0      ? o->sampled
                                                    : items > MANY_ITEMS ? NEGATIVES
                                                                         : 0,
                                         .by_time = o->episodes == EPISODES_TIME ||
                                                    (o->episodes == EPISODES_AUTO && d->has_time),
                                         .pooling = (enum thaw_gan_pooling)o->pooling,
                                         .adversary = o->adversary,
                                         .latent_loss = o->latent_loss,
                                         .penalty = o->penalty,
                                         .dropout = o->dropout,
                                         .rate = o->rate,
                                         .critic_rate = o->critic_rate,
                                         .weight_decay = o->weight_decay,
                                         .averaging = o->averaging,
                                         .seed = (uint64_t)o->seed};
    return THAW_OK;
}
