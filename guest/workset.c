#include "workset.h"

#include "cpu.h"
#include "pattern.h"
#include "witness.h"

#define WORDS       512u
#define STAMPS      4u
#define STAMP_WORDS 3u
#define LINE        8u /* words */

struct stamp {
    uint64_t page, generation, check;
};

/* The word each stamp begins at: the page's first and last, and two in between, each at the begin
 * or the end of a line. */
static const uint16_t stamp_at[STAMPS] = {0, 168, 341, 509};

static uint64_t check_of(uint64_t page, uint64_t generation, unsigned i)
{
    return mix(mix(page + witness.config.seed * MIX_STEP) ^ (generation << 2 | i));
}

static struct stamp *stamp_of(uint64_t gpa, unsigned i)
{
    return (struct stamp *)((uint64_t *)(uintptr_t)gpa + stamp_at[i]);
}

static void write_stamps(uint64_t gpa, uint64_t page, uint64_t generation)
{
    for (unsigned i = 0; i < STAMPS; i++)
        *stamp_of(gpa, i) = (struct stamp){page, generation, check_of(page, generation, i)};
}

void workset_init(struct cpu *c)
{
    struct workset *s = &c->workset;
    const struct config *cfg = &witness.config;
    uint64_t slice = s->end - s->first;

    s->generation = 1;
    s->next = s->first;
    for (uint64_t page = s->first; page < s->end; page++) {
        uint64_t gpa = area_gpa(&witness.moving, page);
        uint64_t key = pattern_key(cfg->seed, gpa), *word = (uint64_t *)(uintptr_t)gpa;

        for (unsigned w = 0; w < WORDS; w++)
            word[w] = cfg->text ? pattern_letters(key, w) : pattern_word(key, w);
        write_stamps(gpa, page, s->generation);
    }
    /* rate MiB/s = rate * 256 pages/s, of which this vCPU has its slice's share; over 1000 s. */
    if (slice && cfg->rate)
        pace_init(&s->pace, tsc_now(), 256ull * 1000 * cfg->rate * slice / witness.moving.pages,
                  1000ull * 1000);
    else
        pace_init(&s->pace, tsc_now(), slice, 0);
}

/* A line of the page, another one each sweep. Stamps lie across some lines; those words are theirs.
 */
static void check_fixed_words(struct cpu *c, uint64_t gpa, uint64_t page)
{
    unsigned line = (unsigned)(page + c->workset.generation) % (WORDS / LINE) * LINE;
    unsigned first = line, end = line + LINE;

    for (unsigned i = 0; i < STAMPS; i++) {
        unsigned at = stamp_at[i];

        if (at <= first && first < at + STAMP_WORDS)
            first = at + STAMP_WORDS;
        else if (first < at && at < end)
            end = at;
    }
    c->workset.bad_words += pattern_mend(c, gpa, first, end);
}

/* What the page's stamps say, the worst of them; *got is the generation, or the word, found. */
static enum event_kind judge(uint64_t gpa, uint64_t page, uint64_t want, uint64_t *got)
{
    unsigned good = 0, lost = 0, newer = 0;

    for (unsigned i = 0; i < STAMPS; i++) {
        struct stamp s = *stamp_of(gpa, i);

        if (s.generation != want || s.page != page)
            *got = s.generation;
        if (s.page != page || s.check != check_of(page, s.generation, i))
            continue;
        good += s.generation == want;
        lost += s.generation < want;
        newer += s.generation > want;
    }
    if (good == STAMPS)
        return EVENT_NONE;
    return lost == STAMPS ? EVENT_LOST : newer == STAMPS ? EVENT_NEWER : EVENT_MANGLED;
}

static void check_stamps(struct cpu *c, uint64_t gpa, uint64_t page)
{
    struct workset *s = &c->workset;
    uint64_t got = s->generation;
    enum event_kind kind = judge(gpa, page, s->generation, &got);

    if (kind == EVENT_NONE)
        return;
    s->lost += kind == EVENT_LOST;
    s->newer += kind == EVENT_NEWER;
    s->mangled += kind == EVENT_MANGLED;
    cpu_event(c, (struct event){.kind = kind, .where = gpa, .want = s->generation, .got = got});
}

bool workset_step(struct cpu *c, uint64_t now)
{
    struct workset *s = &c->workset;
    uint64_t gpa;

    if (!pace_due(&s->pace, now))
        return false;
    gpa = area_gpa(&witness.moving, s->next);
    check_stamps(c, gpa, s->next);
    check_fixed_words(c, gpa, s->next);
    write_stamps(gpa, s->next, s->generation + 1);
    s->stamped++;
    if (++s->next == s->end) {
        s->next = s->first;
        s->generation++;
    }
    return true;
}
