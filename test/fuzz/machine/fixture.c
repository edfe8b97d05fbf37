#include "fixture.h"

#include <stdio.h>
#include <string.h>

#include "fuzz.h"

static void request(void *opaque)
{
    ((struct fixture *)opaque)->requests++;
}

void fixture_init(struct fixture *f, const char *machine)
{
    struct guest_mem_config mc = {.size = FIXTURE_RAM, .low_max = 2ULL << 30};
    struct hv_vm_config vc = {.vcpus = 1};
    struct board_config bc = {
        .host = {f, request, request}
    };

    memset(f, 0, sizeof(*f));
    machine_config_init(&f->config);
    snprintf(f->config.machine, sizeof(f->config.machine), "%s", machine);
    f->config.ndevices = 1;
    f->config.devices[0] = (struct device_config){
        .kind = DEVICE_RNG, .transport = board_find(machine)->transport, .slot = 0};
    FUZZ_CHECK(!machine_config_check(&f->config, NULL));
    FUZZ_CHECK(!guest_mem_new(&mc, &f->mem, NULL));
    vc.mem = f->mem;
    FUZZ_CHECK(!hv_vm_new(&vc, &f->vm, NULL));
    f->loop = loop_new();
    FUZZ_CHECK(f->loop);
    f->back.kernel_fd = f->back.initrd_fd = -1;
    bc.machine = &f->config;
    bc.mem = f->mem;
    bc.vm = f->vm;
    bc.loop = f->loop;
    FUZZ_CHECK(!board_new(&bc, &f->back, &f->board, NULL));
}

void fixture_fini(struct fixture *f)
{
    board_free(f->board);
    loop_free(f->loop);
    hv_vm_free(f->vm);
    guest_mem_free(f->mem);
}

void fixture_start(struct fixture *f)
{
    for (uint32_t i = 0; i < f->board->ndevices; i++) {
        struct device *d = f->board->devices[i];

        if (d->ops->start)
            d->ops->start(d, NULL);
    }
}

void fixture_stop(struct fixture *f)
{
    for (uint32_t i = 0; i < f->board->ndevices; i++) {
        struct device *d = f->board->devices[i];

        if (d->ops->stop)
            d->ops->stop(d);
    }
}
