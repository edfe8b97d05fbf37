#include "migrate/inlet.h"

#include <errno.h>
#include <inttypes.h>

#define STAGE "precopy"

void inlet_init(struct inlet *in, uint32_t index, struct place *place, struct stats *stats)
{
    in->index = index;
    in->place = place;
    in->stats = stats;
}

void inlet_fini(struct inlet *in)
{
    inlet_attach(in, NULL);
    inlet_packed_free(in->packed);
}

void inlet_attach(struct inlet *in, struct channel *channel)
{
    if (in->channel)
        in->waited_ns += in->channel->waited_ns;
    channel_free(in->channel);
    in->channel = channel;
}

static void count(struct inlet *in, size_t len)
{
    in->figures.bytes += len;
    atomic_fetch_add(&in->stats->transferred, len);
}

int inlet_take(struct inlet *in, void *buf, size_t len, struct err *e)
{
    int ret = channel_read(in->channel, buf, len, e);

    if (!ret)
        count(in, len);
    return ret;
}

/*
 * Between records a lane is silent for as long as it likes, the control channel watches the link.
 * But who has begun a record goes on with it: where nothing comes, a length was damaged on the way,
 * and both sides would wait for each other for ever.
 */
static void distrust(struct inlet *in)
{
    in->channel->timeout_ms = in->patience_ms; /* for this thread alone, the socket needs not know */
}

void inlet_trust(struct inlet *in)
{
    in->channel->timeout_ms = 0;
}

static void add_change(struct inlet *in, uint64_t change)
{
    if (change)
        digest_add(in->place->digest, change);
}

/* ---- pages ---------------------------------------------------------------------------------- */

/* Fills the pages that iov[0..niov) points to, all of one region, and hashes them.  ahead: of how
 * many pages behind the last one is known that they come next. */
static int read_slice(struct inlet *in, uint32_t region, int niov, uint32_t pages, uint64_t ahead,
                      struct err *e)
{
    const uint8_t *host = in->place->regions[region].host;
    struct iovec iov[INLET_SLICE_PAGES];
    uint64_t change = 0;
    int ret;

    for (int i = 0; i < niov; i++)
        iov[i] = in->iov[i]; /* reading uses them up */
    ret = in->seen ? inlet_look(in, region, niov, e) : channel_readv(in->channel, iov, niov, e);
    if (ret)
        return ret;
    count(in, (size_t)pages * GODWIT_PAGE_SIZE);
    for (int i = 0; i < niov; i++)
        change += place_written(
            in->place, region, (uint64_t)((uint8_t *)in->iov[i].iov_base - host) / GODWIT_PAGE_SIZE,
            in->iov[i].iov_len / GODWIT_PAGE_SIZE, i == niov - 1 ? ahead : 0);
    add_change(in, change);
    return 0;
}

/* The data runs, in slices: a run may be cut by the end of one. */
static int read_runs(struct inlet *in, uint32_t region, uint32_t nruns, struct err *e)
{
    uint32_t pages = 0;
    int niov = 0, ret = 0;

    for (uint32_t i = 0; i < nruns; i++) {
        uint64_t first = in->runs[i].first, left = in->runs[i].count;

        if (in->runs[i].kind != NATIVE_RUN_DATA)
            continue;
        while (left > 0) {
            uint32_t n = INLET_SLICE_PAGES - pages;

            n = left < n ? (uint32_t)left : n;
            in->iov[niov++] = (struct iovec){.iov_base = place_at(in->place, region, first),
                                             .iov_len = (size_t)n * GODWIT_PAGE_SIZE};
            first += n;
            left -= n;
            pages += n;
            if (pages < INLET_SLICE_PAGES)
                continue;
            ret = read_slice(in, region, niov, pages, left, e);
            if (ret)
                return ret;
            niov = 0;
            pages = 0;
        }
    }
    return niov ? read_slice(in, region, niov, pages, 0, e) : 0;
}

void inlet_placed(struct inlet *in, uint32_t region, uint32_t nruns, uint64_t change)
{
    uint64_t data = native_runs_data(in->runs, nruns), zero = 0;

    add_change(in, change + place_zeros(in->place, region, in->runs, nruns));
    for (uint32_t i = 0; i < nruns; i++)
        zero += in->runs[i].kind == NATIVE_RUN_ZERO ? in->runs[i].count : 0;
    in->figures.pages += data + zero;
    in->records++;
    atomic_fetch_add(&in->stats->normal_pages, data);
    atomic_fetch_add(&in->stats->zero_pages, zero);
}

static int place_runs(struct inlet *in, uint32_t region, uint32_t nruns, struct err *e)
{
    int ret;

    inlet_trust(in);
    place_expect(in->place, region, in->runs, nruns);
    ret = read_runs(in, region, nruns, e);
    if (!ret)
        inlet_placed(in, region, nruns, 0);
    return ret;
}

int inlet_check_region(const struct inlet *in, uint32_t region, struct err *e)
{
    if (region < in->place->nregions)
        return 0;
    return err_set(e, -EPROTO, STAGE, "pages for region %u, but only %u were announced", region,
                   in->place->nregions);
}

static int hear_pages(struct inlet *in, const struct record_header *h, struct err *e)
{
    uint8_t fixed[NATIVE_PAGES_FIXED];
    uint32_t region, nruns;
    int ret;

    in->seen = h->type == NATIVE_SEEN;
    if (h->length < sizeof(fixed))
        return err_set(e, -EPROTO, STAGE, "a pages record of %" PRIu64 " bytes is too short",
                       h->length);
    ret = inlet_take(in, fixed, sizeof(fixed), e);
    if (!ret)
        ret = native_pages_fixed(h, fixed, &region, &nruns, e);
    if (!ret)
        ret = inlet_check_region(in, region, e);
    if (!ret)
        ret = inlet_take(in, in->table, NATIVE_PAGES_TABLE(nruns), e);
    if (!ret)
        ret = native_pages_table(h, fixed, in->table, place_pages(in->place, region), in->runs, e);
    return ret ? ret : place_runs(in, region, nruns, e);
}

/* ---- the rest ------------------------------------------------------------------------------- */

static int hear_mark(struct inlet *in, const uint8_t *body, size_t len, struct native_mark *mark,
                     struct err *e)
{
    int ret = native_mark_decode(body, len, mark, e);

    if (ret)
        return ret;
    if (mark->sequence != in->sequence + 1)
        return err_set(e, -EPROTO, STAGE, "lane %u: mark %" PRIu64 " follows mark %" PRIu64,
                       in->index, mark->sequence, in->sequence);
    in->sequence = mark->sequence;
    in->figures.blocked_ns = in->waited_ns + in->channel->waited_ns;
    return 1;
}

static int hear_small(struct inlet *in, const struct record_header *h, struct native_mark *mark,
                      struct err *e)
{
    size_t padded = (size_t)record_padded(h->length), len;
    int ret = inlet_take(in, in->small, padded, e);

    if (ret)
        return ret;
    if (!native_type_known(h->type) && (h->flags & RECORD_OPTIONAL))
        return record_check_unknown(h, in->small, e);
    if (h->type != NATIVE_MARK && h->type != NATIVE_VIEW)
        return err_set(e, -EPROTO, STAGE, "a record of type 0x%x (%s) does not belong on a lane",
                       h->type, native_type_name(h->type));
    ret = record_check(h, in->small, &len, e);
    if (ret)
        return ret;
    return h->type == NATIVE_VIEW ? inlet_hear_view(in, in->small, len, e)
                                  : hear_mark(in, in->small, len, mark, e);
}

int inlet_hear(struct inlet *in, struct native_mark *mark, struct err *e)
{
    uint8_t head[RECORD_HEADER_SIZE];
    struct record_header h;
    int ret;

    inlet_trust(in);
    ret = inlet_take(in, head, sizeof(head), e);
    if (!ret)
        ret = record_header_decode(head, NATIVE_PAGES_LENGTH_MAX, &h, e);
    if (ret)
        return ret;
    distrust(in);
    if (h.type == NATIVE_PAGES || h.type == NATIVE_SEEN)
        return hear_pages(in, &h, e);
    if (h.type == NATIVE_PACKED)
        return inlet_hear_packed(in, &h, e);
    if (record_padded(h.length) > INLET_SMALL_MAX)
        return err_set(e, -EPROTO, STAGE, "a lane's record of type 0x%x has %" PRIu64 " bytes",
                       h.type, h.length);
    return hear_small(in, &h, mark, e);
}
