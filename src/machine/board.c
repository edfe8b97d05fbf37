#include "machine/board.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "device/acpi_pm.h"
#include "machine/backend.h"
#include "machine/boards.h"
#include "machine/boot.h"
#include "machine/devices.h"

#define STAGE "machine"

/* KVM's own pages and the interrupt controllers, up to the end of the firmware's place: no kernel
 * may put a device there. */
#define CHIPS_BASE 0xfec00000U
#define CHIPS_SIZE (MEMORY_4G - CHIPS_BASE)

static const struct board_ops *const boards[] = {&q35_1_0, &microvm_1_0};

#define NBOARDS (sizeof(boards) / sizeof(boards[0]))

const struct board_ops *board_find(const char *name)
{
    for (size_t i = 0; i < NBOARDS; i++)
        if (!strcmp(boards[i]->name, name) || (boards[i]->alias && !strcmp(boards[i]->alias, name)))
            return boards[i];
    return NULL;
}

const char *board_names(void)
{
    return "q35-1.0 (q35), microvm-1.0 (microvm)"; /* a test holds it against the table */
}

int board_add_device(struct board *b, struct device *d, struct err *e)
{
    if (b->ndevices == BOARD_DEVICES_MAX) {
        int ret = err_set(e, -ENOSPC, STAGE, "device '%s': the board has %d devices already", d->id,
                          BOARD_DEVICES_MAX);

        d->ops->free(d);
        return ret;
    }
    for (uint32_t i = 0; i < b->ndevices; i++)
        if (b->devices[i]->ops->state == d->ops->state)
            d->instance++;
    b->devices[b->ndevices++] = d;
    return 0;
}

struct device *board_find_device(struct board *b, const char *state_name, uint32_t instance)
{
    for (uint32_t i = 0; i < b->ndevices; i++) {
        const struct state_desc *s = b->devices[i]->ops->state;

        if (s && !strcmp(s->name, state_name) && b->devices[i]->instance == instance)
            return b->devices[i];
    }
    return NULL;
}

static int build(struct board *b, const struct board_backends *back, struct err *e)
{
    int ret;

    b->pio = bus_new("I/O ports");
    b->mmio = bus_new("memory");
    if (!b->pio || !b->mmio)
        return err_set(e, -ENOMEM, STAGE, "no memory for the buses");
    ret = b->ops->build(b, e);
    return ret ? ret : devices_plug(b, back, e);
}

int board_new(const struct board_config *c, const struct board_backends *back, struct board **out,
              struct err *e)
{
    const struct board_ops *ops = board_find(c->machine->machine);
    struct board *b;
    int ret;

    if (!ops)
        return err_set(e, -EINVAL, STAGE, "there is no machine '%s'; there are %s",
                       c->machine->machine, board_names());
    b = calloc(1, sizeof(*b));
    if (!b)
        return err_set(e, -ENOMEM, STAGE, "no memory for the board");
    b->ops = ops;
    b->config = c->machine;
    b->mem = c->mem;
    b->vm = c->vm;
    b->loop = c->loop;
    b->host = c->host;
    b->back = back;
    ret = build(b, back, e);
    if (ret) {
        board_free(b);
        return ret;
    }
    *out = b;
    return 0;
}

void board_free(struct board *b)
{
    if (!b)
        return;
    while (b->ndevices > 0) { /* what was built last may use what came before */
        struct device *d = b->devices[--b->ndevices];

        d->ops->free(d);
    }
    b->ops->free(b);
    bus_free(b->mmio);
    bus_free(b->pio);
    free(b);
}

void board_power_button(struct board *b)
{
    acpi_pm_press_power_button(b->pm);
}

void board_reset(struct board *b)
{
    for (uint32_t i = 0; i < b->ndevices; i++) {
        struct device *d = b->devices[i];

        pthread_mutex_lock(&d->lock);
        if (d->ops->reset)
            d->ops->reset(d);
        pthread_mutex_unlock(&d->lock);
    }
}

/* The kernel, and the initrd if there is one, as lent now. */
static int look_up_files(const struct board *b, struct boot_file files[2], struct boot_request *r,
                         struct err *e)
{
    int ret;

    if (b->back->kernel_fd < 0)
        return err_set(e, -EINVAL, STAGE, "there is no kernel to start: -kernel names one");
    ret = boot_file_init(&files[0], b->back->kernel_fd, b->config->kernel, BOOT_KERNEL_MAX, e);
    r->kernel = &files[0];
    if (ret || b->back->initrd_fd < 0)
        return ret;
    r->initrd = &files[1];
    return boot_file_init(&files[1], b->back->initrd_fd, b->config->initrd, BOOT_INITRD_MAX, e);
}

int board_boot(struct board *b, struct boot_entry *entry, struct err *e)
{
    struct memory_map map;
    struct boot_file files[2];
    struct boot_request r = {.mem = b->mem, .cmdline = b->config->append, .map = &map};
    int ret = look_up_files(b, files, &r, e);

    if (!ret)
        ret = b->ops->firmware(b, &r.rsdp, e);
    if (ret)
        return ret;
    memory_map_init(&map, b->mem);
    memory_map_reserve(&map, CHIPS_BASE, CHIPS_SIZE);
    b->ops->reserve(b, &map);
    return boot_load(&r, entry, e);
}
