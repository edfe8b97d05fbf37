/* What godwit-vmm was asked to do: filled in by the command line (src/cmd/vmm), read by the monitor. */
#ifndef GODWIT_VMM_OPTIONS_H
#define GODWIT_VMM_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "machine/config.h"

#define VMM_QMP_MAX  8
#define VMM_PATH_MAX 1024
#define VMM_DIRTY_RING_MIN 1024 /* as in hv.h */
#define VMM_DIRTY_RING_MAX 65536

/* Which parts of the machine the command line spoke of: a destination checks exactly those against
 * the manifest. */
enum {
    OPTION_MACHINE = 1 << 0,
    OPTION_RAM = 1 << 1,
    OPTION_VCPUS = 1 << 2,
    OPTION_CPU = 1 << 3,
    OPTION_BOOT = 1 << 4, /* -kernel, -initrd, -append */
    OPTION_DEVICES = 1 << 5,
    OPTION_NAME = 1 << 6,
    OPTION_UUID = 1 << 7,
};

enum serial_kind { SERIAL_NONE, SERIAL_STDIO, SERIAL_FILE, SERIAL_UNIX, SERIAL_PTY };

#define VMM_TLS_MAX 8
#define VMM_ID_MAX  64

/* -object tls-creds-x509, tls-creds-psk */
struct vmm_tls_option {
    bool psk, is_server, verify_peer;
    char id[VMM_ID_MAX];
    char dir[VMM_PATH_MAX];
    char username[VMM_ID_MAX]; /* PSK at the source; "": the usual one */
};

struct vmm_options {
    struct machine_config machine;
    uint32_t given; /* OPTION_* */
    uint32_t nqmp;
    char qmp[VMM_QMP_MAX][VMM_PATH_MAX]; /* "unix:PATH" or "tcp:HOST:PORT", suffixes stripped */
    enum serial_kind serial;
    char serial_path[VMM_PATH_MAX];
    bool incoming;       /* -incoming given */
    char incoming_uri[VMM_PATH_MAX]; /* "" : defer */
    uint32_t ntls;
    struct vmm_tls_option tls[VMM_TLS_MAX];
    char pidfile[VMM_PATH_MAX];
    char log_file[VMM_PATH_MAX];
    char mem_path[VMM_PATH_MAX];
    bool mem_prealloc;
    uint32_t dirty_ring; /* entries of each vCPU's; 0: the dirty bitmap */
    bool start_paused;   /* -S */
    bool daemonize;
    bool no_reboot;      /* a guest reset ends the monitor */
    bool no_shutdown;    /* a guest poweroff leaves the monitor, stopped */
    bool sandbox;        /* default on */
    bool spawn;          /* exec: may start commands in spite of the sandbox */
    int ready_fd;        /* daemonize: a byte is written here once start-up succeeded; -1 */
    int error_fd;        /* where the starter reads why it failed, when -D took stderr; -1 */
};

#endif
