#include "vmm/migration_events.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "vmm/incoming.h"
#include "vmm/monitor.h"
#include "vmm/outgoing.h"
#include "vmm/record.h"

struct posted {
    struct monitor *m;
    bool is_source;
    enum godwit_event_kind kind;
    enum godwit_status status;
    uint64_t rounds;
    char id[GODWIT_ID_SIZE];
    void (*changed)(struct monitor *m, enum godwit_status status);
};

/* ---- on the main loop ---- */

static void tell(struct monitor *m, const char *event, json_t *data, const char *id)
{
    if (data && id[0])
        json_object_set_new(data, "id", json_string(id));
    if (m->settings.events)
        monitor_event(m, event, data);
    else
        json_decref(data);
}

/* Those that were not told yet and are still kept: several may have been taken since the event. */
static void tell_decisions(struct monitor *m, const struct godwit_record *r)
{
    uint32_t news;

    if (strcmp(m->decisions_id, r->stats.id) != 0 || r->stats.decisions < m->decisions_told)
        m->decisions_told = 0;
    memcpy(m->decisions_id, r->stats.id, sizeof(m->decisions_id));
    news = r->stats.decisions - m->decisions_told;
    m->decisions_told = r->stats.decisions;
    for (uint32_t i = news < r->ndecisions ? r->ndecisions - news : 0; i < r->ndecisions; i++) {
        const struct godwit_decision *d = &r->decisions[i];

        tell(m, "MIGRATION_DECISION",
             json_pack("{s:o,s:o,s:I}", "what", qmp_text(d->what), "why", qmp_text(d->why), "at-ms",
                       (json_int_t)(d->at_ns / NS_PER_MS)),
             r->stats.id);
    }
}

static void tell_verified(struct monitor *m, const struct godwit_record *r)
{
    json_t *data = json_pack("{s:s}", "verified", godwit_verified_name(r->stats.verified));

    if (data && r->differs[0])
        json_object_set_new(data, "differs", qmp_text(r->differs));
    tell(m, "MIGRATION_VERIFIED", data, r->stats.id);
}

static void tell_record(const struct posted *p, const struct godwit_record *r)
{
    struct monitor *m = p->m;

    if (p->kind == GODWIT_EVENT_DECISION) {
        tell_decisions(m, r);
        return;
    }
    if (p->kind == GODWIT_EVENT_VERIFIED)
        tell_verified(m, r);
    if (!p->is_source)
        return; /* incoming.c has written it */
    record_write(&m->config, r);
    outgoing_set_recorded(m->outgoing);
}

/* What the event is about is in the record: it is too large to post. */
static void tell_from_record(const struct posted *p)
{
    struct monitor *m = p->m;
    struct godwit_record *r = malloc(sizeof(*r));

    if (!r || (p->is_source ? !m->outgoing : !m->incoming)) {
        free(r);
        return; /* no memory, or the monitor is ending; query-migrate still tells */
    }
    if (p->is_source)
        outgoing_record(m->outgoing, r);
    else
        incoming_record(m->incoming, r);
    if (strcmp(r->stats.id, p->id) == 0)
        tell_record(p, r);
    free(r); /* of another one, if it has begun since */
}

/* Nothing comes after these, or nobody knows when. */
static bool is_last_word(enum godwit_status s)
{
    return s == GODWIT_COMPLETED || s == GODWIT_FAILED || s == GODWIT_CANCELED ||
           s == GODWIT_UNRESOLVED;
}

bool migration_event_ends(enum godwit_event_kind kind, enum godwit_status status)
{
    return kind == GODWIT_EVENT_VERIFIED || (kind == GODWIT_EVENT_STATUS && is_last_word(status));
}

static void posted_send(void *opaque)
{
    struct posted *p = opaque;

    switch (p->kind) {
    case GODWIT_EVENT_STATUS:
        tell(p->m, "MIGRATION", json_pack("{s:s}", "status", godwit_status_name(p->status)), p->id);
        if (is_last_word(p->status))
            tell_from_record(p);
        if (p->changed)
            p->changed(p->m, p->status);
        break;
    case GODWIT_EVENT_ROUND:
        tell(p->m, "MIGRATION_PASS", json_pack("{s:I}", "pass", (json_int_t)p->rounds), p->id);
        break;
    case GODWIT_EVENT_DECISION:
        tell_from_record(p);
        break;
    case GODWIT_EVENT_VERIFIED:
        tell_from_record(p);
        if (p->changed)
            p->changed(p->m, p->status);
        break;
    case GODWIT_EVENT_STAGE:
        break; /* is only logged */
    }
    free(p);
}

/* ---- on the engine's thread ---- */

static void log_event(enum godwit_event_kind kind, const struct godwit_stats *s)
{
    const char *id = s->id[0] ? s->id : "new";

    if (kind == GODWIT_EVENT_STAGE)
        log_info("migrate", "%s: stage %s", id, godwit_stage_name(s->stage));
    else if (kind == GODWIT_EVENT_STATUS && s->error.code)
        log_error("migrate", "%s: %s: %s: %s", id, godwit_status_name(s->status), s->error.stage,
                  s->error.text);
    else if (kind == GODWIT_EVENT_STATUS)
        log_info("migrate", "%s: %s", id, godwit_status_name(s->status));
    else if (kind == GODWIT_EVENT_VERIFIED && s->verified == GODWIT_VERIFIED_UNKNOWN)
        log_warn("migrate", "%s: whether memory is identical is not known: %s", id,
                 "its comparison was not waited for, or its verdict not heard");
    else if (kind == GODWIT_EVENT_VERIFIED)
        log_info("migrate", "%s: memory %s", id, godwit_verified_name(s->verified));
}

void migration_event_post(struct monitor *m, bool is_source, enum godwit_event_kind kind,
                          const struct godwit_stats *stats,
                          void (*changed)(struct monitor *m, enum godwit_status status))
{
    struct posted *p;

    log_event(kind, stats);
    if (kind == GODWIT_EVENT_STAGE)
        return;
    p = malloc(sizeof(*p));
    if (!p)
        return; /* an event lost; query-migrate still tells */
    *p = (struct posted){.m = m,
                         .is_source = is_source,
                         .kind = kind,
                         .status = stats->status,
                         .rounds = stats->rounds,
                         .changed = changed};
    memcpy(p->id, stats->id, sizeof(p->id));
    if (loop_post(m->loop, posted_send, p) != 0)
        free(p);
}
