#include "vmm/outgoing.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "vmm/dirtyrate.h"
#include "vmm/monitor.h"
#include "vmm/outgoing_ops.h"
#include "vmm/record.h"
#include "vmm/tls_creds.h"
#include "vmm/uri.h"

static int outgoing_make_regions(struct outgoing *o, struct err *e)
{
    struct godwit_region *ram = &o->regions[0];
    int rc;

    *ram = (struct godwit_region){
        .id = 0, .name = "ram", .size = o->vm->mem->size, .host = o->vm->mem->host};
    rc = bootimage_map(&o->m->backends, o->boot, e);
    if (rc != 0)
        return rc;
    o->nregions = 1 + bootimage_regions(o->boot, o->regions + 1, 1);
    ram->fd = guest_mem_open_to_read(o->vm->mem);
    return 0;
}

/* The first guess of what stop, save and load cost; the engine measures from then on. */
static uint64_t outgoing_state_cost(const struct vm *vm)
{
    return 2 * NS_PER_MS + vm->nvcpus * (300 * NS_PER_US);
}

int outgoing_check_start(struct monitor *m, struct err *e)
{
    if (m->quitting)
        return err_set(e, -ESHUTDOWN, "migrate", "this monitor is ending");
    if (m->outgoing && outgoing_is_active(m->outgoing))
        return err_set(e, -EBUSY, "migrate", "a migration is under way already");
    if (!m->vm)
        return err_set(e, -EINVAL, "migrate",
                       m->state == RUNSTATE_POSTMIGRATE
                           ? "the machine has moved away; it is at its destination"
                           : "there is no machine here to migrate yet");
    if (m->state != RUNSTATE_RUNNING && m->state != RUNSTATE_PAUSED &&
        m->state != RUNSTATE_PRELAUNCH)
        return err_set(e, -EINVAL, "migrate", "a machine in state %s cannot migrate",
                       runstate_name(m->state));
    return 0;
}

int outgoing_start(struct monitor *m, const char *uri, struct err *e)
{
    struct godwit_source_config c = {.ops = &outgoing_ops, .uri = uri, .params = m->params};
    struct outgoing *o;
    char address[VMM_PATH_MAX];
    int rc = outgoing_check_start(m, e);

    if (rc != 0)
        return rc;
    o = calloc(1, sizeof(*o));
    if (!o)
        return err_set(e, -ENOMEM, "migrate", "no memory to migrate with");
    o->m = m;
    o->vm = m->vm;
    dirtyrate_abandon(m); /* the log is one; the migration tells the rate too */
    o->mem = m->vm->mem;
    journal_init(&o->journal, m->config.uuid, true);
    rc = outgoing_make_regions(o, e);
    if (rc == 0)
        rc = tls_creds_get(m->tls_creds, m->settings.tls_creds, false, &o->tls, e);
    if (rc == 0) {
        c.tls = tls_object_tls(o->tls);
        c.tls_hostname = m->settings.tls_hostname;
        rc = uri_resolve(m, uri, address, sizeof(address), e);
    }
    if (rc == 0) {
        c.uri = address;
        c.opaque = o;
        c.regions = o->regions;
        c.nregions = o->nregions;
        c.nvcpus = o->vm->nvcpus;
        c.state_cost_ns = outgoing_state_cost(o->vm);
        monitor_reap(m, m->outgoing);
        m->outgoing = NULL;
        rc = godwit_source_start(&c, &o->source, e);
    }
    if (rc != 0) {
        outgoing_free(o);
        return rc;
    }
    m->outgoing = o;
    return 0;
}

int outgoing_cancel(struct monitor *m, struct err *e)
{
    int rc;

    if (!m->outgoing)
        return 0;
    outgoing_hurry(m->outgoing);
    rc = godwit_source_cancel(m->outgoing->source);
    monitor_try_exit(m); /* a quit waits for the verdict on memory no longer */
    if (!m->outgoing)
        return 0;
    if (rc == -EBUSY)
        return err_set(e, rc, "migrate",
                       "too late to cancel: the machine has been committed to the destination");
    return rc == -EALREADY ? 0 : rc; /* nothing left to cancel is no error, as in QEMU */
}

int outgoing_continue(struct monitor *m, struct err *e)
{
    int rc = m->outgoing ? godwit_source_continue(m->outgoing->source) : -EINVAL;

    return rc == -EINVAL
               ? err_set(e, rc, "migrate", "no migration waits in pre-switchover to be continued")
               : rc;
}

void outgoing_guest_ended(struct monitor *m, const char *why)
{
    if (m->outgoing && outgoing_is_active(m->outgoing))
        godwit_source_fail(m->outgoing->source, -ESHUTDOWN, why);
}

int outgoing_resolve(struct monitor *m, bool run, struct err *e)
{
    return godwit_source_resolve(m->outgoing->source, run, e);
}

void outgoing_params_changed(struct monitor *m)
{
    if (m->outgoing)
        godwit_source_set_params(m->outgoing->source, &m->params);
}

void outgoing_record(struct outgoing *o, struct godwit_record *out)
{
    godwit_source_record(o->source, out);
}

void outgoing_set_recorded(struct outgoing *o)
{
    o->recorded = true;
}

bool outgoing_is_active(struct outgoing *o)
{
    struct godwit_stats s;

    if (!o)
        return false;
    godwit_source_stats(o->source, &s);
    return s.status != GODWIT_COMPLETED && s.status != GODWIT_FAILED &&
           s.status != GODWIT_CANCELED;
}

bool outgoing_holds_quit(struct outgoing *o)
{
    struct godwit_stats s;
    int rc;

    if (!o)
        return false;
    rc = godwit_source_cancel(o->source);
    godwit_source_stats(o->source, &s);
    if (s.status == GODWIT_COMPLETED)
        return s.verified == GODWIT_VERIFIED_PENDING && !atomic_load(&o->cancelling);
    return rc == -EBUSY && s.status == GODWIT_ACTIVE;
}

void outgoing_hurry(struct outgoing *o)
{
    if (o)
        atomic_store(&o->cancelling, true);
}

static bool outgoing_is_open(struct outgoing *o)
{
    struct godwit_stats s;

    godwit_source_stats(o->source, &s);
    return s.status != GODWIT_UNRESOLVED && outgoing_is_active(o);
}

/* Its last word may find no monitor any more, or one that has begun the next migration. */
static void outgoing_leave_record(struct outgoing *o)
{
    struct godwit_record *r = o->recorded ? NULL : malloc(sizeof(*r));

    if (!r)
        return;
    while (outgoing_is_open(o))
        clock_sleep_ns(NS_PER_MS);
    outgoing_record(o, r);
    record_write(&o->m->config, r);
    free(r);
}

void outgoing_free(struct outgoing *o)
{
    if (!o)
        return;
    if (o->source) {
        atomic_store(&o->cancelling, true);
        godwit_source_cancel(o->source);
        outgoing_leave_record(o);
        godwit_source_free(o->source);
    }
    tls_object_put(o->tls);
    if (o->regions[0].fd > 0)
        close(o->regions[0].fd);
    bootimage_unmap(o->boot);
    journal_close(&o->journal);
    free(o);
}
