#include "vmm/migrate_describe.h"

#include <stdio.h>

#include "base/clock.h"
#include "qmp/command.h"

/* Without memory a member is missing; nobody would be helped by no answer at all. */
static void put(json_t *o, const char *name, uint64_t v)
{
    json_object_set_new(o, name, json_integer((json_int_t)v));
}

static void put_ratio(json_t *o, const char *name, double part, double whole)
{
    json_object_set_new(o, name, json_real(whole > 0 ? part / whole : 0));
}

static void put_text(json_t *o, const char *name, const char *text)
{
    if (text[0])
        json_object_set_new(o, name, qmp_text(text));
}

/* ---- QEMU's ---- */

static uint64_t lane_bytes(const struct godwit_record *r)
{
    uint64_t sum = 0;

    for (uint32_t i = 0; i < r->nlanes; i++)
        sum += r->lanes[i].bytes;
    return sum;
}

static json_t *describe_ram(const struct godwit_record *r)
{
    const struct godwit_stats *s = &r->stats;
    double seconds = (double)s->total_ns / 1e9;
    json_t *o = json_object();

    put(o, "transferred", s->transferred);
    put(o, "remaining", s->remaining);
    put(o, "total", s->total);
    put(o, "duplicate", s->zero_pages);
    put(o, "skipped", s->skipped_pages);
    put(o, "normal", s->normal_pages);
    put(o, "normal-bytes", s->normal_pages * GODWIT_PAGE_SIZE);
    put(o, "page-size", GODWIT_PAGE_SIZE);
    put_ratio(o, "mbps", (double)s->transferred * 8 / 1e6, seconds);
    put(o, "pages-per-second",
        seconds > 0 ? (uint64_t)((double)(s->normal_pages + s->zero_pages) / seconds) : 0);
    put(o, "dirty-pages-rate", s->dirty_pages_rate);
    put(o, "dirty-sync-count", s->rounds);
    put(o, "dirty-sync-missed-zero-copy", 0);
    put(o, "precopy-bytes", s->precopy_bytes);
    put(o, "downtime-bytes", s->downtime_bytes);
    put(o, "postcopy-bytes", 0);
    put(o, "postcopy-requests", 0);
    put(o, "multifd-bytes", lane_bytes(r));
    return o;
}

static json_t *describe_delta(const struct godwit_stats *s)
{
    json_t *o = json_object();

    put(o, "bytes", s->delta_bytes);
    put(o, "pages", s->delta_pages);
    put(o, "cache-hit", s->delta_hits);
    put(o, "cache-miss", s->delta_misses);
    put_ratio(o, "cache-miss-rate", (double)s->delta_misses,
              (double)(s->delta_hits + s->delta_misses + s->delta_overflows));
    put_ratio(o, "encoding-rate", (double)s->delta_pages * GODWIT_PAGE_SIZE,
              (double)s->delta_bytes);
    put(o, "overflow", s->delta_overflows);
    return o;
}

/* Lanes never wait for a compressor: they are the compressors. */
static json_t *describe_compression(const struct godwit_stats *s)
{
    json_t *o = json_object();

    put(o, "pages", s->packed_pages);
    put(o, "busy", 0);
    put_ratio(o, "busy-rate", 0, 0);
    put(o, "compressed-size", s->packed_bytes);
    put_ratio(o, "compression-rate", (double)s->packed_pages * GODWIT_PAGE_SIZE,
              (double)s->packed_bytes);
    return o;
}

static void describe_times(json_t *o, const struct godwit_stats *s)
{
    put(o, "total-time", s->total_ns / NS_PER_MS);
    put(o, "setup-time", s->setup_ns / NS_PER_MS);
    put(o, "expected-downtime", s->expected_downtime_ns / NS_PER_MS);
    put(o, "expected-downtime-us", s->expected_downtime_ns / NS_PER_US);
    if (s->status == GODWIT_COMPLETED) {
        put(o, "downtime", s->downtime_ns / NS_PER_MS);
        put(o, "downtime-us", s->downtime_ns / NS_PER_US);
    }
    if (s->blackout_ns)
        put(o, "blackout-us", s->blackout_ns / NS_PER_US);
    if (s->throttle)
        put(o, "cpu-throttle-percentage", s->throttle);
}

/* ---- beyond ---- */

static json_t *describe_stages(const struct godwit_stats *s)
{
    json_t *a = json_array();

    for (int i = 0; i < GODWIT_STAGE_COUNT; i++) {
        json_t *o;

        if (!s->stages[i].start_ns && !s->stages[i].duration_ns)
            continue;
        o = json_object();
        put_text(o, "stage", godwit_stage_name((enum godwit_stage)i));
        put(o, "start-us", s->stages[i].start_ns / NS_PER_US);
        put(o, "duration-us", s->stages[i].duration_ns / NS_PER_US);
        json_array_append_new(a, o);
    }
    return a;
}

static json_t *describe_rounds(const struct godwit_record *r)
{
    json_t *a = json_array();

    for (uint32_t i = 0; i < r->nrounds; i++) {
        const struct godwit_round *round = &r->rounds[i];
        json_t *o = json_object();

        put(o, "start-us", round->start_ns / NS_PER_US);
        put(o, "duration-us", round->duration_ns / NS_PER_US);
        put(o, "dirty-bytes", round->dirty);
        put(o, "sent-bytes", round->sent);
        put(o, "dirty-rate", round->dirty_rate);
        put(o, "bandwidth", round->bandwidth);
        put(o, "predicted-downtime-us", round->predicted_ns / NS_PER_US);
        put(o, "throttle", round->throttle);
        json_array_append_new(a, o);
    }
    return a;
}

static json_t *describe_lanes(const struct godwit_record *r)
{
    json_t *a = json_array();

    for (uint32_t i = 0; i < r->nlanes; i++) {
        const struct godwit_lane *lane = &r->lanes[i];
        json_t *o = json_object();

        put(o, "bytes", lane->bytes);
        put(o, "pages", lane->pages);
        put(o, "blocked-us", lane->blocked_ns / NS_PER_US);
        put_text(o, "compression", godwit_compression_name(lane->compression));
        json_array_append_new(a, o);
    }
    return a;
}

static json_t *describe_decisions(const struct godwit_record *r)
{
    json_t *a = json_array();

    for (uint32_t i = 0; i < r->ndecisions; i++) {
        json_t *o = json_object();

        put(o, "at-ms", r->decisions[i].at_ns / NS_PER_MS);
        put_text(o, "what", r->decisions[i].what);
        put_text(o, "why", r->decisions[i].why);
        json_array_append_new(a, o);
    }
    return a;
}

static json_t *describe_phases(const struct godwit_record *r)
{
    json_t *o = json_object();

    for (int i = 0; i < GODWIT_PHASE_COUNT; i++) {
        char name[32];

        snprintf(name, sizeof(name), "%s-us", godwit_phase_name((enum godwit_phase)i));
        put(o, name, r->phase_ns[i] / NS_PER_US);
    }
    return o;
}

static json_t *describe_prediction(const struct godwit_record *r)
{
    json_t *o = json_object();

    put(o, "downtime-us", r->predicted_downtime_ns / NS_PER_US);
    put(o, "total-ms", r->predicted_total_ns / NS_PER_MS);
    return o;
}

static void describe_story(json_t *o, const struct godwit_record *r)
{
    json_object_set_new(o, "stages", describe_stages(&r->stats));
    json_object_set_new(o, "rounds", describe_rounds(r));
    json_object_set_new(o, "lanes", describe_lanes(r));
    json_object_set_new(o, "decisions", describe_decisions(r));
    json_object_set_new(o, "phases", describe_phases(r));
    json_object_set_new(o, "prediction", describe_prediction(r));
    put_text(o, "verified", godwit_verified_name(r->stats.verified));
    put_text(o, "differs", r->differs);
    if (r->verify_ns)
        put(o, "verify-us", r->verify_ns / NS_PER_US);
    if (r->rtt_ns)
        put(o, "rtt-us", r->rtt_ns / NS_PER_US);
}

json_t *migrate_describe_record(const struct godwit_record *r)
{
    const struct godwit_stats *s = &r->stats;
    json_t *o = json_pack("{s:s}", "status", godwit_status_name(s->status));

    if (!o || s->status == GODWIT_NONE)
        return o;
    put_text(o, "id", s->id);
    put_text(o, "peer", r->peer);
    put_text(o, "stage", godwit_stage_name(s->stage));
    if (s->error.code) {
        put_text(o, "error-desc", s->error.text);
        put_text(o, "error-stage", s->error.stage);
    }
    describe_times(o, s);
    put(o, "bandwidth", s->bandwidth);
    put(o, "channels", s->lanes);
    put(o, "reconnections", s->reconnections);
    put(o, "state-bytes", s->state_bytes);
    json_object_set_new(o, "ram", describe_ram(r));
    json_object_set_new(o, "xbzrle-cache", describe_delta(s));
    json_object_set_new(o, "compression", describe_compression(s));
    describe_story(o, r);
    return o;
}

/* ---- progress ---- */

/* While it runs: bytes looked at, and those that are left; the rounds to come, each shorter than
 * the one before by dirty rate over bandwidth, are a geometric series. */
static double progress_of_bytes(const struct godwit_stats *s)
{
    double pages = (double)(s->zero_pages + s->normal_pages + s->skipped_pages);
    double done = pages * GODWIT_PAGE_SIZE, left = (double)s->remaining;
    double ratio =
        s->bandwidth ? (double)s->dirty_pages_rate * GODWIT_PAGE_SIZE / (double)s->bandwidth : 0;

    left /= ratio < 0.9 ? 1 - ratio : 0.1;
    return done + left > 0 ? done / (done + left) : 0;
}

uint32_t migrate_describe_progress(const struct godwit_record *r)
{
    const struct godwit_stats *s = &r->stats;
    double part = r->predicted_total_ns ? (double)s->total_ns / (double)r->predicted_total_ns
                                        : progress_of_bytes(s);

    if (s->status == GODWIT_COMPLETED)
        return 100;
    if (s->status == GODWIT_NONE || s->status == GODWIT_SETUP)
        return 0;
    return part < 0.99 ? (uint32_t)(part * 100) : 99;
}
