#include "vmm/accept.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "block/image.h"
#include "machine/board.h"
#include "vmm/backends.h"
#include "vmm/manifest.h"
#include "vmm/monitor.h"

/* Refusals are collected: a person mends all of them in one go. */
struct refusals {
    struct err *e;
    int rc;
};

static void refuse(struct refusals *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void refuse(struct refusals *r, const char *fmt, ...)
{
    char text[ERR_TEXT_MAX];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    if (r->rc == 0)
        r->rc = err_set(r->e, -EINVAL, "manifest", "%s", text);
    else
        err_prefix(r->e, "%s; ", text);
}

/* ---- this host's back-ends, by id ---- */

static void accept_drive(struct refusals *r, const struct machine_config *mine, const char *id,
                         struct machine_config *out)
{
    for (uint32_t i = 0; i < mine->ndrives; i++) {
        if (!strcmp(mine->drives[i].id, id)) {
            out->drives[out->ndrives++] = mine->drives[i];
            return;
        }
    }
    refuse(r, "the machine has a disk '%s' and this monitor no -drive id=%s: start it with -drive "
              "file=PATH,id=%s", id, id, id);
}

static void accept_netdev(struct refusals *r, const struct machine_config *mine, const char *id,
                          struct machine_config *out)
{
    for (uint32_t i = 0; i < mine->nnetdevs; i++) {
        if (!strcmp(mine->netdevs[i].id, id)) {
            out->netdevs[out->nnetdevs++] = mine->netdevs[i];
            return;
        }
    }
    refuse(r, "the machine has a network card on '%s' and this monitor no -netdev id=%s: start it "
              "with -netdev tap,id=%s,ifname=NAME", id, id, id);
}

static void accept_backends(struct refusals *r, const struct machine_config *mine,
                            struct machine_config *out)
{
    for (uint32_t i = 0; i < out->ndevices; i++) {
        const struct device_config *d = &out->devices[i];

        if (d->kind == DEVICE_BLK && out->ndrives < MACHINE_DRIVES_MAX)
            accept_drive(r, mine, d->backend, out);
        if (d->kind == DEVICE_NET && out->nnetdevs < MACHINE_NICS_MAX)
            accept_netdev(r, mine, d->backend, out);
    }
}

static void accept_disks(struct refusals *r, const struct monitor *m, const struct manifest *theirs)
{
    for (uint32_t i = 0; i < theirs->ndisks; i++) {
        const struct manifest_disk *d = &theirs->disks[i];
        const struct image *image = backends_image(&m->backends, d->id);

        if (!image)
            continue; /* not used by a device, or refused already */
        if (image->size != d->size)
            refuse(r, "disk '%s' has %llu bytes at the source and %llu here (%s): both sides must "
                      "open the same image",
                   d->id, (unsigned long long)d->size, (unsigned long long)image->size,
                   image->path);
        if (image->readonly != d->readonly)
            refuse(r, "disk '%s' is %s at the source and %s here: use readonly=%s", d->id,
                   d->readonly ? "read-only" : "writable", image->readonly ? "read-only" : "writable",
                   d->readonly ? "on" : "off");
    }
}

/* ---- what the command line said of the machine ---- */

static void accept_device(struct refusals *r, const struct device_config *mine,
                          const struct device_config *theirs)
{
    if (mine->kind != theirs->kind || mine->transport != theirs->transport)
        refuse(r, "device '%s' is of another type at the source", mine->id);
    else if (strcmp(mine->backend, theirs->backend) != 0)
        refuse(r, "device '%s' is on '%s' at the source, on '%s' here", mine->id, theirs->backend,
               mine->backend);
    if (mine->slot >= 0 && mine->slot != theirs->slot)
        refuse(r, "device '%s' has addr=%d at the source, addr=%d here", mine->id, theirs->slot,
               mine->slot);
    if (mine->mac_set && memcmp(mine->mac, theirs->mac, 6) != 0)
        refuse(r, "device '%s' has another mac= at the source", mine->id);
    if (mine->serial[0] && strcmp(mine->serial, theirs->serial) != 0)
        refuse(r, "device '%s' has serial=%s at the source, serial=%s here", mine->id,
               theirs->serial, mine->serial);
}

static void accept_devices(struct refusals *r, const struct machine_config *mine,
                           const struct machine_config *theirs)
{
    if (mine->ndevices != theirs->ndevices) {
        refuse(r, "the machine has %u devices, the command line here names %u", theirs->ndevices,
               mine->ndevices);
        return;
    }
    for (uint32_t i = 0; i < mine->ndevices; i++) {
        uint32_t k = 0;

        while (k < theirs->ndevices && strcmp(mine->devices[i].id, theirs->devices[k].id) != 0)
            k++;
        if (k == theirs->ndevices)
            refuse(r, "device '%s' of the command line here is not in the machine",
                   mine->devices[i].id);
        else
            accept_device(r, &mine->devices[i], &theirs->devices[k]);
    }
}

static void accept_string(struct refusals *r, uint32_t given, const char *option, const char *mine,
                          const char *theirs)
{
    if (given && strcmp(mine, theirs) != 0)
        refuse(r, "%s is '%s' at the source and '%s' here", option, theirs, mine);
}

static void accept_options(struct refusals *r, const struct vmm_options *o,
                           const struct machine_config *mine, const struct machine_config *theirs)
{
    accept_string(r, o->given & OPTION_MACHINE, "-machine", mine->machine, theirs->machine);
    accept_string(r, o->given & OPTION_CPU, "-cpu", mine->cpu.model, theirs->cpu.model);
    accept_string(r, o->given & OPTION_NAME, "-name", mine->name, theirs->name);
    accept_string(r, o->given & OPTION_UUID, "-uuid", mine->uuid, theirs->uuid);
    if (mine->append[0])
        accept_string(r, o->given & OPTION_BOOT, "-append", mine->append, theirs->append);
    if ((o->given & OPTION_RAM) && mine->ram_size != theirs->ram_size)
        refuse(r, "-m is %llu MiB at the source and %llu MiB here",
               (unsigned long long)theirs->ram_size >> 20, (unsigned long long)mine->ram_size >> 20);
    if ((o->given & OPTION_VCPUS) && mine->vcpus != theirs->vcpus)
        refuse(r, "-smp is %u at the source and %u here", theirs->vcpus, mine->vcpus);
    if (o->given & OPTION_DEVICES)
        accept_devices(r, mine, theirs);
}

int accept_manifest(struct monitor *m, const struct manifest *manifest,
                    struct machine_config *config, struct err *e)
{
    struct refusals r = {.e = e};

    *config = manifest->config;
    config->ndrives = config->nnetdevs = 0;
    if (!board_find(config->machine))
        refuse(&r, "the machine is a %s, this monitor has: %s", config->machine, board_names());
    accept_options(&r, m->options, &m->config, config);
    accept_backends(&r, &m->config, config);
    accept_disks(&r, m, manifest);
    if (r.rc != 0)
        return r.rc;
    return machine_config_check(config, e); /* the same checks as on a command line */
}
