/* What the options do: each takes a value that has the declared form and puts it into the
 * vmm_options of the context.  0, or -EINVAL with the option, the value and what is allowed. */
#ifndef GODWIT_CMD_VMM_HANDLERS_H
#define GODWIT_CMD_VMM_HANDLERS_H

#include "cmd/vmm/options.h"

typedef int option_fn(struct option_ctx *c, const struct option_value *v, struct err *e);

#define OPTIONS_STAGE "command line"

enum object_kind { OBJECT_RNG, OBJECT_TLS_X509, OBJECT_TLS_PSK }; /* struct option_kind.kind */

/* One field: a bool set, a bool cleared, a text copied. handlers_control.c */
option_fn apply_true, apply_false, apply_text;
/* handlers_control.c */
option_fn apply_qmp, apply_serial, apply_incoming, apply_nographic, apply_sandbox, apply_ignored,
    apply_object;
/* handlers_machine.c */
option_fn apply_machine, apply_accel, apply_cpu, apply_smp, apply_memory, apply_name, apply_uuid;
/* handlers_device.c */
option_fn apply_drive, apply_netdev, apply_device;

#endif
