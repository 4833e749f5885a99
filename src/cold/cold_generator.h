// cold_generator.h: what the generator's forward pass and its explanation share. Private to src/cold.
#ifndef THAW_COLD_COLD_GENERATOR_H
#define THAW_COLD_COLD_GENERATOR_H

#include "cold/cold_impl.h"

// An item's embedding (k), decoder (k) and bias.
const float *cold_generator_row(const struct thaw_cold *c, int64_t row);
// The known items that the generator sees: the last *n of w->item.
const int64_t *cold_generator_known(const struct thaw_cold *c, const struct thaw_cold_work *w, int *n);
double cold_generator_scale(const struct thaw_cold *c); // of the decoder

#endif
