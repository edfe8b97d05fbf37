#include "vmm/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static const char *const event_names[] = {
    [GODWIT_JOURNAL_INTENT] = "intent",       [GODWIT_JOURNAL_COMMIT] = "commit",
    [GODWIT_JOURNAL_ABORT] = "abort",         [GODWIT_JOURNAL_COMPLETED] = "completed",
    [GODWIT_JOURNAL_READY] = "ready",         [GODWIT_JOURNAL_RUNNING] = "running",
    [GODWIT_JOURNAL_DISCARDED] = "discarded",
};

static bool journal_ends_story(enum godwit_journal what)
{
    return what == GODWIT_JOURNAL_ABORT || what == GODWIT_JOURNAL_COMPLETED ||
           what == GODWIT_JOURNAL_DISCARDED;
}

/* The folders above path, where they are missing, as the XDG directories want them. */
static void journal_make_parents(const char *path)
{
    char parent[400];

    for (const char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        snprintf(parent, sizeof(parent), "%.*s", (int)(slash - path), path);
        mkdir(parent, 0700); /* a failure shows when the folder itself is made */
    }
}

/* A folder nobody else can write to, made where it is missing. */
static int journal_folder(const char *path)
{
    struct stat st;

    journal_make_parents(path);
    if (mkdir(path, 0750) != 0 && errno != EEXIST)
        return -errno;
    if (lstat(path, &st) != 0)
        return -errno;
    if (!S_ISDIR(st.st_mode) || st.st_uid != geteuid() || (st.st_mode & 0022))
        return -EPERM;
    return 0;
}

/* The first of root's folder, the user's folder and /tmp/godwit-UID that can be had. */
static int journal_pick_folder(const char *root_path, const char *env, const char *home_sub,
                               char *out, size_t cap)
{
    const char *base = getenv(env), *home = getenv("HOME");

    if (geteuid() == 0 && journal_folder(root_path) == 0)
        return snprintf(out, cap, "%s", root_path) < (int)cap ? 0 : -ENAMETOOLONG;
    if (base && base[0] == '/' && snprintf(out, cap, "%s/godwit", base) < (int)cap &&
        journal_folder(out) == 0)
        return 0;
    if (home_sub && home && home[0] == '/' &&
        snprintf(out, cap, "%s/%s", home, home_sub) < (int)cap && journal_folder(out) == 0)
        return 0;
    snprintf(out, cap, "/tmp/godwit-%u", (unsigned)geteuid());
    return journal_folder(out);
}

static int journal_paths(struct journal *j, struct err *e)
{
    const char *role = j->is_source ? "source" : "destination";
    char durable[400], memory[400];
    int rc;

    if (j->durable[0])
        return 0;
    rc = journal_pick_folder("/var/lib/godwit", "XDG_STATE_HOME", ".local/state/godwit", durable,
                             sizeof(durable));
    if (rc == 0)
        rc = journal_pick_folder("/run/godwit", "XDG_RUNTIME_DIR", NULL, memory, sizeof(memory));
    if (rc != 0)
        return err_set_errno(e, rc, "journal",
                             "no folder for the handover journal (tried /run/godwit and "
                             "/var/lib/godwit, $XDG_RUNTIME_DIR, $XDG_STATE_HOME, /tmp)");
    snprintf(j->durable, sizeof(j->durable), "%s/%s.%s.intent", durable, j->uuid, role);
    snprintf(j->volatile_, sizeof(j->volatile_), "%s/%s.%s.journal", memory, j->uuid, role);
    return 0;
}

void journal_init(struct journal *j, const char *uuid, bool is_source)
{
    memset(j, 0, sizeof(*j));
    snprintf(j->uuid, sizeof(j->uuid), "%s", uuid);
    j->is_source = is_source;
}

/* Tells a process that died from a host that did: a memory-backed journal outlives only the first. */
static void journal_boot_id(char out[40])
{
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, out, 36) : 0;

    out[n > 0 ? n : 0] = 0;
    if (fd >= 0)
        close(fd);
}

static int journal_line(char *out, size_t cap, enum godwit_journal what, const uint8_t *token,
                        const char *peer)
{
    char hex[2 * GODWIT_TOKEN_SIZE + 1], when[32], boot[40];
    time_t now = time(NULL);
    struct tm tm;

    for (int i = 0; i < GODWIT_TOKEN_SIZE; i++)
        snprintf(hex + 2 * i, 3, "%02x", token[i]);
    journal_boot_id(boot);
    strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &tm));
    return snprintf(out, cap,
                    "{\"time\":\"%s\",\"event\":\"%s\",\"boot\":\"%s\",\"token\":\"%s\","
                    "\"peer\":\"%.200s\"}\n",
                    when, event_names[what], boot, hex, peer ? peer : "");
}

static int journal_append(const char *path, const char *line, size_t len, bool sync)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0640);
    int rc = 0;

    if (fd < 0)
        return -errno;
    if (write(fd, line, len) != (ssize_t)len)
        rc = errno ? -errno : -EIO;
    if (rc == 0 && sync && fsync(fd) != 0)
        rc = -errno;
    close(fd);
    return rc;
}

/* A new file is durable only with its folder's entry. */
static int journal_sync_folder(const char *path)
{
    char folder[512], *slash;
    int fd, rc = 0;

    snprintf(folder, sizeof(folder), "%s", path);
    slash = strrchr(folder, '/');
    if (!slash)
        return 0;
    *slash = 0;
    fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    if (fsync(fd) != 0)
        rc = -errno;
    close(fd);
    return rc;
}

int journal_write(struct journal *j, enum godwit_journal what,
                  const uint8_t token[GODWIT_TOKEN_SIZE], const char *peer, struct err *e)
{
    bool durable = what == GODWIT_JOURNAL_INTENT;
    char line[512];
    const char *path;
    int n, rc = journal_paths(j, e);

    if (rc != 0)
        return rc;
    n = journal_line(line, sizeof(line), what, token, peer);
    path = durable ? j->durable : j->volatile_;
    if (journal_ends_story(what)) {
        unlink(j->volatile_);
        unlink(j->durable);
        return 0;
    }
    rc = journal_append(path, line, (size_t)n, durable);
    if (rc == 0 && durable)
        rc = journal_sync_folder(path);
    if (rc != 0)
        return err_set_errno(e, rc, "journal", "cannot write the handover journal %s", path);
    return 0;
}

void journal_remove(struct journal *j)
{
    if (!j->durable[0])
        return;
    unlink(j->volatile_);
    unlink(j->durable);
}

/* An intent of this very boot without a commit beside it: the process died before it gave anything
 * away. */
static bool journal_intent_is_moot(const char *path)
{
    char boot[40], text[1024];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? pread(fd, text, sizeof(text) - 1, 0) : -1;

    if (fd >= 0)
        close(fd);
    if (n <= 0)
        return false;
    text[n] = 0;
    journal_boot_id(boot);
    return boot[0] && strstr(text, boot);
}

int journal_check_start(const char *uuid, struct err *e)
{
    struct journal j;
    int rc;

    journal_init(&j, uuid, true);
    rc = journal_paths(&j, e);
    if (rc != 0)
        return rc;
    if (access(j.volatile_, F_OK) == 0)
        return err_set(e, -EBUSY, "journal",
                       "machine %s was given to another host and never heard of again (%s): if it "
                       "does not run there, remove that file and start again",
                       uuid, j.volatile_);
    if (access(j.durable, F_OK) == 0 && !journal_intent_is_moot(j.durable))
        return err_set(e, -EBUSY, "journal",
                       "machine %s was about to be given to another host when this one stopped "
                       "(%s): if it does not run there, remove that file and start again",
                       uuid, j.durable);
    return 0;
}
