#include "vmm/main.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/log.h"
#include "vmm/incoming.h"
#include "vmm/monitor.h"
#include "vmm/sandbox.h"
#include "vmm/spawn.h"

/* SIGTERM, SIGINT and SIGHUP end the machine in good order. */
static void main_signal(void *opaque, uint32_t events)
{
    struct monitor *m = opaque;

    monitor_quit(m, "host-signal", false);
}

static int main_catch_signals(struct monitor *m, int *fd, struct err *e)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    *fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (*fd < 0 || !loop_fd_add(m->loop, *fd, EPOLLIN, main_signal, m))
        return err_set_errno(e, -errno, "start", "cannot catch signals");
    return 0;
}

static bool main_taps_by_name(const struct vmm_options *o)
{
    for (uint32_t i = 0; i < o->machine.nnetdevs; i++)
        if (o->machine.netdevs[i].ifname[0])
            return true;
    return false;
}

/* Whoever waits for -daemonize learns that the machine is up. */
static void main_say_ready(const struct vmm_options *o)
{
    if (o->ready_fd < 0)
        return;
    if (write(o->ready_fd, "1", 1) != 1)
        log_warn("start", "nobody waits to hear that the machine is up");
    close(o->ready_fd);
}

/* Everything is open by now; what follows reads the guest's kernel or a peer's bytes. */
static int main_start(struct monitor *m, const struct vmm_options *o, struct err *e)
{
    int rc = o->sandbox ? sandbox_start(main_taps_by_name(o), e) : 0;

    if (rc != 0)
        return rc;
    if (!o->incoming)
        return monitor_launch(m, e);
    return o->incoming_uri[0] ? incoming_start(m, o->incoming_uri, e) : 0;
}

static int main_run(struct monitor *m, const struct vmm_options *o, struct err *e)
{
    int rc;

    main_say_ready(o);
    rc = loop_run(m->loop);
    return rc == 0 ? 0 : err_set_errno(e, rc, "monitor", "the event loop failed");
}

int vmm_main(const struct vmm_options *o, struct err *e)
{
    struct monitor *m = calloc(1, sizeof(*m));
    struct spawner *spawner = NULL;
    struct uri_sockets sockets;
    int signal_fd = -1, rc;

    if (!m)
        return err_set(e, -ENOMEM, "start", "no memory for the monitor");
    uri_sockets_look(&sockets);
    rc = o->spawn || !o->sandbox ? spawner_start(&spawner, e) : 0; /* before anything is open */
    if (rc != 0) {
        free(m);
        return rc;
    }
    rc = monitor_init(m, o, e);
    m->spawner = spawner;
    m->sockets = sockets;
    if (rc == 0)
        rc = main_catch_signals(m, &signal_fd, e);
    if (rc == 0)
        rc = main_start(m, o, e);
    if (rc == 0)
        rc = main_run(m, o, e);
    monitor_fini(m);
    spawner_free(spawner);
    if (signal_fd >= 0)
        close(signal_fd);
    free(m);
    return rc;
}
