#include "migrate/throttle.h"

#include <stdio.h>
#include <string.h>

/* Who has less than this part of all dirtying is left alone. */
#define SMALL_SHARE 0.02
#define WORDS_MAX   4 /* vCPUs named in a sentence */

void throttle_init(struct throttle *t)
{
    *t = (struct throttle){.n = 0};
}

static uint32_t count(const struct throttle *t)
{
    return t->n ? t->n : 1;
}

/* bytes/s that it would dirty if it were let. */
static double free_rate(const struct throttle *t, uint32_t i)
{
    return (double)t->rates[i] * 100 / (100.0 - t->percent[i]);
}

static double free_sum(const struct throttle *t)
{
    double sum = 0;

    for (uint32_t i = 0; i < count(t); i++)
        sum += free_rate(t, i);
    return sum;
}

void throttle_rates(struct throttle *t, const uint64_t *rates, uint32_t n)
{
    if (n > THROTTLE_VCPUS_MAX)
        n = 0;
    if (n != t->n)
        memset(t->percent, 0, sizeof(t->percent));
    t->n = n;
    memcpy(t->rates, rates, count(t) * sizeof(rates[0]));
}

/* What is needed to bring this rate down to `level`. */
static uint32_t percent_for(double rate, double level, uint32_t ceiling)
{
    double p = rate > level ? 100 * (1 - level / rate) : 0;

    return p >= ceiling ? ceiling : (uint32_t)(p + 0.5);
}

static double sum_at(const struct throttle *t, const double *rates, double level, double small,
                     uint32_t ceiling)
{
    double sum = 0;

    for (uint32_t i = 0; i < count(t); i++) {
        double p = rates[i] < small ? 0 : percent_for(rates[i], level, ceiling);

        sum += rates[i] * (100 - p) / 100;
    }
    return sum;
}

void throttle_spread(struct throttle *t, uint32_t percent, uint32_t ceiling)
{
    double rates[THROTTLE_VCPUS_MAX], sum = free_sum(t), low = 0, high = sum;
    double small = t->n ? sum * SMALL_SHARE : 0, target = sum * (100.0 - percent) / 100;

    if (ceiling > THROTTLE_MAX)
        ceiling = THROTTLE_MAX;
    for (uint32_t i = 0; i < count(t); i++)
        rates[i] = free_rate(t, i);
    for (int step = 0; step < 40; step++) {
        double level = (low + high) / 2;

        if (sum_at(t, rates, level, small, ceiling) > target)
            high = level;
        else
            low = level;
    }
    for (uint32_t i = 0; i < count(t); i++) {
        t->percent[i] = (uint8_t)(rates[i] < small ? 0 : percent_for(rates[i], low, ceiling));
        if (percent == 0)
            t->percent[i] = 0;
        t->rates[i] = (uint64_t)(rates[i] * (100.0 - t->percent[i]) / 100);
    }
}

/* Half of the way at a time: rates are measured over moments, and jump. */
void throttle_hold(struct throttle *t, uint64_t limit)
{
    for (uint32_t i = 0; i < count(t); i++) {
        uint32_t want = percent_for(free_rate(t, i), (double)limit, THROTTLE_MAX);
        int way = ((int)want - t->percent[i]) / 2;

        t->percent[i] = (uint8_t)(way ? t->percent[i] + way : (int)want);
    }
}

void throttle_clamp(struct throttle *t, uint32_t ceiling)
{
    for (uint32_t i = 0; i < count(t); i++)
        if (t->percent[i] > ceiling)
            t->percent[i] = (uint8_t)ceiling;
}

void throttle_free_all(struct throttle *t)
{
    memset(t->percent, 0, sizeof(t->percent));
}

double throttle_withheld(const struct throttle *t)
{
    double sum = 0, held = 0;

    for (uint32_t i = 0; i < count(t); i++) {
        sum += free_rate(t, i);
        held += free_rate(t, i) * t->percent[i] / 100;
    }
    return sum > 0 ? held / sum : throttle_top(t) / 100.0;
}

uint32_t throttle_top(const struct throttle *t)
{
    uint32_t top = 0;

    for (uint32_t i = 0; i < count(t); i++)
        top = t->percent[i] > top ? t->percent[i] : top;
    return top;
}

void throttle_words(const struct throttle *t, char *out, size_t cap)
{
    size_t at = 0;
    uint32_t named = 0;

    if (!throttle_top(t)) {
        snprintf(out, cap, "nobody");
        return;
    }
    if (!t->n) {
        snprintf(out, cap, "all vCPUs %u %%", t->percent[0]);
        return;
    }
    for (uint32_t i = 0; i < t->n && at < cap; i++) {
        if (!t->percent[i])
            continue;
        if (named++ == WORDS_MAX) {
            snprintf(out + at, cap - at, ", ...");
            return;
        }
        at += (size_t)snprintf(out + at, cap - at, "%svCPU %u %u %%", named > 1 ? ", " : "", i,
                               t->percent[i]);
    }
}

static void tell_nobody(struct throttle *t, const struct godwit_source_ops *ops, void *opaque)
{
    for (uint32_t i = 0; i < THROTTLE_VCPUS_MAX; i++)
        if (t->told[i]) {
            ops->throttle(opaque, GODWIT_ALL_VCPUS, 0);
            break;
        }
    memset(t->told, 0, sizeof(t->told));
}

void throttle_tell(struct throttle *t, const struct godwit_source_ops *ops, void *opaque)
{
    if (!ops->throttle)
        return;
    if (t->told_n != t->n)
        tell_nobody(t, ops, opaque);
    t->told_n = t->n;
    for (uint32_t i = 0; i < count(t); i++) {
        if (t->told[i] == t->percent[i])
            continue;
        ops->throttle(opaque, t->n ? i : GODWIT_ALL_VCPUS, t->percent[i]);
        t->told[i] = t->percent[i];
    }
}
