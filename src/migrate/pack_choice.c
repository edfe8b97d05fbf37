#include "migrate/pack.h"

#include <math.h>
#include <string.h>

#define KIB 1024ULL
#define MIB (1024ULL * KIB)

#define SENT_MIN     (64 * KIB) /* less says what a call costs (zeros, a few pages), not the link */
#define WINDOW_BYTES (2 * MIB)  /* a window ends after so many sent ... */
#define WINDOW_NS    20000000ULL   /* ... or so long */
#define SMOOTH_NS    10000000.0    /* a window of that length counts half */
#define SMOOTH_MIN   0.25          /* as much as the shortest counts */
#define SMOOTH_BYTES (512.0 * KIB) /* packing so many bytes counts half */
#define STOLEN_BYTES (4.0 * MIB)   /* likewise, of what others take of the CPU */
#define LINK_MIN     1e-3          /* ns a byte: a clock too coarse to see it */
#define BETTER       0.97          /* so much cheaper another must be before it is changed to */

#define TRIAL_SHARE  0.008 /* of all time, for trials of one codec */
#define TRIAL_MIN    (4 * MIB)
#define PROBE_SHARE  0.02 /* of all time, for going plain to see how fast the link is */
#define PROBE_MIN    (32 * MIB)
#define PROBE_MAX    (16 * MIB) /* more than sockets buffer */
#define PATIENCE_MAX (4096 * MIB)

static double lesser(double a, double b)
{
    return a < b ? a : b;
}

static double greater(double a, double b)
{
    return a > b ? a : b;
}

void pack_choice_init(struct pack_choice *c)
{
    memset(c, 0, sizeof(*c));
    c->serial = 0.5;
    c->patience = PROBE_MIN;
}

static double cost(const struct pack_choice *c, enum godwit_compression codec)
{
    const struct pack_codec *k = &c->codec[codec];
    double link = k->ratio * c->link, pack = k->cost * (1 + c->stolen);

    if (codec == GODWIT_COMPRESS_NONE)
        return c->link;
    if (k->cost <= 0)
        return INFINITY;
    return greater(pack, link) + c->serial * lesser(pack, link);
}

/* Bytes after which what cost `loss` ns may be done again, if that is to be `share` of all time. */
static uint64_t patience(double loss, double share, double cost_now, uint64_t least)
{
    double bytes = loss / (share * cost_now);

    if (!(bytes > (double)least))
        return least;
    return bytes < (double)PATIENCE_MAX ? (uint64_t)bytes : PATIENCE_MAX;
}

/* ---- changing ---- */

/* A probe that found the link as slow as it was is paid for before the next. */
static void leave_plain(struct pack_choice *c, enum godwit_compression next)
{
    uint64_t plain = c->bytes - c->since;
    c->patience = PROBE_MIN;
    if (c->probing)
        c->patience = patience((double)plain * (c->link - cost(c, next)), PROBE_SHARE,
                               cost(c, next), PROBE_MIN);
    c->probing = false;
}

static void change(struct pack_choice *c, enum godwit_compression next)
{
    struct pack_codec *left = &c->codec[c->best];

    if (c->best == GODWIT_COMPRESS_NONE)
        leave_plain(c, next);
    left->tried = c->bytes;
    left->trial = c->bytes - c->since < TRIAL_MIN ? c->bytes - c->since : TRIAL_MIN;
    c->since = c->bytes;
    c->best = next;
    memset(&c->window, 0, sizeof(c->window));
}

static enum godwit_compression cheapest_codec(const struct pack_choice *c)
{
    return cost(c, GODWIT_COMPRESS_ZSTD) < cost(c, GODWIT_COMPRESS_LZ4) ? GODWIT_COMPRESS_ZSTD
                                                                        : GODWIT_COMPRESS_LZ4;
}

/* Plain needs no margin: at the same cost it leaves the CPU to the guest. */
static void judge(struct pack_choice *c)
{
    enum godwit_compression next = cheapest_codec(c);

    if (cost(c, GODWIT_COMPRESS_NONE) <= cost(c, next))
        next = GODWIT_COMPRESS_NONE;
    if (next != c->best &&
        (next == GODWIT_COMPRESS_NONE || cost(c, next) < BETTER * cost(c, c->best)))
        change(c, next);
}

/* ---- the link ---- */

static void learn_serial(struct pack_choice *c, const struct pack_window *w, double weight)
{
    double pages = (double)w->pages, pack = (double)w->pack_ns / pages;
    double link = c->link * (double)w->sent / pages;
    double more = greater(pack, link), less = lesser(pack, link), seen;

    if (less <= 0)
        return;
    seen = ((double)(w->pack_ns + w->send_ns) / pages - more) / less;
    c->serial += weight * less / more * (lesser(greater(seen, 0), 1) - c->serial);
}

static void remember(double recent[3], double seen)
{
    bool first = recent[0] <= 0;

    recent[0] = first ? seen : recent[1];
    recent[1] = first ? seen : recent[2];
    recent[2] = seen;
}

/* One out of three may be anything: a lane that had to wait for a CPU is no slow link. */
static double median(const double v[3])
{
    return greater(lesser(v[0], v[1]), lesser(greater(v[0], v[1]), v[2]));
}

/* What the window says of l: all, where pages went plain; much, where the link was what limited;
 * else only the bounds it lies in. */
static double seen_link(const struct pack_choice *c, const struct pack_window *w)
{
    double sent = (double)w->sent, pack = (double)w->pack_ns / sent;
    double least = (double)w->send_ns / sent, most = least + pack;

    if (most - c->serial * pack > pack || c->link <= 0)
        return greater(most - c->serial * pack, LINK_MIN);
    return lesser(greater(c->link, greater(least, LINK_MIN)), most);
}

/* Averaged as time a byte, so that slowness is believed soon, and speed only when it lasts longer
 * than a socket's buffer can make it seem. */
static void learn_link(struct pack_choice *c, const struct pack_window *w)
{
    double all = (double)(w->pack_ns + w->send_ns), least = (double)w->send_ns / (double)w->sent;
    double weight = c->link > 0 ? greater(all / (all + SMOOTH_NS), SMOOTH_MIN) : 1;

    remember(c->recent, seen_link(c, w));
    c->link += weight * (median(c->recent) - c->link);
    if (c->probing)
        c->link = greater(c->link, lesser(least, c->known)); /* no faster than it was, after all */
}

/* A probe has its answer when plain is cheaper, when a window shows the link itself (what the
 * average then says counts), or when no buffer can be that large. */
static bool probe_goes_on(const struct pack_choice *c, const struct pack_window *w)
{
    double codec = cost(c, cheapest_codec(c));

    return c->probing && c->link >= BETTER * codec &&
           (double)w->send_ns / (double)w->sent < codec && c->bytes - c->since < PROBE_MAX;
}

/* Plain may win, as far as can be told, and it is long since it was seen. */
static bool probe_is_due(const struct pack_choice *c, const struct pack_window *w)
{
    uint64_t since = c->bytes - c->codec[GODWIT_COMPRESS_NONE].tried;

    return c->best != GODWIT_COMPRESS_NONE && since >= c->patience &&
           (double)w->send_ns / (double)w->sent < BETTER * cost(c, c->best);
}

static void end_window(struct pack_choice *c)
{
    struct pack_window w = c->window;

    memset(&c->window, 0, sizeof(c->window));
    learn_link(c, &w);
    if ((double)w.pack_ns > c->link * (double)w.sent)
        learn_serial(c, &w, 0.25);
    if (c->probing && c->bytes - c->since >= 2 * PROBE_MAX)
        c->probing = false; /* plain has proven itself */
    if (probe_goes_on(c, &w))
        return;
    if (probe_is_due(c, &w)) {
        change(c, GODWIT_COMPRESS_NONE);
        c->probing = true;
        c->known = c->link;
    } else {
        judge(c);
    }
}

/* ---- what the lane calls ---- */

/* By what the last trial cost beyond what that batch would have cost otherwise, at worst. */
static bool trial_is_due(const struct pack_choice *c, enum godwit_compression codec)
{
    const struct pack_codec *k = &c->codec[codec], *lz4 = &c->codec[GODWIT_COMPRESS_LZ4];
    double best = cost(c, c->best), extra = k->cost + k->ratio * c->link - best;

    if (codec == c->best)
        return false;
    if (codec == GODWIT_COMPRESS_ZSTD && !(lz4->cost < best))
        return false; /* whatever its ratio, zstd is slower than lz4 */
    return k->cost <= 0 ||
           c->bytes - k->tried >= patience((double)k->trial * extra, TRIAL_SHARE, best, TRIAL_MIN);
}

enum godwit_compression pack_choose(struct pack_choice *c, enum godwit_compression wanted)
{
    memset(&c->batch, 0, sizeof(c->batch));
    c->now = wanted;
    if (wanted != GODWIT_COMPRESS_AUTO)
        return wanted;
    c->now = c->best;
    if (c->link > 0 && !c->probing) {
        if (trial_is_due(c, GODWIT_COMPRESS_LZ4))
            c->now = GODWIT_COMPRESS_LZ4;
        else if (trial_is_due(c, GODWIT_COMPRESS_ZSTD))
            c->now = GODWIT_COMPRESS_ZSTD;
    }
    return c->now;
}

/* The best of three is what packing takes; what it takes beyond, others had the CPU: that is no
 * codec's fault, comes and goes, and is averaged over all codecs and much longer than a trial. */
static void learn_cost(struct pack_choice *c, struct pack_codec *k, double seen, double all)
{
    double weight = k->cost > 0 ? all / (all + SMOOTH_BYTES) : 1, best;

    remember(k->recent, seen);
    best = lesser(lesser(k->recent[0], k->recent[1]), k->recent[2]);
    k->cost += weight * (best - k->cost);
    c->stolen += all / (all + STOLEN_BYTES) * (greater(seen / k->cost, 1) - 1 - c->stolen);
}

void pack_packed(struct pack_choice *c, enum godwit_compression codec, size_t bytes, size_t packed,
                 uint64_t ns)
{
    struct pack_codec *k = &c->codec[codec];
    double all = (double)bytes;

    if (bytes == 0)
        return;
    k->ratio += (k->cost > 0 ? all / (all + SMOOTH_BYTES) : 1) * ((double)packed / all - k->ratio);
    learn_cost(c, k, greater((double)ns, 1) / all, all);
    c->bytes += bytes;
    c->batch.pages += bytes;
    c->batch.pack_ns += ns;
    c->window.pages += bytes;
    c->window.pack_ns += ns;
}

static void end_trial(struct pack_choice *c)
{
    struct pack_codec *k = &c->codec[c->now];

    k->tried = c->bytes;
    k->trial = c->batch.pages;
    learn_serial(c, &c->batch, 0.5);
    judge(c);
}

void pack_sent(struct pack_choice *c, size_t bytes, uint64_t ns)
{
    struct pack_window *w = &c->window;

    if (c->batch.pages == 0) { /* plain */
        if (bytes < SENT_MIN)
            return;
        c->bytes += bytes;
        w->pages += bytes;
    }
    w->sent += bytes;
    w->send_ns += ns;
    c->batch.sent += bytes;
    c->batch.send_ns += ns;
    if (c->batch.pages && c->now != c->best && c->now < GODWIT_COMPRESS_AUTO)
        end_trial(c);
    if (w->pages && (w->sent >= WINDOW_BYTES || (w->sent && w->pack_ns + w->send_ns >= WINDOW_NS)))
        end_window(c);
}
