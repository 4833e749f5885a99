// fuzz_driver.c: seeded mutations of valid files, where there is no libFuzzer. Input number N is a function
// of the seed and N alone:
//
//     fuzz_tables [COUNT [FROM [SEED]]]        inputs FROM .. FROM + COUNT - 1
//     fuzz_tables FILE                         one input from a file, as libFuzzer's drivers take it
//     fuzz_tables --corpus DIR                 write the valid inputs into DIR, for libFuzzer to start from
#include "base/rng.h"
#include "tests/fuzz/fuzz_tables.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

enum { ROOM = 1 << 16, STREAM = 77 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
void __sanitizer_set_death_callback(void (*callback)(void)) __attribute__((weak));

static uint64_t number;

static void tell_number(void) {
    fprintf(stderr, "fuzz_tables: input number %llu\n", (unsigned long long)number);
}

static size_t below(struct thaw_rng *r, size_t n) {
    return (size_t)thaw_rng_below(r, n);
}

static void mutate_number(struct thaw_rng *r, uint8_t *bytes, size_t n) {
    static const uint64_t odd[] = {0,          1,          0x7f,       0x80,       0xff,       0x7fff,
                                   0xffff,     0x7fffffff, 0x80000000, 0xffffffff, 1ull << 32, 1ull << 62,
                                   1ull << 63, ~0ull,      ~0ull - 1,  0x10001};
    const size_t width = (size_t)1 << below(r, 4);
    if (n < width) return;
    const uint64_t x = odd[below(r, sizeof odd / sizeof *odd)];
    memcpy(bytes + below(r, n - width + 1), &x, width);
}

// Replace a digit of a text header, where there are any.
static void mutate_digit(struct thaw_rng *r, uint8_t *bytes, size_t n) {
    const size_t start = below(r, n);
    for (size_t i = 0; i < n; i++) {
        uint8_t *at = bytes + (start + i) % n;
        if (*at < '0' || *at > '9') continue;
        *at = (uint8_t) "0123456789,)-e"[below(r, 14)];
        return;
    }
}

static void mutate(struct thaw_rng *r, uint8_t *bytes, size_t *n) {
    if (*n == 0) return;
    const size_t at = below(r, *n), count = 1 + below(r, *n - at < 64 ? *n - at : 64);
    switch (below(r, 8)) {
    case 0:
        bytes[at] ^= (uint8_t)(1 << below(r, 8));
        break;
    case 1:
        bytes[at] = (uint8_t)thaw_rng_u32(r);
        break;
    case 2:
    case 3:
        mutate_number(r, bytes, *n);
        break;
    case 4:
        mutate_digit(r, bytes, *n);
        break;
    case 5:
        *n = at;
        break;
    case 6: // cut out
        memmove(bytes + at, bytes + at + count, *n - at - count);
        *n -= count;
        break;
    default: // repeat
        if (*n + count > ROOM) break;
        memmove(bytes + at + count, bytes + at, *n - at);
        *n += count;
    }
}

static void run(uint64_t seed) {
    static uint8_t input[1 + ROOM];
    struct thaw_rng r = thaw_rng_at(seed, STREAM, number);
    const size_t reader = below(&r, fuzz_readers());
    size_t n;
    uint8_t *example = fuzz_example(reader, &n);
    if (n > ROOM / 2) n = ROOM / 2;
    input[0] = (uint8_t)reader;
    memcpy(input + 1, example, n);
    free(example);
    for (size_t left = below(&r, 6); left > 0; left--) mutate(&r, input + 1, &n);
    LLVMFuzzerTestOneInput(input, n + 1);
}

static int run_file(const char *path) {
    static uint8_t input[1 + ROOM];
    FILE *f = fopen(path, "rb");
    if (!f) return 66;
    const size_t n = fread(input, 1, sizeof input, f);
    fclose(f);
    return LLVMFuzzerTestOneInput(input, n);
}

static int write_corpus(const char *dir) {
    for (size_t reader = 0; reader < fuzz_readers(); reader++) {
        char path[4096];
        size_t n;
        uint8_t *example = fuzz_example(reader, &n);
        snprintf(path, sizeof path, "%s/reader-%03zu", dir, reader);
        FILE *f = fopen(path, "wb");
        if (!f) return 74;
        fputc((int)reader, f);
        fwrite(example, 1, n, f);
        fclose(f);
        free(example);
    }
    return 0;
}

int main(int argc, char **argv) {
    char *end = NULL;
    if (argc == 3 && strcmp(argv[1], "--corpus") == 0) return write_corpus(argv[2]);
    const uint64_t count = argc > 1 ? strtoull(argv[1], &end, 10) : 3000;
    if (end && *end) return run_file(argv[1]);
    const uint64_t from = argc > 2 ? strtoull(argv[2], NULL, 10) : 0,
                   seed = argc > 3 ? strtoull(argv[3], NULL, 10) : 1;
#ifndef __SANITIZE_ADDRESS__
    const struct rlimit limit = {256 << 20,
                                 256 << 20}; // an absurd size in a file must not become an allocation
    setrlimit(RLIMIT_DATA, &limit);
#endif
    if (__sanitizer_set_death_callback) __sanitizer_set_death_callback(tell_number);
    for (number = from; number < from + count; number++) run(seed);
    printf("%llu inputs for %zu readers: none did harm\n", (unsigned long long)count, fuzz_readers());
    return 0;
}
