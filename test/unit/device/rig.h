/* Buses, a loop and a fake hypervisor for one device under test, and the guest's accesses. */
#ifndef GODWIT_TEST_UNIT_DEVICE_RIG_H
#define GODWIT_TEST_UNIT_DEVICE_RIG_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/loop.h"
#include "device/bus.h"
#include "hv/fake.h"

struct rig {
    struct guest_mem *mem;
    struct hv_vm *vm;
    struct loop *loop;
    struct bus *pio, *mmio;
};

void rig_init(struct rig *r);
void rig_fini(struct rig *r);

uint64_t rig_in(struct rig *r, uint16_t port, uint32_t len);
void rig_out(struct rig *r, uint16_t port, uint32_t len, uint64_t v);
uint64_t rig_load(struct rig *r, uint64_t gpa, uint32_t len);
void rig_store(struct rig *r, uint64_t gpa, uint32_t len, uint64_t v);
/* Runs the loop for so long. */
void rig_run(struct rig *r, uint32_t ms);

void rig_start(struct device *d);
void rig_reset(struct device *d);
/* The device's state as bytes; the caller frees out. */
void rig_save(struct device *d, struct buf *out);
/* Loads it into d: 0 or the error. */
int rig_restore(struct device *d, const struct buf *in, struct err *e);
/* Encodes *state (a struct of d's own state) as a section for d, id filled in, and loads it. */
int rig_restore_struct(struct device *d, void *state, struct err *e);

#endif
