#include "pattern.h"

#include "cpu.h"
#include "witness.h"

#define WORDS 512u

static uint64_t word_of(uint64_t key, unsigned w)
{
    return witness.config.text ? pattern_letters(key, w) : pattern_word(key, w);
}

void pattern_init(struct cpu *c)
{
    struct pattern *s = &c->pattern;

    for (uint64_t page = s->first; page < s->end; page++) {
        uint64_t gpa = area_gpa(&witness.fixed, page);
        uint64_t key = pattern_key(witness.config.seed, gpa);
        uint64_t *word = (uint64_t *)(uintptr_t)gpa;

        for (unsigned w = 0; w < WORDS; w++)
            word[w] = word_of(key, w);
    }
    s->next = s->first;
    s->pass_start = tsc_now();
    pace_init(&s->pace, s->pass_start, s->end - s->first, witness.config.verify_ms);
}

uint64_t pattern_mend(struct cpu *c, uint64_t gpa, unsigned first, unsigned end)
{
    uint64_t *word = (uint64_t *)(uintptr_t)gpa;
    uint64_t key = pattern_key(witness.config.seed, gpa);
    struct event e = {.kind = EVENT_WORD};

    for (unsigned w = first; w < end; w++) {
        uint64_t want = word_of(key, w), got = word[w];

        if (got == want)
            continue;
        if (!e.words++) {
            e.where = gpa + w * sizeof(*word);
            e.want = want;
            e.got = got;
        }
        word[w] = want;
    }
    if (e.words)
        cpu_event(c, e);
    return e.words;
}

static void verify_page(struct cpu *c, uint64_t gpa)
{
    const volatile uint64_t *word = (const volatile uint64_t *)(uintptr_t)gpa;
    uint64_t key = pattern_key(witness.config.seed, gpa), differ = 0;

    for (unsigned w = 0; w < WORDS; w++)
        differ |= word[w] ^ word_of(key, w);
    if (differ)
        c->pattern.bad += pattern_mend(c, gpa, 0, WORDS);
}

bool pattern_step(struct cpu *c, uint64_t now)
{
    struct pattern *s = &c->pattern;

    if (!pace_due(&s->pace, now))
        return false;
    verify_page(c, area_gpa(&witness.fixed, s->next));
    s->words += WORDS;
    if (++s->next == s->end) {
        s->next = s->first;
        s->pass_ticks = now - s->pass_start;
        s->pass_start = now;
        s->passes++;
    }
    return true;
}
