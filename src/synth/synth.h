// synth.h: interaction logs with a planted truth, of any size, for trials, tests and benchmarks.
//
// Everything is a pure function of (options, seed, number of the user or item), drawn from a
// counter-based generator: any user's events can be made alone, in any order, by any rank or thread.
// Nothing is kept per user, item or event.
//
// The model. P is the profile strength; e and c are standard normal draws, n nearly so (the sum of
// four bytes).
//
// - Profile: a user has gender, age, region, device and channel, drawn from fixed shares; attribute
//   a acts with strength s_a (gender and age most). Some cells are left empty in users.csv; the
//   hidden value still acts.
// - Taste over genres: p(g|u) = softmax(0.6 c_g + P sum_a s_a e_{a,value,g} + 1.2 n_ug), and over
//   the styles in a genre: p(h|u,g) = softmax(0.5 c_gh + 0.5 P sum_a s_a e_{a,value,gh} + 1.5
//   n_ugh).
// - Items: item i is of group i mod (genres x styles), hence of one genre and style. Its place in
//   the group is r = i / (genres x styles), and p(i|g,h) ~ (r + 1)^-zipf. A union of such laws: the
//   popularity of all items falls with the same exponent where groups are large, and is flatter
//   among the few most popular.
// - Activity: a fraction of users is cold, with 0 to 3 events each in the last tenth of the time.
//   The others share the rest in proportion to exp(sigma n), a few events (up to 4) for each first.
//   The shares are cut by cumulative rounding: the total is exact.
// - Events come in sessions at rising times. A visit keeps the genre of the last one in the session
//   with probability 1/2, else draws it. It is a view, followed by a cart with probability 0.05 +
//   0.35 a, and a buy after a cart with 0.35 + 0.40 a, where a = sqrt(p(g|u) p(h|u,g)): funnels go
//   deeper where the taste is. One buy in seven is of more than one piece.
// - Text: a user's `about` names styles drawn from the taste (three words of four) and filler words.
//   An item's category is its genre, its title names its style; brands and price levels belong to
//   genres.
//
// Places in a group are drawn by rejection-inversion (Hoermann & Derflinger, "Rejection-inversion to
// generate variates from monotone discrete distributions", ACM TOMACS 6(3), 1996): constant time and
// memory for any number of items.
//
// Local; thread-safe on distinct walks.
#ifndef THAW_SYNTH_SYNTH_H
#define THAW_SYNTH_SYNTH_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct thaw_synth_options {
    int64_t users, items;
    int64_t interactions; // lines of the event log in all
    uint64_t seed;
    double cold_fraction;    // of users, 0 to 1
    double zipf;             // exponent of item popularity, 0 to 3
    double activity_sigma;   // of the log of a user's activity, 0 to 2.5
    double profile_strength; // P
    int64_t start, seconds;  // unix time of the first moment, and how long the log lasts
    int genres, styles;      // lowered when there are fewer items than groups
};
enum { THAW_SYNTH_GENRES_MAX = 256, THAW_SYNTH_STYLES_MAX = 64, THAW_SYNTH_LINE_MAX = 512 };

struct thaw_synth;
// THAW_EMEM; THAW_EUSAGE when an option is out of range.
int thaw_synth_new(struct thaw_synth **s, const struct thaw_synth_options *options, struct thaw_err *err);
void thaw_synth_free(struct thaw_synth **s);

// What a range of users brings to the total: integers, so that shares add exactly in any order.
struct thaw_synth_share {
    int64_t cold_users, cold_events, warm_users, weight;
};
// Add users [first, last) to *share. About 0.1 us a user.
void thaw_synth_count(const struct thaw_synth *s, int64_t first, int64_t last,
                      struct thaw_synth_share *share);
// Tell s the share of all users, before any walk. THAW_EUSAGE: fewer interactions than cold users alone
// bring.
int thaw_synth_settle(struct thaw_synth *s, const struct thaw_synth_share *all, struct thaw_err *err);
// Lines in the log, after settle: the number asked for, or what cold users bring when all are cold.
int64_t thaw_synth_total(const struct thaw_synth *s);
// Lines of the users whose shares are `before` in all, the first part of the log.
int64_t thaw_synth_events_before(const struct thaw_synth *s, const struct thaw_synth_share *before);

enum thaw_synth_kind { THAW_SYNTH_VIEW, THAW_SYNTH_CART, THAW_SYNTH_BUY, THAW_SYNTH_KINDS };
struct thaw_synth_event {
    int64_t item;
    int64_t time; // unix seconds, never falling within a user
    int quantity;
    enum thaw_synth_kind kind;
};

// A walk goes through the events of consecutive users; it holds a user's taste (some tens of KB), no events.
// s must outlive it.
struct thaw_synth_walk;
// before: the share of all users below `first`.
int thaw_synth_walk_new(struct thaw_synth_walk **w, const struct thaw_synth *s, int64_t first,
                        const struct thaw_synth_share *before, struct thaw_err *err);
void thaw_synth_walk_free(struct thaw_synth_walk **w);
// Go to the next user (the first call: `first`). Returns the user's number of events.
int64_t thaw_synth_walk_user(struct thaw_synth_walk *w);
// The user's next event; false when there are no more. About 0.15 us.
bool thaw_synth_walk_event(struct thaw_synth_walk *w, struct thaw_synth_event *event);

// Text. Each writes at most THAW_SYNTH_LINE_MAX bytes, not terminated, and returns how many.
size_t thaw_synth_user_id(const struct thaw_synth *s, int64_t user, char *out);
size_t thaw_synth_item_id(const struct thaw_synth *s, int64_t item, char *out);
extern const char thaw_synth_events_header[], thaw_synth_users_header[], thaw_synth_items_header[];
// A line of users.csv or items.csv with its newline.
size_t thaw_synth_user_line(const struct thaw_synth *s, int64_t user, char *out);
size_t thaw_synth_item_line(const struct thaw_synth *s, int64_t item, char *out);
// A line of the event log, given the user's id.
size_t thaw_synth_event_line(const struct thaw_synth *s, const char *user_id, size_t nid,
                             const struct thaw_synth_event *event, char *out);

// Files. What a range of users wrote, by kind of event.
struct thaw_synth_tally {
    int64_t events[THAW_SYNTH_KINDS];
    int64_t nbytes;
};
// Local. Write the event file of users [first, last), durably, and add to *tally. before: the share of all
// users below `first`. THAW_EMEM, THAW_EIO.
int thaw_synth_events_write(const struct thaw_synth *s, const char *path, int64_t first, int64_t last,
                            const struct thaw_synth_share *before, struct thaw_synth_tally *tally,
                            struct thaw_err *err);

// users.csv and items.csv: the bytes of rows [first, last), the header with row 0; and their writing at
// `offset` of an existing file (fsynced, not renamed), so that many ranks can fill one file. Side 0: users,
// 1: items.
// rows_write: THAW_EMEM, THAW_EIO.
int64_t thaw_synth_rows_nbytes(const struct thaw_synth *s, int side, int64_t first, int64_t last);
int thaw_synth_rows_write(const struct thaw_synth *s, int side, int64_t first, int64_t last, const char *path,
                          int64_t offset, struct thaw_err *err);

// Planted truth, for tests: genre and style of an item; value number of a profile attribute (0 gender, 1 age,
// 2 region, 3 device, 4 channel) of a user.
enum { THAW_SYNTH_ATTRIBUTES = 5 };
int thaw_synth_item_genre(const struct thaw_synth *s, int64_t item);
int thaw_synth_item_style(const struct thaw_synth *s, int64_t item);
void thaw_synth_profile(const struct thaw_synth *s, int64_t user, int value[THAW_SYNTH_ATTRIBUTES]);

#endif
