/* Options about devices and what they are connected to. */
#include "cmd/vmm/handlers.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

#include "cmd/vmm/value.h"

static int too_many(const char *option, int max, struct err *e)
{
    return err_set(e, -EINVAL, OPTIONS_STAGE, "%s may be given at most %d times", option, max);
}

/* direct= is StratoVirt's word and cache= QEMU's for one thing; they must not disagree. */
static int drive_direct(const struct keyval *kv, bool *direct, struct err *e)
{
    const char *cache = keyval_string(kv, "cache", NULL);
    bool by_cache = cache && strcmp(cache, "writeback");

    *direct = keyval_bool(kv, "direct", by_cache);
    if (cache && *direct != by_cache)
        return err_set(e, -EINVAL, OPTIONS_STAGE, "-drive: direct=%s contradicts cache=%s",
                       *direct ? "on" : "off", cache);
    return 0;
}

int apply_drive(struct option_ctx *c, const struct option_value *v, struct err *e)
{
    struct machine_config *m = &c->o->machine;
    struct drive_config *d = &m->drives[m->ndrives];
    int ret;

    if (m->ndrives == MACHINE_DRIVES_MAX)
        return too_many("-drive", MACHINE_DRIVES_MAX, e);
    memset(d, 0, sizeof(*d));
    keyval_copy(v->kv, "id", d->id, sizeof(d->id));
    keyval_copy(v->kv, "file", d->file, sizeof(d->file));
    d->readonly = keyval_bool(v->kv, "readonly", keyval_bool(v->kv, "read-only", false));
    ret = drive_direct(v->kv, &d->direct, e);
    if (!ret)
        m->ndrives++;
    return ret;
}

int apply_netdev(struct option_ctx *c, const struct option_value *v, struct err *e)
{
    struct machine_config *m = &c->o->machine;
    struct netdev_config *n = &m->netdevs[m->nnetdevs];
    const char *fd = keyval_string(v->kv, "fd", NULL);
    uint64_t number;

    if (m->nnetdevs == MACHINE_NICS_MAX)
        return too_many("-netdev", MACHINE_NICS_MAX, e);
    memset(n, 0, sizeof(*n));
    n->fd = -1;
    keyval_copy(v->kv, "id", n->id, sizeof(n->id));
    if (keyval_copy(v->kv, "ifname", n->ifname, sizeof(n->ifname)) == (fd != NULL))
        return err_set(e, -EINVAL, OPTIONS_STAGE,
                       "-netdev tap,id=%s needs either ifname= or fd=, and not both", n->id);
    if (fd && !value_uint(fd, &number) && number <= INT_MAX)
        n->fd = (int)number;
    else if (fd && value_is_id(fd))
        snprintf(n->fdname, sizeof(n->fdname), "%s", fd);
    else if (fd)
        return err_set(e, -EINVAL, OPTIONS_STAGE,
                       "-netdev fd=%s: not a valid value (allowed: the number of an open "
                       "descriptor, or a name given by getfd)",
                       fd);
    m->nnetdevs++;
    return 0;
}

int apply_device(struct option_ctx *c, const struct option_value *v, struct err *e)
{
    struct machine_config *m = &c->o->machine;
    struct device_config *d = &m->devices[m->ndevices];
    const char *addr = keyval_string(v->kv, "addr", NULL);
    const char *mac = keyval_string(v->kv, "mac", NULL);

    if (m->ndevices == MACHINE_DEVICES_MAX)
        return too_many("-device", MACHINE_DEVICES_MAX, e);
    memset(d, 0, sizeof(*d));
    d->kind = (enum device_kind)v->kind->kind;
    d->transport = (enum device_transport)v->kind->transport;
    d->slot = -1;
    keyval_copy(v->kv, "id", d->id, sizeof(d->id));
    keyval_copy(v->kv, d->kind == DEVICE_NET ? "netdev" : "drive", d->backend, sizeof(d->backend));
    keyval_copy(v->kv, "serial", d->serial, sizeof(d->serial));
    if (addr)
        value_pci_addr(addr, &d->slot);
    if (mac)
        d->mac_set = !value_mac(mac, d->mac);
    m->ndevices++;
    return 0;
}
