/*
 * The monitor's entry: runs one machine until it ends.  0 when it ended as asked; -errno with *e
 * telling why when it could not start, or lost what it needs.
 */
#ifndef GODWIT_VMM_MAIN_H
#define GODWIT_VMM_MAIN_H

#include "base/err.h"
#include "vmm/options.h"

int vmm_main(const struct vmm_options *options, struct err *e);

#endif
