// test_mem.c: allocations are aligned, zeroed, checked; growing keeps what was there.
#include "base/cgroup.h"
#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <sys/resource.h>
#include <sys/sysinfo.h>

#include "scratch.h"

static void blocks_are_aligned_and_zero(void **state) {
    (void)state;
    const size_t sizes[] = {0, 1, 63, 64, 65, 4096, (4 << 20) - 1, 4 << 20, (5 << 20) + 13, 40 << 20};
    struct thaw_err err = THAW_ERR_INIT;
    for (int again = 0; again < 3; again++) // later rounds get memory that was used
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            unsigned char *p = NULL;
            assert_int_equal(thaw_alloc(&p, sizes[i], 1, "a test", &err), THAW_OK);
            assert_non_null(p);
            assert_int_equal((uintptr_t)p % 64, 0);
            for (size_t b = 0; b < sizes[i]; b++)
                if (p[b]) fail_msg("byte %zu of %zu is not zero", b, sizes[i]);
            memset(p, 0xab, sizes[i]);
            free(p);
        }
}

static void overflow_is_refused(void **state) {
    (void)state;
    void *p = &p;
    struct thaw_err err = THAW_ERR_INIT;
    assert_int_equal(thaw_alloc(&p, SIZE_MAX / 4, 8, "too many", &err), THAW_EMEM);
    assert_ptr_equal(p, &p); // set only on success
    assert_non_null(strstr(err.text, "for too many"));
    err = THAW_ERR_INIT;
    assert_int_equal(thaw_alloc(&p, SIZE_MAX, 1, "all there is", &err), THAW_EMEM);
    assert_ptr_equal(p, &p);
}

static void the_limit_is_named(void **state) {
    (void)state;
#ifdef __SANITIZE_ADDRESS__
    skip(); // its shadow memory needs more address space than any limit
#endif
    struct rlimit old, tight;
    getrlimit(RLIMIT_AS, &old);
    tight = old;
    tight.rlim_cur = (rlim_t)2 << 30;
    assert_int_equal(setrlimit(RLIMIT_AS, &tight), 0);
    void *p = NULL;
    struct thaw_err err = THAW_ERR_INIT;
    int code = thaw_alloc(&p, (size_t)3 << 28, 4, "user factors", &err);
    setrlimit(RLIMIT_AS, &old);
    assert_int_equal(code, THAW_EMEM);
    const char *start = "cannot allocate 3.0 GiB for user factors (limit 2.0 GiB";
    if (strncmp(err.text, start, strlen(start)) != 0) fail_msg("%s", err.text);
}

// ---- Control groups ----

static void put(const char *name, const char *text) {
    char folder[THAW_PATH_MAX + 256];
    struct thaw_err err = THAW_ERR_INIT;
    snprintf(folder, sizeof folder, "%s", scratch_path(name));
    *strrchr(folder, '/') = 0;
    assert_int_equal(thaw_dir_make(folder, &err), THAW_OK);
    assert_int_equal(thaw_file_put(scratch_path(name), text, strlen(text), NULL, &err), THAW_OK);
}

static void look_in(const char *name) {
    static char self[THAW_PATH_MAX + 256], mount[THAW_PATH_MAX + 256];
    snprintf(mount, sizeof mount, "%s", scratch_path(name));
    snprintf(self, sizeof self, "%.4000s/self", mount);
    thaw_cgroup_paths(self, mount);
}

// A tree of groups in place of the system's: 1 GiB for the job, of which 700 MiB are used, 100 MiB for files.
static void put_version2(void) {
    put("two/self", "1:name=systemd:/elsewhere\n0::/slurm/job_7/step_0\n");
    put("two/slurm/memory.max", "4294967296\n");
    put("two/slurm/memory.current", "1073741824\n");
    put("two/slurm/job_7/memory.max", "1073741824\n");
    put("two/slurm/job_7/memory.current", "734003200\n");
    put("two/slurm/job_7/memory.stat", "anon 1\nfile 9\nactive_file 62914560\nslab_reclaimable 0\n"
                                       "inactive_file 41943040\n");
    put("two/slurm/job_7/memory.swap.max", "0\n");
    put("two/slurm/job_7/memory.swap.current", "0\n");
    put("two/slurm/job_7/step_0/memory.max", "max\n");
    put("two/slurm/job_7/step_0/memory.current", "1\n");
    look_in("two");
}

static void the_tightest_group_counts(void **state) {
    (void)state;
    struct thaw_cgroup_memory m;
    put_version2();
    assert_true(thaw_cgroup_memory(&m));
    assert_int_equal(m.limit, 1 << 30);
    assert_int_equal(m.used, 600 << 20);
    assert_int_equal(m.swap, 0);
    put("two/self", "0::/slurm/job_7\n"); // from further up it is the same
    assert_true(thaw_cgroup_memory(&m) && m.limit == 1 << 30);
    put("two/self", "0::/slurm/other\n");
    assert_true(thaw_cgroup_memory(&m) && m.limit == (int64_t)4 << 30);
    put("two/self", "0::/gone/away\n");
    assert_false(thaw_cgroup_memory(&m));
    put("box/self", "0::/../../x\n"); // what a container sees of its own
    put("box/memory.max", "99\n");
    put("box/memory.current", "98\n");
    look_in("box");
    assert_true(thaw_cgroup_memory(&m) && m.limit == 99 && m.used == 98);
}

static void version_1_counts_as_well(void **state) {
    (void)state;
    struct thaw_cgroup_memory m;
    struct sysinfo system;
    put("one/self", "5:cpu,cpuacct:/a\n4:hugetlb,memory:/slurm/job\n");
    put("one/memory/slurm/job/memory.limit_in_bytes", "9223372036854771712\n");
    put("one/memory/slurm/job/memory.usage_in_bytes", "4096\n");
    look_in("one");
    assert_false(thaw_cgroup_memory(&m));
    put("one/memory/slurm/memory.limit_in_bytes", "1000000\n");
    put("one/memory/slurm/memory.usage_in_bytes", "600000\n");
    put("one/memory/slurm/memory.stat", "cache 7\ntotal_cache 7\ntotal_inactive_file 100000\n");
    assert_true(thaw_cgroup_memory(&m) && m.limit == 1000000 && m.used == 500000);
    assert_true(sysinfo(&system) == 0 && (m.swap > 0) == (system.freeswap > 0));
    put("one/self", "nonsense\n:\n::\n:::\n");
    assert_false(thaw_cgroup_memory(&m));
    look_in("missing");
    assert_false(thaw_cgroup_memory(&m));
}

static void a_block_beyond_the_group_is_refused(void **state) {
    (void)state;
    void *p = NULL;
    struct thaw_err err = THAW_ERR_INIT;
    const size_t mib = 1 << 20;
    put_version2(); // 424 MiB are left
    assert_int_equal(thaw_alloc(&p, 425, mib, "user factors", &err), THAW_EMEM);
    assert_string_equal(
        err.text,
        "cannot allocate 425.0 MiB for user factors (limit 1.0 GiB of the control group, in use 600.0 MiB)");
    err = THAW_ERR_INIT;
    assert_int_equal(thaw_alloc(&p, 424, mib, "user factors", &err), THAW_OK);
    free(p);
    put("two/slurm/job_7/memory.current", "1073741824\n");
    put("two/slurm/job_7/memory.stat", "");
    assert_int_equal(thaw_alloc(&p, 63, mib, "a small block", &err), THAW_OK);
    free(p);
    assert_int_equal(thaw_alloc(&p, 64, mib, "a block", &err), THAW_EMEM);
}

static int forget_groups(void **state) {
    (void)state;
    thaw_cgroup_paths(NULL, NULL);
    return 0;
}

static void growing_keeps_contents_and_alignment(void **state) {
    (void)state;
    struct thaw_err err = THAW_ERR_INIT;
    int32_t *p = NULL;
    size_t cap = 0, moves = 0;
    for (int32_t n = 0; n < 200000; n++) {
        const int32_t *before = p;
        assert_int_equal(thaw_grow(&p, &cap, (size_t)n + 1, sizeof *p, "numbers", &err), THAW_OK);
        moves += p != before;
        p[n] = n;
    }
    assert_true(cap >= 200000 && moves < 60);
    assert_int_equal((uintptr_t)p % 64, 0);
    for (int32_t n = 0; n < 200000; n++)
        if (p[n] != n) fail_msg("element %d holds %d", n, p[n]);
    const int32_t *kept = p;
    size_t kept_cap = cap;
    assert_int_equal(thaw_grow(&p, &cap, SIZE_MAX / 2, sizeof *p, "numbers", &err), THAW_EMEM);
    assert_ptr_equal(p, kept);
    assert_int_equal(cap, kept_cap);
    free(p);
}

static void peak_is_told(void **state) {
    (void)state;
    assert_true(thaw_mem_peak_bytes() > 100000);
}

static void narrowing(void **state) {
    (void)state;
    int i = 7;
    assert_true(thaw_fits_int(INT32_MIN, &i) && i == INT32_MIN);
    assert_false(thaw_fits_int((int64_t)INT32_MAX + 1, &i) || thaw_fits_int((int64_t)INT32_MIN - 1, &i));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_are_aligned_and_zero),
        cmocka_unit_test(overflow_is_refused),
        cmocka_unit_test(the_limit_is_named),
        cmocka_unit_test_teardown(the_tightest_group_counts, forget_groups),
        cmocka_unit_test_teardown(version_1_counts_as_well, forget_groups),
        cmocka_unit_test_teardown(a_block_beyond_the_group_is_refused, forget_groups),
        cmocka_unit_test(growing_keeps_contents_and_alignment),
        cmocka_unit_test(peak_is_told),
        cmocka_unit_test(narrowing),
    };
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
