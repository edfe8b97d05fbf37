/* A board's surroundings without KVM: guest memory, a fake hypervisor, a loop; and images in memory
 * files. */
#ifndef GODWIT_TEST_UNIT_MACHINE_RIG_H
#define GODWIT_TEST_UNIT_MACHINE_RIG_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>

#include <cmocka.h>

#include "hv/fake.h"
#include "machine/backend.h"
#include "machine/board.h"
#include "machine/boot.h"

struct rig {
    struct machine_config config;
    struct guest_mem *mem;
    struct hv_vm *vm;
    struct loop *loop;
    struct board_backends back;
    struct board *board;
    uint32_t resets, poweroffs;
};

/* A machine of this kind with so much RAM, unchecked, without devices and without its board. */
void rig_init(struct rig *r, const char *machine, uint64_t ram);
/* Checks the configuration and makes the board from it. */
void rig_board(struct rig *r);
void rig_fini(struct rig *r);

/* A file with these contents, in memory. */
int rig_file(const void *data, size_t len);
/* A drive of 1 MiB in memory with a device for it, added to the configuration. */
void rig_add_disk(struct rig *r, const char *id, int slot);
void rig_add_rng(struct rig *r, const char *id, int slot);

uint32_t rig_u32(const struct rig *r, uint64_t gpa);
uint64_t rig_u64(const struct rig *r, uint64_t gpa);

#endif
