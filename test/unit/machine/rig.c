#include "rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "block/image.h"

static void reset(void *opaque)
{
    ((struct rig *)opaque)->resets++;
}

static void poweroff(void *opaque)
{
    ((struct rig *)opaque)->poweroffs++;
}

void rig_init(struct rig *r, const char *machine, uint64_t ram)
{
    struct guest_mem_config mc = {.size = ram, .low_max = board_find(machine)->low_ram_max};
    struct hv_vm_config vc = {.vcpus = 1};
    struct err e = ERR_INIT;

    memset(r, 0, sizeof(*r));
    machine_config_init(&r->config);
    snprintf(r->config.machine, sizeof(r->config.machine), "%s", machine);
    r->config.ram_size = ram;
    if (guest_mem_new(&mc, &r->mem, &e))
        fail_msg("%s", e.text);
    vc.mem = r->mem;
    if (hv_vm_new(&vc, &r->vm, &e))
        fail_msg("%s", e.text);
    r->loop = loop_new();
    assert_non_null(r->loop);
    r->back.kernel_fd = r->back.initrd_fd = -1;
}

void rig_board(struct rig *r)
{
    struct board_config c = {
        .machine = &r->config,
        .mem = r->mem,
        .vm = r->vm,
        .loop = r->loop,
        .host = {.opaque = r, .reset_request = reset, .poweroff_request = poweroff}
    };
    struct err e = ERR_INIT;

    if (machine_config_check(&r->config, &e) || board_new(&c, &r->back, &r->board, &e))
        fail_msg("%s", e.text);
}

void rig_fini(struct rig *r)
{
    board_free(r->board);
    for (uint32_t i = 0; i < r->back.nimages; i++)
        image_close(r->back.images[i].image);
    if (r->back.kernel_fd >= 0)
        close(r->back.kernel_fd);
    if (r->back.initrd_fd >= 0)
        close(r->back.initrd_fd);
    loop_free(r->loop);
    hv_vm_free(r->vm);
    guest_mem_free(r->mem);
}

int rig_file(const void *data, size_t len)
{
    int fd = memfd_create("test", MFD_CLOEXEC);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, data, len), len);
    return fd;
}

static struct device_config *add_device(struct rig *r, const char *id, int slot)
{
    struct device_config *d = &r->config.devices[r->config.ndevices++];

    d->transport = board_find(r->config.machine)->transport;
    snprintf(d->id, sizeof(d->id), "%s", id);
    d->slot = slot;
    return d;
}

void rig_add_rng(struct rig *r, const char *id, int slot)
{
    add_device(r, id, slot)->kind = DEVICE_RNG;
}

void rig_add_disk(struct rig *r, const char *id, int slot)
{
    struct device_config *d = add_device(r, id, slot);
    struct drive_config *drive = &r->config.drives[r->config.ndrives++];
    uint32_t n = r->back.nimages++;
    struct err e = ERR_INIT;
    char path[32];
    int fd = memfd_create("disk", MFD_CLOEXEC);

    assert_int_equal(ftruncate(fd, 1 << 20), 0);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    if (image_open(path, false, false, &r->back.images[n].image, &e))
        fail_msg("%s", e.text);
    close(fd);
    snprintf(r->back.images[n].id, MACHINE_ID_MAX, "%s", id);
    snprintf(drive->id, sizeof(drive->id), "%s", id);
    snprintf(drive->file, sizeof(drive->file), "%s", path);
    d->kind = DEVICE_BLK;
    snprintf(d->backend, sizeof(d->backend), "%s", id);
}

uint32_t rig_u32(const struct rig *r, uint64_t gpa)
{
    uint32_t v;

    assert_int_equal(guest_mem_read(r->mem, gpa, &v, sizeof(v)), 0);
    return v;
}

uint64_t rig_u64(const struct rig *r, uint64_t gpa)
{
    uint64_t v;

    assert_int_equal(guest_mem_read(r->mem, gpa, &v, sizeof(v)), 0);
    return v;
}
