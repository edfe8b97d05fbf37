#include "sim.h"

#include <string.h>

#include "base/clock.h"

#define ROUNDS_MAX   200
#define ROUND_MIN_NS (20 * NS_PER_MS)

void sim_init(struct sim *m, uint64_t size, uint64_t link)
{
    memset(m, 0, sizeof(*m));
    m->units = (uint32_t)(size / SIM_UNIT);
    m->link = link;
    m->fixed_ns = 2 * NS_PER_MS;
    m->params = (struct godwit_params)GODWIT_PARAMS_DEFAULT;
    intent_init(&m->intent);
    converge_init(&m->model, 2 * NS_PER_MS);
}

void sim_vcpu(struct sim *m, uint64_t rate, uint64_t first, uint64_t span)
{
    m->vcpus[m->nvcpus++] = (struct sim_vcpu){
        .rate = rate, .first = (uint32_t)(first / SIM_UNIT), .span = (uint32_t)(span / SIM_UNIT)};
}

static uint32_t percent_of(const struct sim *m, uint32_t i)
{
    return m->intent.throttle.percent[m->intent.throttle.n ? i : 0];
}

static bool rests(const struct sim *m, const struct sim_vcpu *v)
{
    return v->calm_ns && m->now_ns % (v->burst_ns + v->calm_ns) >= v->burst_ns;
}

static void write_some(struct sim *m, uint32_t i, uint64_t ns)
{
    struct sim_vcpu *v = &m->vcpus[i];
    uint32_t percent = percent_of(m, i);

    m->lost_s += (double)ns / 1e9 * percent / 100;
    m->worst = percent > m->worst ? percent : m->worst;
    m->worst_of[i] = percent > m->worst_of[i] ? percent : m->worst_of[i];
    if (rests(m, v))
        return;
    v->owed += (double)v->rate * (double)ns / 1e9 / (double)SIM_UNIT *
               (v->immune ? 1 : (100.0 - percent) / 100);
    for (; v->owed >= 1; v->owed--) {
        bool *unit = &m->dirty[v->first + v->at++ % v->span];

        m->written[i] += *unit ? 0 : SIM_UNIT; /* as a dirty ring counts: once per unit */
        *unit = true;
    }
}

/* Time goes by. */
static void pass(struct sim *m, uint64_t ns)
{
    while (ns) {
        uint64_t step = ns < NS_PER_MS ? ns : NS_PER_MS;

        for (uint32_t i = 0; i < m->nvcpus; i++)
            write_some(m, i, step);
        m->now_ns += step;
        ns -= step;
    }
}

static uint64_t link_now(const struct sim *m)
{
    uint64_t cap = m->params.max_bandwidth;

    return cap && cap < m->link ? cap : m->link;
}

static uint64_t count_dirty(const struct sim *m)
{
    uint64_t n = 0;

    for (uint32_t i = 0; i < m->units; i++)
        n += m->dirty[i];
    return n * SIM_UNIT;
}

/* Every unit that is dirty now, or all; each is clean from the moment it is sent. */
static void send_round(struct sim *m, bool all)
{
    static bool todo[SIM_UNITS];
    uint64_t began = m->now_ns, bytes = 0, each = SIM_UNIT * NS_PER_S / link_now(m);

    memcpy(todo, m->dirty, sizeof(todo));
    for (uint32_t i = 0; i < m->units; i++) {
        if (!all && !todo[i])
            continue;
        m->dirty[i] = false;
        bytes += SIM_UNIT;
        pass(m, each);
    }
    pass(m, 200 * NS_PER_US);
    m->rounds++;
    converge_sent(&m->model, bytes, m->now_ns - began);
    if (!all && m->now_ns - began < ROUND_MIN_NS && m->intent.judged)
        pass(m, ROUND_MIN_NS - (m->now_ns - began));
}

static void note(struct sim *m, const struct intent_plan *plan)
{
    for (unsigned i = 0; i < plan->nsays; i++) {
        size_t len = strlen(m->said);

        if (!m->recognised && (!strcmp(plan->says[i].what, "not-converging") ||
                               !strcmp(plan->says[i].what, "limit-too-low")))
            m->recognised = m->rounds;
        if (len + 64 < sizeof(m->said)) {
            strcat(m->said, plan->says[i].what);
            strcat(m->said, " ");
        }
    }
    if (plan->total_ns && !m->foretold_ns)
        m->foretold_ns = plan->total_ns;
    m->predicted_ns = plan->predicted_ns;
}

/* The last pages do not wait for max-bandwidth. */
static void finish(struct sim *m)
{
    m->blackout_ns = m->fixed_ns + (uint64_t)((double)count_dirty(m) / (double)m->link * 1e9);
    m->total_ns = m->now_ns + m->blackout_ns;
}

static void learn_rates(struct sim *m, uint64_t dirty, uint64_t interval)
{
    uint64_t rates[SIM_VCPUS] = {0};

    for (uint32_t i = 0; i < m->nvcpus; i++)
        rates[i] = (uint64_t)((double)m->written[i] / (double)interval * 1e9);
    memset(m->written, 0, sizeof(m->written));
    if (m->blind) {
        rates[0] = (uint64_t)((double)dirty / (double)interval * 1e9);
        throttle_rates(&m->intent.throttle, rates, 0);
    } else {
        throttle_rates(&m->intent.throttle, rates, m->nvcpus);
    }
}

void sim_run(struct sim *m)
{
    struct intent_plan plan;
    uint64_t before = 0;

    send_round(m, true);
    while (m->rounds < ROUNDS_MAX) {
        struct intent_view v = {.params = &m->params,
                                .dirty = count_dirty(m),
                                .interval_ns = m->now_ns - before,
                                .elapsed_ns = m->now_ns,
                                .nvcpus = m->nvcpus,
                                .can_throttle = true};

        if (m->change)
            m->change(m);
        learn_rates(m, v.dirty, v.interval_ns);
        before = m->now_ns;
        intent_judge(&m->intent, &m->model, &v, &plan);
        note(m, &plan);
        if (plan.action != INTENT_ROUND) {
            m->end = plan.action;
            finish(m);
            return;
        }
        send_round(m, false);
    }
    m->gave_up = true;
}

void sim_run_naive(struct sim *m)
{
    uint64_t limit = m->params.downtime_limit_ms * NS_PER_MS;
    unsigned above = 0;

    throttle_rates(&m->intent.throttle, (uint64_t[]){0}, 0);
    send_round(m, true);
    while (m->rounds < ROUNDS_MAX) {
        uint64_t dirty = count_dirty(m);

        if ((double)dirty / (double)link_now(m) * 1e9 <= (double)limit) {
            m->end = INTENT_SWITCH;
            finish(m);
            return;
        }
        if (++above % 2 == 0) {
            uint32_t p = m->intent.throttle.percent[0] ? m->intent.throttle.percent[0] + 10U : 20U;

            m->intent.throttle.percent[0] = (uint8_t)(p > 99 ? 99 : p);
        }
        send_round(m, false);
    }
    m->gave_up = true;
}
