#include "vmm/state_dir.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The folders above path, where they are missing, as the XDG directories want them. */
static void make_parents(const char *path)
{
    char parent[400];

    for (const char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        snprintf(parent, sizeof(parent), "%.*s", (int)(slash - path), path);
        mkdir(parent, 0700); /* a failure shows when the folder itself is made */
    }
}

/* A folder nobody else can write to, made where it is missing. */
int state_dir_make(const char *path)
{
    struct stat st;

    make_parents(path);
    if (mkdir(path, 0750) != 0 && errno != EEXIST)
        return -errno;
    if (lstat(path, &st) != 0)
        return -errno;
    if (!S_ISDIR(st.st_mode) || st.st_uid != geteuid() || (st.st_mode & 0022))
        return -EPERM;
    return 0;
}

/* By what the environment says, else root's folder, else the user's. */
static const struct place {
    const char *override, *root, *xdg, *home_sub; /* home_sub may be NULL */
} places[] = {
    [STATE_DIR_DURABLE] = {"GODWIT_STATE_DIR", "/var/lib/godwit", "XDG_STATE_HOME",
                           ".local/state/godwit"},
    [STATE_DIR_MEMORY] = {"GODWIT_RUN_DIR", "/run/godwit", "XDG_RUNTIME_DIR", NULL},
};

/* An absolute base and what goes below it, as a folder that can be had. */
static bool try(const char *base, const char *sub, char *out, size_t cap)
{
    return base && base[0] == '/' && snprintf(out, cap, "%s%s", base, sub) < (int)cap &&
           state_dir_make(out) == 0;
}

int state_dir(enum state_dir_kind kind, char *out, size_t cap)
{
    const struct place *p = &places[kind];
    const char *override = getenv(p->override);
    char sub[64] = "";

    if (override)
        return try(override, "", out, cap) ? 0 : -EACCES;
    if (geteuid() == 0 && try(p->root, "", out, cap))
        return 0;
    if (try(getenv(p->xdg), "/godwit", out, cap))
        return 0;
    if (p->home_sub && snprintf(sub, sizeof(sub), "/%s", p->home_sub) < (int)sizeof(sub) &&
        try(getenv("HOME"), sub, out, cap))
        return 0;
    snprintf(out, cap, "/tmp/godwit-%u", (unsigned)geteuid());
    return state_dir_make(out);
}
