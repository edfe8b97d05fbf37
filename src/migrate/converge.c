#include "migrate/converge.h"

#include <stddef.h>

#include "base/clock.h"

/* Until something was measured: a gigabit link. */
#define BANDWIDTH_GUESS (100ULL << 20)
/* Rounds of at least this much, or of this long with this much, measure the bandwidth; smaller ones
 * what comes on top. */
#define SAMPLE_MIN     (8ULL << 20)
#define SAMPLE_LONG_NS (20 * NS_PER_MS)
#define SAMPLE_LONG    (1ULL << 20)
/* Rounds of at most this measure the overhead. */
#define TINY (64ULL << 10)

/* A round says something of sets that are larger by so much. */
#define RECENT_STRETCH 2.0

#define SCATTER_MAX 8.0
#define ERROR_START 0.05
#define ERROR_MIN   0.02
#define ERROR_MAX   0.5
#define AGREEMENT   0.8  /* of two samples of different length, as far as they can be compared */
#define AGE_MAX     200U /* syncs for which a sample counts */
#define RATE_MAX    8.0  /* times the rate of the shortest interval: steeper was never seen */

/* The journal, the locks and the first entry of a vCPU: what no rehearsal shows. */
#define HANDOVER_NS (200 * NS_PER_US)

#define ROUND_MIN_NS (20 * NS_PER_MS) /* as source_precopy.c above the limit */
#define ROUNDS_MAX   40U              /* that a guest is given to converge by itself */

#define POLISH_MAX      12
#define POLISH_FLOOR_NS (300 * NS_PER_US) /* a set this quick to send is small enough */

void converge_init(struct converge *c, uint64_t state_cost_ns)
{
    *c = (struct converge){.bandwidth = BANDWIDTH_GUESS,
                           .scatter = 1,
                           .error = ERROR_START,
                           .state_ns = state_cost_ns};
}

static double clamp(double v, double low, double high)
{
    return v < low ? low : v > high ? high : v;
}

static double magnitude(double v)
{
    return v < 0 ? -v : v;
}

/* ---- the link ------------------------------------------------------------------------------- */

/* Bytes, by their share of the bandwidth alone. */
static double share_ns(uint64_t bytes, uint64_t bandwidth)
{
    return (double)bytes * (double)NS_PER_S / (double)(bandwidth ? bandwidth : 1);
}

static double overhead_ns(const struct converge *c)
{
    return c->overhead_ns > (double)c->rtt_ns ? c->overhead_ns : (double)c->rtt_ns;
}

/*
 * What so much took at worst of late, to judge by rounds of about that size: a link that stood
 * still for a while as a large set passed has a bandwidth that small ones, all that there may be
 * from then on, would never correct. *known: there were enough of them.
 */
static double recent_ns(const struct converge *c, uint64_t bytes, bool *known)
{
    double worst = 0;

    *known = c->nrecent >= CONVERGE_RECENT;
    for (unsigned i = 0; *known && i < CONVERGE_RECENT; i++) {
        double times = (double)bytes / c->recent[i].bytes;
        double ns = c->recent[i].net_ns * (times > 1 ? times : 1);

        *known = times <= RECENT_STRETCH;
        worst = ns > worst ? ns : worst;
    }
    return worst;
}

static double linear_ns(const struct converge *c, uint64_t bytes, uint64_t bandwidth)
{
    uint64_t head = bytes < SAMPLE_MIN ? bytes : SAMPLE_MIN;

    return c->scatter * share_ns(head, bandwidth) + share_ns(bytes - head, bandwidth);
}

/* Without the overhead. */
static double pages_ns(const struct converge *c, uint64_t bytes, uint64_t bandwidth)
{
    bool known;
    double recent = recent_ns(c, bytes, &known), linear = linear_ns(c, bytes, bandwidth);

    return known && recent < linear ? recent : linear;
}

static uint64_t round_bandwidth(const struct converge *c)
{
    return c->cap && c->cap < c->bandwidth ? c->cap : c->bandwidth;
}

uint64_t converge_round_ns(const struct converge *c, uint64_t dirty)
{
    return (uint64_t)(overhead_ns(c) + pages_ns(c, dirty, round_bandwidth(c))) + c->sync_ns;
}

/* As a link changes the figure follows at once; as it flickers the slower side counts. */
static void learn_bandwidth(struct converge *c, double now)
{
    double old = (double)c->bandwidth;

    if (c->measured && now > old && now < 1.3 * old)
        now = (now + old) / 2;
    c->bandwidth = now < 1 ? 1 : (uint64_t)now;
    c->measured = true;
}

/* Grows with a bad surprise, forgets slowly: a blackout has no second attempt. */
static void learn_error(struct converge *c, uint64_t bytes, double ns)
{
    double expected = overhead_ns(c) + pages_ns(c, bytes, round_bandwidth(c));
    double off = clamp(magnitude(ns - expected) / expected, 0, 1);

    c->error = clamp(c->error + (off - c->error) / 4, ERROR_MIN, ERROR_MAX);
}

static void learn_overhead(struct converge *c, double ns)
{
    if (c->overhead_ns == 0) {
        c->overhead_ns = ns;
        c->overhead_dev_ns = ns / 4;
    }
    c->overhead_dev_ns += (magnitude(ns - c->overhead_ns) - c->overhead_dev_ns) / 4;
    c->overhead_ns += (ns - c->overhead_ns) / 4;
}

static void learn_recent(struct converge *c, double bytes, double net_ns)
{
    unsigned i = c->nrecent++ % CONVERGE_RECENT;

    c->recent[i].bytes = bytes;
    c->recent[i].net_ns = net_ns;
}

void converge_sent(struct converge *c, uint64_t bytes, uint64_t ns)
{
    double net = (double)ns - overhead_ns(c);

    if (bytes <= TINY) {
        learn_overhead(c, clamp((double)ns - share_ns(bytes, round_bandwidth(c)), 0, (double)ns));
        return;
    }
    if (c->measured)
        learn_error(c, bytes, (double)ns);
    if ((double)ns < c->overhead_ns) /* all of it was not more: whatever the last tiny one met */
        learn_overhead(c, (double)ns);
    net = net > (double)ns / 2 ? net : (double)ns / 2;
    if (bytes >= SAMPLE_MIN || (ns >= SAMPLE_LONG_NS && bytes >= SAMPLE_LONG))
        learn_bandwidth(c, (double)bytes * (double)NS_PER_S / (net > 1 ? net : 1));
    else if (c->measured)
        c->scatter =
            clamp(c->scatter + (net / share_ns(bytes, round_bandwidth(c)) - c->scatter) / 2, 1,
                  SCATTER_MAX);
    learn_recent(c, (double)bytes, net);
}

/* ---- the guest ------------------------------------------------------------------------------ */

/* The C library's would be the only thing that the engine needs libm for. */
static double root(double v)
{
    double x = v > 1 ? v : 1;

    if (v <= 0)
        return 0;
    for (int i = 0; i < 128; i++) {
        double next = (x + v / x) / 2;

        if (magnitude(next - x) <= x * 1e-9)
            return next;
        x = next;
    }
    return x;
}

static double square(double v)
{
    return v * v;
}

/*
 * Through the latest sample, with the bend that it and an older one of another length show:
 *   1 / dirty^2 = 1 / set^2 + 1 / (rate * g)^2
 * is a straight line over 1 / g^2, and two points make one.
 */
static void fit(struct converge *c, const struct converge_sample *a,
                const struct converge_sample *b)
{
    const struct converge_sample *brief = a->guest_ns < b->guest_ns ? a : b;
    double slope = (1 / square(a->bytes) - 1 / square(b->bytes)) /
                   (1 / square(a->guest_ns) - 1 / square(b->guest_ns));
    double steepest = RATE_MAX * brief->bytes / brief->guest_ns;
    double rate = slope > 0 ? 1 / root(slope) : steepest;

    if (rate > steepest)
        rate = steepest;
    if (rate * a->guest_ns <= a->bytes * 1.001)
        return; /* no bend: it has no set, or none that was reached */
    c->set = 1 / root(1 / square(a->bytes) - 1 / square(rate * a->guest_ns));
    c->rate = rate * (double)NS_PER_S;
}

/* Does b speak of the guest as it was when a was taken?  In more time it dirties no less, in less
 * time no more. */
static bool agree(const struct converge_sample *a, const struct converge_sample *b)
{
    const struct converge_sample *brief = a->guest_ns < b->guest_ns ? a : b;
    const struct converge_sample *lengthy = brief == a ? b : a;

    return lengthy->bytes > AGREEMENT * brief->bytes &&
           lengthy->bytes / lengthy->guest_ns < brief->bytes / brief->guest_ns / AGREEMENT;
}

/* The latest sample of a clearly different length. */
static const struct converge_sample *counterpart(const struct converge *c,
                                                 const struct converge_sample *a)
{
    const struct converge_sample *best = NULL;

    for (unsigned i = 0; i < CONVERGE_SAMPLES; i++) {
        const struct converge_sample *b = &c->samples[i];

        if (b->bytes == 0 || c->syncs - b->at > AGE_MAX || !agree(a, b))
            continue;
        if ((b->guest_ns >= 1.7 * a->guest_ns || a->guest_ns >= 1.7 * b->guest_ns) &&
            (!best || b->at > best->at))
            best = b;
    }
    return best;
}

static unsigned slot_of(double guest_ns)
{
    unsigned slot = 0;

    for (; guest_ns > (double)NS_PER_MS && slot < CONVERGE_SAMPLES - 1; guest_ns /= 2)
        slot++;
    return slot;
}

static void learn_curve(struct converge *c, double bytes, double guest_ns)
{
    struct converge_sample *now = &c->samples[slot_of(guest_ns)];
    const struct converge_sample *other;

    *now = (struct converge_sample){.guest_ns = guest_ns, .bytes = bytes, .at = ++c->syncs};
    c->rate = bytes / guest_ns * (double)NS_PER_S;
    c->set = 0;
    other = bytes > 0 ? counterpart(c, now) : NULL;
    if (other)
        fit(c, now, other);
}

void converge_found(struct converge *c, uint64_t dirty, uint64_t interval_ns, double withheld)
{
    if (interval_ns)
        learn_curve(c, (double)dirty, (double)interval_ns * (1 - withheld));
}

uint64_t converge_dirtied(const struct converge *c, uint64_t ns, double withheld)
{
    double linear = c->rate * (double)ns / (double)NS_PER_S * (1 - withheld);

    if (c->set <= 0 || linear <= 0)
        return (uint64_t)linear;
    return (uint64_t)(linear / root(1 + square(linear / c->set)));
}

uint64_t converge_dirty_rate(const struct converge *c, uint64_t ns, double withheld)
{
    return (uint64_t)((double)converge_dirtied(c, ns, withheld) * (double)NS_PER_S /
                      (double)(ns ? ns : 1));
}

/* ---- the pause ------------------------------------------------------------------------------ */

void converge_rehearsed(struct converge *c, uint64_t stop_ns, uint64_t save_ns, uint64_t load_ns)
{
    c->stop_ns = stop_ns;
    c->state_ns = save_ns + load_ns;
}

uint64_t converge_floor(const struct converge *c)
{
    return c->stop_ns + c->state_ns + c->sync_ns + HANDOVER_NS + c->rtt_ns +
           (uint64_t)overhead_ns(c);
}

/* What is dirty now, and gets so until the guest stands still. */
static double last_pages_ns(const struct converge *c, uint64_t dirty)
{
    uint64_t bytes = dirty + converge_dirtied(c, c->stop_ns, 0);

    return c->switchover ? linear_ns(c, bytes, c->switchover) : pages_ns(c, bytes, c->bandwidth);
}

uint64_t converge_predict(const struct converge *c, uint64_t dirty)
{
    return converge_floor(c) + (uint64_t)last_pages_ns(c, dirty);
}

uint64_t converge_bound(const struct converge *c, uint64_t dirty)
{
    double error = c->switchover ? 0 : c->error; /* whoever says a figure means it */

    return converge_predict(c, dirty) +
           (uint64_t)(2 * (error * last_pages_ns(c, dirty) + c->overhead_dev_ns));
}

bool converge_worth_polishing(struct converge *c, uint64_t dirty, double withheld)
{
    bool shrinking = c->last_dirty == 0 || dirty < c->last_dirty - c->last_dirty / 4;
    double leaves = (double)converge_dirtied(c, converge_round_ns(c, dirty), withheld);

    c->last_dirty = dirty;
    if (share_ns(dirty, c->bandwidth) <= (double)POLISH_FLOOR_NS || c->polished >= POLISH_MAX ||
        !shrinking || leaves >= 0.7 * (double)dirty)
        return false;
    c->polished++;
    return true;
}

/* ---- what is to come ------------------------------------------------------------------------ */

void converge_forecast(const struct converge *c, uint64_t dirty, double withheld, uint64_t limit_ns,
                       struct converge_forecast *out)
{
    uint64_t ns = 0, next, took, bound;

    *out = (struct converge_forecast){.blackout_ns = UINT64_MAX};
    for (; out->rounds < ROUNDS_MAX; out->rounds++, dirty = next) {
        bound = converge_bound(c, dirty);
        if (bound < out->blackout_ns)
            out->blackout_ns = bound;
        if (bound <= limit_ns) {
            out->reached = true;
            out->blackout_ns = converge_predict(c, dirty);
            out->ns = ns + out->blackout_ns;
            return;
        }
        took = converge_round_ns(c, dirty);
        took = took < ROUND_MIN_NS ? ROUND_MIN_NS : took;
        ns += took;
        next = converge_dirtied(c, took, withheld);
        if (out->rounds && magnitude((double)next - (double)dirty) < (double)dirty / 100)
            break; /* it will stay like this */
    }
}
