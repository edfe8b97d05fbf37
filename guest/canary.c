#include "canary.h"

#include "witness.h"
#include "words.h"

#define STEP_MS 4

/* hold.S */
uint64_t hold_spin(const uint64_t pattern[12], uint64_t until_tsc);
uint64_t hold_hlt(const uint64_t pattern[12]);

void canary_init(struct cpu *c)
{
    struct canary *k = &c->canary;
    struct word w;

    for (unsigned i = 0; i < 12; i++)
        k->hold[i] = mix(mix(c->index + 1) + i);
    pace_init(&k->pace, tsc_now(), witness.config.state, STEP_MS);
    if (!witness.config.state)
        return;
    k->avx = words_enable_avx();
    while (k->count < CANARY_WORDS && words_locate(c, k->count, &w)) {
        words_plant(c, &w);
        k->count++;
    }
    for (unsigned i = 0; i < k->count; i++)
        if (words_locate(c, i, &w))
            k->want[i] = words_read(&w);
}

void canary_step(struct cpu *c, uint64_t now)
{
    struct canary *k = &c->canary;
    uint64_t *want = &k->want[k->next], got;
    struct word w;

    if (!k->count || !pace_due(&k->pace, now) || !words_locate(c, k->next, &w))
        return;
    got = words_read(&w);
    if (got != *want) {
        struct event e = {
            .kind = EVENT_STATE, .what = w.name, .where = w.arg, .want = *want, .got = got};

        k->bad++;
        cpu_event(c, e);
        *want = got;
    }
    k->checks++;
    k->next = (k->next + 1) % k->count;
}

static void judge_hold(struct cpu *c, uint64_t differ)
{
    if (!differ)
        return;
    c->canary.bad++;
    cpu_event(c, (struct event){.kind = EVENT_STATE, .got = differ, .what = "gpr"});
}

void canary_spin(struct cpu *c, uint64_t until)
{
    judge_hold(c, hold_spin(c->canary.hold, until));
}

void canary_hlt(struct cpu *c)
{
    judge_hold(c, hold_hlt(c->canary.hold));
}
