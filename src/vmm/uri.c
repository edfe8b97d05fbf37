#include "vmm/uri.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/bitmap.h"
#include "vmm/fdset.h"
#include "vmm/monitor.h"
#include "vmm/spawn.h"

#define STAGE "migrate"

void uri_sockets_look(struct uri_sockets *s)
{
    struct stat st;

    memset(s, 0, sizeof(*s));
    for (int fd = 0; fd < URI_FDS_MAX; fd++)
        if (fstat(fd, &st) == 0 && S_ISSOCK(st.st_mode))
            bitmap_set(s->bits, (size_t)fd);
}

/* The number of a descriptor; -1: that is no number. */
static int number(const char *text)
{
    char *end;
    long n = strtol(text, &end, 10);

    return text[0] >= '0' && text[0] <= '9' && !*end && n < URI_FDS_MAX ? (int)n : -1;
}

static int resolve_fd(struct monitor *m, const char *name, int *fd, struct err *e)
{
    *fd = fdset_take(m->fds, name);
    if (*fd >= 0)
        return 0;
    *fd = number(name);
    if (*fd < 0)
        return err_set(e, -ENOENT, STAGE,
                       "fd:%.60s: no descriptor of this name was passed by getfd", name);
    if (!bitmap_test(m->sockets.bits, (size_t)*fd))
        return err_set(e, -EBADF, STAGE,
                       "fd:%d: this process was not started with a socket there, or has used it",
                       *fd);
    bitmap_clear_range(m->sockets.bits, (size_t)*fd, 1);
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
