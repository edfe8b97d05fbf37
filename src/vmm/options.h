/* What godwit-vmm was asked to do: filled in by the command line (src/cmd/vmm), read by the monitor. */
#ifndef GODWIT_VMM_OPTIONS_H
#define GODWIT_VMM_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "machine/config.h"

#define VMM_QMP_MAX  8
#define VMM_PATH_MAX 1024

enum serial_kind { SERIAL_NONE, SERIAL_STDIO, SERIAL_FILE, SERIAL_UNIX, SERIAL_PTY };

struct vmm_options {
    struct machine_config machine;
    bool machine_given; /* any option that describes the machine itself (-machine, -m, -smp, -kernel, ...) */
    uint32_t nqmp;
    char qmp[VMM_QMP_MAX][VMM_PATH_MAX]; /* "unix:PATH" or "tcp:HOST:PORT", suffixes stripped */
    enum serial_kind serial;
    char serial_path[VMM_PATH_MAX];
    bool incoming;       /* -incoming given */
    char incoming_uri[VMM_PATH_MAX]; /* "" : defer */
    char pidfile[VMM_PATH_MAX];
    char log_file[VMM_PATH_MAX];
    char mem_path[VMM_PATH_MAX];
    bool mem_prealloc;
    bool start_paused;   /* -S */
    bool daemonize;
    bool no_reboot;      /* a guest reset ends the monitor */
    bool no_shutdown;    /* a guest poweroff leaves the monitor, stopped */
    bool sandbox;        /* default on */
    int ready_fd;        /* daemonize: a byte is written here once start-up succeeded; -1 */
};

#endif
