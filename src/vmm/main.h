/* The monitor's entry: runs one machine until it ends. Returns the process's exit status. */
#ifndef GODWIT_VMM_MAIN_H
#define GODWIT_VMM_MAIN_H

#include "vmm/options.h"

int vmm_main(const struct vmm_options *options);

#endif
