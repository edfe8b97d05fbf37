#include "vmm/uri.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "vmm/fdset.h"
#include "vmm/monitor.h"
#include "vmm/spawn.h"

#define STAGE "migrate"

/* The number of a descriptor that this process was started with; -1: that is no number. */
static int inherited(const char *text)
{
    char *end;
    long n = strtol(text, &end, 10);

    return text[0] >= '0' && text[0] <= '9' && !*end && n <= UINT16_MAX ? (int)n : -1;
}

static int resolve_fd(struct monitor *m, const char *name, int *fd, struct err *e)
{
    struct stat st;

    *fd = fdset_take(m->fds, name);
    if (*fd >= 0)
        return 0;
    *fd = inherited(name);
    if (*fd < 0)
        return err_set(e, -ENOENT, STAGE,
                       "fd:%.60s: no descriptor of this name was passed by getfd", name);
    if (fstat(*fd, &st) != 0 || !S_ISSOCK(st.st_mode))
        return err_set(e, -EBADF, STAGE, "fd:%d: this process was not started with a socket there",
                       *fd);
    return 0;
}

static int resolve_exec(struct monitor *m, const char *command, int *fd, struct err *e)
{
    if (!m->spawner)
        return err_set(
            e, -EPERM, STAGE,
            "exec: nothing may be started from inside the sandbox; start the monitor with "
            "-sandbox on,spawn=allow");
    return spawner_run(m->spawner, command, fd, e);
}

int uri_resolve(struct monitor *m, const char *uri, char *out, size_t cap, struct err *e)
{
    int fd, rc;

    if (!uri_is_local(uri)) {
        if (snprintf(out, cap, "%s", uri) >= (int)cap)
            return err_set(e, -ENAMETOOLONG, STAGE, "the address is too long");
        return 0;
    }
    rc = uri[0] == 'f' ? resolve_fd(m, uri + 3, &fd, e) : resolve_exec(m, uri + 5, &fd, e);
    if (rc == 0)
        snprintf(out, cap, "fd:%d", fd);
    return rc;
}
