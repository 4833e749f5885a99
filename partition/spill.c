#include "partition/spill.h"

#include "base/file.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

enum { MIN_BLOCK = 256, MIN_BLOCKS = 16, BATCH = 256, NONE = -1, LINE = 64, HUGE = 2 << 20 };

struct thaw_spill_pool {
    char dir[THAW_PATH_MAX];
    int fd;           // -1 until something is spilled
    int64_t file_end; // bytes written to the file
    void *map;        // map_bytes
    size_t map_bytes;
    uint8_t *base;      // nblocks x block inside the map; untouched blocks cost nothing
    int64_t block;      // bytes
    int32_t nblocks;    // mapped
    int32_t limit;      // most blocks in use now
    int32_t used, peak; // blocks in use now, and at most so far
    int32_t *next;      // nblocks: chains of buckets, and of free blocks
    int32_t free;       // head of the free chain
    struct thaw_spill *stores;
};

struct extent {
    int64_t at, nbytes;
};

struct bucket {
    int64_t nbytes;         // in file and memory
    struct extent *extents; // in the file, before what is in memory
    size_t nextents, cap;
    int32_t head, tail; // chain of blocks
    int64_t room;       // bytes left in the tail block
};

struct thaw_spill {
    struct thaw_spill_pool *pool;
    struct thaw_spill *next_store;
    struct bucket *bucket;
    int32_t nbuckets;
    int32_t held; // blocks
};

// Blocks are first used in rising order, so that large pages hold one after the other.
static int map_blocks(struct thaw_spill_pool *p, struct thaw_err *err) {
    p->map_bytes = (size_t)(p->nblocks * p->block) + HUGE;
    p->map =
        mmap(NULL, p->map_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p->map == MAP_FAILED)
        return thaw_mem_refuse(p->map_bytes, "records in memory, as much as --memory says", err);
    p->base = (uint8_t *)p->map + (HUGE - (uintptr_t)p->map % HUGE) % HUGE;
#ifdef MADV_HUGEPAGE
    madvise(p->map, p->map_bytes, MADV_HUGEPAGE);
#endif
    return THAW_OK;
}

int thaw_spill_pool_new(struct thaw_spill_pool **pool, const char *dir, int64_t limit, int64_t block,
                        struct thaw_err *err) {
    struct thaw_spill_pool *p = NULL;
    int code = thaw_alloc(&p, 1, sizeof *p, "the spill pool", err);
    if (code) return code;
    p->fd = -1;
    p->map = MAP_FAILED;
    p->block = block < MIN_BLOCK ? MIN_BLOCK : block;
    int64_t nblocks = limit / p->block;
    if (nblocks < MIN_BLOCKS) nblocks = MIN_BLOCKS;
    p->nblocks = p->limit = nblocks > INT32_MAX ? INT32_MAX : (int32_t)nblocks;
    if (strlen(dir) >= sizeof p->dir) {
        code = thaw_fail(err, THAW_EUSAGE, "%.80s...: the path is too long", dir);
        goto done;
    }
    strcpy(p->dir, dir);
    code = thaw_alloc(&p->next, (size_t)p->nblocks, sizeof *p->next, "the spill pool", err);
    if (code) goto done;
    code = map_blocks(p, err);
    if (code) goto done;
    for (int32_t i = 0; i < p->nblocks; i++) p->next[i] = i + 1 < p->nblocks ? i + 1 : NONE;
    *pool = p;
    p = NULL;
done:
    thaw_spill_pool_free(&p);
    return code;
}

void thaw_spill_pool_free(struct thaw_spill_pool **pool) {
    struct thaw_spill_pool *p = *pool;
    if (!p) return;
    if (p->map != MAP_FAILED) munmap(p->map, p->map_bytes);
    if (p->fd >= 0) close(p->fd);
    free(p->next);
    free(p);
    *pool = NULL;
}

int64_t thaw_spill_pool_spilled(const struct thaw_spill_pool *pool) {
    return pool->file_end;
}

int64_t thaw_spill_pool_peak(const struct thaw_spill_pool *pool) {
    return pool->peak * pool->block;
}

static uint8_t *block_bytes(const struct thaw_spill_pool *p, int32_t b) {
    return p->base + (int64_t)b * p->block;
}

// Give a bucket's blocks back to the pool.
static void release(struct thaw_spill *s, struct bucket *b) {
    struct thaw_spill_pool *p = s->pool;
    for (int32_t i = b->head, next; i != NONE; i = next) {
        next = p->next[i];
        p->next[i] = p->free;
        p->free = i;
        p->used--;
        s->held--;
    }
    b->head = b->tail = NONE;
    b->room = 0;
}

static int open_file(struct thaw_spill_pool *p, struct thaw_err *err) {
    char path[THAW_PATH_MAX];
    int code = thaw_path_join(path, p->dir, "spill-XXXXXX", err);
    if (code) return code;
    p->fd = mkostemp(path, O_CLOEXEC);
    if (p->fd < 0) return thaw_fail_errno(err, THAW_EIO, "%s: cannot make a spill file", p->dir);
    unlink(path);
    return THAW_OK;
}

static int write_all(struct thaw_spill_pool *p, struct iovec *v, int n, struct thaw_err *err) {
    while (n > 0) {
        ssize_t wrote = pwritev(p->fd, v, n, p->file_end);
        if (wrote < 0 && errno == EINTR) continue;
        if (wrote < 0)
            return thaw_fail_errno(err, THAW_EIO,
                                   "%s: cannot spill records (%" PRId64
                                   " bytes so far): free disk space or raise --memory",
                                   p->dir, p->file_end);
        p->file_end += wrote;
        for (; n > 0 && (size_t)wrote >= v->iov_len; v++, n--) wrote -= (ssize_t)v->iov_len;
        if (n > 0) {
            v->iov_base = (uint8_t *)v->iov_base + wrote;
            v->iov_len -= (size_t)wrote;
        }
    }
    return THAW_OK;
}

static int write_bucket(struct thaw_spill_pool *p, struct bucket *b, struct thaw_err *err) {
    struct iovec v[BATCH];
    int n = 0, code = THAW_OK;
    for (int32_t i = b->head; i != NONE && !code; i = p->next[i]) {
        int64_t nbytes = i == b->tail ? p->block - b->room : p->block;
        v[n++] = (struct iovec){block_bytes(p, i), (size_t)nbytes};
        if (n == BATCH || i == b->tail) {
            code = write_all(p, v, n, err);
            n = 0;
        }
    }
    return code;
}

// Write all of a store's blocks to the file and give them back.
static int flush(struct thaw_spill *s, struct thaw_err *err) {
    struct thaw_spill_pool *p = s->pool;
    int code = p->fd < 0 ? open_file(p, err) : THAW_OK;
    for (int32_t i = 0; i < s->nbuckets && !code; i++) {
        struct bucket *b = &s->bucket[i];
        if (b->head == NONE) continue;
        code = thaw_grow(&b->extents, &b->cap, b->nextents + 1, sizeof *b->extents, "spill extents", err);
        if (code) break;
        struct extent e = {p->file_end, 0};
        code = write_bucket(p, b, err);
        if (code) break;
        e.nbytes = p->file_end - e.at;
        b->extents[b->nextents++] = e;
        release(s, b);
    }
    return code;
}

static int flush_largest(struct thaw_spill_pool *p, struct thaw_err *err) {
    struct thaw_spill *most = p->stores;
    for (struct thaw_spill *s = p->stores; s; s = s->next_store)
        if (s->held > most->held) most = s;
    return flush(most, err);
}

int thaw_spill_pool_limit(struct thaw_spill_pool *p, int64_t limit, struct thaw_err *err) {
    int64_t n = limit / p->block;
    p->limit = n < MIN_BLOCKS ? MIN_BLOCKS : n > p->nblocks ? p->nblocks : (int32_t)n;
    int code = THAW_OK;
    while (!code && p->used > p->limit) code = flush_largest(p, err);
    if (code) return code;
    if (p->block % sysconf(_SC_PAGESIZE) != 0) return THAW_OK; // small blocks share pages, and are few
        // Blocks that are free now may have been touched: hand their pages back, and take them one by one
        // from now on.
#ifdef MADV_NOHUGEPAGE
    madvise(p->map, p->map_bytes, MADV_NOHUGEPAGE);
#endif
    for (int32_t i = p->free; i != NONE; i = p->next[i])
        madvise(block_bytes(p, i), (size_t)p->block, MADV_DONTNEED);
    return THAW_OK;
}

int thaw_spill_new(struct thaw_spill **out, struct thaw_spill_pool *pool, int32_t nbuckets,
                   struct thaw_err *err) {
    struct thaw_spill *s = NULL;
    int code = thaw_alloc(&s, 1, sizeof *s, "a record store", err);
    if (code) return code;
    code = thaw_alloc(&s->bucket, (size_t)nbuckets, sizeof *s->bucket, "a record store", err);
    if (code) {
        free(s);
        return code;
    }
    s->pool = pool;
    s->nbuckets = nbuckets;
    for (int32_t i = 0; i < nbuckets; i++) s->bucket[i].head = s->bucket[i].tail = NONE;
    s->next_store = pool->stores;
    pool->stores = s;
    *out = s;
    return THAW_OK;
}

void thaw_spill_free(struct thaw_spill **store) {
    struct thaw_spill *s = *store;
    if (!s) return;
    for (int32_t i = 0; i < s->nbuckets; i++) {
        thaw_spill_clear(s, i);
        free(s->bucket[i].extents);
    }
    struct thaw_spill **link = &s->pool->stores;
    while (*link != s) link = &(*link)->next_store;
    *link = s->next_store;
    free(s->bucket);
    free(s);
    *store = NULL;
}

// A fresh tail block for a bucket.
static int extend(struct thaw_spill *s, struct bucket *b, struct thaw_err *err) {
    struct thaw_spill_pool *p = s->pool;
    if (p->used >= p->limit) {
        int code = flush_largest(p, err);
        if (code) return code;
    }
    int32_t i = p->free;
    p->free = p->next[i];
    p->next[i] = NONE;
    if (++p->used > p->peak) p->peak = p->used;
    s->held++;
    if (b->head == NONE)
        b->head = i;
    else
        p->next[b->tail] = i;
    b->tail = i;
    b->room = p->block;
    return THAW_OK;
}

// The records that are put one by one are of a few sizes: a copy of a known size is a few instructions.
static inline void copy(uint8_t *to, const uint8_t *from, size_t n) {
    if (n == 28)
        memcpy(to, from, 28);
    else
        memcpy(to, from, n);
}

int thaw_spill_put(struct thaw_spill *s, int32_t bucket, const void *bytes, size_t n, struct thaw_err *err) {
    struct bucket *b = &s->bucket[bucket];
    const uint8_t *from = bytes;
    while (n > 0) {
        if (b->room == 0) {
            int code = extend(s, b, err);
            if (code) return code;
        }
        size_t part = (int64_t)n < b->room ? n : (size_t)b->room;
        uint8_t *to = block_bytes(s->pool, b->tail) + s->pool->block - b->room;
        copy(to, from, part);
        __builtin_prefetch(to + part + LINE, 1); // buckets take turns: have this one's next line at hand then
        b->room -= (int64_t)part;
        b->nbytes += (int64_t)part;
        from += part;
        n -= part;
    }
    return THAW_OK;
}

int64_t thaw_spill_nbytes(const struct thaw_spill *s, int32_t bucket) {
    return s->bucket[bucket].nbytes;
}

static int read_file(const struct thaw_spill_pool *p, int64_t at, int64_t n, uint8_t *to,
                     struct thaw_err *err) {
    for (int64_t done = 0; done < n;) {
        ssize_t got = pread(p->fd, to + done, (size_t)(n - done), at + done);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return thaw_fail_errno(err, THAW_EIO, "%s: cannot read back spilled records", p->dir);
        if (got == 0) return thaw_fail(err, THAW_EIO, "%s: the spill file was cut short", p->dir);
        done += got;
    }
    return THAW_OK;
}

// Of a piece of nbytes: how many to skip, and how many to take, of what is still wanted.
static int64_t take(int64_t nbytes, int64_t *at, int64_t n, int64_t *skip) {
    *skip = *at < nbytes ? *at : nbytes;
    *at -= *skip;
    return n < nbytes - *skip ? n : nbytes - *skip;
}

int thaw_spill_read(const struct thaw_spill *s, int32_t bucket, int64_t at, int64_t n, void *out,
                    struct thaw_err *err) {
    const struct bucket *b = &s->bucket[bucket];
    const struct thaw_spill_pool *p = s->pool;
    uint8_t *to = out;
    int64_t skip, part;
    for (size_t i = 0; i < b->nextents && n > 0; i++, to += part, n -= part) {
        part = take(b->extents[i].nbytes, &at, n, &skip);
        int code = read_file(p, b->extents[i].at + skip, part, to, err);
        if (code) return code;
    }
    for (int32_t i = b->head; i != NONE && n > 0; i = p->next[i], to += part, n -= part) {
        part = take(i == b->tail ? p->block - b->room : p->block, &at, n, &skip);
        memcpy(to, block_bytes(p, i) + skip, (size_t)part);
    }
    return THAW_OK;
}

void thaw_spill_clear(struct thaw_spill *s, int32_t bucket) {
    struct bucket *b = &s->bucket[bucket];
    release(s, b);
#ifdef FALLOC_FL_PUNCH_HOLE
    for (size_t i = 0; i < b->nextents;
         i++) // best effort: file systems without holes keep the space until the end
        (void)!fallocate(s->pool->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, b->extents[i].at,
                         b->extents[i].nbytes);
#endif
    b->nextents = 0;
    b->nbytes = 0;
}
