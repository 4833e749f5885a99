// gan_store.c: a generator's files, written and read. Checkpoints: gan_checkpoint.c.
#include "comm/gan_store.h"

#include "base/mem.h"
#include "base/part.h"
#include "proto/pack.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct thaw_npy_shape table_shape(int64_t rows, int64_t columns) {
    return (struct thaw_npy_shape){
        .type = THAW_NPY_F32, .ndim = 2, .rows = rows, .cols = columns, .width = sizeof(float)};
}

static void part_name(char name[2 * THAW_PART_FILE], int32_t part, int32_t nparts) {
    char file[THAW_PART_FILE];
    snprintf(name, 2 * THAW_PART_FILE, "generator.%s", thaw_part_file(file, THAW_ITEMS, part, nparts, "npy"));
}

// ---- Writing ----

// One row a line: embedding, decoder, bias.
static int write_part(const struct thaw_gan_items *t, int32_t part, const char *dir,
                      struct thaw_partfiles *files, struct thaw_err *err) {
    const size_t k = (size_t)t->k, w = 2 * k + 1;
    const int64_t begin = t->plan->first_row[part] - t->first;
    const int64_t rows = t->plan->first_row[part + 1] - t->plan->first_row[part];
    char name[2 * THAW_PART_FILE];
    float *line = NULL;
    int code = thaw_alloc(&line, (size_t)rows * w, sizeof *line, "item rows", err);
    for (int64_t i = 0; !code && i < rows; i++) {
        const size_t row = (size_t)(begin + i);
        float *to = line + (size_t)i * w;
        memcpy(to, t->averaged[THAW_GAN_EMBEDDING] + row * k, k * sizeof *to);
        memcpy(to + k, t->averaged[THAW_GAN_DECODER] + row * k, k * sizeof *to);
        to[2 * k] = t->averaged[THAW_GAN_BIAS][row];
    }
    const struct thaw_npy_shape shape = table_shape(rows, (int64_t)w);
    part_name(name, part, t->plan->nparts);
    if (!code) code = thaw_partfiles_put(files, dir, name, &shape, line, err);
    free(line);
    return code;
}

int thaw_gan_write(const struct thaw_gan *g, const char *dir, struct thaw_partfiles *files,
                   struct thaw_err *err) {
    const int rank = thaw_comm_rank(g->c);
    const struct thaw_plan *plan = g->items->plan;
    const struct thaw_npy_shape net = {THAW_NPY_F32, 1, (int64_t)g->generator.n, 1, sizeof(float)};
    int code = THAW_OK;
    if (rank == 0)
        code = thaw_partfiles_put(files, dir, "generator.net.npy", &net, g->generator.averaged, err);
    for (int32_t p = plan->first_part[rank]; !code && p < plan->first_part[rank + 1]; p++)
        code = write_part(g->items, p, dir, files, err);
    code = thaw_comm_agree(g->c, code, err);
    return code ? code : thaw_partfiles_gather(files, g->c, err);
}

// ---- Reading ----

// Collective: rank 0 reads the manifest, all get it.
static int read_manifest(struct thaw_generator *g, struct thaw_comm *c, const char *dir,
                         struct thaw_err *err) {
    ProtobufCMessage *message = NULL;
    uint8_t *packed = NULL;
    int64_t nbytes = 0;
    int code = THAW_OK;
    if (thaw_comm_rank(c) == 0) {
        code = thaw_pack_read(dir, "manifest.pb", &thaw__generator__descriptor, &message, err);
        if (!code) nbytes = (int64_t)protobuf_c_message_get_packed_size(message);
    }
    if ((code = thaw_comm_agree(c, code, err))) goto done;
    thaw_comm_bcast(c, &nbytes, sizeof nbytes, 0);
    code = thaw_alloc(&packed, (size_t)nbytes, 1, "the generator's manifest", err);
    if ((code = thaw_comm_agree(c, code, err))) goto done;
    if (message) protobuf_c_message_pack(message, packed);
    thaw_comm_bcast(c, packed, nbytes, 0);
    g->manifest = thaw__generator__unpack(NULL, (size_t)nbytes, packed);
    code = g->manifest ? thaw_pack_digest(&g->manifest->base, &g->digest, err)
                       : thaw_fail(err, THAW_EMEM, "no memory for the generator's manifest");
    code = thaw_comm_agree(c, code, err);
done:
    if (message) protobuf_c_message_free_unpacked(message, NULL);
    free(packed);
    return code;
}

static int check_manifest(const struct thaw_generator *g, const char *dir, uint64_t dataset,
                          const struct thaw_plan *items, struct thaw_err *err) {
    const Thaw__Generator *m = g->manifest;
    const bool sound = m->format == 1 && m->factors > 0 && m->features >= 0 && m->longest > 0 &&
                       m->noise >= 0 && m->hidden > 0 && m->factors <= 4096 && m->longest <= 4096 &&
                       m->noise <= 65536 && m->hidden <= 65536 && m->items;
    if (!sound) return thaw_fail(err, THAW_EDATA, "%s: manifest.pb does not describe a generator", dir);
    if (m->dataset_digest != dataset)
        return thaw_fail(err, THAW_EDATA,
                         "%s: the generator was trained on another dataset (digest %016" PRIx64
                         ", this one's is %016" PRIx64 ")",
                         dir, m->dataset_digest, dataset);
    bool same = m->items->n_part_rows == (size_t)items->nparts;
    for (int32_t p = 0; same && p < items->nparts; p++)
        same = m->items->part_rows[p] == items->first_row[p + 1] - items->first_row[p];
    return same ? THAW_OK : thaw_fail(err, THAW_EDATA, "%s: its parts are not those of the dataset", dir);
}

static int load_part(struct thaw_generator *g, const char *dir, const struct thaw_plan *items, int64_t first,
                     int32_t part, struct thaw_err *err) {
    const size_t k = (size_t)g->shape.k, w = 2 * k + 1;
    const int64_t rows = items->first_row[part + 1] - items->first_row[part];
    const struct thaw_npy_shape shape = table_shape(rows, (int64_t)w);
    char name[2 * THAW_PART_FILE];
    struct thaw_npy a;
    part_name(name, part, items->nparts);
    const int code =
        thaw_partfiles_open(&a, dir, g->manifest->files, g->manifest->n_files, name, &shape, err);
    if (code) return code;
    for (int64_t i = 0; i < rows; i++) {
        const float *line = (const float *)a.data + (size_t)i * w;
        const size_t row = (size_t)(items->first_row[part] - first + i);
        memcpy(g->embedding + row * k, line, k * sizeof *line);
        memcpy(g->decoder + row * k, line + k, k * sizeof *line);
        g->bias[row] = line[2 * k];
    }
    thaw_npy_close(&a);
    return THAW_OK;
}

static int load_own(struct thaw_generator *g, const char *dir, int rank, const struct thaw_plan *items,
                    struct thaw_err *err) {
    const size_t rows = (size_t)(items->rank_row[rank + 1] - items->rank_row[rank]), k = (size_t)g->shape.k;
    struct thaw_gan_layout layout;
    struct thaw_npy a;
    thaw_gan_generator_layout(&g->shape, &layout);
    const struct thaw_npy_shape net = {THAW_NPY_F32, 1, (int64_t)layout.n, 1, sizeof(float)};
    int code = thaw_alloc(&g->net, layout.n, sizeof *g->net, "the generator", err);
    if (!code) code = thaw_alloc(&g->embedding, rows * k, sizeof *g->embedding, "the generator's items", err);
    if (!code) code = thaw_alloc(&g->decoder, rows * k, sizeof *g->decoder, "the generator's items", err);
    if (!code) code = thaw_alloc(&g->bias, rows, sizeof *g->bias, "the generator's items", err);
    if (!code)
        code = thaw_partfiles_open(&a, dir, g->manifest->files, g->manifest->n_files, "generator.net.npy",
                                   &net, err);
    if (code) return code;
    memcpy(g->net, a.data, layout.n * sizeof *g->net);
    thaw_npy_close(&a);
    for (int32_t p = items->first_part[rank]; !code && p < items->first_part[rank + 1]; p++)
        code = load_part(g, dir, items, items->rank_row[rank], p, err);
    return code;
}

int thaw_generator_load(struct thaw_generator *g, struct thaw_comm *c, const char *dir, uint64_t dataset,
                        const struct thaw_plan *items, struct thaw_err *err) {
    *g = (struct thaw_generator){0};
    int code = read_manifest(g, c, dir, err);
    if (!code) code = thaw_comm_agree(c, check_manifest(g, dir, dataset, items, err), err);
    if (!code) {
        const Thaw__Generator *m = g->manifest;
        g->shape = (struct thaw_gan_shape){.k = m->factors,
                                           .features = m->features,
                                           .longest = m->longest,
                                           .noise = m->noise,
                                           .hidden = m->hidden};
        code = thaw_comm_agree(c, load_own(g, dir, thaw_comm_rank(c), items, err), err);
    }
    if (code) thaw_generator_clear(g);
    return code;
}

void thaw_generator_clear(struct thaw_generator *g) {
    if (g->manifest) thaw__generator__free_unpacked(g->manifest, NULL);
    free(g->net);
    free(g->embedding);
    free(g->decoder);
    free(g->bias);
    *g = (struct thaw_generator){0};
}
