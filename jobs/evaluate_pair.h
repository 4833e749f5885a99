// evaluate_pair.h: two versions of the tables side by side. Private to evaluate_against.c, which measures,
// and evaluate_pair.c, which tells.
#ifndef THAW_JOBS_EVALUATE_PAIR_H
#define THAW_JOBS_EVALUATE_PAIR_H

#include "comm/replicates.h"
#include "jobs/evaluation.h"
#include "table/table.h"

enum {
    THAW_PAIR_TOP = 10,      // of whose change is told
    THAW_PAIR_SEGMENTS = 64, // values of a field that is broken down by unasked
    THAW_PAIR_OF_SEGMENT = 4 // columns: users, NDCG of both, share changed
};
enum { THAW_PAIR_NDCG, THAW_PAIR_RECALL, THAW_PAIR_HR, THAW_PAIR_MAP, THAW_PAIR_NOVELTY, THAW_PAIR_METRICS };

struct thaw_pair_segment {
    char name[96]; // "gender=F"
    uint32_t column;
};
struct thaw_pair_side {
    struct thaw_tables *tables;
    struct thaw_cold_source source;
    struct thaw_cold *cold;
    enum thaw_cold_method method;
    struct thaw_cold_users users;
    int64_t *top; // users x k
};
struct thaw_pair_row {
    int known;
    const char *segment; // "all", or a segment's name
    const char *metric;
    int cutoff;   // 0: none
    double users; // of the segment
    bool is_pair; // both sides and their difference; else `of` alone
    struct thaw_estimate of[2], difference;
};
struct thaw_pair {
    struct thaw_evaluation *e;
    struct thaw_pair_side side[2]; // --tables, --against
    struct thaw_features profile;
    struct thaw_popularity popularity;
    struct thaw_pair_segment *segment;
    size_t segment_cap;
    int nsegments;
    int k, nmeasures, changed, ncolumns; // columns: measures of both sides, from `changed` on the rest
    double *values;                      // users x ncolumns, for one number of known items
    bool *hit;
    struct thaw_pair_row *rows;
    size_t rows_cap;
    int nrows;
};

// Collective. Append the rows for n known items.
int thaw_pair_rows(struct thaw_pair *p, const struct thaw_replicates *r, int n, struct thaw_err *err);
// Local.
void thaw_pair_print(const struct thaw_pair *p, FILE *out, int format);

#endif
