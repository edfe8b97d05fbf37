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
    return what == GODWIT_JOURNAL_ABORT || what == GODWIT_JOURNAL_COMPLETED ||
           what == GODWIT_JOURNAL_DISCARDED;
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
        return err_set_errno(e, rc, "journal",
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
    char line[640];
    const char *path;
    int n, rc = journal_paths(j, token, e);

    if (rc != 0)
        return rc;
    if (journal_ends_story(what)) {
        j->open = false;
        journal_close(j);
        return 0;
    }
    n = journal_line(line, sizeof(line), what, token, peer);
    path = durable ? j->durable : j->volatile_;
    rc = journal_append(path, line, (size_t)n, durable);
    if (rc == 0 && durable)
        rc = journal_sync_folder(path);
    if (rc != 0)
        return err_set_errno(e, rc, "journal", "cannot write the handover journal %s", path);
    j->open = journal_leaves_open(what);
    return 0;
}

void journal_close(struct journal *j)
{
    if (!j->durable[0] || j->open)
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

/* The first file in folder that is this machine's as a source and forbids a start; moot intents are
 * removed on the way. */
static bool journal_find_open(const char *folder, const char *uuid, char *path, size_t cap)
{
    size_t len = strlen(uuid);
    struct dirent *entry;
    bool found = false;
    DIR *d = opendir(folder);

    while (d && !found && (entry = readdir(d))) {
        const char *name = entry->d_name, *end = strrchr(name, '.');

        if (strncmp(name, uuid, len) != 0 || strncmp(name + len, ".source.", 8) != 0 ||
            snprintf(path, cap, "%s/%s", folder, name) >= (int)cap)
            continue;
        if (!strcmp(end, ".intent") && journal_intent_is_moot(path))
            unlink(path);
        else
            found = true;
    }
    if (d)
        closedir(d);
    return found;
}

int journal_check_start(const char *uuid, struct err *e)
{
    char durable[JOURNAL_FOLDER_MAX], memory[JOURNAL_FOLDER_MAX], path[JOURNAL_FOLDER_MAX + 256];
    int rc = journal_folders(durable, memory, e);

    if (rc != 0)
        return rc;
    if (journal_find_open(memory, uuid, path, sizeof(path)))
        return err_set(e, -EBUSY, "journal",
                       "machine %s was given to another host and never heard of again (%s): if it "
                       "does not run there, remove that file and start again",
                       uuid, path);
    if (journal_find_open(durable, uuid, path, sizeof(path)))
        return err_set(e, -EBUSY, "journal",
                       "machine %s was about to be given to another host when this one stopped "
                       "(%s): if it does not run there, remove that file and start again",
                       uuid, path);
    return 0;
}
