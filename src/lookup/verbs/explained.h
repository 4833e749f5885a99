// explained.h: printing what scores consist of, and what users are interested in. Local; one thread.
#ifndef THAW_LOOKUP_EXPLAINED_H
#define THAW_LOOKUP_EXPLAINED_H

#include "lookup/verbs/someone.h"

// Of nhits results.
struct thaw_shares {
    const struct thaw_someone *someone;
    double *item;  // nhits x someone->n
    double *field; // nhits x info.user_fields
    double *rest;  // nhits
};
void thaw_print_explained(struct thaw_session *s, int format, const struct thaw_hit *hits, int nhits,
                          const struct thaw_shares *e);

// The interests of known users, k of each at most.
int thaw_interests_print(struct thaw_session *s, const struct thaw_list *users, int k, int format,
                         struct thaw_err *err);

#endif
