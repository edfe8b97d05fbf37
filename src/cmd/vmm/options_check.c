/* What can only be judged when the whole command line is known, and is not the machine's own
 * business: ids, back-ends and slots are checked by machine_config_check, for manifests too. */
#include <errno.h>
#include <string.h>

#include "cmd/vmm/handlers.h"

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

static bool drive_is_used(const struct machine_config *m, const char *id)
{
    for (uint32_t i = 0; i < m->ndevices; i++)
        if (m->devices[i].kind == DEVICE_BLK && !strcmp(m->devices[i].backend, id))
            return true;
    return false;
}

/* A destination's devices come with the stream. */
static void find_unused(const struct vmm_options *o, struct option_warnings *w)
{
    const struct machine_config *m = &o->machine;

    for (uint32_t i = 0; i < m->ndrives && !o->incoming; i++)
        if (!drive_is_used(m, m->drives[i].id))
            option_warn(w, "no -device uses -drive id=%s", m->drives[i].id);
}

/* The parameter tls-creds can only be set before a listener that is still to come. */
static void find_clear_listener(const struct vmm_options *o, struct option_warnings *w)
{
    for (uint32_t i = 0; i < o->ntls; i++)
        if (o->tls[i].is_server && o->incoming_uri[0])
            option_warn(w,
                        "-incoming %.100s listens in the clear: for TLS give -incoming defer, then "
                        "set tls-creds to %s and use migrate-incoming",
                        o->incoming_uri, o->tls[i].id);
}

int options_check(const struct vmm_options *o, struct option_warnings *warnings, struct err *e)
{
    int ret = check_boot(o, e);

    if (!ret)
        ret = check_daemon(o, e);
    if (!ret)
        find_unused(o, warnings);
    if (!ret)
        find_clear_listener(o, warnings);
    return ret;
}
