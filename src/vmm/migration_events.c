#include "vmm/migration_events.h"

#include <stdlib.h>

#include "base/log.h"
#include "vmm/monitor.h"

struct posted {
    struct monitor *m;
    enum godwit_event_kind kind;
    enum godwit_status status;
    uint64_t rounds;
    void (*changed)(struct monitor *m, enum godwit_status status);
};

static void posted_send(void *opaque)
{
    struct posted *p = opaque;

    if (p->kind == GODWIT_EVENT_STATUS) {
        monitor_event(p->m, "MIGRATION",
                      json_pack("{s:s}", "status", godwit_status_name(p->status)));
        if (p->changed)
            p->changed(p->m, p->status);
    } else {
        monitor_event(p->m, "MIGRATION_PASS",
                      json_pack("{s:I}", "pass", (json_int_t)p->rounds));
    }
    free(p);
}

void migration_event_post(struct monitor *m, enum godwit_event_kind kind,
                          const struct godwit_stats *stats,
                          void (*changed)(struct monitor *m, enum godwit_status status))
{
    struct posted *p;

    if (kind == GODWIT_EVENT_STAGE) {
        log_info("migrate", "stage %s", godwit_stage_name(stats->stage));
        return;
    }
    if (kind == GODWIT_EVENT_STATUS && stats->error.code)
        log_error("migrate", "%s: %s: %s", godwit_status_name(stats->status), stats->error.stage,
                  stats->error.text);
    p = malloc(sizeof(*p));
    if (!p)
        return; /* an event lost; query-migrate still tells */
    *p = (struct posted){.m = m,
                         .kind = kind,
                         .status = stats->status,
                         .rounds = stats->rounds,
                         .changed = changed};
    if (loop_post(m->loop, posted_send, p) != 0)
        free(p);
}
