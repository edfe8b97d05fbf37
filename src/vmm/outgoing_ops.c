/*
 * Theory of operation.  The engine's thread asks for the manifest, tracks dirty pages and reads
 * memory without the main loop; it stops, resumes and gives away the machine on the main loop, by
 * loop_call.  Between `stop` and `resume` or `released` the run state is finish-migrate, and the
 * engine's thread alone touches the machine.
 */
#include "vmm/outgoing_ops.h"

#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "vmm/backends.h"
#include "vmm/console.h"
#include "vmm/dirtylimit.h"
#include "vmm/flush.h"
#include "vmm/manifest.h"
#include "vmm/migration_events.h"
#include "vmm/monitor.h"
#include "vmm/vmstate.h"

#define DRAIN_LIMIT_NS (2 * NS_PER_S) /* patience with I/O in flight, the guest being paused */
#define DRAIN_STEP_NS  (100 * NS_PER_US)
#define FLUSH_LIMIT_NS (2 * NS_PER_S) /* for the disks, before the stop, the guest running */

/* A call on the main loop that gives a result. */
struct outgoing_call {
    struct outgoing *o;
    struct err *e;
    int rc;
};

static int outgoing_on_loop(struct outgoing *o, loop_fn fn, struct err *e)
{
    struct outgoing_call call = {.o = o, .e = e};

    loop_call(o->m->loop, fn, &call);
    return call.rc;
}

/* ---- memory ---- */

static int outgoing_manifest(void *opaque, struct buf *out, struct err *e)
{
    struct outgoing *o = opaque;

    return manifest_write(o->vm, out, e);
}

static int outgoing_dirty_start(void *opaque, struct err *e)
{
    struct outgoing *o = opaque;
    uint64_t unused[X86_VCPUS_MAX];
    int rc = hv_dirty_start(o->vm->hv, e);

    guest_mem_dirty_forget(o->mem); /* all that devices wrote since power-on */
    o->dirtied.pages = o->dirtied_pages;
    o->dirtied.ns = 0;
    if (rc == 0)
        vm_dirty_rates(o->vm, &o->dirtied, unused, o->vm->nvcpus, NULL); /* counted from here on */
    return rc;
}

static int outgoing_dirty_sync(void *opaque, uint32_t region, uint64_t *bitmap, struct err *e)
{
    struct outgoing *o = opaque;

    if (region != 0)
        return 0; /* boot images do not change */
    guest_mem_dirty_fetch(o->vm->mem, bitmap);
    return hv_dirty_get(o->vm->hv, bitmap, e);
}

static int outgoing_dirty_clear(void *opaque, uint32_t region, uint64_t first, uint64_t n,
                                const uint64_t *bits, struct err *e)
{
    struct outgoing *o = opaque;

    return region == 0 ? hv_dirty_clear(o->vm->hv, first, n, bits, e) : 0;
}

static void outgoing_dirty_stop(void *opaque)
{
    struct outgoing *o = opaque;

    hv_dirty_stop(o->vm->hv);
}

static int outgoing_next_data(void *opaque, uint32_t region, uint64_t offset, uint64_t *start,
                              uint64_t *end)
{
    struct outgoing *o = opaque;

    if (region == 0)
        return guest_mem_next_data(o->mem, offset, start, end);
    *start = offset;
    *end = o->regions[region].size;
    return 0;
}

/* ---- what the guest dirties, and how it is slowed down ---- */

static int outgoing_dirty_rates(void *opaque, uint64_t *bytes_per_s, uint32_t n)
{
    struct outgoing *o = opaque;

    return vm_dirty_rates(o->vm, &o->dirtied, bytes_per_s, n, NULL);
}

static bool outgoing_paused(void *opaque)
{
    struct outgoing *o = opaque;
    bool paused;

    pthread_mutex_lock(&o->vm->pause_lock);
    paused = o->vm->paused;
    pthread_mutex_unlock(&o->vm->pause_lock);
    return paused;
}

static void outgoing_throttle(void *opaque, uint32_t vcpu, uint32_t percent)
{
    struct outgoing *o = opaque;

    vm_throttle(o->vm, VM_THROTTLE_ENGINE, vcpu, percent);
}

static int outgoing_rehearse(void *opaque, struct buf *out, uint64_t *stop_ns, uint64_t *save_ns,
                             struct err *e)
{
    struct outgoing *o = opaque;

    return vmstate_rehearse(o->vm, out, stop_ns, save_ns, e);
}

/* ---- stop and resume ---- */

static void outgoing_stop_on_loop(void *opaque)
{
    struct outgoing_call *call = opaque;
    struct monitor *m = call->o->m;

    if (m->state == RUNSTATE_INTERNAL_ERROR || m->quitting) {
        call->rc = err_set(call->e, -ECANCELED, "stop", "the machine ended meanwhile");
        return;
    }
    call->o->before = m->state;
    if (m->state == RUNSTATE_RUNNING)
        vm_pause(m->vm);
    /* Its vCPUs have said their last word: one that failed must not be moved as if it ran. */
    if (atomic_load(&m->requests) & (1U << VM_REQUEST_CRASH)) {
        call->rc = err_set(call->e, -ECANCELED, "stop", "a vCPU failed: its machine stays here");
        loop_post(m->loop, monitor_handle_requests, m);
        return;
    }
    if (m->state == RUNSTATE_RUNNING)
        monitor_event(m, "STOP", NULL);
    monitor_set_state(m, RUNSTATE_FINISH_MIGRATE);
}

static void outgoing_resume_on_loop(void *opaque)
{
    struct outgoing_call *call = opaque;
    struct monitor *m = call->o->m;
    struct err e = ERR_INIT;

    monitor_set_state(m, call->o->before);
    if (m->state == RUNSTATE_RUNNING) {
        if (vm_resume(m->vm, &e) != 0) {
            log_error("migrate", "the machine cannot go on: %s", e.text);
            monitor_set_state(m, RUNSTATE_INTERNAL_ERROR);
            return;
        }
        monitor_event(m, "RESUME", NULL);
    }
    monitor_handle_requests(m);
}

static void outgoing_resume(void *opaque)
{
    outgoing_on_loop(opaque, outgoing_resume_on_loop, NULL);
}

static int outgoing_drain(struct outgoing *o, struct err *e)
{
    uint64_t deadline = clock_now_ns() + DRAIN_LIMIT_NS;

    while (!vm_idle(o->vm)) {
        if (atomic_load(&o->cancelling))
            return err_set(e, -ECANCELED, "stop", "cancelled");
        if (clock_now_ns() > deadline)
            return err_set(e, -ETIMEDOUT, "stop",
                           "a disk still has requests in flight after %llu s: its storage hangs, "
                           "and the machine cannot move until they are answered",
                           DRAIN_LIMIT_NS / NS_PER_S);
        clock_sleep_ns(DRAIN_STEP_NS);
    }
    return 0;
}

static int outgoing_stop(void *opaque, struct godwit_stopped *out, struct err *e)
{
    struct outgoing *o = opaque;
    int rc = outgoing_on_loop(o, outgoing_stop_on_loop, e);

    if (rc != 0)
        return rc;
    *out = (struct godwit_stopped){.was_running = o->before == RUNSTATE_RUNNING,
                                   .paused_ns = vm_paused_since(o->vm)};
    rc = outgoing_drain(o, e);
    if (rc != 0) {
        outgoing_resume(o);
        return rc;
    }
    hv_irq_settle(o->vm->hv);
    return 0;
}

static int outgoing_save_state(void *opaque, struct buf *out, struct err *e)
{
    struct outgoing *o = opaque;
    unsigned waiting = atomic_load(&o->m->requests);
    struct vmstate_note note = {
        .running = o->before == RUNSTATE_RUNNING,
        .reset = (waiting >> VM_REQUEST_RESET) & 1,
        .poweroff = (waiting >> VM_REQUEST_POWEROFF) & 1,
    };

    return vmstate_save(o->vm, &note, out, e);
}

/* ---- handover ---- */

static void outgoing_release_on_loop(void *opaque)
{
    struct outgoing_call *call = opaque;

    backends_release(&call->o->m->backends);
}

static int outgoing_commit(void *opaque, struct err *e)
{
    struct outgoing *o = opaque;
    int rc = journal_write(&o->journal, GODWIT_JOURNAL_COMMIT, o->token, o->peer, e);

    if (rc == 0)
        outgoing_on_loop(o, outgoing_release_on_loop, e);
    return rc;
}

static void outgoing_reclaim_on_loop(void *opaque)
{
    struct outgoing_call *call = opaque;

    call->rc = backends_acquire(&call->o->m->backends, call->e);
}

static int outgoing_reclaim(void *opaque, struct err *e)
{
    return outgoing_on_loop(opaque, outgoing_reclaim_on_loop, e);
}

static int outgoing_journal(void *opaque, enum godwit_journal what,
                            const uint8_t token[GODWIT_TOKEN_SIZE], const char *peer, struct err *e)
{
    struct outgoing *o = opaque;

    memcpy(o->token, token, GODWIT_TOKEN_SIZE);
    strncpy(o->peer, peer, sizeof(o->peer) - 1);
    if (what == GODWIT_JOURNAL_INTENT)
        flush_images(&o->m->backends, FLUSH_LIMIT_NS, &o->cancelling);
    return journal_write(&o->journal, what, token, peer, e);
}

static void outgoing_released_on_loop(void *opaque)
{
    struct outgoing_call *call = opaque;
    struct monitor *m = call->o->m;

    console_detach(m->console);
    dirtylimit_free(m);
    m->vm = NULL;
    atomic_store(&m->requests, 0); /* they moved with the machine */
    monitor_set_state(m, RUNSTATE_POSTMIGRATE);
}

static void outgoing_close_on_loop(void *opaque)
{
    struct outgoing_call *call = opaque;

    backends_close(&call->o->m->backends);
}

static void outgoing_released(void *opaque)
{
    struct outgoing *o = opaque;

    outgoing_on_loop(o, outgoing_released_on_loop, NULL);
    vm_free_devices(o->vm);
    outgoing_on_loop(o, outgoing_close_on_loop, NULL);
    o->released = true;
}

/* What takes KVM ten milliseconds to take down, and the RAM, are freed here, on the engine's
 * thread: gigabytes take longer than QMP may wait. */
static void outgoing_finish(void *opaque)
{
    struct outgoing *o = opaque;

    if (!o->released)
        outgoing_released(o);
    vm_free_but_memory(o->vm);
    o->vm = NULL;
    guest_mem_free(o->mem);
    o->mem = NULL;
}

/* ---- events ---- */

static void outgoing_status_changed(struct monitor *m, enum godwit_status status)
{
    if (status == GODWIT_UNRESOLVED)
        monitor_set_state(m, RUNSTATE_UNRESOLVED);
    if (status == GODWIT_COMPLETED || status == GODWIT_FAILED || status == GODWIT_CANCELED ||
        status == GODWIT_UNRESOLVED)
        monitor_try_exit(m);
}

static void outgoing_event(void *opaque, enum godwit_event_kind kind,
                           const struct godwit_stats *stats)
{
    struct outgoing *o = opaque;

    migration_event_post(o->m, true, kind, stats, outgoing_status_changed);
}

const struct godwit_source_ops outgoing_ops = {
    .manifest = outgoing_manifest,
    .dirty_start = outgoing_dirty_start,
    .dirty_sync = outgoing_dirty_sync,
    .dirty_clear = outgoing_dirty_clear,
    .dirty_stop = outgoing_dirty_stop,
    .next_data = outgoing_next_data,
    .stop = outgoing_stop,
    .resume = outgoing_resume,
    .save_state = outgoing_save_state,
    .commit = outgoing_commit,
    .reclaim = outgoing_reclaim,
    .journal = outgoing_journal,
    .released = outgoing_released,
    .finish = outgoing_finish,
    .event = outgoing_event,
    .paused = outgoing_paused,
    .dirty_rates = outgoing_dirty_rates,
    .throttle = outgoing_throttle,
    .rehearse = outgoing_rehearse,
};
