/* godwit-vmm: one virtual machine in one process. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "cmd/vmm/daemonize.h"
#include "cmd/vmm/options.h"
#include "cmd/vmm/pidfile.h"
#include "vmm/main.h"

/* Exit statuses: what went wrong at run time, and a command line that makes no sense. */
#define EXIT_USAGE 2

/* A failure is told to whoever gave the command, and to the log if that is elsewhere. */
static void complain(const struct vmm_options *o, const struct err *e)
{
    if (o->error_fd >= 0)
        log_error(e->stage, "%s", e->text);
    dprintf(o->error_fd >= 0 ? o->error_fd : STDERR_FILENO, "godwit-vmm: %s\n", e->text);
}

/* stderr becomes the log; where it led is kept for complaints. */
static int open_log(struct vmm_options *o, struct err *e)
{
    int ret, before;

    if (!o->log_file[0])
        return 0;
    before = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    ret = log_open(o->log_file);
    if (ret == 0)
        o->error_fd = before; /* -1: it was closed, and nobody listens */
    else if (before >= 0)
        close(before);
    return ret == 0 ? 0 : err_set_errno(e, ret, "start", "cannot open -D %s", o->log_file);
}

static int start(struct vmm_options *o, const struct option_warnings *warnings)
{
    struct pidfile pidfile = PIDFILE_INIT;
    struct err e = ERR_INIT;
    /* First of all: it puts another stderr in place, which the log then replaces. */
    int ret = o->daemonize ? daemonize(&o->ready_fd, &e) : 0;

    for (size_t i = 0; i < warnings->n; i++)
        log_warn("start", "%s", warnings->text[i]);
    /* A client that goes away is an error of its descriptor, not of the process. */
    signal(SIGPIPE, SIG_IGN);
    if (!ret)
        ret = open_log(o, &e);
    if (!ret && o->pidfile[0])
        ret = pidfile_open(&pidfile, o->pidfile, &e);
    if (!ret)
        ret = vmm_main(o, &e);
    if (ret)
        complain(o, &e);
    pidfile_close(&pidfile);
    return ret ? EXIT_FAILURE : EXIT_SUCCESS;
}

int main(int argc, char *argv[])
{
    struct vmm_options *o = malloc(sizeof(*o));
    struct option_warnings warnings;
    enum options_action action;
    struct err e = ERR_INIT;
    int status = EXIT_USAGE;

    if (!o) {
        fprintf(stderr, "godwit-vmm: no memory\n");
        return EXIT_FAILURE;
    }
    if (options_parse(argc, argv, o, &warnings, &action, &e)) {
        fprintf(stderr, "godwit-vmm: %s\n", e.text);
    } else if (action == OPTIONS_HELP) {
        options_print_help(stdout);
        status = EXIT_SUCCESS;
    } else if (action == OPTIONS_VERSION) {
        printf("godwit-vmm %s\n", GODWIT_VERSION);
        status = EXIT_SUCCESS;
    } else {
        status = start(o, &warnings);
    }
    free(o);
    return status;
}
