// attributes.h: the attributes of users or items, read by all ranks together: from files of any size to
// sparse feature rows on the ranks that own the ids, with a dictionary that is the same on all ranks and for
// any number of ranks.
//
// Three passes over the files: look at the values (kinds, means), count them (dictionaries), encode the rows
// and send them to the owner of part_of(id) = thaw_hash_part(thaw_hash_id(id), nparts), cut over ranks by
// thaw_plan_even.
//
// An id that occurs more than once has the attributes of its last line: last by file, then by place in the
// file.
#ifndef THAW_COMM_ATTRIBUTES_H
#define THAW_COMM_ATTRIBUTES_H

#include "base/log.h"
#include "comm/world.h"
#include "partition/attribute.h"
#include "partition/event.h"
#include "partition/spill.h"

struct thaw_attributes_config {
    enum thaw_side side;
    struct thaw_format_wish wish; // its columns are ignored
    const char *spec;             // thaw_attribute_plan_find
    int32_t nparts;
    int64_t text_buckets;         // 0: THAW_TEXT_BUCKETS
    int64_t max_categories;       // columns of one attribute at most; 0: 100000
    int64_t unit_bytes;           // 0: 4 MiB
    int64_t budget_bytes;         // exchange buffers; 0: 64 MiB
    struct thaw_spill_pool *pool; // where rows wait; borrowed, must outlive the handle
    // Called on the reading rank for each bad line, once (may be NULL): to keep it.
    int (*bad)(void *user, const struct thaw_line *line, enum thaw_outcome o, struct thaw_err *err);
    void *user;
    struct thaw_log *log; // may be NULL
};

struct thaw_attributes {
    Thaw__Attribute **attribute; // n, as they go into the manifest; owned
    size_t n;
    uint32_t ncolumns;
    int64_t outcome[THAW_OUTCOMES]; // lines of all ranks by what became of them; an empty id is NO_USER or
                                    // NO_ITEM
    int64_t unread;                 // values of numeric attributes that are no numbers (they count as empty)
    int32_t first_part, last_part;  // owned by this rank: [first, last)
    struct thaw_attributes_state *state;
};

// Collective. paths: files or folders (thaw_sources_open). A dictionary keeps the most frequent values; those
// as frequent as the first one that does not fit are left out with it, so that the cut never depends on an
// order. Values are in the order of falling counts, then of bytes. THAW_EUSAGE, THAW_EDATA, THAW_ENOINPUT,
// THAW_EIO, THAW_EMEM. How many bad lines are too many is for the caller to say. The result depends on the
// files alone.
int thaw_attributes_read(struct thaw_attributes **a, struct thaw_comm *c, const char *const *paths,
                         int npaths, const struct thaw_attributes_config *config, struct thaw_err *err);
void thaw_attributes_free(struct thaw_attributes **a); // local

// The ids of an owned part that have attributes, each once, by rising hash, then bytes. Local.
struct thaw_attributes_part {
    int64_t n;
    int64_t repeated; // lines that a later line of the same id replaced
    const struct thaw_attributes_row {
        uint64_t hash;
        const char *id; // nid bytes
        uint32_t nid;
        uint32_t npairs;
        const struct thaw_row_pair *pair;
    } * row;
};
// Local. Bytes of work that the largest owned part takes, to read its rows back and to give them as CSR.
int64_t thaw_attributes_part_nbytes(const struct thaw_attributes *a);
// Local. Read an owned part's rows back; *part is valid until the next call of this or the following
// functions, or free. THAW_EMEM, THAW_EIO.
int thaw_attributes_part(struct thaw_attributes *a, int32_t part, struct thaw_attributes_part *out,
                         struct thaw_err *err);

// A part's feature rows as the shards have them: CSR, columns rising in a row.
struct thaw_attributes_csr {
    int64_t *indptr;   // nrows + 1
    uint32_t *indices; // indptr[nrows]
    float *values;     // indptr[nrows]
    int64_t matched;   // rows that have attributes
};
// Local. The rows of `part` in the order of ids (nrows x id_width, zero-padded; an id without attributes has
// an empty row). THAW_EMEM, THAW_EIO. Owned by the caller: thaw_attributes_csr_clear.
int thaw_attributes_rows(struct thaw_attributes *a, int32_t part, const char *ids, int64_t nrows,
                         int32_t id_width, struct thaw_attributes_csr *out, struct thaw_err *err);
void thaw_attributes_csr_clear(struct thaw_attributes_csr *csr);
// Local. Give the memory of the part that was read back; another may be read later.
void thaw_attributes_part_clear(struct thaw_attributes *a);

#endif
