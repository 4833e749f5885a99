// found.h: what `thaw prepare` found, as text, one JSON object, or CSV. Local.
#ifndef THAW_JOBS_FOUND_H
#define THAW_JOBS_FOUND_H

#include "comm/stages.h"

#include <stdio.h>

// format: THAW_FORMAT_*. The same bytes for any number of ranks.
void thaw_found_print(FILE *out, int format, const struct thaw_prep *p);

#endif
