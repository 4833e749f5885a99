// fuzz_tables.c: every reader of files gets bytes it did not ask for; none may crash, read out of bounds, or
// allocate without measure. Built for libFuzzer where the compiler has it, and with fuzz_driver.c, which
// mutates valid files, everywhere.
//
// The first byte of an input chooses the reader, the rest is the file. A file of the tables is put into a
// valid folder whose manifest is made to fit its length and checksums, so that the readers behind the
// checksums are reached.
#include "tests/fuzz/fuzz_tables.h"
#include "lookup/lookup.h"
#include "partition/shard.h"
#include "tests/unit/hand_tables.h"

#include <fcntl.h>
#include <unistd.h>

enum { SUMS_MAX = 4, ROWS_TRIED = 12 };

static struct hand hand;
static Thaw__Tables *manifest;
static char spare[96]; // folder for single files

_Noreturn static void broken(const char *what, const char *why) {
    fprintf(stderr, "fuzz_tables: %s: %s\n", what, why);
    abort();
}

static void clean_up(void) {
    thaw_dir_remove(spare, NULL);
    hand_remove(&hand);
}

static void set_up(void) {
    struct thaw_err err = THAW_ERR_INIT;
    ProtobufCMessage *message = NULL;
    hand.als = hand_als(THAW__ALS__MODEL__EXPLICIT, true);
    if (hand_write(&hand, &err)) broken("set-up", err.text);
    if (thaw_pack_read(hand.version, "manifest.pb", &thaw__tables__descriptor, &message, &err))
        broken("set-up", err.text);
    manifest = (Thaw__Tables *)message;
    snprintf(spare, sizeof spare, "%s/spare", hand.dir);
    if (thaw_dir_make(spare, &err)) broken("set-up", err.text);
    atexit(clean_up);
}

// Plain writes to new files: durability would only cost time, as truncating does where file systems take
// care.
static void put(const char *dir, const char *name, const void *bytes, size_t n) {
    char path[256];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    unlink(path);
    const int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
    if (fd < 0 || write(fd, bytes, n) != (ssize_t)n) broken(path, "cannot be written");
    close(fd);
}

static uint8_t *get(const char *dir, const char *name, size_t *n) {
    char path[256];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *f = fopen(path, "rb");
    uint8_t *bytes = malloc(1 << 16);
    if (!f || !bytes) broken(path, "cannot be read");
    *n = fread(bytes, 1, 1 << 16, f);
    fclose(f);
    return bytes;
}

// A message in the envelope of base/proto: magic, checksum, bytes.
static void put_enveloped(const char *dir, const uint8_t *message, size_t n) {
    uint8_t *file = malloc(n + 16);
    const uint64_t sum = thaw_hash_id(message, n); // XXH3-64 as well
    if (!file) broken(dir, "no memory");
    memcpy(file, "THAWPB1\n", 8);
    for (int i = 0; i < 8; i++) file[8 + i] = (uint8_t)(sum >> (8 * i));
    if (n) memcpy(file + 16, message, n);
    put(dir, "manifest.pb", file, n + 16);
    free(file);
}

static void put_manifest(void) {
    const size_t n = thaw__tables__get_packed_size(manifest);
    uint8_t *packed = malloc(n);
    if (!packed) broken("manifest", "no memory");
    thaw__tables__pack(manifest, packed);
    put_enveloped(hand.version, packed, n);
    free(packed);
}

// Everything a reader might do with tables that open.
static void use(void) {
    struct thaw_err err = THAW_ERR_INIT, ignored = THAW_ERR_INIT;
    struct thaw_lookup *l = NULL;
    struct thaw_lookup_info info;
    int code = thaw_lookup_open(&l, hand.dir, &err);
    if (code == THAW_EMEM || code == THAW_EBUG) broken("open", err.text);
    if (code) return;
    thaw_lookup_get_info(l, &info);
    thaw_lookup_check(l, &ignored);
    float *x = malloc((size_t)info.columns * sizeof *x);
    struct thaw_hit hits[3];
    int nhits;
    for (int side = 0; side < 2; side++)
        for (int i = 0; i < ROWS_TRIED; i++) {
            char id[HAND_WIDTH + 1];
            size_t n;
            hand_id(id, side, i);
            const int64_t found = thaw_lookup_find(l, (enum thaw_side)side, id, strlen(id));
            const int64_t rows = side ? info.items : info.users, row = found >= 0 ? found : rows - 1 - i;
            if (found >= rows) broken("find", "row out of range");
            if (row < 0) continue;
            thaw_lookup_id(l, (enum thaw_side)side, row, &n);
            thaw_lookup_degree(l, (enum thaw_side)side, row);
            const float *y = thaw_lookup_vector(l, (enum thaw_side)side, row);
            int64_t *seen = NULL, nseen = 0, history[2] = {row, 0};
            if (side == THAW_ITEMS) {
                thaw_lookup_similar(l, row, 3, 1, hits, &nhits, &ignored);
                if (x && row) thaw_lookup_fold_in(l, history, NULL, 2, x, &ignored);
            } else if (!thaw_lookup_seen(l, row, &seen, &nseen, &ignored)) {
                thaw_lookup_recommend(l, y, 3, seen, nseen, 1, hits, &nhits, &ignored);
            }
            free(seen);
        }
    free(x);
    thaw_lookup_close(&l);
}

static void try_file(size_t at, const uint8_t *bytes, size_t n) {
    Thaw__File *entry = manifest->files[at], kept = *entry;
    size_t nkept;
    uint8_t *before = get(hand.version, entry->name, &nkept);
    uint64_t sum = thaw_hash_id(bytes, n); // inputs are smaller than a checksummed chunk
    entry->nbytes = (int64_t)n;
    entry->sums = &sum;
    entry->n_sums = n > 0;
    put(hand.version, entry->name, bytes, n);
    put_manifest();
    use();
    *entry = kept;
    put(hand.version, entry->name, before, nkept);
    free(before);
}

static void try_manifest(const uint8_t *bytes, size_t n, bool enveloped) {
    if (enveloped)
        put_enveloped(hand.version, bytes, n);
    else
        put(hand.version, "manifest.pb", bytes, n);
    use();
}

static void try_npy(const uint8_t *bytes, size_t n) {
    struct thaw_err err = THAW_ERR_INIT;
    struct thaw_npy_shape shape;
    int64_t data;
    if (thaw_npy_parse(bytes, (int64_t)n, "input", &shape, &data, &err)) return;
    if (data < 0 || data + thaw_npy_nbytes(&shape) != (int64_t)n)
        broken("npy", "a shape that does not fit the file");
}

static void try_npz(const uint8_t *bytes, size_t n) {
    static const char *const names[] = {"ids", "indptr", "indices", "values", "nothing"};
    struct thaw_err err = THAW_ERR_INIT;
    struct thaw_npz *z = NULL;
    char path[256];
    put(spare, "input.npz", bytes, n);
    snprintf(path, sizeof path, "%s/input.npz", spare);
    const int code = thaw_npz_open(&z, path, NULL, &err);
    if (code == THAW_EMEM || code == THAW_EBUG) broken("npz", err.text);
    for (size_t i = 0; !code && i < sizeof names / sizeof *names; i++) {
        struct thaw_err own = THAW_ERR_INIT;
        struct thaw_npy_shape shape;
        const void *data;
        if (thaw_npz_get(z, names[i], &shape, &data, &own)) continue;
        const size_t nbytes =
            (size_t)thaw_npy_nbytes(&shape); // the array lies inside the file: all of it can be read
        if (nbytes && thaw_hash_id(data, nbytes) == 1) broken("npz", "a hash of 1");
    }
    thaw_npz_close(&z);
}

static void try_dataset(const uint8_t *bytes, size_t n) {
    struct thaw_err err = THAW_ERR_INIT;
    struct thaw_dataset *d = NULL;
    put_enveloped(spare, bytes, n);
    const int code = thaw_dataset_open(&d, spare, &err);
    if (code == THAW_EMEM || code == THAW_EBUG) broken("dataset", err.text);
    if (!code) thaw_dataset_rows(d, THAW_USERS);
    thaw_dataset_close(&d);
}

size_t fuzz_readers(void) {
    if (!manifest) set_up();
    return manifest->n_files + FUZZ_OTHER;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const size_t readers = fuzz_readers();
    if (size < 1 || size > 1 << 16) return 0;
    const size_t reader = data[0] % readers, nfiles = manifest->n_files;
    data++;
    size--;
    if (reader < nfiles)
        try_file(reader, data, size);
    else if (reader == nfiles + FUZZ_MANIFEST)
        try_manifest(data, size, true);
    else if (reader == nfiles + FUZZ_RAW_MANIFEST)
        try_manifest(data, size, false);
    else if (reader == nfiles + FUZZ_NPY)
        try_npy(data, size);
    else if (reader == nfiles + FUZZ_NPZ)
        try_npz(data, size);
    else
        try_dataset(data, size);
    return 0;
}

// ---- Valid inputs to start from ----

static uint8_t *npz_example(size_t *n) {
    static const int64_t indptr[] = {0, 2, 3};
    static const int64_t indices[] = {0, 2, 1};
    static const float values[] = {1, 2, 3};
    const struct thaw_shard_data data = {.nrows = 2,
                                         .nnz = 3,
                                         .other_rows = 3,
                                         .id_width = 2,
                                         .ids = "u0u1",
                                         .indptr = indptr,
                                         .indices = indices,
                                         .values = values};
    struct thaw_file_info info = {0};
    struct thaw_err err = THAW_ERR_INIT;
    static bool written;
    if (!written && thaw_shard_write(spare, THAW_USERS, 0, 1, &data, &info, &err))
        broken("example", err.text);
    written = true;
    thaw_file_info_clear(&info);
    return get(spare, "users-00000-of-00001.npz", n);
}

static uint8_t *dataset_example(size_t *n) {
    Thaw__Dataset d = THAW__DATASET__INIT;
    Thaw__Side users = THAW__SIDE__INIT, items = THAW__SIDE__INIT;
    Thaw__File u = THAW__FILE__INIT, i = THAW__FILE__INIT, *files[] = {&u, &i};
    char uname[] = "users-00000-of-00001.npz", iname[] = "items-00000-of-00001.npz";
    int64_t rows[] = {2, 3}, nnz = 3;
    users.n_part_rows = items.n_part_rows = users.n_part_nnz = items.n_part_nnz = 1;
    users.part_rows = &rows[0];
    items.part_rows = &rows[1];
    users.part_nnz = items.part_nnz = &nnz;
    users.id_width = items.id_width = 2;
    u.name = uname;
    i.name = iname;
    d.format = 1;
    d.parts = 1;
    d.users = &users;
    d.items = &items;
    d.interactions = 3;
    d.files = files;
    d.n_files = 2;
    *n = thaw__dataset__get_packed_size(&d);
    uint8_t *packed = malloc(*n);
    if (!packed) broken("example", "no memory");
    thaw__dataset__pack(&d, packed);
    return packed;
}

uint8_t *fuzz_example(size_t reader, size_t *n) {
    const size_t nfiles = manifest->n_files;
    if (reader < nfiles) return get(hand.version, manifest->files[reader]->name, n);
    put_manifest();
    if (reader == nfiles + FUZZ_MANIFEST) {
        *n = thaw__tables__get_packed_size(manifest);
        uint8_t *packed = malloc(*n);
        if (!packed) broken("example", "no memory");
        thaw__tables__pack(manifest, packed);
        return packed;
    }
    if (reader == nfiles + FUZZ_RAW_MANIFEST) return get(hand.version, "manifest.pb", n);
    if (reader == nfiles + FUZZ_NPY) return get(hand.version, manifest->files[0]->name, n);
    return reader == nfiles + FUZZ_NPZ ? npz_example(n) : dataset_example(n);
}
