// baselines.h: what every claim about cold users stands beside: popularity, popularity within profile cells,
// item neighbours. As scorers (comm/cold_rank.h); EASE is an association, iALS is comm/cold_ials.h.
// docs/cold-start.md.
#ifndef THAW_COMM_BASELINES_H
#define THAW_COMM_BASELINES_H

#include "base/npy.h"
#include "comm/cold_rank.h"

// Fill the baselines' numbers of k (all but the models': src/cold/cold.h) with those measured on MovieLens 1M
// for the nearest number of known items. Local.
void thaw_baseline_default_known(Thaw__Known *k, int known);

// ---- Popularity ----
// What training users did with every item, on every rank: 8 bytes an item.
struct thaw_popularity {
    int64_t nitems, users; // training users
    int64_t *count;        // nitems: training users who have it
};
// Collective. degree: of this rank's items (thaw_heldout_item_degrees). THAW_EMEM.
int thaw_popularity_new(struct thaw_popularity *p, struct thaw_comm *c, const int64_t *degree, int64_t nrows,
                        int64_t users, struct thaw_err *err);
void thaw_popularity_clear(struct thaw_popularity *p);
struct thaw_scorer thaw_scorer_of_popularity(const struct thaw_popularity *p);

// ---- Popularity within cells of the profile ----
// A group is one or more categorical fields; its cells are the combinations of their values, and of having
// none. With q_i the rate of item i among all training users, and a cell's rate shrunk towards it as if s
// more users had it,  score_i = log rate(first group) + w sum over further groups of (log rate(group) - log
// q_i).
enum { THAW_CELL_GROUPS = 8, THAW_CELL_FIELDS = 8, THAW_CELLS_MAX = 4096 };
struct thaw_cells {
    int ngroups;
    struct thaw_cell_group {
        int nfields;
        struct {
            int32_t first_column, columns;
        } field[THAW_CELL_FIELDS];
        int32_t ncells;
        int64_t *users; // ncells: training users
        int64_t *count; // ncells x nitems
    } group[THAW_CELL_GROUPS];
    double *log_rate;                         // nitems: log q
    char names[256];                          // "gender+age,occupation"
    const struct thaw_popularity *popularity; // borrowed
};
// Collective. fields: words "gender+age,occupation"; NULL or empty: all categorical fields in their order,
// crossed while cells have 100 training users on average, the others in groups of their own. h: histories
// with profiles. Counts are on every rank: 8 bytes a cell and item. THAW_EUSAGE: an unknown field, one that
// is not categorical, more than THAW_CELLS_MAX cells. *c stays without groups when there is no field to take.
// THAW_EMEM.
int thaw_cells_new(struct thaw_cells *cells, struct thaw_comm *c, const char *fields,
                   const struct thaw_dataset *d, const struct thaw_histories *h,
                   const struct thaw_popularity *p, struct thaw_err *err);
void thaw_cells_clear(struct thaw_cells *cells);
// Candidates by cell_strength (s of the first group), cell_others (s of the others), cell_weight (w).
struct thaw_cells_scorer {
    const struct thaw_cells *cells;
    const Thaw__Known *known;
};
struct thaw_scorer thaw_scorer_of_cells(const struct thaw_cells_scorer *s);
// Local. The cell of a profile in a group.
int32_t thaw_cell_of(const struct thaw_cell_group *g, const uint32_t *feature, int64_t nfeatures);

// ---- Item neighbours ----
// Co-occurrence counts as an association with power and shrink 0 has them; each candidate divides them by
// (p_i p_j)^power + shrink, p the items' popularity. Score: sum over the known items.
struct thaw_neighbors {
    int32_t nparts;
    const int64_t *first_row; // nparts + 1, borrowed
    struct thaw_npy *part;    // nparts x 3: indptr, indices, values
    const struct thaw_popularity *popularity;
};
// Local. THAW_ENOINPUT, THAW_EDATA naming the file.
int thaw_neighbors_open(struct thaw_neighbors *s, const char *dir, const struct thaw_plan *items,
                        const struct thaw_popularity *p, struct thaw_err *err);
void thaw_neighbors_close(struct thaw_neighbors *s);
// Candidates by knn_shrink and knn_power.
struct thaw_neighbors_scorer {
    const struct thaw_neighbors *neighbors;
    const Thaw__Known *known;
    int ncandidates;
    double *powered; // ncandidates x items: p^power; made by new
};
int thaw_neighbors_scorer_new(struct thaw_neighbors_scorer *s, const struct thaw_neighbors *neighbors,
                              const Thaw__Known *known, int ncandidates, struct thaw_err *err);
void thaw_neighbors_scorer_clear(struct thaw_neighbors_scorer *s);
struct thaw_scorer thaw_scorer_of_neighbors(const struct thaw_neighbors_scorer *s);

#endif
