#include "vmm/monitor.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "mem/backing.h"
#include "vmm/backends.h"
#include "vmm/commands.h"
#include "vmm/console.h"
#include "vmm/dirtylimit.h"
#include "vmm/dirtyrate.h"
#include "vmm/fdset.h"
#include "vmm/incoming.h"
#include "vmm/outgoing.h"
#include "vmm/tls_creds.h"

#define ASK_TIMEOUT_MS   5000            /* a destination, what became of a machine */
#define VERDICT_LIMIT_NS (10 * NS_PER_S) /* how long a quit waits for the verdict on memory */

/* ---- life ---- */

static int monitor_open_qmp(struct monitor *m, struct err *e)
{
    struct qmp_server_config c = {
        .loop = m->loop,
        .table = commands_table(m),
        .version = commands_version(),
    };
    int rc = c.version ? qmp_server_new(&c, &m->qmp, e) : -ENOMEM;

    json_decref(c.version);
    for (uint32_t i = 0; rc == 0 && i < m->options->nqmp; i++) {
        struct qmp_address a;

        rc = qmp_address_parse(m->options->qmp[i], &a, e);
        if (rc == 0)
            rc = qmp_server_listen(m->qmp, &a, e);
    }
    return rc;
}

/* The machine of the command line, made whole; a destination's is only what it expects to get. */
static int monitor_configure(struct monitor *m, const struct vmm_options *o, struct err *e)
{
    char warning[CONFIG_WARNING_MAX];
    int rc;

    m->config = o->machine;
    rc = machine_config_check(&m->config, e);
    if (rc == 0)
        machine_config_warning(&m->config, warning);
    if (rc == 0 && warning[0])
        log_warn("start", "%s", warning);
    return rc == 0 && !o->incoming ? machine_config_make_uuid(&m->config, e) : rc;
}

int monitor_init(struct monitor *m, const struct vmm_options *o, struct err *e)
{
    int rc;

    memset(m, 0, sizeof(*m));
    m->options = o;
    m->state = o->incoming ? RUNSTATE_INMIGRATE : RUNSTATE_PRELAUNCH;
    migrate_settings_init(&m->settings);
    migrate_settings_engine(&m->settings, &m->params);
    m->backends.kernel_fd = m->backends.initrd_fd = -1;
    m->mem_mount_fd = backing_mount(); /* without privileges: other memory will do */
    m->loop = loop_new();
    m->fds = fdset_new();
    if (!m->loop || !m->fds)
        return err_set(e, -ENOMEM, "start", "no memory or no descriptors for the event loop");
    rc = monitor_configure(m, o, e);
    if (rc == 0)
        rc = tls_creds_new(o, &m->tls_creds, e);
    if (rc == 0)
        rc = monitor_open_qmp(m, e);
    if (rc == 0)
        rc = console_new(m->loop, o, &m->console, e);
    if (rc == 0)
        rc = backends_open(&m->config, &m->backends, e);
    return rc;
}

struct vm_params monitor_vm_params(struct monitor *m, const struct machine_config *config)
{
    const struct vmm_options *o = m->options;

    return (struct vm_params){
        .config = config,
        .mem_path = o->mem_path[0] ? o->mem_path : NULL,
        .mem_prealloc = o->mem_prealloc,
        .mem_mount_fd = m->mem_mount_fd,
        .dirty_ring = o->dirty_ring,
        .loop = m->loop,
        .sandbox = o->sandbox,
        .host = {.opaque = m, .request = monitor_request},
        .backends = &m->backends,
    };
}

/* In the clear: what was migrated by TLS is asked for by a person. */
static int monitor_ask(const char *peer, const uint8_t token[GODWIT_TOKEN_SIZE],
                       enum godwit_answer *out, struct err *e)
{
    return godwit_ask(peer, token, NULL, NULL, ASK_TIMEOUT_MS, out, e);
}

int monitor_launch(struct monitor *m, struct err *e)
{
    struct vm_params p = monitor_vm_params(m, &m->config);
    int rc = journal_check_start(m->config.uuid, monitor_ask, e);

    if (rc == 0)
        rc = backends_take_fds(&m->backends, &m->config, m->fds, e);
    if (rc == 0)
        rc = backends_acquire(&m->backends, e);
    if (rc == 0)
        rc = vm_new(&p, &m->vm, e);
    if (rc == 0)
        rc = vm_boot(m->vm, e);
    if (rc != 0)
        return rc;
    console_attach(m->console, m->vm->board->serial);
    if (m->options->start_paused)
        return 0;
    return monitor_cont(m, e);
}

void monitor_fini(struct monitor *m)
{
    if (m->has_closer)
        pthread_join(m->closer, NULL); /* it may still be waking the loop */
    if (m->console)
        console_detach(m->console);
    dirtyrate_free(m);
    dirtylimit_free(m);
    vm_free(m->vm);
    m->vm = NULL;
    console_free(m->console);
    qmp_server_free(m->qmp);
    backends_close(&m->backends);
    fdset_free(m->fds);
    tls_creds_free(m->tls_creds);
    if (m->mem_mount_fd >= 0)
        close(m->mem_mount_fd);
    if (m->loop)
        loop_free(m->loop);
}

/* ---- state and events ---- */

void monitor_set_settings(struct monitor *m, const struct migrate_settings *s)
{
    m->settings = *s;
    migrate_settings_engine(s, &m->params);
    outgoing_params_changed(m);
    incoming_params_changed(m);
}

void monitor_set_state(struct monitor *m, enum runstate s)
{
    if (!runstate_may_follow(m->state, s))
        log_error("monitor", "run state %s must not follow %s", runstate_name(s),
                  runstate_name(m->state));
    if (m->state != s)
        log_info("monitor", "%s -> %s", runstate_name(m->state), runstate_name(s));
    m->state = s;
}

void monitor_event(struct monitor *m, const char *name, json_t *data)
{
    qmp_server_event(m->qmp, name, data);
}

/* ---- what the guest asks ---- */

void monitor_request(void *monitor, enum vm_request what)
{
    struct monitor *m = monitor;

    if (atomic_fetch_or(&m->requests, 1U << what) == 0)
        loop_post(m->loop, monitor_handle_requests, m);
}

static void monitor_guest_poweroff(struct monitor *m)
{
    struct err e = ERR_INIT;

    if (!vm_is_paused(m->vm))
        vm_pause(m->vm);
    outgoing_guest_ended(m, "the guest powered off");
    if (!m->options->no_shutdown) {
        monitor_quit(m, "guest-shutdown", true);
        return;
    }
    monitor_event(m, "SHUTDOWN",
                  json_pack("{s:b,s:s}", "guest", 1, "reason", "guest-shutdown"));
    monitor_set_state(m, RUNSTATE_SHUTDOWN);
    if (vm_boot(m->vm, &e) != 0)
        log_error("monitor", "after the guest's poweroff: %s", e.text);
}

static void monitor_crashed(struct monitor *m)
{
    if (!vm_is_paused(m->vm))
        vm_pause(m->vm);
    monitor_set_state(m, RUNSTATE_INTERNAL_ERROR);
    monitor_event(m, "STOP", NULL);
}

static void monitor_do_reset(struct monitor *m, bool by_guest)
{
    bool running = m->state == RUNSTATE_RUNNING;
    struct err e = ERR_INIT;
    int rc;

    if (by_guest && m->options->no_reboot) {
        monitor_quit(m, "guest-reset", true);
        return;
    }
    if (!vm_is_paused(m->vm))
        vm_pause(m->vm);
    rc = vm_boot(m->vm, &e);
    if (rc == 0 && running)
        rc = vm_resume(m->vm, &e);
    if (rc != 0) {
        log_error("monitor", "the machine cannot be reset: %s", e.text);
        monitor_set_state(m, RUNSTATE_INTERNAL_ERROR);
        return;
    }
    monitor_event(m, "RESET",
                  json_pack("{s:b,s:s}", "guest", by_guest, "reason",
                            by_guest ? "guest-reset" : "host-qmp-system-reset"));
}

void monitor_handle_requests(void *monitor)
{
    struct monitor *m = monitor;
    unsigned bits;

    if (!m->vm || m->quitting || m->state == RUNSTATE_FINISH_MIGRATE ||
        m->state == RUNSTATE_INMIGRATE || m->state == RUNSTATE_UNRESOLVED)
        return; /* they wait; a handover carries them along */
    bits = atomic_exchange(&m->requests, 0);
    if (bits & (1U << VM_REQUEST_CRASH))
        monitor_crashed(m);
    else if (bits & (1U << VM_REQUEST_POWEROFF))
        monitor_guest_poweroff(m);
    else if (bits & (1U << VM_REQUEST_RESET))
        monitor_do_reset(m, true);
}

/* ---- what clients ask ---- */

int monitor_check_mine(const struct monitor *m, const char *verb, struct err *e)
{
    switch (m->state) {
    case RUNSTATE_INMIGRATE:
        return err_set(e, -EBUSY, "monitor", "cannot %s: the machine has not arrived yet", verb);
    case RUNSTATE_FINISH_MIGRATE:
        return err_set(e, -EBUSY, "monitor",
                       "cannot %s: the machine is being handed over; ask again when query-migrate "
                       "says completed (at the destination) or failed (here)",
                       verb);
    case RUNSTATE_POSTMIGRATE:
        return err_set(e, -EBUSY, "monitor", "cannot %s: the machine runs at its destination now",
                       verb);
    case RUNSTATE_UNRESOLVED:
        return err_set(e, -EBUSY, "monitor",
                       "cannot %s: it is not known whether the machine runs at the other side; "
                       "use migrate-resolve once you know",
                       verb);
    default:
        return m->vm ? 0 : err_set(e, -ENODEV, "monitor", "cannot %s: no machine", verb);
    }
}

int monitor_stop(struct monitor *m, struct err *e)
{
    int rc = monitor_check_mine(m, "stop", e);

    if (rc != 0 || m->state != RUNSTATE_RUNNING)
        return rc;
    vm_pause(m->vm);
    monitor_set_state(m, RUNSTATE_PAUSED);
    monitor_event(m, "STOP", NULL);
    return 0;
}

int monitor_cont(struct monitor *m, struct err *e)
{
    int rc = monitor_check_mine(m, "continue", e);

    if (rc != 0 || m->state == RUNSTATE_RUNNING)
        return rc;
    if (m->state == RUNSTATE_INTERNAL_ERROR)
        return err_set(e, -EINVAL, "monitor", "cannot continue: a vCPU failed; system_reset first");
    rc = vm_resume(m->vm, e);
    if (rc != 0)
        return rc;
    monitor_set_state(m, RUNSTATE_RUNNING);
    monitor_event(m, "RESUME", NULL);
    return 0;
}

int monitor_reset(struct monitor *m, struct err *e)
{
    int rc = monitor_check_mine(m, "reset", e);

    if (rc != 0)
        return rc;
    if (m->state == RUNSTATE_INTERNAL_ERROR)
        monitor_set_state(m, RUNSTATE_PAUSED);
    monitor_do_reset(m, false);
    return 0;
}

int monitor_powerdown(struct monitor *m, struct err *e)
{
    int rc = monitor_check_mine(m, "press the power button", e);

    if (rc != 0)
        return rc;
    board_power_button(m->vm->board);
    monitor_event(m, "POWERDOWN", NULL);
    return 0;
}

/* ---- the end ---- */

static void monitor_hurry(void *monitor)
{
    struct monitor *m = monitor;

    outgoing_hurry(m->outgoing);
    monitor_try_exit(m);
}

/* The loop frees it.  Where there is none, whoever waits for long quits twice. */
static void monitor_bound_end(struct monitor *m)
{
    struct loop_timer *t = loop_timer_new(m->loop, monitor_hurry, m);

    if (t)
        loop_timer_set(t, clock_now_ns() + VERDICT_LIMIT_NS);
}

void monitor_quit(struct monitor *m, const char *reason, bool by_guest)
{
    if (m->quitting) {
        monitor_hurry(m);
        return;
    }
    m->quitting = true;
    monitor_bound_end(m);
    monitor_event(m, "SHUTDOWN", json_pack("{s:b,s:s}", "guest", by_guest, "reason", reason));
    log_info("monitor", "ending: %s", reason);
    monitor_try_exit(m);
}

/* The engine's threads call into this loop while they end, so they are waited for beside it. */
struct reaped {
    struct monitor *m;
    struct outgoing *o;
};

static void *monitor_reaper(void *arg)
{
    struct reaped *r = arg;

    outgoing_free(r->o);
    atomic_fetch_sub(&r->m->reapers, 1);
    free(r);
    return NULL;
}

void monitor_reap(struct monitor *m, struct outgoing *o)
{
    struct reaped *r = o ? malloc(sizeof(*r)) : NULL;
    pthread_t thread;

    if (!r)
        return; /* nothing to free, or no memory to free it with */
    *r = (struct reaped){.m = m, .o = o};
    atomic_fetch_add(&m->reapers, 1);
    if (pthread_create(&thread, NULL, monitor_reaper, r) == 0)
        pthread_detach(thread);
    else
        atomic_fetch_sub(&m->reapers, 1);
}

/* What is left when the end begins; the monitor knows it no more, so that no command reaches it. */
struct remains {
    struct monitor *m;
    struct outgoing *outgoing;
    struct incoming *incoming;
};

static void *monitor_closer(void *arg)
{
    struct remains *r = arg;
    struct monitor *m = r->m;

    outgoing_free(r->outgoing);
    incoming_free(r->incoming);
    free(r);
    while (atomic_load(&m->reapers))
        clock_sleep_ns(NS_PER_MS);
    loop_quit(m->loop);
    return NULL;
}

void monitor_try_exit(struct monitor *m)
{
    struct remains *r;

    if (!m->quitting || m->closing || outgoing_holds_quit(m->outgoing))
        return;
    m->closing = true;
    r = malloc(sizeof(*r));
    if (r)
        *r = (struct remains){.m = m, .outgoing = m->outgoing, .incoming = m->incoming};
    m->outgoing = NULL;
    m->incoming = NULL;
    m->has_closer = r && pthread_create(&m->closer, NULL, monitor_closer, r) == 0;
    if (!m->has_closer) {
        log_error("monitor", "no thread to end the migration with; ending at once");
        free(r);
        loop_quit(m->loop);
    }
}
