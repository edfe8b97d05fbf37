/* What can only be judged when the whole command line is known. */
#include <errno.h>
#include <string.h>

#include "cmd/vmm/handlers.h"

/* All lists of things with ids, seen alike. */
struct id_list {
    const char *option;
    const char *first;
    size_t stride, n;
};

#define ID_LIST(opt, array, count)                                                                 \
    {                                                                                              \
        (opt), (array)[0].id, sizeof((array)[0]), (count)                                          \
    }

static const char *id_at(const struct id_list *l, size_t i)
{
    return l->first + i * l->stride;
}

static bool has_id(const struct id_list *l, const char *id)
{
    for (size_t i = 0; i < l->n; i++)
        if (!strcmp(id_at(l, i), id))
            return true;
    return false;
}

static int check_unique(const struct id_list *l, struct err *e)
{
    for (size_t i = 0; i < l->n; i++)
        for (size_t j = 0; j < i && id_at(l, i)[0]; j++)
            if (!strcmp(id_at(l, i), id_at(l, j)))
                return err_set(e, -EINVAL, OPTIONS_STAGE, "two %s have id=%s", l->option,
                               id_at(l, i));
    return 0;
}

static const char *backend_key(const struct device_config *d)
{
    return d->kind == DEVICE_NET ? "netdev" : "drive";
}

static int check_backend(const struct machine_config *m, uint32_t i, const struct id_list *drives,
                         const struct id_list *netdevs, struct err *e)
{
    const struct device_config *d = &m->devices[i];

    if (d->kind == DEVICE_RNG)
        return 0;
    if (!has_id(d->kind == DEVICE_NET ? netdevs : drives, d->backend))
        return err_set(e, -EINVAL, OPTIONS_STAGE,
                       "-device has %s=%s, but no -%s has that id (add -%s ...,id=%s)",
                       backend_key(d), d->backend, backend_key(d), backend_key(d), d->backend);
    for (uint32_t j = 0; j < i; j++)
        if (m->devices[j].kind == d->kind && !strcmp(m->devices[j].backend, d->backend))
            return err_set(e, -EINVAL, OPTIONS_STAGE, "two -device have %s=%s", backend_key(d),
                           d->backend);
    return 0;
}

static int check_slot(const struct machine_config *m, uint32_t i, struct err *e)
{
    const struct device_config *d = &m->devices[i];

    for (uint32_t j = 0; j < i && d->slot >= 0; j++)
        if (m->devices[j].slot == d->slot)
            return err_set(e, -EINVAL, OPTIONS_STAGE, "two -device have addr=0x%x", d->slot);
    return 0;
}

static int check_transport(const struct machine_config *m, uint32_t i, struct err *e)
{
    static const char *const names[] = {
        [DEVICE_BLK] = "blk", [DEVICE_NET] = "net", [DEVICE_RNG] = "rng"};
    bool pci = strncmp(m->machine, "microvm", 7) != 0;
    const struct device_config *d = &m->devices[i];
    const char *name = names[d->kind];

    if (pci == (d->transport == DEVICE_PCI))
        return 0;
    return err_set(e, -EINVAL, OPTIONS_STAGE,
                   "-device virtio-%s-%s: %s has no %s (allowed: virtio-%s-%s)", name,
                   pci ? "device" : "pci", m->machine, pci ? "virtio-mmio slots" : "PCI bus", name,
                   pci ? "pci" : "device");
}

static int check_devices(const struct machine_config *m, struct err *e)
{
    const struct id_list drives = ID_LIST("-drive", m->drives, m->ndrives);
    const struct id_list netdevs = ID_LIST("-netdev", m->netdevs, m->nnetdevs);
    const struct id_list devices = ID_LIST("-device", m->devices, m->ndevices);
    int ret = check_unique(&drives, e);

    if (!ret)
        ret = check_unique(&netdevs, e);
    if (!ret)
        ret = check_unique(&devices, e);
    for (uint32_t i = 0; i < m->ndevices && !ret; i++) {
        ret = check_transport(m, i, e);
        if (!ret)
            ret = check_backend(m, i, &drives, &netdevs, e);
        if (!ret)
            ret = check_slot(m, i, e);
    }
    return ret;
}

static int check_boot(const struct vmm_options *o, struct err *e)
{
    const struct machine_config *m = &o->machine;

    if (m->kernel[0] || (o->incoming && !m->initrd[0] && !m->append[0]))
        return 0;
    if (m->initrd[0] || m->append[0])
        return err_set(e, -EINVAL, OPTIONS_STAGE, "%s needs -kernel",
                       m->initrd[0] ? "-initrd" : "-append");
    return err_set(e, -EINVAL, OPTIONS_STAGE,
                   "there is nothing to run: give -kernel FILE, or -incoming to wait for a machine "
                   "(-h lists all options)");
}

static int check_daemon(const struct vmm_options *o, struct err *e)
{
    if (o->daemonize && o->serial == SERIAL_STDIO)
        return err_set(e, -EINVAL, OPTIONS_STAGE,
                       "-daemonize has no stdio for -serial (allowed with it: file:PATH, "
                       "unix:PATH,server,nowait, pty, none)");
    return 0;
}

/* The StratoVirt page's command line has it, for a kernel whose disks need no PCI. */
static bool says_pci_off(const char *append)
{
    for (const char *p = append; (p = strstr(p, "pci=")); p += 4) {
        const char *word = p + 4;
        size_t len = strcspn(word, " ,");

        if ((p == append || p[-1] == ' ') && len == 3 && !strncmp(word, "off", 3))
            return true;
    }
    return false;
}

static void find_oddities(const struct vmm_options *o, struct option_warnings *w)
{
    const struct machine_config *m = &o->machine;
    bool pci = false, used;

    for (uint32_t i = 0; i < m->ndevices; i++)
        pci |= m->devices[i].transport == DEVICE_PCI;
    if (pci && says_pci_off(m->append))
        option_warn(w, "-append has pci=off, which hides the PCI devices of this machine from a "
                       "stock kernel: leave it out if the guest finds no disk");
    for (uint32_t i = 0; i < m->ndrives && !o->incoming; i++) {
        used = false;
        for (uint32_t j = 0; j < m->ndevices; j++)
            used |=
                m->devices[j].kind == DEVICE_BLK && !strcmp(m->devices[j].backend, m->drives[i].id);
        if (!used)
            option_warn(w, "no -device uses -drive id=%s", m->drives[i].id);
    }
}

int options_check(const struct vmm_options *o, struct option_warnings *warnings, struct err *e)
{
    int ret = check_boot(o, e);

    if (!ret)
        ret = check_daemon(o, e);
    if (!ret)
        ret = check_devices(&o->machine, e);
    if (!ret)
        find_oddities(o, warnings);
    return ret;
}
