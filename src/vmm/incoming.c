/*
 * Theory of operation.  The machine is built by the manifest callback, on the engine's thread, from
 * the peer's words and this host's back-ends; it becomes the monitor's (m->vm) only in `run`, on
 * the main loop.  Until then nobody but the engine's thread touches it, and `discard` takes it down
 * without a trace, so that the listener serves the next source.
 */
#include "vmm/incoming.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "vmm/accept.h"
#include "vmm/accept_facts.h"
#include "vmm/announce.h"
#include "vmm/backends.h"
#include "vmm/bootimage.h"
#include "vmm/console.h"
#include "vmm/manifest.h"
#include "vmm/migration_events.h"
#include "vmm/monitor.h"
#include "vmm/record.h"
#include "vmm/tls_creds.h"
#include "vmm/uri.h"
#include "vmm/vmstate.h"

struct incoming {
    struct monitor *m;
    _Atomic(struct godwit_sink *) sink; /* NULL only while it is being started */
    struct tls_object *tls; /* held; NULL: in the clear */
    struct journal journal;
    struct manifest *manifest;
    /* What is built: the manifest's machine, this host's back-ends.  Until it is accepted: what the
     * command line says, with the name and the UUID of what tried to come. */
    struct machine_config config;
    struct bootimage boot[BOOTIMAGE_COUNT];
    struct vm *vm;
    struct vmstate_note note;
    uint8_t token[GODWIT_TOKEN_SIZE];
    char peer[JOURNAL_PEER_SIZE];
    bool ready;
    atomic_bool validate_uuid; /* the monitor's setting, for the engine's thread */
};

struct incoming_call {
    struct incoming *in;
    struct vm *vm;
    struct err *e;
    bool run;
    int rc;
};

/* ---- the manifest: verdict and build ---- */

static int incoming_build(struct incoming *in, struct err *e)
{
    struct monitor *m = in->m;
    struct vm_params p = monitor_vm_params(m, &in->config);
    int rc = backends_reserve(&m->backends, e);

    p.cpu = &in->manifest->cpu;
    p.arriving = true;
    if (rc == 0)
        rc = bootimage_make(&m->backends, in->manifest->kernel_size, in->manifest->initrd_size,
                            in->boot, e);
    return rc == 0 ? vm_new(&p, &in->vm, e) : rc;
}

/* The peer's regions must be exactly those of the machine it described. */
static int incoming_place_regions(struct incoming *in, struct godwit_region *regions, uint32_t n,
                                  struct err *e)
{
    struct godwit_region mine[1 + BOOTIMAGE_COUNT] = {
        {.name = "ram", .size = in->vm->mem->size, .host = in->vm->mem->host}};
    uint32_t nmine = 1 + bootimage_regions(in->boot, mine + 1, 1);

    if (n != nmine)
        return err_set(e, -EPROTO, "manifest", "%u regions announced, the machine has %u", n,
                       nmine);
    for (uint32_t i = 0; i < n; i++) {
        if (strcmp(regions[i].name, mine[i].name) != 0 || regions[i].size != mine[i].size)
            return err_set(e, -EPROTO, "manifest",
                           "region %u is %.32s of %llu bytes, the machine's is %s of %llu", i,
                           regions[i].name, (unsigned long long)regions[i].size, mine[i].name,
                           (unsigned long long)mine[i].size);
        regions[i].host = mine[i].host;
    }
    return 0;
}

static int incoming_manifest(void *opaque, const void *data, size_t len,
                             struct godwit_region *regions, uint32_t n, struct err *e)
{
    struct incoming *in = opaque;
    int rc;

    in->manifest = calloc(1, sizeof(*in->manifest));
    if (!in->manifest)
        return err_set(e, -ENOMEM, "manifest", "no memory for the manifest");
    rc = manifest_parse(data, len, in->manifest, e);
    if (rc == 0) {
        memcpy(in->config.name, in->manifest->config.name, sizeof(in->config.name));
        memcpy(in->config.uuid, in->manifest->config.uuid, sizeof(in->config.uuid));
    }
    if (rc == 0)
        rc = accept_manifest(in->m, atomic_load(&in->validate_uuid), in->manifest, &in->config, e);
    if (rc == 0)
        rc = incoming_build(in, e);
    if (rc == 0)
        rc = incoming_place_regions(in, regions, n, e);
    return rc;
}

static void incoming_dense(void *opaque, uint32_t region, uint64_t first, uint64_t n)
{
    struct incoming *in = opaque;

    if (region == 0)
        guest_mem_dense(in->vm->mem, first, n);
}

/* ---- state, ready ---- */

static int incoming_rehearse(void *opaque, const void *data, size_t len, uint64_t *load_ns,
                             struct err *e)
{
    struct incoming *in = opaque;

    return vmstate_rehearse_load(in->vm, data, len, load_ns, e);
}

static int incoming_load_state(void *opaque, const void *data, size_t len, struct err *e)
{
    struct incoming *in = opaque;
    int rc = bootimage_seal(&in->m->backends, in->boot, e);

    return rc == 0 ? vmstate_load(in->vm, data, len, &in->note, e) : rc;
}

static int incoming_ready(void *opaque, const uint8_t token[GODWIT_TOKEN_SIZE], const char *peer,
                          struct err *e)
{
    struct incoming *in = opaque;

    journal_init(&in->journal, in->config.uuid, false);
    memcpy(in->token, token, GODWIT_TOKEN_SIZE);
    strncpy(in->peer, peer, sizeof(in->peer) - 1);
    in->ready = true;
    return journal_write(&in->journal, GODWIT_JOURNAL_READY, token, peer, e);
}

/* ---- run ---- */

/* The machine becomes the monitor's before it runs, so that nothing it asks for or prints is lost.
 */
static void incoming_adopt_machine(struct incoming *in)
{
    struct monitor *m = in->m;

    m->vm = in->vm;
    in->vm = NULL;
    atomic_store(&m->requests, (in->note.reset ? 1U << VM_REQUEST_RESET : 0) |
                                   (in->note.poweroff ? 1U << VM_REQUEST_POWEROFF : 0));
    console_attach(m->console, m->vm->board->serial);
}

/* It did not run after all. */
static void incoming_return_machine(struct incoming *in)
{
    struct monitor *m = in->m;

    console_detach(m->console);
    in->vm = m->vm;
    m->vm = NULL;
    atomic_store(&m->requests, 0);
    backends_release(&m->backends);
}

static void incoming_run_on_loop(void *opaque)
{
    struct incoming_call *call = opaque;
    struct incoming *in = call->in;
    struct monitor *m = in->m;

    incoming_adopt_machine(in);
    call->rc = call->run ? vm_resume(m->vm, call->e) : 0;
    if (call->rc != 0) {
        incoming_return_machine(in);
        return;
    }
    guest_mem_arrived(m->vm->mem);
    m->config = in->config;
    bootimage_unmap(in->boot);
    monitor_set_state(m, call->run ? RUNSTATE_RUNNING : RUNSTATE_PAUSED);
    if (call->run)
        monitor_event(m, "RESUME", NULL);
    announce_self(m->vm, &m->settings.announce);
    if (atomic_load(&m->requests))
        loop_post(m->loop, monitor_handle_requests, m);
}

static void incoming_release_on_loop(void *opaque)
{
    struct incoming *in = opaque;

    backends_release(&in->m->backends);
}

/* It did not run: a copy that waits on must not be taken for one that ran. */
static void incoming_take_back_word(struct incoming *in)
{
    struct err e = ERR_INIT;

    if (journal_write(&in->journal, GODWIT_JOURNAL_READY, in->token, in->peer, &e))
        log_error("migrate", "%s", e.text);
}

static int incoming_run(void *opaque, bool was_running, uint64_t *running_ns, struct err *e)
{
    struct incoming *in = opaque;
    /* -S here too: it arrives, and waits for cont */
    struct incoming_call call = {
        .in = in, .vm = in->vm, .e = e, .run = was_running && !in->m->options->start_paused};
    int rc = backends_take_over(&in->m->backends, e);

    if (rc != 0)
        return rc;
    rc = journal_write(&in->journal, GODWIT_JOURNAL_RUNNING, in->token, in->peer, e);
    if (rc != 0) { /* the source takes everything back as soon as it hears */
        loop_call(in->m->loop, incoming_release_on_loop, in);
        return rc;
    }
    loop_call(in->m->loop, incoming_run_on_loop, &call);
    if (call.rc != 0)
        incoming_take_back_word(in);
    *running_ns = call.rc == 0 && call.run ? vm_running_since(call.vm) : clock_now_ns();
    return call.rc;
}

/* ---- discard ---- */

static void incoming_discarded_on_loop(void *opaque)
{
    struct incoming *in = opaque;

    backends_release(&in->m->backends);
    if (in->m->state == RUNSTATE_UNRESOLVED)
        monitor_set_state(in->m, RUNSTATE_INMIGRATE);
}

static void incoming_discard(void *opaque)
{
    struct incoming *in = opaque;
    struct err e = ERR_INIT;

    vm_free(in->vm);
    in->vm = NULL;
    bootimage_unmap(in->boot);
    loop_call(in->m->loop, incoming_discarded_on_loop, in);
    free(in->manifest);
    in->manifest = NULL;
    if (in->ready && journal_write(&in->journal, GODWIT_JOURNAL_DISCARDED, in->token, in->peer, &e))
        log_warn("migrate", "%s", e.text);
    in->ready = false;
}

/* ---- events ---- */

static void incoming_status_changed(struct monitor *m, enum godwit_status status)
{
    if (status == GODWIT_UNRESOLVED)
        monitor_set_state(m, RUNSTATE_UNRESOLVED);
}

/* Here, on the engine's thread: writing a file must not hold up the main loop, and a monitor that ends
 * does not know of this migration any more. */
static void incoming_leave_record(struct incoming *in)
{
    struct godwit_sink *sink = atomic_load(&in->sink);
    struct godwit_record *r = sink ? malloc(sizeof(*r)) : NULL;

    if (!r)
        return;
    godwit_sink_record(sink, r);
    record_write(&in->config, r);
    free(r);
}

static void incoming_event(void *opaque, enum godwit_event_kind kind,
                           const struct godwit_stats *stats)
{
    struct incoming *in = opaque;

    if (migration_event_ends(kind, stats->status))
        incoming_leave_record(in);
    if (kind != GODWIT_EVENT_ROUND) /* passes are the source's to tell */
        migration_event_post(in->m, false, kind, stats, incoming_status_changed);
}

static const struct godwit_sink_ops incoming_ops = {
    .manifest = incoming_manifest,
    .load_state = incoming_load_state,
    .ready = incoming_ready,
    .run = incoming_run,
    .discard = incoming_discard,
    .event = incoming_event,
    .rehearse = incoming_rehearse,
    .dense = incoming_dense,
};

/* ---- start and end ---- */

int incoming_start(struct monitor *m, const char *uri, struct err *e)
{
    struct godwit_sink_config c = {.ops = &incoming_ops, .uri = uri, .params = m->params};
    struct err unused = ERR_INIT;
    struct godwit_sink *sink;
    struct incoming *in;
    char address[384];
    int rc;

    if (m->quitting)
        return err_set(e, -ESHUTDOWN, "migrate", "this monitor is ending");
    if (m->incoming)
        return err_set(e, -EBUSY, "migrate", "this monitor listens for a machine already");
    if (m->state != RUNSTATE_INMIGRATE)
        return err_set(e, -EINVAL, "migrate",
                       "this monitor has a machine; one that receives is started with -incoming");
    rc = backends_take_fds(&m->backends, &m->config, m->fds, e);
    if (rc != 0)
        return rc;
    in = calloc(1, sizeof(*in));
    if (!in)
        return err_set(e, -ENOMEM, "migrate", "no memory to receive with");
    in->m = m;
    in->config = m->config;
    atomic_store(&in->validate_uuid, m->settings.validate_uuid);
    c.opaque = in;
    accept_facts_prepare(&unused); /* what fails now is told to the source */
    rc = tls_creds_get(m->tls_creds, m->settings.tls_creds, true, &in->tls, e);
    c.tls = tls_object_tls(in->tls);
    if (rc == 0)
        rc = uri_resolve(m, uri, address, sizeof(address), e);
    c.uri = address;
    if (rc == 0)
        rc = godwit_sink_start(&c, &sink, e);
    if (rc != 0) {
        tls_object_put(in->tls);
        free(in);
        return rc;
    }
    atomic_store(&in->sink, sink);
    m->incoming = in;
    godwit_sink_address(in->sink, address, sizeof(address));
    log_info("migrate", "listening for a machine on %s", address);
    return 0;
}

int incoming_resolve(struct monitor *m, bool run, struct err *e)
{
    if (!m->incoming)
        return err_set(e, -EINVAL, "migrate", "there is no migration to resolve");
    return godwit_sink_resolve(m->incoming->sink, run, e);
}

void incoming_params_changed(struct monitor *m)
{
    if (!m->incoming)
        return;
    atomic_store(&m->incoming->validate_uuid, m->settings.validate_uuid);
    godwit_sink_set_params(m->incoming->sink, &m->params);
}

void incoming_record(struct incoming *in, struct godwit_record *out)
{
    godwit_sink_record(in->sink, out);
}

void incoming_free(struct incoming *in)
{
    if (!in)
        return;
    godwit_sink_free(in->sink);
    tls_object_put(in->tls);
    vm_free(in->vm); /* ready and never told to run: its journal keeps that in mind */
    bootimage_unmap(in->boot);
    journal_close(&in->journal);
    free(in->manifest);
    free(in);
}
