#include "vmm/fdset.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FDSET_MAX 64

struct fdset {
    int n;
    struct {
        char name[64];
        int fd;
    } entries[FDSET_MAX];
};

struct fdset *fdset_new(void)
{
    return calloc(1, sizeof(struct fdset));
}

void fdset_free(struct fdset *s)
{
    for (int i = 0; s && i < s->n; i++)
        close(s->entries[i].fd);
    free(s);
}

int fdset_put(struct fdset *s, const char *name, int fd)
{
    int old = fdset_take(s, name);

    if (old >= 0)
        close(old);
    if (s->n == FDSET_MAX)
        return -ENOSPC;
    if (snprintf(s->entries[s->n].name, sizeof(s->entries[0].name), "%s", name) >=
        (int)sizeof(s->entries[0].name))
        return -ENAMETOOLONG;
    s->entries[s->n++].fd = fd;
    return 0;
}

int fdset_take(struct fdset *s, const char *name)
{
    for (int i = 0; i < s->n; i++) {
        if (strcmp(s->entries[i].name, name) == 0) {
            int fd = s->entries[i].fd;

            s->entries[i] = s->entries[--s->n];
            return fd;
        }
    }
    return -1;
}
