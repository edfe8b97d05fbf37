/*
 * Theory of operation.  A measurement is a row of steps on the main loop's timer: what has to be
 * done before (samples hashed, the log begun and made clean chunk by chunk), the wait, and what has
 * to be done after.  Only the wait counts as time, from the moment the log was clean.
 */
#include "vmm/dirtyrate.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bitmap.h"
#include "base/clock.h"
#include "vmm/dirtyrate_sample.h"
#include "vmm/monitor.h"
#include "vmm/outgoing.h"

#define STAGE "dirty rate"
/* What is made clean in one step, in pages: write-protecting 64 GiB takes 160 ms. */
#define CLEAN_PAGES (1U << 18)

static const char *const mode_names[] = {
    [DIRTYRATE_PAGE_SAMPLING] = "page-sampling",
    [DIRTYRATE_DIRTY_RING] = "dirty-ring",
    [DIRTYRATE_DIRTY_BITMAP] = "dirty-bitmap",
};
_Static_assert(sizeof(mode_names) / sizeof(mode_names[0]) == DIRTYRATE_MODE_COUNT, "a name each");

static const char *const status_names[] = {
    [DIRTYRATE_UNSTARTED] = "unstarted",
    [DIRTYRATE_MEASURING] = "measuring",
    [DIRTYRATE_MEASURED] = "measured",
};
_Static_assert(sizeof(status_names) / sizeof(status_names[0]) == DIRTYRATE_STATUS_COUNT,
               "a name each");

struct dirtyrate {
    struct vm *vm; /* while measuring */
    struct loop_timer *timer;
    struct dirtyrate_result result;
    void (*step)(struct dirtyrate *d); /* what the timer does next */
    uint64_t from_ns;
    bool logging;
    struct samples samples;
    uint64_t *bitmap, clean; /* pages made clean so far */
    struct vm_dirty_since since;
    uint64_t pages[X86_VCPUS_MAX];
};

const char *dirtyrate_mode_name(enum dirtyrate_mode m)
{
    return mode_names[m];
}

const char *dirtyrate_status_name(enum dirtyrate_status s)
{
    return status_names[s];
}

/* ---- the row of steps ---- */

static void next_step(struct dirtyrate *d, void (*step)(struct dirtyrate *), uint64_t at_ns)
{
    d->step = step;
    loop_timer_set(d->timer, at_ns);
}

static void step(void *opaque)
{
    struct dirtyrate *d = opaque;

    d->step(d);
}

static uint64_t page_count(const struct dirtyrate *d)
{
    return d->vm->mem->size / GUEST_PAGE_SIZE;
}

static void end(struct dirtyrate *d, bool valid)
{
    loop_timer_cancel(d->timer);
    if (d->logging)
        hv_dirty_stop(d->vm->hv);
    d->logging = false;
    samples_fini(&d->samples);
    if (d->bitmap)
        bitmap_free(d->bitmap, page_count(d));
    d->bitmap = NULL;
    d->vm = NULL;
    d->result.valid = valid;
    d->result.status = DIRTYRATE_MEASURED;
}

/* From now on it counts. */
static void wait_for(struct dirtyrate *d, void (*then)(struct dirtyrate *))
{
    d->from_ns = clock_now_ns();
    next_step(d, then, d->from_ns + d->result.seconds * NS_PER_S);
}

static void tell(struct dirtyrate *d, uint64_t bytes, uint64_t ns)
{
    d->result.bytes_per_s = (uint64_t)((double)bytes * NS_PER_S / (double)ns);
    end(d, true);
}

/* ---- page sampling ---- */

static void sampling_compares(struct dirtyrate *d)
{
    if (samples_compare(&d->samples))
        tell(d, samples_changed_bytes(&d->samples), d->result.seconds * NS_PER_S);
    else
        next_step(d, sampling_compares, 0);
}

static void sampling_takes(struct dirtyrate *d)
{
    if (samples_take(&d->samples))
        wait_for(d, sampling_compares);
    else
        next_step(d, sampling_takes, 0);
}

/* ---- the bitmap ---- */

static void bitmap_counts(struct dirtyrate *d)
{
    uint64_t ns = clock_now_ns() - d->from_ns;

    memset(d->bitmap, 0, BITMAP_WORDS(page_count(d)) * sizeof(d->bitmap[0]));
    if (hv_dirty_get(d->vm->hv, d->bitmap, NULL) != 0)
        end(d, false);
    else
        tell(d, bitmap_count(d->bitmap, page_count(d)) * GUEST_PAGE_SIZE, ns);
}

/* At first everything counts as dirty.  What is written while the rest is made clean is made clean
 * again in a second, short pass. */
static void bitmap_is_cleaned(struct dirtyrate *d)
{
    uint64_t pages = page_count(d), left = pages - d->clean;
    uint64_t n = left < CLEAN_PAGES ? left : CLEAN_PAGES;
    int rc = hv_dirty_clear(d->vm->hv, d->clean, n, d->bitmap + d->clean / 64, NULL);

    d->clean += n;
    if (rc == 0 && d->clean < pages) {
        next_step(d, bitmap_is_cleaned, 0);
        return;
    }
    memset(d->bitmap, 0, BITMAP_WORDS(pages) * sizeof(d->bitmap[0]));
    if (rc == 0)
        rc = hv_dirty_get(d->vm->hv, d->bitmap, NULL);
    if (rc == 0)
        rc = hv_dirty_clear(d->vm->hv, 0, pages, d->bitmap, NULL);
    if (rc == 0)
        wait_for(d, bitmap_counts);
    else
        end(d, false);
}

/* ---- the ring ---- */

/* Once a second, so that a page that is written all the time counts once a second, as it does for
 * others who measure so. */
static void ring_counts(struct dirtyrate *d)
{
    struct dirtyrate_result *r = &d->result;
    uint64_t now = clock_now_ns(), pages[X86_VCPUS_MAX] = {0}, sum = 0;
    uint64_t end_ns = d->from_ns + r->seconds * NS_PER_S;

    if (hv_dirty_counts(d->vm->hv, pages, d->vm->nvcpus, NULL) != 0) {
        end(d, false);
        return;
    }
    if (now < end_ns) {
        next_step(d, ring_counts, now + NS_PER_S < end_ns ? now + NS_PER_S : end_ns);
        return;
    }
    r->nvcpus = d->vm->nvcpus;
    for (uint32_t i = 0; i < r->nvcpus; i++) {
        uint64_t bytes = (pages[i] - d->pages[i]) * GUEST_PAGE_SIZE;

        r->vcpu_bytes_per_s[i] = (uint64_t)((double)bytes * NS_PER_S / (double)(now - d->from_ns));
        sum += bytes;
    }
    tell(d, sum, now - d->from_ns);
}

/* ---- beginnings ---- */

static int begin_sampling(struct dirtyrate *d, struct err *e)
{
    if (samples_init(&d->samples, d->vm->mem, d->result.samples) != 0)
        return err_set(e, -ENOMEM, STAGE, "no memory for samples");
    next_step(d, sampling_takes, 0);
    return 0;
}

static int begin_bitmap(struct dirtyrate *d, struct err *e)
{
    int rc;

    if (hv_vm_caps(d->vm->hv)->dirty_ring)
        return err_set(e, -ENOTSUP, STAGE,
                       "this machine has dirty rings: measure by dirty-ring or page-sampling");
    d->bitmap = bitmap_new(page_count(d));
    if (!d->bitmap)
        return err_set(e, -ENOMEM, STAGE, "no memory for the dirty log");
    rc = hv_dirty_start(d->vm->hv, e);
    d->logging = rc == 0;
    if (rc == 0)
        rc = hv_dirty_get(d->vm->hv, d->bitmap, e);
    d->clean = 0;
    if (rc == 0)
        next_step(d, bitmap_is_cleaned, 0);
    return rc;
}

static int begin_ring(struct dirtyrate *d, struct err *e)
{
    int rc = hv_dirty_counts(d->vm->hv, d->pages, d->vm->nvcpus, e);

    if (rc == 0)
        rc = hv_dirty_start(d->vm->hv, e);
    d->logging = rc == 0;
    if (rc == 0)
        wait_for(d, ring_counts);
    if (rc == 0)
        next_step(d, ring_counts, d->from_ns + NS_PER_S);
    return rc;
}

static struct dirtyrate *made(struct monitor *m)
{
    struct dirtyrate *d = m->dirtyrate ? m->dirtyrate : calloc(1, sizeof(*d));

    if (d && !d->timer)
        d->timer = loop_timer_new(m->loop, step, d);
    if (d && !d->timer) {
        free(d);
        return NULL;
    }
    m->dirtyrate = d;
    return d;
}

static int check(struct monitor *m, uint32_t seconds, uint32_t samples, struct err *e)
{
    int rc = monitor_check_mine(m, "measure", e);

    if (rc != 0)
        return rc;
    if (seconds < 1 || seconds > DIRTYRATE_TIME_MAX_S)
        return err_set(e, -EINVAL, STAGE, "a time of %u s (allowed: 1 to %d)", seconds,
                       DIRTYRATE_TIME_MAX_S);
    if (samples && (samples < DIRTYRATE_SAMPLES_MIN || samples > DIRTYRATE_SAMPLES_MAX))
        return err_set(e, -EINVAL, STAGE, "%u samples per GiB (allowed: %d to %d)", samples,
                       DIRTYRATE_SAMPLES_MIN, DIRTYRATE_SAMPLES_MAX);
    if (outgoing_is_active(m->outgoing))
        return err_set(e, -EBUSY, STAGE, "a migration runs: query-migrate tells the rate");
    if (m->dirtyrate && m->dirtyrate->result.status == DIRTYRATE_MEASURING)
        return err_set(e, -EBUSY, STAGE, "a measurement is under way already");
    return 0;
}

int dirtyrate_start(struct monitor *m, enum dirtyrate_mode mode, uint32_t seconds, uint32_t samples,
                    struct err *e)
{
    int rc = check(m, seconds, samples, e);
    struct dirtyrate *d = rc == 0 ? made(m) : NULL;

    if (rc != 0)
        return rc;
    if (!d)
        return err_set(e, -ENOMEM, STAGE, "no memory to measure with");
    d->vm = m->vm;
    d->result = (struct dirtyrate_result){
        .status = DIRTYRATE_MEASURING,
        .mode = mode,
        .start_s = clock_realtime_ns() / NS_PER_S,
        .seconds = seconds,
        .samples = samples ? samples : DIRTYRATE_SAMPLES,
    };
    if (mode == DIRTYRATE_DIRTY_BITMAP)
        rc = begin_bitmap(d, e);
    else
        rc = mode == DIRTYRATE_DIRTY_RING ? begin_ring(d, e) : begin_sampling(d, e);
    if (rc != 0) {
        end(d, false);
        d->result.status = DIRTYRATE_UNSTARTED;
    }
    return rc;
}

void dirtyrate_query(const struct monitor *m, struct dirtyrate_result *out)
{
    if (m->dirtyrate)
        *out = m->dirtyrate->result;
    else
        *out = (struct dirtyrate_result){.samples = DIRTYRATE_SAMPLES};
}

void dirtyrate_abandon(struct monitor *m)
{
    if (m->dirtyrate && m->dirtyrate->result.status == DIRTYRATE_MEASURING)
        end(m->dirtyrate, false);
}

void dirtyrate_free(struct monitor *m)
{
    if (!m->dirtyrate)
        return;
    dirtyrate_abandon(m);
    loop_timer_free(m->dirtyrate->timer);
    free(m->dirtyrate);
    m->dirtyrate = NULL;
}
