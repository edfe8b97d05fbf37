#include "vmm/record.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "qmp/command.h"
#include "vmm/migrate_describe.h"
#include "vmm/state_dir.h"

#define RECORD_FORMAT     1
#define RECORD_FOLDER_MAX 400

static void record_began(const struct godwit_record *r, char *out, size_t cap)
{
    time_t at = time(NULL) - (time_t)(r->stats.total_ns / NS_PER_S);
    struct tm tm;

    strftime(out, cap, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&at, &tm));
}

static json_t *record_describe(const struct machine_config *machine, const struct godwit_record *r)
{
    char began[32];

    record_began(r, began, sizeof(began));
    return json_pack("{s:i,s:s,s:s,s:s,s:{s:o,s:s},s:o}", "format", RECORD_FORMAT, "monitor",
                     "godwit " GODWIT_VERSION, "role", r->is_source ? "source" : "destination",
                     "started", began, "machine", "name", qmp_text(machine->name), "uuid",
                     machine->uuid, "migration", migrate_describe_record(r));
}

/* At once: json_dumpfd makes a system call of every word, 18,000 for 256 rounds. */
static int record_put(int fd, const char *text, size_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, text, len);

        if (n < 0 && errno != EINTR)
            return -errno;
        if (n > 0) {
            text += n;
            len -= (size_t)n;
        }
    }
    return 0;
}

/* The whole file under another name first. */
static int record_replace(const char *path, const json_t *what)
{
    char part[RECORD_FOLDER_MAX + 80];
    char *text = json_dumps(what, JSON_INDENT(1));
    int fd, rc;

    if (!text)
        return -ENOMEM;
    snprintf(part, sizeof(part), "%s.part", path);
    fd = open(part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0640);
    rc = fd < 0 ? -errno : record_put(fd, text, strlen(text));
    free(text);
    if (fd < 0)
        return rc;
    close(fd);
    if (rc == 0 && rename(part, path) != 0)
        rc = -errno;
    if (rc != 0)
        unlink(part);
    return rc;
}

static int record_store(const struct godwit_record *r, const json_t *what)
{
    char folder[RECORD_FOLDER_MAX], path[RECORD_FOLDER_MAX + 64];
    int rc = state_dir(STATE_DIR_DURABLE, folder, sizeof(folder) - sizeof("/records"));

    if (rc != 0)
        return rc;
    strcat(folder, "/records");
    rc = state_dir_make(folder);
    if (rc != 0)
        return rc;
    snprintf(path, sizeof(path), "%s/%s-%s.json", folder, r->stats.id,
             r->is_source ? "source" : "destination");
    return record_replace(path, what);
}

void record_write(const struct machine_config *machine, const struct godwit_record *r)
{
    json_t *what;
    int rc = -ENOMEM;

    if (!r->stats.id[0])
        return; /* it never had a peer */
    what = record_describe(machine, r);
    if (what)
        rc = record_store(r, what);
    json_decref(what);
    if (rc != 0)
        log_warn("migrate", "%s: its record could not be written: %s", r->stats.id, strerror(-rc));
}
