/*
 * Everything the person who starts godwit-vmm can ask for, checked and in plain form.  The command
 * line (src/cmd/vmm) fills it in; the monitor only reads it.
 */
#ifndef GODWIT_VMM_OPTIONS_H
#define GODWIT_VMM_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "machine/config.h"
#include "qmp/address.h"

#define VMM_QMP_MAX 8
#define VMM_URI_MAX 512

enum vmm_serial_kind {
    VMM_SERIAL_NONE,
    VMM_SERIAL_STDIO,
    VMM_SERIAL_FILE, /* path: appended to */
    VMM_SERIAL_UNIX, /* path: listened on, one client at a time; wait: not before one is there */
    VMM_SERIAL_PTY,
};

struct vmm_serial {
    enum vmm_serial_kind kind;
    char path[MACHINE_PATH_MAX];
    bool wait;
};

/* Which parts of `machine` were asked for, and not filled in by a default: a destination checks
 * these, and only these, against the manifest. */
struct vmm_given {
    bool machine, ram, vcpus, cpu, kernel, initrd, append, name, uuid;
    bool drives, netdevs, devices;
};

struct vmm_options {
    struct machine_config machine; /* names of the machine are full: "q35-1.0" */
    struct vmm_given given;

    uint32_t nqmp;
    struct qmp_address qmp[VMM_QMP_MAX];
    struct vmm_serial serial;

    bool incoming;                  /* a destination: wait for a machine */
    char incoming_uri[VMM_URI_MAX]; /* "" : -incoming defer, migrate-incoming tells */

    bool start_paused; /* -S */
    bool no_reboot;    /* a guest's reset ends the monitor */
    bool no_shutdown;  /* a guest's poweroff stops the machine and keeps the monitor */
    bool sandbox;
    bool daemonize;

    char mem_path[MACHINE_PATH_MAX]; /* "" : chosen by src/mem */
    bool mem_prealloc;

    char pidfile[MACHINE_PATH_MAX];
    char log_file[MACHINE_PATH_MAX];

    /* Called by the monitor once, on the main thread, when it serves QMP and has built its machine
     * (or waits for one): a daemon's caller is let go.  May be NULL. Needs write, close and dup3
     * of a sandbox, no more. */
    void (*ready)(void *opaque);
    void *ready_opaque;
};

#endif
