#include "partition/tuple.h"

#include <stdbool.h>
#include <string.h>

_Static_assert(sizeof(struct thaw_tuple) == 28, "tuples travel and spill as 28 bytes");

enum { SHORT_RUN = 12, FEW = 40, FLAG_BITS_MIN = 6, FLAG_BITS_MAX = 12 };

static inline bool less(const struct thaw_tuple *x, const struct thaw_tuple *y) {
    if (x->a != y->a) return x->a < y->a;
    if (x->b != y->b) return x->b < y->b;
    if (x->time != y->time) return x->time < y->time;
    return x->value < y->value;
}

static inline void swap(struct thaw_tuple *x, struct thaw_tuple *y) {
    struct thaw_tuple t = *x;
    *x = *y;
    *y = t;
}

static void insertion_sort(struct thaw_tuple *t, int64_t n) {
    for (int64_t i = 1; i < n; i++) {
        struct thaw_tuple x = t[i];
        int64_t j = i;
        for (; j > 0 && less(&x, &t[j - 1]); j--) t[j] = t[j - 1];
        t[j] = x;
    }
}

static void sift_down(struct thaw_tuple *t, int64_t i, int64_t n) {
    for (int64_t child; (child = 2 * i + 1) < n; i = child) {
        if (child + 1 < n && less(&t[child], &t[child + 1])) child++;
        if (!less(&t[i], &t[child])) return;
        swap(&t[i], &t[child]);
    }
}

static void heap_sort(struct thaw_tuple *t, int64_t n) {
    for (int64_t i = n / 2; i-- > 0;) sift_down(t, i, n);
    for (int64_t i = n; i-- > 1;) {
        swap(&t[0], &t[i]);
        sift_down(t, 0, i);
    }
}

static const struct thaw_tuple *median(const struct thaw_tuple *x, const struct thaw_tuple *y,
                                       const struct thaw_tuple *z) {
    if (less(x, y)) return less(y, z) ? y : less(x, z) ? z : x;
    return less(x, z) ? x : less(y, z) ? z : y;
}

// Quicksort with the median of three; a bad run of pivots goes to heap sort, so that no input is quadratic.
static void intro_sort(struct thaw_tuple *t, int64_t n, int depth) {
    while (n > SHORT_RUN) {
        if (depth-- == 0) {
            heap_sort(t, n);
            return;
        }
        struct thaw_tuple pivot = *median(&t[0], &t[n / 2], &t[n - 1]);
        int64_t i = -1, j = n;
        for (;;) { // Hoare's partition
            do i++;
            while (less(&t[i], &pivot));
            do j--;
            while (less(&pivot, &t[j]));
            if (i >= j) break;
            swap(&t[i], &t[j]);
        }
        int64_t left = j + 1;
        if (left < n - left) {
            intro_sort(t, left, depth);
            t += left;
            n -= left;
        } else {
            intro_sort(t + left, n - left, depth);
            n = left;
        }
    }
    insertion_sort(t, n);
}

static void comparison_sort(struct thaw_tuple *t, int64_t n) {
    int depth = 4;
    for (int64_t m = n; m > 1; m /= 2) depth += 2;
    intro_sort(t, n, depth);
}

enum key { BY_A, BY_B, BY_REST };

static inline uint64_t key_of(const struct thaw_tuple *t, enum key key) {
    return key == BY_A ? t->a : t->b;
}

static void sort_by(struct thaw_tuple *t, int64_t n, enum key key);

// Runs of one key are sorted by the next one.
static void sort_runs(struct thaw_tuple *t, int64_t n, enum key key) {
    for (int64_t i = 0, end; i < n; i = end) {
        for (end = i + 1; end < n && key_of(&t[end], key) == key_of(&t[i], key);) end++;
        if (end - i > 1) sort_by(t + i, end - i, key + 1);
    }
}

// At most FEW tuples: their keys are sorted, then each tuple moves once.
static void sort_few(struct thaw_tuple *t, int64_t n, enum key key) {
    struct {
        uint64_t key;
        int64_t from;
    } x, order[FEW];
    struct thaw_tuple copy[FEW];
    bool moved = false;
    for (int64_t i = 0, j; i < n; i++) {
        x.key = key_of(&t[i], key);
        x.from = i;
        for (j = i; j > 0 && x.key < order[j - 1].key; j--) order[j] = order[j - 1];
        order[j] = x;
        moved |= j < i;
    }
    if (moved) {
        memcpy(copy, t, (size_t)n * sizeof *t);
        for (int64_t i = 0; i < n; i++) t[i] = copy[order[i].from];
    }
    sort_runs(t, n, key);
}

// The smallest key and the range of keys.
static uint64_t key_range(const struct thaw_tuple *t, int64_t n, enum key key, uint64_t *smallest) {
    uint64_t low = key_of(t, key), high = low;
    for (int64_t i = 1; i < n; i++) {
        uint64_t k = key_of(&t[i], key);
        low = k < low ? k : low;
        high = k > high ? k : high;
    }
    *smallest = low;
    return high - low;
}

// So many leading bits that a few tuples share them.
static int flag_bits(int64_t n) {
    int bits = 63 - __builtin_clzll((uint64_t)n) - 3;
    return bits < FLAG_BITS_MIN ? FLAG_BITS_MIN : bits < FLAG_BITS_MAX ? bits : FLAG_BITS_MAX;
}

// Radix sort in place, the leading bits in which keys differ first: each tuple is swapped to where its bucket
// has room (McIlroy, Bostic & McIlroy, "Engineering radix sort", 1993). A level takes at least 6 bits off the
// range, so there are at most 11 for a key.
static void sort_many(struct thaw_tuple *t, int64_t n, enum key key, uint64_t smallest, uint64_t range) {
    int64_t next[1 << FLAG_BITS_MAX], end[1 << FLAG_BITS_MAX], total = 0;
    int bits = 64 - __builtin_clzll(range), most = flag_bits(n), shift = bits > most ? bits - most : 0;
    size_t nflags = (size_t)(range >> shift) + 1;
    memset(end, 0, nflags * sizeof *end);
    for (int64_t i = 0; i < n; i++) end[(key_of(&t[i], key) - smallest) >> shift]++;
    for (size_t f = 0; f < nflags; f++) {
        next[f] = total;
        end[f] = total += end[f];
    }
    for (size_t f = 0; f < nflags; f++)
        while (next[f] < end[f]) {
            struct thaw_tuple x = t[next[f]];
            for (size_t to; (to = (size_t)((key_of(&x, key) - smallest) >> shift)) != f;)
                swap(&x, &t[next[to]++]);
            t[next[f]++] = x;
        }
    for (size_t f = 0; f < nflags; f++) {
        int64_t begin = f ? end[f - 1] : 0;
        if (end[f] - begin > 1) sort_by(t + begin, end[f] - begin, key);
    }
}

// Tuples that differ in this key and those behind it.
static void sort_by(struct thaw_tuple *t, int64_t n, enum key key) {
    uint64_t smallest, range;
    if (key == BY_REST)
        comparison_sort(t, n);
    else if (n <= FEW)
        sort_few(t, n, key);
    else if ((range = key_range(t, n, key, &smallest)) == 0)
        sort_by(t, n, key + 1);
    else
        sort_many(t, n, key, smallest, range);
}

void thaw_tuple_sort(struct thaw_tuple *t, int64_t n) {
    if (n > 1) sort_by(t, n, BY_A);
}

int64_t thaw_tuple_merge(struct thaw_tuple *t, int64_t n, enum thaw_duplicates rule) {
    int64_t kept = 0;
    for (int64_t i = 0, end; i < n; i = end) {
        struct thaw_tuple x = t[i];
        double sum = x.value;
        for (end = i + 1; end < n && t[end].a == x.a && t[end].b == x.b; end++) {
            sum += t[end].value;
            if (rule == THAW_DUPLICATES_LAST || t[end].value > x.value) x.value = t[end].value;
            x.time = t[end].time;
        }
        if (rule == THAW_DUPLICATES_SUM) x.value = (float)sum + 0.0f; // + 0: never -0
        t[kept++] = x;
    }
    return kept;
}
