#include "partition/tuple.h"

#include <stdbool.h>
#include <string.h>

_Static_assert(sizeof(struct thaw_tuple) == 28, "tuples travel and spill as 28 bytes");

enum { SHORT_RUN = 12, FLAG_BITS = 8, FLAG_LEAST = 64 };

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

static inline uint64_t key_of(const struct thaw_tuple *t, bool by_b) {
    return by_b ? t->b : t->a;
}

// The smallest key and the range of keys.
static uint64_t key_range(const struct thaw_tuple *t, int64_t n, bool by_b, uint64_t *smallest) {
    uint64_t low = key_of(t, by_b), high = low;
    for (int64_t i = 1; i < n; i++) {
        uint64_t key = key_of(&t[i], by_b);
        low = key < low ? key : low;
        high = key > high ? key : high;
    }
    *smallest = low;
    return high - low;
}

static inline size_t flag_of(const struct thaw_tuple *t, bool by_b, uint64_t smallest, int shift) {
    return (size_t)((key_of(t, by_b) - smallest) >> shift);
}

// Radix sort in place, the leading bits in which keys differ first: each tuple is swapped to where its bucket
// has room (McIlroy, Bostic & McIlroy, "Engineering radix sort", 1993). A level takes 8 bits off the range,
// so there are at most 16.
static void flag_sort(struct thaw_tuple *t, int64_t n) {
    int64_t next[1 << FLAG_BITS], end[1 << FLAG_BITS], total = 0;
    uint64_t smallest;
    bool by_b = false;
    if (n < FLAG_LEAST) {
        comparison_sort(t, n);
        return;
    }
    uint64_t range = key_range(t, n, by_b, &smallest);
    if (range == 0) range = key_range(t, n, by_b = true, &smallest);
    if (range == 0) { // only times and values differ
        comparison_sort(t, n);
        return;
    }
    int bits = 64 - __builtin_clzll(range), shift = bits > FLAG_BITS ? bits - FLAG_BITS : 0;
    memset(end, 0, sizeof end);
    for (int64_t i = 0; i < n; i++) end[flag_of(&t[i], by_b, smallest, shift)]++;
    for (int f = 0; f < 1 << FLAG_BITS; f++) {
        next[f] = total;
        end[f] = total += end[f];
    }
    for (size_t f = 0; f < 1 << FLAG_BITS; f++)
        while (next[f] < end[f]) {
            struct thaw_tuple x = t[next[f]];
            for (size_t to; (to = flag_of(&x, by_b, smallest, shift)) != f;) swap(&x, &t[next[to]++]);
            t[next[f]++] = x;
        }
    for (int f = 0; f < 1 << FLAG_BITS; f++) {
        int64_t begin = f ? end[f - 1] : 0;
        if (end[f] - begin > 1) flag_sort(t + begin, end[f] - begin);
    }
}

void thaw_tuple_sort(struct thaw_tuple *t, int64_t n) {
    if (n > 1) flag_sort(t, n);
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
