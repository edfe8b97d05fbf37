/* A board of the given kind with an entropy device, on a fake hypervisor; made anew for each input.
 */
#ifndef GODWIT_FUZZ_MACHINE_FIXTURE_H
#define GODWIT_FUZZ_MACHINE_FIXTURE_H

#include "hv/fake.h"
#include "machine/backend.h"
#include "machine/board.h"

#define FIXTURE_RAM (32ULL << 20)

struct fixture {
    struct machine_config config;
    struct guest_mem *mem;
    struct hv_vm *vm;
    struct loop *loop;
    struct board_backends back;
    struct board *board;
    uint32_t requests; /* resets and power-offs asked for */
};

void fixture_init(struct fixture *f, const char *machine);
void fixture_fini(struct fixture *f);
void fixture_start(struct fixture *f);
void fixture_stop(struct fixture *f);

#endif
