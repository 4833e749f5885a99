// opt_impl.h: what help and man pages share. Private to src/base. Local; thread-safe.
#ifndef THAW_BASE_OPT_IMPL_H
#define THAW_BASE_OPT_IMPL_H

#include "base/opt.h"

// "1 to 1024; required; default 64" into buf, cut to cap; "" when there is nothing to say.
void thaw_opt_describe_values(const struct thaw_opt *o, char *buf, size_t cap);

// "..." behind the placeholder of an option that takes several words, unless the placeholder says so itself.
const char *thaw_opt_ellipsis(const struct thaw_opt *o);

#endif
