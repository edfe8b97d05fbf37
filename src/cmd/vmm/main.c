/* godwit-vmm: one virtual machine in one process. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "cmd/vmm/daemonize.h"
#include "cmd/vmm/options.h"
#include "cmd/vmm/pidfile.h"
#include "vmm/main.h"

/* Exit statuses: what went wrong at run time, and a command line that makes no sense. */
#define EXIT_USAGE 2

static int run(struct vmm_options *o)
{
    struct pidfile pidfile = PIDFILE_INIT;
    struct err e = ERR_INIT;
    int ret = o->daemonize ? daemonize(&o->ready_fd, &e) : 0;
    int status = EXIT_FAILURE;

    if (!ret && o->pidfile[0])
        ret = pidfile_open(&pidfile, o->pidfile, &e);
    if (ret)
        fprintf(stderr, "godwit-vmm: %s\n", e.text);
    else
        status = vmm_main(o);
    pidfile_close(&pidfile);
    return status;
}

static int start(struct vmm_options *o, const struct option_warnings *warnings)
{
    int ret;

    for (size_t i = 0; i < warnings->n; i++)
        log_warn("start", "%s", warnings->text[i]);
    ret = o->log_file[0] ? log_open(o->log_file) : 0;
    if (ret) {
        fprintf(stderr, "godwit-vmm: cannot open -D %s: %s\n", o->log_file, strerror(-ret));
        return EXIT_FAILURE;
    }
    /* A client that goes away is an error of its descriptor, not of the process. */
    signal(SIGPIPE, SIG_IGN);
    return run(o);
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
