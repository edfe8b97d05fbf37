#include "fake_guest.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bitmap.h"
#include "base/clock.h"

#define PAGE    GODWIT_PAGE_SIZE
#define TICK_NS (1 * NS_PER_MS)

/* ---- memory --------------------------------------------------------------------------------- */

static void memory_add(struct fake_memory *m, const char *name, uint64_t size)
{
    struct godwit_region *r = &m->regions[m->n];

    m->fds[m->n] = memfd_create(name, MFD_CLOEXEC);
    assert(m->fds[m->n] >= 0);
    assert(ftruncate(m->fds[m->n], (off_t)size) == 0);
    *r = (struct godwit_region){.id = m->n, .size = size};
    snprintf(r->name, sizeof(r->name), "%s", name);
    r->host = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, m->fds[m->n], 0);
    assert(r->host != MAP_FAILED);
    m->n++;
}

static void memory_free(struct fake_memory *m)
{
    for (uint32_t i = 0; i < m->n; i++) {
        munmap(m->regions[i].host, m->regions[i].size);
        close(m->fds[i]);
    }
    m->n = 0;
}

uint64_t fake_allocated(const struct fake_memory *m)
{
    uint64_t bytes = 0;

    for (uint32_t i = 0; i < m->n; i++) {
        struct stat st;

        assert(fstat(m->fds[i], &st) == 0);
        bytes += (uint64_t)st.st_blocks * 512;
    }
    return bytes;
}

/* ---- who runs ------------------------------------------------------------------------------- */

static void world_run(struct fake_world *w)
{
    if (atomic_fetch_add(&w->running, 1) >= 1)
        atomic_store(&w->broken, true);
}

static void world_stop(struct fake_world *w)
{
    atomic_fetch_sub(&w->running, 1);
}

/* ---- slots ---------------------------------------------------------------------------------- */

static int enter(struct fake_slot *slots, enum fake_call call, struct err *e)
{
    struct fake_slot *s = &slots[call];
    unsigned delay = atomic_load(&s->delay_ms);
    int fail;

    atomic_fetch_add(&s->calls, 1);
    if (s->hook)
        s->hook(s->arg);
    if (delay)
        clock_sleep_ns(delay * NS_PER_MS);
    fail = atomic_load(&s->fail);
    if (fail)
        err_set(e, fail, "fake", "callback %d was told to fail", (int)call);
    return fail;
}

/* ---- the dirtier ---------------------------------------------------------------------------- */

/*
 * As a vCPU writes: memory first, and marked after that, so that a sync and clear between the two
 * finds the page again.  The thread sanitizer is not to see these stores: the engine reads pages
 * that are being written, by design.
 */
__attribute__((no_sanitize("thread"))) static void touch(struct fake_source *g, uint64_t page)
{
    volatile uint64_t *w =
        (volatile uint64_t *)((uint8_t *)g->memory.regions[0].host + page * PAGE);
    uint64_t stamp = (++g->generation << 24) | (page & 0xffffff);

    w[0] = stamp;
    w[77] = stamp ^ 0x5555;
    w[511] = ~stamp;
    if (g->generation % 64 == 0) /* now and then a page becomes zero again */
        w[0] = w[77] = w[511] = 0;
    if (!(__atomic_fetch_or(&g->dirty[0][page / 64], 1ULL << (page % 64), __ATOMIC_SEQ_CST) &
          (1ULL << (page % 64))))
        __atomic_fetch_add(&g->written, PAGE, __ATOMIC_RELAXED);
}

static void *dirtier(void *arg)
{
    struct fake_source *g = arg;
    uint64_t last = clock_now_ns();
    double owed = 0;

    while (!atomic_load(&g->quit)) {
        uint64_t now = clock_now_ns();

        if (atomic_load(&g->paused)) {
            atomic_store(&g->parked, true);
            clock_sleep_ns(100 * NS_PER_US);
            last = clock_now_ns();
            continue;
        }
        atomic_store(&g->parked, false);
        owed += (double)g->rate * (double)(now - last) / (double)NS_PER_S / PAGE *
                (100.0 - atomic_load(&g->percent)) / 100;
        last = now;
        for (; owed >= 1 && !atomic_load(&g->paused); owed--)
            touch(g, g->at++ % g->working_set);
        clock_sleep_ns(TICK_NS);
    }
    atomic_store(&g->parked, true);
    return NULL;
}

void fake_source_dirty(struct fake_source *g, uint64_t rate, uint64_t working_set)
{
    g->rate = rate;
    g->working_set = working_set;
    if (g->thread)
        return;
    atomic_store(&g->parked, false);
    assert(pthread_create(&g->thread, NULL, dirtier, g) == 0);
}

static void park(struct fake_source *g)
{
    atomic_store(&g->paused, true);
    while (g->thread && !atomic_load(&g->parked))
        clock_sleep_ns(20 * NS_PER_US);
}

static void unpark(struct fake_source *g)
{
    atomic_store(&g->parked, false);
    atomic_store(&g->paused, false);
}

/* ---- the source ----------------------------------------------------------------------------- */

void fake_source_init(struct fake_source *g, struct fake_world *world, const uint64_t *sizes,
                      uint32_t n)
{
    memset(g, 0, sizeof(*g));
    g->world = world;
    g->manifest = "a fake machine";
    for (uint32_t i = 0; i < n; i++) {
        char name[16];

        snprintf(name, sizeof(name), "ram%u", i);
        memory_add(&g->memory, name, sizes[i]);
        g->dirty[i] = bitmap_new(sizes[i] / PAGE);
        assert(g->dirty[i]);
    }
    atomic_store(&g->parked, true);
    for (size_t i = 0; i < sizeof(g->state); i++)
        g->state[i] = (uint8_t)(i * 7 + i / 256);
    g->runs = true;
    world_run(world);
}

void fake_fill(struct fake_source *g, uint32_t region, uint64_t pages, uint64_t step)
{
    uint64_t x = 88172645463325252ULL + region;

    for (uint64_t p = 0; p < pages; p += step) {
        uint64_t *w = (uint64_t *)((uint8_t *)g->memory.regions[region].host + p * PAGE);

        for (unsigned i = 0; i < PAGE / 8; i++) {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            w[i] = x;
        }
    }
}

void fake_source_pause(struct fake_source *g)
{
    park(g);
    g->started_paused = true;
    g->runs = false;
    world_stop(g->world);
}

void fake_source_fini(struct fake_source *g)
{
    atomic_store(&g->quit, true);
    if (g->thread)
        pthread_join(g->thread, NULL);
    g->thread = 0;
    if (g->runs)
        world_stop(g->world);
    for (uint32_t i = 0; i < g->memory.n; i++)
        bitmap_free(g->dirty[i], g->memory.regions[i].size / PAGE);
    memory_free(&g->memory);
}

static int source_manifest(void *opaque, struct buf *out, struct err *e)
{
    struct fake_source *g = opaque;
    int ret = enter(g->slots, FAKE_MANIFEST, e);

    return ret ? ret : buf_append(out, g->manifest, strlen(g->manifest));
}

static int source_dirty_start(void *opaque, struct err *e)
{
    struct fake_source *g = opaque;
    int ret = enter(g->slots, FAKE_DIRTY_START, e);

    if (ret)
        return ret;
    assert(!g->tracking);
    for (uint32_t i = 0; i < g->memory.n; i++)
        for (size_t w = 0; w < BITMAP_WORDS(g->memory.regions[i].size / PAGE); w++)
            if (__atomic_load_n(&g->dirty[i][w], __ATOMIC_RELAXED))
                __atomic_store_n(&g->dirty[i][w], 0, __ATOMIC_SEQ_CST);
    g->tracking = true;
    g->rated_ns = clock_now_ns();
    return 0;
}

static int source_dirty_sync(void *opaque, uint32_t region, uint64_t *bitmap, struct err *e)
{
    struct fake_source *g = opaque;
    size_t words = BITMAP_WORDS(g->memory.regions[region].size / PAGE);
    int ret = enter(g->slots, FAKE_DIRTY_SYNC, e);

    if (ret)
        return ret;
    assert(g->tracking);
    for (size_t w = 0; w < words; w++) {
        uint64_t bits = __atomic_load_n(&g->dirty[region][w], __ATOMIC_SEQ_CST);

        if (bits && g->drop_dirty_page && !g->runs) {
            __atomic_store_n(&g->dirty[region][w], bits & (bits - 1), __ATOMIC_SEQ_CST);
            bits &= bits - 1; /* the lowest is forgotten */
            g->drop_dirty_page = false;
        }
        if (bits)
            bitmap[w] |= bits;
    }
    return 0;
}

static int source_dirty_clear(void *opaque, uint32_t region, uint64_t first, uint64_t n,
                              const uint64_t *bits, struct err *e)
{
    struct fake_source *g = opaque;
    uint64_t pages = g->memory.regions[region].size / PAGE;
    int ret = enter(g->slots, FAKE_DIRTY_CLEAR, e);

    if (ret)
        return ret;
    assert(g->tracking);
    assert(first % 64 == 0 && first + n <= pages);
    assert(n % 64 == 0 || first + n == pages);
    for (size_t w = 0; w < BITMAP_WORDS(n); w++)
        if (bits[w])
            __atomic_fetch_and(&g->dirty[region][first / 64 + w], ~bits[w], __ATOMIC_SEQ_CST);
    return 0;
}

static void source_dirty_stop(void *opaque)
{
    struct fake_source *g = opaque;

    enter(g->slots, FAKE_DIRTY_STOP, NULL);
    assert(g->tracking);
    assert(!atomic_load(&g->percent));
    g->tracking = false;
}

static int source_dirty_rates(void *opaque, uint64_t *bytes_per_s, uint32_t n)
{
    struct fake_source *g = opaque;
    uint64_t now = clock_now_ns(), since = now - g->rated_ns;

    assert(g->tracking && n > 0);
    if (!g->knows_rates)
        return -ENOTSUP;
    memset(bytes_per_s, 0, n * sizeof(*bytes_per_s));
    bytes_per_s[0] = __atomic_exchange_n(&g->written, 0, __ATOMIC_RELAXED) * NS_PER_S / since;
    g->rated_ns = now;
    return 0;
}

static void source_throttle(void *opaque, uint32_t vcpu, uint32_t percent)
{
    struct fake_source *g = opaque;

    assert(percent < 100 && g->tracking);
    if (vcpu != 0 && vcpu != GODWIT_ALL_VCPUS)
        return; /* the dirtier is vCPU 0 */
    atomic_store(&g->percent, percent);
    if (percent > atomic_load(&g->percent_worst))
        atomic_store(&g->percent_worst, percent);
}

static int source_next_data(void *opaque, uint32_t region, uint64_t offset, uint64_t *start,
                            uint64_t *end)
{
    struct fake_source *g = opaque;
    off_t at, hole;
    int ret = enter(g->slots, FAKE_NEXT_DATA, NULL);

    if (ret)
        return ret;
    at = lseek(g->memory.fds[region], (off_t)offset, SEEK_DATA);
    if (at < 0) {
        *start = *end = g->memory.regions[region].size;
        return errno == ENXIO ? 0 : -errno;
    }
    hole = lseek(g->memory.fds[region], at, SEEK_HOLE);
    if (hole < 0)
        return -errno;
    *start = (uint64_t)at;
    *end = (uint64_t)hole;
    return 0;
}

static int source_stop(void *opaque, struct godwit_stopped *out, struct err *e)
{
    struct fake_source *g = opaque;
    int ret = enter(g->slots, FAKE_STOP, e);

    if (ret)
        return ret;
    *out = (struct godwit_stopped){.was_running = !g->started_paused, .paused_ns = clock_now_ns()};
    if (atomic_load(&g->percent))
        atomic_store(&g->percent_late, true);
    if (!g->started_paused) {
        assert(g->runs);
        park(g);
        g->runs = false;
        world_stop(g->world);
    }
    return 0;
}

static void source_resume(void *opaque)
{
    struct fake_source *g = opaque;

    enter(g->slots, FAKE_RESUME, NULL);
    assert(!g->runs && !g->given);
    atomic_fetch_add(&g->resumes, 1);
    if (!g->started_paused) {
        world_run(g->world);
        g->runs = true;
        unpark(g);
    }
}

static int source_save_state(void *opaque, struct buf *out, struct err *e)
{
    struct fake_source *g = opaque;
    uint8_t state[FAKE_STATE_SIZE];
    int ret = enter(g->slots, FAKE_SAVE_STATE, e);

    if (ret)
        return ret;
    assert(!g->runs);
    memcpy(state, g->state, sizeof(state));
    if (g->spoil_state)
        state[FAKE_STATE_SIZE / 2] ^= 0x10;
    if (g->memory.regions[0].size > PAGE && g->tracking) /* saving may dirty pages */
        touch(g, 1);
    return buf_append(out, state, sizeof(state));
}

static int source_commit(void *opaque, struct err *e)
{
    struct fake_source *g = opaque;
    int ret = enter(g->slots, FAKE_COMMIT, e);

    if (ret)
        return ret;
    assert(!g->runs && !g->given);
    atomic_fetch_or(&g->journal, 1U << GODWIT_JOURNAL_COMMIT);
    g->given = true;
    return 0;
}

static int source_reclaim(void *opaque, struct err *e)
{
    struct fake_source *g = opaque;
    int ret = enter(g->slots, FAKE_RECLAIM, e);

    if (ret)
        return ret;
    assert(g->given);
    g->given = false;
    return 0;
}

static int source_journal(void *opaque, enum godwit_journal what,
                          const uint8_t token[GODWIT_TOKEN_SIZE], const char *peer, struct err *e)
{
    struct fake_source *g = opaque;
    int ret = enter(g->slots, FAKE_JOURNAL, e);

    assert(peer && peer[0]);
    if (!ret)
        atomic_fetch_or(&g->journal, 1U << what);
    return ret;
}

static void source_finish(void *opaque)
{
    struct fake_source *g = opaque;

    enter(g->slots, FAKE_FINISH, NULL);
    assert(!g->runs && g->given && !g->tracking);
    atomic_fetch_add(&g->finishes, 1);
}

static int source_rehearse(void *opaque, struct buf *out, uint64_t *stop_ns, uint64_t *save_ns,
                           struct err *e)
{
    struct fake_source *g = opaque;
    int ret = enter(g->slots, FAKE_REHEARSE, e);

    assert(g->tracking && !g->given);
    *stop_ns = *save_ns = 50 * NS_PER_US;
    return ret ? ret : buf_append(out, g->state, sizeof(g->state));
}

const struct godwit_source_ops fake_source_ops = {
    .manifest = source_manifest,
    .dirty_start = source_dirty_start,
    .dirty_sync = source_dirty_sync,
    .dirty_clear = source_dirty_clear,
    .dirty_stop = source_dirty_stop,
    .next_data = source_next_data,
    .stop = source_stop,
    .resume = source_resume,
    .save_state = source_save_state,
    .commit = source_commit,
    .reclaim = source_reclaim,
    .journal = source_journal,
    .finish = source_finish,
    .dirty_rates = source_dirty_rates,
    .throttle = source_throttle,
    .rehearse = source_rehearse,
};

/* ---- the sink ------------------------------------------------------------------------------- */

void fake_sink_init(struct fake_sink *g, struct fake_world *world)
{
    memset(g, 0, sizeof(*g));
    g->world = world;
}

void fake_sink_fini(struct fake_sink *g)
{
    if (atomic_load(&g->runs))
        world_stop(g->world);
    memory_free(&g->memory);
}

static int sink_manifest(void *opaque, const void *data, size_t len, struct godwit_region *regions,
                         uint32_t n, struct err *e)
{
    struct fake_sink *g = opaque;
    int ret = enter(g->slots, FAKE_MANIFEST, e);

    if (ret)
        return ret;
    assert(!g->built);
    snprintf(g->manifest, sizeof(g->manifest), "%.*s", (int)len, (const char *)data);
    if (g->refusal)
        return err_set(e, -EINVAL, "verdict", "%s", g->refusal);
    if (n > FAKE_REGIONS_MAX)
        return err_set(e, -EINVAL, "verdict", "%u regions are too many for a fake", n);
    for (uint32_t i = 0; i < n; i++) {
        if (regions[i].size > (64ULL << 30)) {
            memory_free(&g->memory);
            return err_set(e, -ENOMEM, "verdict", "a region is too large for a fake");
        }
        memory_add(&g->memory, regions[i].name, regions[i].size);
        regions[i].host = g->memory.regions[i].host;
    }
    g->built = true;
    g->ready = false;
    return 0;
}

static int sink_load_state(void *opaque, const void *data, size_t len, struct err *e)
{
    struct fake_sink *g = opaque;
    int ret = enter(g->slots, FAKE_LOAD_STATE, e);

    if (ret)
        return ret;
    assert(g->built);
    g->state_len = len < sizeof(g->state) ? len : sizeof(g->state);
    memcpy(g->state, data, g->state_len);
    return 0;
}

static int sink_rehearse(void *opaque, const void *data, size_t len, uint64_t *load_ns,
                         struct err *e)
{
    struct fake_sink *g = opaque;
    uint64_t began = clock_now_ns();
    int ret = enter(g->slots, FAKE_REHEARSE, e);

    assert(g->built && !g->ready);
    *load_ns = clock_now_ns() - began;
    return ret;
}

static int sink_ready(void *opaque, const uint8_t token[GODWIT_TOKEN_SIZE], const char *peer,
                      struct err *e)
{
    struct fake_sink *g = opaque;
    int ret = enter(g->slots, FAKE_READY, e);

    assert(g->built && peer);
    memcpy(g->token, token, sizeof(g->token));
    g->ready = !ret;
    return ret;
}

static int sink_run(void *opaque, bool was_running, uint64_t *running_ns, struct err *e)
{
    struct fake_sink *g = opaque;
    int ret = enter(g->slots, FAKE_RUN, e);

    if (ret)
        return ret;
    assert(g->built && g->ready && !atomic_load(&g->runs));
    g->was_running = was_running;
    *running_ns = clock_now_ns();
    atomic_fetch_add(&g->runs_count, 1);
    if (was_running) {
        world_run(g->world);
        atomic_store(&g->runs, true);
    }
    return 0;
}

static void sink_discard(void *opaque)
{
    struct fake_sink *g = opaque;

    enter(g->slots, FAKE_DISCARD, NULL);
    assert(!atomic_load(&g->runs));
    memory_free(&g->memory);
    atomic_fetch_add(&g->discards, 1);
    g->built = false;
}

const struct godwit_sink_ops fake_sink_ops = {
    .manifest = sink_manifest,
    .load_state = sink_load_state,
    .ready = sink_ready,
    .run = sink_run,
    .discard = sink_discard,
    .rehearse = sink_rehearse,
};

/* ---- the judgement -------------------------------------------------------------------------- */

/* The next offset at or after `at` where either file has data; size: nowhere. */
static uint64_t next_data(int a, int b, uint64_t at, uint64_t size)
{
    off_t x = lseek(a, (off_t)at, SEEK_DATA), y = lseek(b, (off_t)at, SEEK_DATA);
    uint64_t n = size;

    if (x >= 0)
        n = (uint64_t)x;
    if (y >= 0 && (uint64_t)y < n)
        n = (uint64_t)y;
    return n;
}

const char *fake_compare(struct fake_source *from, struct fake_sink *to)
{
    static _Thread_local char text[128];
    uint8_t a[PAGE * 16], b[PAGE * 16];

    if (from->memory.n != to->memory.n)
        return "the number of regions differs";
    for (uint32_t i = 0; i < from->memory.n; i++) {
        uint64_t size = from->memory.regions[i].size, at = 0;
        int x = from->memory.fds[i], y = to->memory.fds[i];

        if (to->memory.regions[i].size != size)
            return "the size of a region differs";
        while ((at = next_data(x, y, at, size)) < size) {
            size_t n = size - at < sizeof(a) ? (size_t)(size - at) : sizeof(a);

            assert(pread(x, a, n, (off_t)at) == (ssize_t)n);
            assert(pread(y, b, n, (off_t)at) == (ssize_t)n);
            for (size_t p = 0; p < n; p += PAGE)
                if (memcmp(a + p, b + p, PAGE)) {
                    snprintf(text, sizeof(text), "region %u differs in page %llu", i,
                             (unsigned long long)((at + p) / PAGE));
                    return text;
                }
            at += n;
        }
    }
    if (to->state_len != FAKE_STATE_SIZE || memcmp(from->state, to->state, FAKE_STATE_SIZE))
        return "the state differs";
    return NULL;
}
