#include "partition/tuple.h"

#include <stdbool.h>
#include <string.h>

_Static_assert(sizeof(struct thaw_tuple) == 28, "tuples travel and spill as 28 bytes");

enum { SHORT_RUN = 12, FEW = 256, AHEAD = 4, FLAG_BITS_MIN = 6, FLAG_BITS_MAX = 8 };

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

// A tuple's key and its place among those at hand.
struct place {
    uint64_t key;
    uint32_t from;
};

static void insert_places(struct place *p, int64_t n) {
    for (int64_t i = 1, j; i < n; i++) {
        struct place x = p[i];
        for (j = i; j > 0 && x.key < p[j - 1].key; j--) p[j] = p[j - 1];
        p[j] = x;
    }
}

// At most FEW places by their keys. Keys of hashes lie evenly: dealt out by their leading bits into about as
// many buckets as there are, they are nearly in order, and the insertion has little left to do.
static void sort_places(struct place *p, int64_t n) {
    struct place dealt[FEW];
    uint16_t next[2 * FEW + 1] = {0};
    uint64_t low = p[0].key, high = low;
    if (n <= SHORT_RUN) {
        insert_places(p, n);
        return;
    }
    for (int64_t i = 1; i < n; i++) {
        low = p[i].key < low ? p[i].key : low;
        high = p[i].key > high ? p[i].key : high;
    }
    if (low == high) return;
    int bits = 64 - __builtin_clzll(high - low), most = 64 - __builtin_clzll((uint64_t)n - 1);
    int shift = bits > most ? bits - most : 0; // at most 2^most <= 2 (n - 1) buckets
    for (int64_t i = 0; i < n; i++) next[((p[i].key - low) >> shift) + 1]++;
    for (int64_t f = 0; f < INT64_C(1) << most; f++) next[f + 1] = (uint16_t)(next[f + 1] + next[f]);
    for (int64_t i = 0; i < n; i++) dealt[next[(p[i].key - low) >> shift]++] = p[i];
    insert_places(dealt, n);
    memcpy(p, dealt, (size_t)n * sizeof *p);
}

// Runs of tuples that are equal in a and b, by what is left.
static void sort_equals(struct thaw_tuple *t, int64_t n) {
    for (int64_t i = 0, end; i < n; i = end) {
        for (end = i + 1; end < n && t[end].b == t[i].b && t[end].a == t[i].a;) end++;
        if (end - i > 1) comparison_sort(t + i, end - i);
    }
}

// At most FEW tuples: their places are sorted, then each tuple moves once.
static void sort_few(struct thaw_tuple *t, int64_t n, enum key key) {
    struct place p[FEW];
    struct thaw_tuple copy[FEW];
    bool moved = false;
    for (int64_t i = 0; i < n; i++) p[i] = (struct place){key_of(&t[i], key), (uint32_t)i};
    sort_places(p, n);
    for (int64_t i = 0, end; key == BY_A && i < n; i = end) {
        for (end = i + 1; end < n && p[end].key == p[i].key;) end++;
        if (end - i == 1) continue;
        for (int64_t j = i; j < end; j++) p[j].key = t[p[j].from].b;
        sort_places(p + i, end - i);
    }
    for (int64_t i = 0; i < n; i++) moved |= p[i].from != i;
    if (moved) {
        memcpy(copy, t, (size_t)n * sizeof *t);
        for (int64_t i = 0; i < n; i++) t[i] = copy[p[i].from];
    }
    sort_equals(t, n);
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
            for (size_t to; (to = (size_t)((key_of(&x, key) - smallest) >> shift)) != f;) {
                struct thaw_tuple *here = &t[next[to]++];
                swap(&x, here);
                __builtin_prefetch(here + AHEAD, 1); // where this bucket's turn comes after the next ones
            }
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
