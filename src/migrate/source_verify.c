/*
 * The second proof, after the handover and outside of the blackout: is the memory of the paused
 * machine what was sent?  Page by page it is hashed again and compared with the table the
 * destination agreed to.  A page that the guest wrote and nobody called dirty shows here, and only
 * here: it was not sent.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/log.h"
#include "migrate/source.h"
#include "migrate/story.h"
#include "migrate/thread.h"

#define WORKERS     2
#define CHUNK_PAGES 2048U

struct look {
    struct godwit_source *s;
    atomic_bool quit;
    atomic_uint working;

    pthread_mutex_t lock; /* guards what follows */
    uint32_t region;      /* the next chunk */
    uint64_t page;
    bool differs; /* at: */
    uint32_t at_region;
    uint64_t at_page;
};

static bool next_chunk(struct look *l, uint32_t *region, uint64_t *first, uint64_t *n)
{
    const struct digest *d = l->s->digest;
    bool more;

    pthread_mutex_lock(&l->lock);
    while (l->region < d->nregions && l->page >= d->pages[l->region]) {
        l->region++;
        l->page = 0;
    }
    more = l->region < d->nregions;
    if (more) {
        *region = l->region;
        *first = l->page;
        *n = d->pages[l->region] - l->page < CHUNK_PAGES ? d->pages[l->region] - l->page
                                                         : CHUNK_PAGES;
        l->page += *n;
    }
    pthread_mutex_unlock(&l->lock);
    return more && !atomic_load(&l->quit);
}

/* Chunks are taken in order, so that the first page found is among the first there are. */
static void found(struct look *l, uint32_t region, uint64_t page)
{
    pthread_mutex_lock(&l->lock);
    if (!l->differs || region < l->at_region || (region == l->at_region && page < l->at_page)) {
        l->differs = true;
        l->at_region = region;
        l->at_page = page;
    }
    pthread_mutex_unlock(&l->lock);
    atomic_store(&l->quit, true);
}

/* Never touched, says the monitor: only what was sent as something else is looked at. */
static uint64_t check_hole(const struct digest *d, const struct godwit_region *r, uint64_t first,
                           uint64_t n)
{
    for (uint64_t page = first; page < first + n; page++)
        if (d->hashes[r->id][page] && digest_check(d, r, page, 1) != UINT64_MAX)
            return page;
    return UINT64_MAX;
}

/* [*first, *n): the next range that was touched, in pages; what lies before it is a hole. */
static void next_data(const struct godwit_source *s, const struct godwit_region *r, uint64_t page,
                      uint64_t *first, uint64_t *end)
{
    uint64_t start, stop;

    *first = page;
    *end = r->size / GODWIT_PAGE_SIZE;
    if (!s->config.ops->next_data ||
        s->config.ops->next_data(s->config.opaque, r->id, page * GODWIT_PAGE_SIZE, &start, &stop))
        return;
    *first = start / GODWIT_PAGE_SIZE;
    *end = (stop + GODWIT_PAGE_SIZE - 1) / GODWIT_PAGE_SIZE;
}

static uint64_t check_chunk(struct look *l, uint32_t region, uint64_t page, uint64_t n)
{
    const struct godwit_region *r = &l->s->regions[region];
    const struct digest *d = l->s->digest;
    uint64_t last = page + n, bad = UINT64_MAX;

    while (page < last && bad == UINT64_MAX) {
        uint64_t first, end;

        next_data(l->s, r, page, &first, &end);
        first = first < last ? first : last;
        end = end < last ? end : last;
        bad = check_hole(d, r, page, first - page);
        if (bad == UINT64_MAX && first < end)
            bad = digest_check(d, r, first, end - first);
        page = end > first ? end : last;
    }
    return bad;
}

static void *worker(void *arg)
{
    struct look *l = arg;
    uint64_t first, n, bad;
    uint32_t region;

    while (next_chunk(l, &region, &first, &n)) {
        bad = check_chunk(l, region, first, n);
        if (bad != UINT64_MAX)
            found(l, region, bad);
    }
    atomic_fetch_sub(&l->working, 1);
    bell_ring(&l->s->bell);
    return NULL;
}

/* ---- the migrate thread waits --------------------------------------------------------------- */

/* Until the workers are done, or nobody wants to know any more; the link stays alive meanwhile. */
static void attend(struct look *l)
{
    struct godwit_source *s = l->s;
    struct link_record rec;

    while (atomic_load(&l->working) > 0) {
        if (source_is_leaving(s))
            atomic_store(&l->quit, true);
        if (!link_up(&s->link))
            bell_wait(&s->bell, 0);
        else if (link_wait(&s->link, 0, &rec, NULL) < 0)
            link_drop(&s->link);
    }
}

static bool tell(struct godwit_source *s, enum godwit_verified v, const char *page, uint64_t ns)
{
    struct native_times t = {.kind = NATIVE_TIMES_VERDICT,
                             .own_ns = ns,
                             .verdict = v == GODWIT_VERIFIED_IDENTICAL ? NATIVE_VERDICT_IDENTICAL
                                                                       : NATIVE_VERDICT_DIFFERS};
    struct buf b;
    int ret;

    if (!link_up(&s->link))
        return false;
    snprintf(t.differs, sizeof(t.differs), "%s", page);
    buf_init(&b, 0);
    ret = native_times_encode(&b, &t);
    return link_post(&s->link, &b, ret, NULL) == 0;
}

/* Nobody waited for it, or nobody could look. */
static void leave_unknown(struct godwit_source *s, uint64_t ns)
{
    story_verified(&s->stats, GODWIT_VERIFIED_UNKNOWN, NULL, ns);
    stats_tell(&s->stats, GODWIT_EVENT_VERIFIED);
}

static bool conclude(struct look *l, uint64_t ns)
{
    enum godwit_verified v = l->differs ? GODWIT_VERIFIED_DIFFERS : GODWIT_VERIFIED_IDENTICAL;
    struct godwit_source *s = l->s;
    bool told;
    char page[NATIVE_DIFFERS_MAX + 1] = "";

    if (l->differs) {
        snprintf(page, sizeof(page), "%s page 0x%" PRIx64, s->regions[l->at_region].name,
                 l->at_page);
        log_error("migrate",
                  "%s is not at the destination what it is here: a change to it was not tracked",
                  page);
    }
    story_verified(&s->stats, v, page, ns);
    told = tell(s, v, page, ns);
    stats_tell(&s->stats, GODWIT_EVENT_VERIFIED);
    return told;
}

bool source_verify(struct godwit_source *s)
{
    struct look l = {.s = s, .lock = PTHREAD_MUTEX_INITIALIZER};
    uint64_t began = clock_now_ns();
    pthread_t threads[WORKERS];
    unsigned n = 0;

    if (!s->digest)
        return false;
    for (; n < WORKERS; n++) {
        char name[16];

        snprintf(name, sizeof(name), "verify-%u", n);
        atomic_fetch_add(&l.working, 1);
        if (thread_start(&threads[n], name, worker, &l)) {
            atomic_fetch_sub(&l.working, 1);
            break;
        }
    }
    if (n == 0) {
        log_warn("migrate", "no thread to look at the memory again: it is not verified");
        leave_unknown(s, 0);
        return false;
    }
    attend(&l);
    for (unsigned i = 0; i < n; i++)
        pthread_join(threads[i], NULL);
    pthread_mutex_destroy(&l.lock);
    if (!l.differs && atomic_load(&l.quit)) {
        leave_unknown(s, clock_now_ns() - began);
        return false;
    }
    return conclude(&l, clock_now_ns() - began);
}
