#include "migrate/converge.h"

#include "base/clock.h"

/* Until something was measured: a gigabit link. */
#define BANDWIDTH_GUESS (100ULL << 20)
/* Less than this mostly lands in socket buffers and seems infinitely fast. */
#define SAMPLE_MIN (8ULL << 20)

#define POLISH_MAX      12
#define POLISH_FLOOR_NS (300 * NS_PER_US) /* a set this quick to send is small enough */

void converge_init(struct converge *c, uint64_t state_cost_ns)
{
    *c = (struct converge){.bandwidth = BANDWIDTH_GUESS, .state_cost_ns = state_cost_ns};
}

static uint64_t per_second(uint64_t amount, uint64_t ns)
{
    return (uint64_t)((double)amount * (double)NS_PER_S / (double)(ns ? ns : 1));
}

static uint64_t send_ns(const struct converge *c, uint64_t bytes)
{
    return (uint64_t)((double)bytes * (double)NS_PER_S / (double)(c->bandwidth ? c->bandwidth : 1));
}

void converge_sent(struct converge *c, uint64_t bytes, uint64_t ns)
{
    if (bytes >= SAMPLE_MIN)
        c->bandwidth = per_second(bytes, ns);
}

uint64_t converge_predict(const struct converge *c, uint64_t dirty)
{
    return send_ns(c, dirty) + c->state_cost_ns + 2 * c->rtt_ns;
}

/* Would a round now leave at most 70 % of this, at a price worth speaking of? */
static bool worth_polishing(const struct converge *c, uint64_t dirty, bool shrinking)
{
    uint64_t cost = send_ns(c, dirty);
    double leaves = (double)c->dirty_rate * (double)cost / (double)NS_PER_S;

    return cost > POLISH_FLOOR_NS && c->polished < POLISH_MAX && shrinking &&
           leaves < 0.7 * (double)dirty;
}

enum converge_verdict converge_judge(struct converge *c, uint64_t dirty, uint64_t interval_ns,
                                     uint64_t limit_ns)
{
    bool shrinking = c->last_dirty == 0 || dirty < c->last_dirty - c->last_dirty / 4;

    c->dirty_rate = per_second(dirty, interval_ns);
    c->last_dirty = dirty;
    if (converge_predict(c, dirty) > limit_ns)
        return CONVERGE_ROUND;
    if (!worth_polishing(c, dirty, shrinking))
        return CONVERGE_SWITCH;
    c->polished++;
    return CONVERGE_ROUND;
}
