#include "vmm/journal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <jansson.h>

#include "base/log.h"
#include "qmp/command.h"
#include "vmm/state_dir.h"

#define JOURNAL_FOLDER_MAX 400

static const char *const event_names[] = {
    [GODWIT_JOURNAL_INTENT] = "intent",       [GODWIT_JOURNAL_COMMIT] = "commit",
    [GODWIT_JOURNAL_ABORT] = "abort",         [GODWIT_JOURNAL_COMPLETED] = "completed",
    [GODWIT_JOURNAL_READY] = "ready",         [GODWIT_JOURNAL_RUNNING] = "running",
    [GODWIT_JOURNAL_DISCARDED] = "discarded",
};

static bool journal_ends_story(enum godwit_journal what)
{
    return what == GODWIT_JOURNAL_ABORT || what == GODWIT_JOURNAL_DISCARDED;
}

/* After these, who runs the machine is not known on this side until another word is written. */
static bool journal_leaves_open(enum godwit_journal what)
{
    return what == GODWIT_JOURNAL_COMMIT || what == GODWIT_JOURNAL_READY;
}

static int journal_folders(char durable[JOURNAL_FOLDER_MAX], char memory[JOURNAL_FOLDER_MAX],
                           struct err *e)
{
    int rc = state_dir(STATE_DIR_DURABLE, durable, JOURNAL_FOLDER_MAX);

    if (rc == 0)
        rc = state_dir(STATE_DIR_MEMORY, memory, JOURNAL_FOLDER_MAX);
    if (rc != 0)
        return err_set_errno(
            e, rc, "journal",
            "no folder for the handover journal (tried $GODWIT_STATE_DIR and "
            "$GODWIT_RUN_DIR, /var/lib/godwit and /run/godwit, $XDG_STATE_HOME and "
            "$XDG_RUNTIME_DIR, ~/.local/state, /tmp)");
    return 0;
}

/* Files are named by the migration as well as the machine: one machine may be on its way between
 * several monitors of one host. */
static int journal_paths(struct journal *j, const uint8_t *token, struct err *e)
{
    const char *role = j->is_source ? "source" : "destination";
    char durable[JOURNAL_FOLDER_MAX], memory[JOURNAL_FOLDER_MAX];
    uint32_t id;
    int rc;

    if (j->durable[0])
        return 0;
    rc = journal_folders(durable, memory, e);
    if (rc != 0)
        return rc;
    memcpy(&id, token, sizeof(id));
    snprintf(j->durable, sizeof(j->durable), "%s/%s.%s.%08x.intent", durable, j->uuid, role, id);
    snprintf(j->volatile_, sizeof(j->volatile_), "%s/%s.%s.%08x.journal", memory, j->uuid, role,
             id);
    return 0;
}

void journal_init(struct journal *j, const char *uuid, bool is_source)
{
    memset(j, 0, sizeof(*j));
    snprintf(j->uuid, sizeof(j->uuid), "%s", uuid);
    j->is_source = is_source;
    j->lock = -1;
}

/* Tells a process that died from a host that did: a memory-backed journal outlives only the first.
 */
static void journal_boot_id(char out[40])
{
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, out, 36) : 0;

    out[n > 0 ? n : 0] = 0;
    if (fd >= 0)
        close(fd);
}

/* With its newline; to be freed.  NULL: no memory. */
static char *journal_line(enum godwit_journal what, const uint8_t *token, const char *peer)
{
    char hex[2 * GODWIT_TOKEN_SIZE + 1], when[32], boot[40];
    time_t now = time(NULL);
    char *text, *out = NULL;
    json_t *line;
    struct tm tm;

    for (int i = 0; i < GODWIT_TOKEN_SIZE; i++)
        snprintf(hex + 2 * i, 3, "%02x", token[i]);
    journal_boot_id(boot);
    strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &tm));
    line = json_pack("{s:s,s:s,s:s,s:s,s:o}", "time", when, "event", event_names[what], "boot",
                     boot, "token", hex, "peer", qmp_text(peer ? peer : ""));
    text = json_dumps(line, JSON_COMPACT);
    if (text && asprintf(&out, "%s\n", text) < 0)
        out = NULL;
    free(text);
    json_decref(line);
    return out;
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

/* Held while its owner lives: what such a file says is still being decided.  -1: not to be had. */
static int journal_lock(const char *path)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);

    if (fd >= 0 && fcntl(fd, F_OFD_SETLK, &lock) != 0) {
        close(fd);
        fd = -1;
    }
    return fd;
}

/* Without the lock whoever starts this machine afresh would not see that it is still being decided.
 */
static int journal_hold(struct journal *j, struct err *e)
{
    j->lock = journal_lock(j->durable);
    return j->lock >= 0 ? 0
                        : err_set(e, -ENOLCK, "journal",
                                  "cannot lock the handover journal %s: it is held by another "
                                  "process, or its file system has no locks",
                                  j->durable);
}

int journal_write(struct journal *j, enum godwit_journal what,
                  const uint8_t token[GODWIT_TOKEN_SIZE], const char *peer, struct err *e)
{
    bool durable = what == GODWIT_JOURNAL_INTENT;
    const char *path;
    char *line;
    int rc = journal_paths(j, token, e);

    if (rc != 0)
        return rc;
    if (journal_ends_story(what)) {
        j->open = false;
        journal_close(j);
        return 0;
    }
    line = journal_line(what, token, peer);
    if (!line)
        return err_set(e, -ENOMEM, "journal", "no memory for the handover journal");
    path = durable ? j->durable : j->volatile_;
    rc = journal_append(path, line, strlen(line), durable);
    free(line);
    if (rc == 0 && durable)
        rc = journal_sync_folder(path);
    if (rc != 0)
        return err_set_errno(e, rc, "journal", "cannot write the handover journal %s", path);
    j->open = journal_leaves_open(what);
    return durable && j->lock < 0 ? journal_hold(j, e) : 0;
}

void journal_close(struct journal *j)
{
    if (j->durable[0] && !j->open) {
        unlink(j->volatile_);
        unlink(j->durable);
    }
    if (j->durable[0] && j->lock >= 0) {
        close(j->lock);
        j->lock = -1;
    }
}

/* ---- starting afresh ------------------------------------------------------------------------- */

/* What is left of a migration from here: one of its two files. */
struct journal_trace {
    char path[JOURNAL_FOLDER_MAX + 256];
    char name[160]; /* of the file, without the ending that the two differ in */
    char peer[JOURNAL_PEER_SIZE], hex[2 * GODWIT_TOKEN_SIZE + 1];
    uint8_t token[GODWIT_TOKEN_SIZE];
};

/* The first file in folder, of this ending, that is this machine's as a source. */
static bool journal_find(const char *folder, const char *uuid, const char *ending,
                         struct journal_trace *t)
{
    size_t len = strlen(uuid);
    struct dirent *entry;
    bool found = false;
    DIR *d = opendir(folder);

    while (d && !found && (entry = readdir(d))) {
        const char *name = entry->d_name, *end = strrchr(name, '.');

        found = strncmp(name, uuid, len) == 0 && strncmp(name + len, ".source.", 8) == 0 &&
                strcmp(end, ending) == 0 &&
                snprintf(t->path, sizeof(t->path), "%s/%s", folder, name) < (int)sizeof(t->path) &&
                snprintf(t->name, sizeof(t->name), "%.*s", (int)(end - name), name) <
                    (int)sizeof(t->name);
    }
    if (d)
        closedir(d);
    return found;
}

/* The last line that is complete, as JSON; NULL when there is none. */
static json_t *journal_last_line(const char *path)
{
    char text[8192], *line;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    ssize_t n = fd >= 0 ? read(fd, text, sizeof(text) - 1) : -1;

    if (fd >= 0)
        close(fd);
    if (n <= 0)
        return NULL;
    text[n] = 0;
    line = strrchr(text, '\n');
    if (!line)
        return NULL;
    *line = 0;
    line = strrchr(text, '\n');
    return json_loads(line ? line + 1 : text, 0, NULL);
}

static bool journal_read_token(const char *hex, uint8_t token[GODWIT_TOKEN_SIZE])
{
    for (int i = 0; i < GODWIT_TOKEN_SIZE; i++)
        if (sscanf(hex + 2 * i, "%2hhx", &token[i]) != 1)
            return false;
    return true;
}

static int journal_read(struct journal_trace *t, struct err *e)
{
    json_t *line = journal_last_line(t->path);
    const char *token = "", *peer = "";
    bool ok = line && !json_unpack(line, "{s:s, s:s}", "token", &token, "peer", &peer);

    ok = ok && strlen(token) == 2 * GODWIT_TOKEN_SIZE && journal_read_token(token, t->token);
    if (ok) {
        snprintf(t->peer, sizeof(t->peer), "%s", peer);
        snprintf(t->hex, sizeof(t->hex), "%s", token);
    }
    json_decref(line);
    return ok ? 0
              : err_set(e, -EBUSY, "journal",
                        "the handover journal %s cannot be read: if the machine runs nowhere else, "
                        "remove that file and start again",
                        t->path);
}

static int journal_forget(const struct journal_trace *t, const char *durable, const char *memory,
                          struct err *e)
{
    char path[JOURNAL_FOLDER_MAX + 256];

    if (snprintf(path, sizeof(path), "%s/%s.journal", memory, t->name) < (int)sizeof(path))
        unlink(path);
    if (snprintf(path, sizeof(path), "%s/%s.intent", durable, t->name) < (int)sizeof(path))
        unlink(path);
    if (access(t->path, F_OK) == 0)
        return err_set_errno(e, -EACCES, "journal", "cannot remove %s", t->path);
    return 0;
}

static int journal_refuse(const struct journal_trace *t, enum godwit_answer answer, struct err *e)
{
    switch (answer) {
    case GODWIT_ANSWER_RUNNING:
        return err_set(
            e, -EBUSY, "journal",
            "the machine runs at %s, where migration %.8s moved it; once it does not any "
            "more, remove %s to start it here",
            t->peer, t->hex, t->path);
    case GODWIT_ANSWER_READY:
        return err_set(
            e, -EBUSY, "journal",
            "the machine waits at %s, complete and paused (migration %.8s): let it run "
            "there with migrate-resolve {\"winner\": \"destination\"}, or give it up there with "
            "{\"winner\": \"source\"} and start it here again",
            t->peer, t->hex);
    default:
        return err_set(e, -EBUSY, "journal",
                       "%s does not know of migration %.8s any more, which may have given the "
                       "machine away: if it runs nowhere else, remove %s and start again",
                       t->peer, t->hex, t->path);
    }
}

/* 0: that story has ended, and is forgotten. */
static int journal_settle(struct journal_trace *t, journal_ask_fn ask, const char *durable,
                          const char *memory, struct err *e)
{
    enum godwit_answer answer = GODWIT_ANSWER_UNKNOWN;
    struct err why = ERR_INIT;
    int lock = journal_lock(t->path), rc;

    if (lock < 0)
        return err_set(e, -EBUSY, "journal",
                       "the machine is being migrated by another process of this host (%s)",
                       t->path);
    close(lock);
    rc = journal_read(t, e);
    if (rc != 0)
        return rc;
    if (ask(t->peer, t->token, &answer, &why) != 0)
        return err_set(
            e, -EBUSY, "journal",
            "the machine may have been given to %s (migration %.8s), which cannot be asked "
            "(%s): if it does not run there, remove %s and start again",
            t->peer, t->hex, why.text, t->path);
    if (answer != GODWIT_ANSWER_NEVER_RAN)
        return journal_refuse(t, answer, e);
    log_info("journal", "it never ran at %s: migration %.8s is over", t->peer, t->hex);
    return journal_forget(t, durable, memory, e);
}

int journal_check_start(const char *uuid, journal_ask_fn ask, struct err *e)
{
    char durable[JOURNAL_FOLDER_MAX], memory[JOURNAL_FOLDER_MAX];
    struct journal_trace t;
    int rc = journal_folders(durable, memory, e);

    /* The durable one first: it has the lock.  Each turn forgets one. */
    while (rc == 0 && (journal_find(durable, uuid, ".intent", &t) ||
                       journal_find(memory, uuid, ".journal", &t)))
        rc = journal_settle(&t, ask, durable, memory, e);
    return rc;
}
