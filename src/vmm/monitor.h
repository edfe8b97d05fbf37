/*
 * The monitor: one process, one machine, its QMP clients, its console, its migrations.
 *
 * All of it belongs to the main loop.  vCPU threads and the engine's thread reach it only through
 * monitor_request (any thread) and loop_call.  Who may touch the machine is the run state: in
 * finish-migrate it is the engine's thread alone, and everything a client asks of the machine is
 * refused until the handover is decided.
 */
#ifndef GODWIT_VMM_MONITOR_H
#define GODWIT_VMM_MONITOR_H

#include <jansson.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "base/loop.h"
#include "godwit/migrate.h"
#include "machine/backend.h"
#include "qmp/server.h"
#include "vmm/journal.h"
#include "vmm/migrate_params.h"
#include "vmm/options.h"
#include "vmm/runstate.h"
#include "vmm/uri.h"
#include "vmm/vm.h"

struct console;
struct outgoing;
struct incoming;
struct fdset;
struct spawner;
struct tls_creds;
struct dirtyrate;
struct dirtylimit;

struct monitor {
    const struct vmm_options *options;
    struct machine_config config; /* what the machine is; at a destination, from its manifest on */
    struct loop *loop;
    struct qmp_server *qmp;
    struct board_backends backends;
    int mem_mount_fd;             /* where guest memory is made; -1: elsewhere */
    struct console *console;
    struct fdset *fds;            /* given by getfd, waiting to be used */
    struct uri_sockets sockets;   /* of an fd: address with a number */
    struct spawner *spawner;      /* starts commands; NULL: nobody may. vmm_main's */
    struct tls_creds *tls_creds;  /* the objects of that name */
    struct vm *vm;                /* NULL: none yet, or given away */
    enum runstate state;
    bool quitting, closing;       /* the end was asked for; has begun */
    bool has_closer;              /* the thread that ends the loop when nothing needs it any more */
    pthread_t closer;
    int exit_status;
    atomic_uint requests;         /* bit per enum vm_request, set by any thread */

    struct migrate_settings settings; /* as clients set them */
    struct godwit_params params;  /* the same for the engine: of the next or the running migration */
    uint32_t progress;            /* the last that was told, of the migration progress_id */
    char progress_id[GODWIT_ID_SIZE];
    uint32_t decisions_told;      /* MIGRATION_DECISION events sent, of the migration decisions_id */
    char decisions_id[GODWIT_ID_SIZE];
    struct outgoing *outgoing;    /* the last one, also after its end; NULL: none */
    struct incoming *incoming;
    struct dirtyrate *dirtyrate;   /* NULL: never asked for */
    struct dirtylimit *dirtylimit; /* NULL: no vCPU has one */
    atomic_uint reapers;          /* threads of monitor_reap that have not ended */
};

/* Makes an empty monitor: loop, QMP sockets, console; no machine. */
int monitor_init(struct monitor *m, const struct vmm_options *o, struct err *e);
/* What every machine here is made with; the rest is the caller's to fill in. */
struct vm_params monitor_vm_params(struct monitor *m, const struct machine_config *config);
/* Builds the machine of the options and starts it (unless -S). */
int monitor_launch(struct monitor *m, struct err *e);
void monitor_fini(struct monitor *m);

/* Takes over what clients want of migrations, and tells those under way. */
void monitor_set_settings(struct monitor *m, const struct migrate_settings *s);

void monitor_set_state(struct monitor *m, enum runstate s);
/* Sends a QMP event; data is taken over, NULL: none. */
void monitor_event(struct monitor *m, const char *name, json_t *data);

/* Any thread: the guest (or a vCPU) asks; handled on the main loop. */
void monitor_request(void *monitor, enum vm_request what);
/* Handles what waits, unless the machine is being handed over. */
void monitor_handle_requests(void *monitor);

/* 0 when there is a machine that is this monitor's to touch; else why `verb` cannot be. */
int monitor_check_mine(const struct monitor *m, const char *verb, struct err *e);

/* What clients ask. Each fails with a text while the machine is not this monitor's to touch. */
int monitor_stop(struct monitor *m, struct err *e);
int monitor_cont(struct monitor *m, struct err *e);
int monitor_reset(struct monitor *m, struct err *e);
int monitor_powerdown(struct monitor *m, struct err *e);
/* Ends the process in good order: a running migration is cancelled first. reason: of SHUTDOWN. */
void monitor_quit(struct monitor *m, const char *reason, bool by_guest);
/* Frees a migration that ended; it may still be telling its peer so, and is not waited for here. */
void monitor_reap(struct monitor *m, struct outgoing *o);
/* Called when a migration ended, so that a waiting quit goes on. */
void monitor_try_exit(struct monitor *m);

#endif
