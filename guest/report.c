#include "report.h"

#include "console.h"
#include "witness.h"

/* Sums and extremes over all processors. */
struct figures {
    uint64_t words, bad, passes, pass_ticks;
    uint64_t stamped, generation, lost, newer, mangled;
    uint64_t state_checks, state_bad, state_words;
    uint64_t tsc_back, tsc_cross, cross_most;
    uint64_t events_dropped;
    unsigned alive, ready;
    struct gap_slot period, total;
    unsigned gap_cpu;
};

static struct {
    uint64_t number, start, stamped; /* of the period that runs */
    bool ready_said;
} now_period;

static const char *const kind_names[] = {
    [EVENT_NONE] = "none",   [EVENT_WORD] = "word",       [EVENT_LOST] = "lost",
    [EVENT_NEWER] = "newer", [EVENT_MANGLED] = "mangled", [EVENT_STATE] = "state",
    [EVENT_DEAD] = "dead",
};

static const char *const where_names[] = {
    [EVENT_NONE] = "gpa",    [EVENT_WORD] = "gpa",    [EVENT_LOST] = "gpa", [EVENT_NEWER] = "gpa",
    [EVENT_MANGLED] = "gpa", [EVENT_STATE] = "index", [EVENT_DEAD] = "rip",
};

_Static_assert(sizeof(where_names) / sizeof(where_names[0]) == EVENT_KINDS, "a name for each kind");
_Static_assert(sizeof(kind_names) / sizeof(kind_names[0]) == EVENT_KINDS, "a name for each kind");

static void longer(struct gap *a, const struct gap *b)
{
    if (b->ticks > a->ticks)
        *a = *b;
}

static void merge_slots(struct gap_slot *into, const struct gap_slot *s)
{
    into->stops += s->stops;
    longer(&into->own, &s->own);
    longer(&into->blackout, &s->blackout);
    longer(&into->stop, &s->stop);
    for (unsigned i = 0; i < GAP_BUCKETS; i++)
        into->histogram[i] += s->histogram[i];
}

static void add_counters(struct figures *f, const struct cpu *c)
{
    f->words += c->pattern.words;
    f->bad += c->pattern.bad + c->workset.bad_words;
    if (c->pattern.end > c->pattern.first && c->pattern.passes < f->passes)
        f->passes = c->pattern.passes;
    if (c->pattern.pass_ticks > f->pass_ticks)
        f->pass_ticks = c->pattern.pass_ticks;
    f->stamped += c->workset.stamped;
    if (c->workset.end > c->workset.first && c->workset.generation < f->generation)
        f->generation = c->workset.generation;
    f->lost += c->workset.lost;
    f->newer += c->workset.newer;
    f->mangled += c->workset.mangled;
    f->state_checks += c->canary.checks;
    f->state_bad += c->canary.bad;
    f->state_words += c->canary.count;
    f->tsc_back += c->gaps.tsc_back;
    f->tsc_cross += c->gaps.tsc_cross;
    if (c->gaps.cross_most > f->cross_most)
        f->cross_most = c->gaps.cross_most;
    f->events_dropped += c->events_dropped;
    f->ready += __atomic_load_n(&c->ready, __ATOMIC_ACQUIRE);
}

static void add_gaps(struct figures *f, const struct cpu *c, uint32_t epoch)
{
    struct gap_slot period = gaps_of_period(&c->gaps, epoch);
    struct gap_slot total = gaps_of_total(&c->gaps);

    if (period.own.ticks > f->period.own.ticks)
        f->gap_cpu = (unsigned)c->index;
    merge_slots(&f->period, &period);
    merge_slots(&f->total, &total);
}

/* It has looked at the clock within the last second, or the last period when that is longer. */
static bool is_alive(const struct cpu *c, uint64_t now)
{
    uint64_t ms = witness.config.period_ms > 1000 ? witness.config.period_ms : 1000;

    return now < c->gaps.last + ticks_of_us(ms * 1000);
}

static void gather(struct figures *f, uint32_t epoch, uint64_t now)
{
    *f = (struct figures){.passes = ~0ull, .generation = ~0ull};
    for (unsigned i = 0; i < witness.config.smp; i++) {
        const struct cpu *c = cpu_table[i];

        add_counters(f, c);
        add_gaps(f, c, epoch);
        f->alive += is_alive(c, now);
    }
    if (f->passes == ~0ull)
        f->passes = 0;
    if (f->generation == ~0ull)
        f->generation = 0;
}

void report_hello(void)
{
    const struct config *c = &witness.config;
    struct text t = {.len = 0};

    text_str(&t, "WITNESS 1");
    text_kv(&t, "vcpus", c->smp);
    text_kv(&t, "static_mib", c->static_mib);
    text_kv(&t, "ws_mib", c->ws_mib);
    text_kv(&t, "rate", c->rate);
    text_kv(&t, "verify_ms", c->verify_ms);
    text_kv(&t, "period_ms", c->period_ms);
    text_ks(&t, "idle", config_idle_name(c));
    text_kv(&t, "idle_us", c->idle_us);
    text_kv(&t, "above4g", c->above4g);
    text_kv(&t, "state", c->state);
    text_kv(&t, "seed", c->seed);
    text_kv(&t, "text", c->text);
    text_kv(&t, "ram_mib", witness.boot.ram_bytes >> 20);
    text_kv(&t, "high_mib", witness.boot.high_bytes >> 20);
    text_kv(&t, "tsc_khz", tsc_clock.khz);
    text_ks(&t, "tsc_from", tsc_clock.source);
    text_kv(&t, "kvmclock", tsc_clock.kvm);
    if (c->unknown[0])
        text_ks(&t, "ignored", c->unknown);
    console_line(&t);
}

void report_fatal(const char *what, const char *detail)
{
    struct text t = {.len = 0};

    text_str(&t, "FATAL");
    text_ks(&t, "reason", what);
    if (detail)
        text_ks(&t, "detail", detail);
    console_line(&t);
}

static void print_event(const struct cpu *c, const struct event *e)
{
    struct text t = {.len = 0};

    text_str(&t, "BAD");
    text_ks(&t, "kind", kind_names[e->kind]);
    if (e->what)
        text_ks(&t, "what", e->what);
    text_kx(&t, where_names[e->kind], e->where);
    text_kx(&t, e->kind == EVENT_DEAD ? "cr2" : "want", e->want);
    text_kx(&t, e->kind == EVENT_DEAD ? "err" : "got", e->got);
    if (e->kind == EVENT_DEAD)
        text_kv(&t, "vector", c->fault.vector);
    if (e->words)
        text_kv(&t, "words", e->words);
    text_kv(&t, "cpu", c->index);
    console_line(&t);
}

void report_dead(const struct cpu *c)
{
    const struct event e = cpu_death(c);

    print_event(c, &e);
}

static void print_events(void)
{
    struct event e;

    for (unsigned i = 0; i < witness.config.smp; i++)
        while (cpu_next_event(cpu_table[i], &e))
            print_event(cpu_table[i], &e);
}

static void put_gap(struct text *t, const char *us, const char *at, const struct gap *g)
{
    text_kv(t, us, us_of_ticks(g->ticks));
    if (at)
        text_kx(t, at, g->ticks ? g->start : 0);
}

static void put_work(struct text *t, const struct figures *f, uint64_t ticks)
{
    uint64_t us = us_of_ticks(ticks), pages = f->stamped - now_period.stamped;
    uint64_t tenths = us ? pages * (10 * 1000000 / 256) / us : 0;

    text_kv(t, "pass", f->passes);
    text_kv(t, "pass_ms", ms_of_ticks(f->pass_ticks));
    text_kv(t, "words", f->words);
    text_kv(t, "bad", f->bad);
    text_kv(t, "lost", f->lost);
    text_kv(t, "newer", f->newer);
    text_kv(t, "mangled", f->mangled);
    text_kv(t, "state_bad", f->state_bad);
    text_kv(t, "ws_pages", witness.moving.pages);
    text_kv(t, "gen", f->generation);
    text_kv(t, "work", f->stamped);
    text_kv(t, "dirty_mibs", tenths / 10);
    text_str(t, ".");
    text_dec(t, tenths % 10);
}

static void put_time(struct text *t, const struct figures *f, uint64_t now)
{
    put_gap(t, "gap_us", "gap_at", &f->period.own);
    text_kv(t, "gap_cpu", f->gap_cpu);
    put_gap(t, "blackout_us", "blackout_at", &f->period.blackout);
    put_gap(t, "stop_us", "stop_at", &f->period.stop);
    put_gap(t, "max_gap_us", NULL, &f->total.own);
    put_gap(t, "max_blackout_us", NULL, &f->total.blackout);
    put_gap(t, "max_stop_us", NULL, &f->total.stop);
    text_kv(t, "stops", f->total.stops);
    text_kv(t, "tsc_khz", tsc_clock.khz);
    text_kv(t, "tsc_back", f->tsc_back);
    text_kv(t, "tsc_cross", f->tsc_cross);
    text_kx(t, "tsc", now);
    text_kv(t, "clock_us", clock_kvm_ns(&boot_cpu.gaps.pvclock, now) / 1000);
}

static void print_figures(const struct figures *f, uint64_t now)
{
    struct text t = {.len = 0};

    text_str(&t, "W");
    text_kv(&t, "n", now_period.number++);
    text_kv(&t, "up_ms", ms_of_ticks(now - witness.start));
    text_kv(&t, "vcpus", witness.config.smp);
    text_kv(&t, "alive", f->alive);
    put_work(&t, f, now - now_period.start);
    put_time(&t, f, now);
    text_kv(&t, "dropped", console_dropped() + f->events_dropped);
    console_line(&t);
}

static void end_period(uint64_t now)
{
    struct figures f;

    gather(&f, gaps_next_period(), now);
    print_figures(&f, now);
    now_period.start = now;
    now_period.stamped = f.stamped;
}

static void print_ready(uint64_t now)
{
    struct figures f;
    struct text t = {.len = 0};

    gather(&f, gaps_shared.epoch, now);
    if (f.ready < witness.config.smp)
        return;
    text_str(&t, "READY");
    text_kv(&t, "up_ms", ms_of_ticks(now - witness.start));
    text_kv(&t, "fixed_pages", witness.fixed.pages);
    text_kv(&t, "ws_pages", witness.moving.pages);
    text_kv(&t, "state_words", f.state_words);
    console_line(&t);
    gaps_reset();
    gaps_next_period();
    now_period.ready_said = true;
    now_period.start = now;
    now_period.stamped = f.stamped;
}

void report_step(uint64_t now)
{
    print_events();
    if (!now_period.ready_said)
        print_ready(now);
    else if (now - now_period.start >= ticks_of_us(witness.config.period_ms * 1000))
        end_period(now);
}

static void print_histogram(uint64_t now)
{
    struct figures f;
    struct text t = {.len = 0};

    gather(&f, gaps_shared.epoch, now);
    text_str(&t, "H");
    for (unsigned i = 0; i < GAP_BUCKETS; i++) {
        text_str(&t, i ? "," : " gaps=");
        text_dec(&t, f.total.histogram[i]);
    }
    text_kv(&t, "state_checks", f.state_checks);
    text_kv(&t, "cross_most", f.cross_most);
    console_line(&t);
}

void report_mark(char key, uint64_t now)
{
    struct text t = {.len = 0};
    const char name[2] = {key > ' ' && key < 127 ? key : '?', 0};

    text_str(&t, "MARK");
    text_ks(&t, "key", name);
    text_kx(&t, "tsc", now);
    text_kv(&t, "up_ms", ms_of_ticks(now - witness.start));
    console_line(&t);
    end_period(now);
    print_histogram(now);
    if (key == 'r')
        gaps_reset();
}
