// fuzz_tables.h: between the harness and its driver.
#ifndef THAW_TESTS_FUZZ_TABLES_H
#define THAW_TESTS_FUZZ_TABLES_H

#include <stddef.h>
#include <stdint.h>

// Readers beyond those of the tables' files.
enum { FUZZ_MANIFEST, FUZZ_RAW_MANIFEST, FUZZ_NPY, FUZZ_NPZ, FUZZ_DATASET, FUZZ_OTHER };

// Number of readers; an input's first byte modulo this chooses one.
size_t fuzz_readers(void);
// A valid file for a reader; malloc'd.
uint8_t *fuzz_example(size_t reader, size_t *n);

#endif
