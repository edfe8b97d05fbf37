/*
 * The real engine on every way through the handover's tables that the model has (test/model).
 *
 *   test_trace TRACES
 *
 * Each line of TRACES is a class: the rows that both sides took, loops collapsed, and who died; and
 * one order in which the model took them.  For each a process of its own stages that order with a
 * source and a destination of libgodwit, fake guests, and a proxy that lets pass what is wanted
 * next: handover_source and handover_sink are wrapped (by the linker, nothing of this is in the
 * product), so that a side waits for its turn, and a row that is not the next one ends the case as
 * a failure. Never two machines run; a class that could not be driven is named.
 */
#include "harness.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "migrate/handover.h"
#include "proxy.h"
#include "stream/native/native.h"

#define ITEMS_MAX   64
#define CLASSES_MAX 4096
#define TRIES_MAX   4  /* orders kept of one class */
#define ABREAST     64 /* processes at a time: they mostly wait */

#define GRACE_NS    (25 * NS_PER_MS) /* for what happens by itself */
#define PATIENCE_NS (12 * NS_PER_S)  /* for the next row */
#define SHORT_MS    60
#define LONG_MS     20000

enum side { AT_SOURCE, AT_SINK, SIDES };

/* As test/model/handover.pml counts them: state * events + event; 99: it died. */
#define SOURCE_ROW(state, event) ((int)(state)*SOURCE_EVENT_COUNT + (int)(event))
#define SINK_ROW(state, event)   ((int)(state)*SINK_EVENT_COUNT + (int)(event))
#define DEATH                    99
#define NOTHING                  (-1)

struct item {
    enum side side;
    int row;
};

struct trace {
    struct item items[ITEMS_MAX];
    unsigned n;
};

/* ---- the stage: whose turn it is ------------------------------------------------------------- */

static struct {
    pthread_mutex_t lock;
    pthread_cond_t turn;
    const struct trace *trace;
    unsigned at; /* the item that is next */
    bool dead[SIDES];
    bool waits[SIDES]; /* for its turn, with the row that is its next */
    enum source_state source_state;
    struct pair pair;
    struct proxy *proxy;
    char *reason; /* of a failure; shared with the parent */
} stage = {.lock = PTHREAD_MUTEX_INITIALIZER, .turn = PTHREAD_COND_INITIALIZER};

#define REASON_SIZE 160

__attribute__((format(printf, 1, 2), noreturn)) static void give_up(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(stage.reason, REASON_SIZE, format, args);
    va_end(args);
    _exit(1);
}

static const struct item *head(void)
{
    return stage.at < stage.trace->n ? &stage.trace->items[stage.at] : NULL;
}

/* The next row of this side, with the lock held. */
static unsigned next_index(enum side side)
{
    unsigned i = stage.at;

    while (i < stage.trace->n && stage.trace->items[i].side != side)
        i++;
    return i;
}

static int next_row(enum side side)
{
    unsigned i = next_index(side);

    return i < stage.trace->n ? stage.trace->items[i].row : NOTHING;
}

static bool takes(const struct trace *t, enum side side, int row)
{
    for (unsigned i = 0; i < t->n; i++)
        if (t->items[i].side == side && t->items[i].row == row)
            return true;
    return false;
}

/* What a dead process does. */
__attribute__((noreturn)) static void freeze(void)
{
    pthread_mutex_unlock(&stage.lock);
    for (;;)
        pause();
}

/* With the lock held: until it is this side's turn, or it is dead. */
static void wait_turn(enum side side)
{
    if (stage.dead[side] || next_row(side) == DEATH)
        freeze();
    stage.waits[side] = true;
    while (head() && head()->side != side && !stage.dead[side])
        pthread_cond_wait(&stage.turn, &stage.lock);
    stage.waits[side] = false;
    if (stage.dead[side] || next_row(side) == DEATH)
        freeze();
}

static void take(enum side side, int row, const char *from, const char *to)
{
    pthread_mutex_lock(&stage.lock);
    /* A link that is cut shows on a lane, as a failure, or on the control channel: by chance. */
    if (side == AT_SINK && row == SINK_ROW(SINK_ARRIVING, SINK_FAIL) &&
        next_row(side) == SINK_ROW(SINK_ARRIVING, SINK_LOST))
        row = SINK_ROW(SINK_ARRIVING, SINK_LOST);
    if (stage.dead[side] || next_row(side) == DEATH)
        freeze();
    if (next_row(side) != row)
        give_up("at %u: the %s went from %s to %s, but row %d is next", stage.at,
                side == AT_SOURCE ? "source" : "destination", from, to, next_row(side));
    wait_turn(side);
    stage.at++;
    pthread_cond_broadcast(&stage.turn);
    pthread_mutex_unlock(&stage.lock);
}

/* ---- the tables, wrapped --------------------------------------------------------------------- */

enum handover_action __real_handover_source(enum source_state *state, enum source_event event);
enum handover_action __real_handover_sink(enum sink_state *state, enum sink_event event);
enum handover_action __wrap_handover_source(enum source_state *state, enum source_event event);
enum handover_action __wrap_handover_sink(enum sink_state *state, enum sink_event event);

enum handover_action __wrap_handover_source(enum source_state *state, enum source_event event)
{
    enum source_state next = *state;
    enum handover_action action = __real_handover_source(&next, event);

    if (next != *state)
        take(AT_SOURCE, SOURCE_ROW(*state, event), handover_source_name(*state),
             handover_source_name(next));
    stage.source_state = *state = next;
    return action;
}

enum handover_action __wrap_handover_sink(enum sink_state *state, enum sink_event event)
{
    enum sink_state next = *state;
    enum handover_action action = __real_handover_sink(&next, event);

    if (next != *state)
        take(AT_SINK, SINK_ROW(*state, event), handover_sink_name(*state),
             handover_sink_name(next));
    *state = next;
    return action;
}

/* ---- what passes on the link ----------------------------------------------------------------- */

static bool sink_hears(uint32_t type)
{
    int next = next_row(AT_SINK);

    if (next == DEATH)
        return true;
    switch (type) {
    case NATIVE_MANIFEST:
        return next == SINK_ROW(SINK_EMPTY, SINK_ARRIVE);
    case NATIVE_STATE:
        return next == SINK_ROW(SINK_ARRIVING, SINK_LOADED) ||
               next == SINK_ROW(SINK_ARRIVING, SINK_FAIL);
    case NATIVE_COMMIT:
        return next == SINK_ROW(SINK_READY, SINK_COMMIT) ||
               next == SINK_ROW(SINK_UNRESOLVED, SINK_COMMIT);
    case NATIVE_ABORT:
        return next == SINK_ROW(SINK_ARRIVING, SINK_ABORT) ||
               next == SINK_ROW(SINK_READY, SINK_ABORT) ||
               next == SINK_ROW(SINK_UNRESOLVED, SINK_ABORT);
    default:
        return true;
    }
}

static bool is_answer(int row, enum source_event event)
{
    return row == SOURCE_ROW(SOURCE_COMMITTED, event) ||
           row == SOURCE_ROW(SOURCE_UNRESOLVED, event);
}

static bool source_hears(uint32_t type)
{
    int next = next_row(AT_SOURCE);

    if (next == DEATH)
        return true;
    switch (type) {
    case NATIVE_READY:
        return next != SOURCE_ROW(SOURCE_STOPPED, SOURCE_FAIL);
    case NATIVE_RUNNING:
        return is_answer(next, SOURCE_RUNNING);
    case NATIVE_NEVER_RAN:
        return stage.source_state == SOURCE_KEPT || is_answer(next, SOURCE_NEVER_RAN);
    default:
        return true;
    }
}

static bool passes(void *arg, bool back, uint32_t type)
{
    bool ok;

    pthread_mutex_lock(&stage.lock);
    ok = !stage.dead[AT_SOURCE] && !stage.dead[AT_SINK] &&
         (back ? source_hears(type) : sink_hears(type));
    pthread_mutex_unlock(&stage.lock);
    return ok;
}

static bool is_wanted(void)
{
    int sink = next_row(AT_SINK), source = next_row(AT_SOURCE);

    if (stage.dead[AT_SOURCE] || stage.dead[AT_SINK])
        return false;
    if (sink == SINK_ROW(SINK_ARRIVING, SINK_LOST))
        return head()->row != sink || head()->side != AT_SINK;
    if (sink >= 0 && sink < SINK_ROW(SINK_READY, 0))
        return true; /* the machine arrives */
    return sink == DEATH || sink_hears(NATIVE_COMMIT) || sink_hears(NATIVE_ABORT) ||
           (head() && (head()->side == AT_SOURCE || head()->row == DEATH) &&
            (is_answer(source, SOURCE_RUNNING) || is_answer(source, SOURCE_NEVER_RAN)));
}

static bool admits(void *arg)
{
    bool ok;

    pthread_mutex_lock(&stage.lock);
    ok = is_wanted();
    pthread_mutex_unlock(&stage.lock);
    return ok;
}

/* ---- the callbacks --------------------------------------------------------------------------- */

/* This one fails when `row` is next: as soon as it is its turn. */
static void fail_if_next(enum side side, struct fake_slot *slot, int row, int code)
{
    pthread_mutex_lock(&stage.lock);
    if (stage.dead[side] || next_row(side) == DEATH)
        freeze();
    atomic_store(&slot->fail, 0);
    if (next_row(side) == row) {
        wait_turn(side);
        atomic_store(&slot->fail, code);
    }
    pthread_mutex_unlock(&stage.lock);
}

static void at_stop(void *arg)
{
    fail_if_next(AT_SOURCE, arg, SOURCE_ROW(SOURCE_OWNS, SOURCE_FAIL), -EIO);
}

/* Not where the destination has something to do with the state before. */
static void at_save_state(void *arg)
{
    bool seen;

    pthread_mutex_lock(&stage.lock);
    seen = sink_hears(NATIVE_STATE);
    pthread_mutex_unlock(&stage.lock);
    if (!seen)
        fail_if_next(AT_SOURCE, arg, SOURCE_ROW(SOURCE_STOPPED, SOURCE_FAIL), -EIO);
}

static void at_commit(void *arg)
{
    fail_if_next(AT_SOURCE, arg, SOURCE_ROW(SOURCE_STOPPED, SOURCE_FAIL), -EIO);
}

static void at_reclaim(void *arg)
{
    fail_if_next(AT_SOURCE, arg, SOURCE_ROW(SOURCE_RECLAIMING, SOURCE_FAIL), -EAGAIN);
}

/* The source's ABORT comes while the destination is busy, so that it hears that first. */
static void let_abort_come(void)
{
    bool comes;

    pthread_mutex_lock(&stage.lock);
    comes = next_row(AT_SINK) == SINK_ROW(SINK_ARRIVING, SINK_ABORT);
    if (comes)
        wait_turn(AT_SINK);
    pthread_mutex_unlock(&stage.lock);
    if (comes)
        clock_sleep_ns(GRACE_NS);
}

static void arrive(struct fake_slot *slot)
{
    fail_if_next(AT_SINK, slot, SINK_ROW(SINK_ARRIVING, SINK_FAIL), -EIO);
    let_abort_come();
}

/* What happens to the destination before the source's stop happens here, the rest in load_state. */
static void at_manifest(void *arg)
{
    bool later = false;

    pthread_mutex_lock(&stage.lock);
    for (unsigned i = stage.at; i < next_index(AT_SINK); i++)
        later |= stage.trace->items[i].side == AT_SOURCE &&
                 stage.trace->items[i].row == SOURCE_ROW(SOURCE_OWNS, SOURCE_STOP);
    pthread_mutex_unlock(&stage.lock);
    if (!later)
        arrive(arg);
}

static void at_load_state(void *arg)
{
    arrive(arg);
}

static void at_run(void *arg)
{
    int row;

    pthread_mutex_lock(&stage.lock);
    row = next_row(AT_SINK) == SINK_ROW(SINK_TRYING, SINK_FAIL)
              ? SINK_ROW(SINK_TRYING, SINK_FAIL)
              : SINK_ROW(SINK_STARTING, SINK_FAIL);
    pthread_mutex_unlock(&stage.lock);
    fail_if_next(AT_SINK, arg, row, -EIO);
}

static void hook(struct fake_slot *slots, enum fake_call call, void (*fn)(void *))
{
    slots[call].hook = fn;
    slots[call].arg = &slots[call];
}

/* ---- what has to be done for the next row ---------------------------------------------------- */

/* After a death or a cut nothing comes but what was on its way: that must be there before. */
static bool may_part(enum side side)
{
    enum side other = side == AT_SOURCE ? AT_SINK : AT_SOURCE;
    int row = next_row(other);

    if (stage.waits[other] || row == NOTHING || row == DEATH)
        return true;
    if (other == AT_SOURCE)
        return row != SOURCE_ROW(SOURCE_OWNS, SOURCE_STOP) &&
               row != SOURCE_ROW(SOURCE_STOPPED, SOURCE_COMMIT) &&
               !is_answer(row, SOURCE_RUNNING) && !is_answer(row, SOURCE_NEVER_RAN);
    return !sink_hears(NATIVE_COMMIT) && !sink_hears(NATIVE_ABORT) &&
           row != SINK_ROW(SINK_EMPTY, SINK_ARRIVE) && row != SINK_ROW(SINK_ARRIVING, SINK_LOADED);
}

static void die(enum side side)
{
    struct pair *p = &stage.pair;
    bool ran = side == AT_SOURCE ? atomic_load(&p->from.runs) : atomic_load(&p->to.runs);

    stage.dead[side] = true;
    stage.at++;
    if (ran)
        p->world.running--;
    if (side == AT_SOURCE)
        p->from.runs = false;
    else
        p->to.runs = false;
    pthread_cond_broadcast(&stage.turn);
    proxy_cut(stage.proxy);
}

static void help_source(int row)
{
    struct pair *p = &stage.pair;
    struct err e = ERR_INIT;

    if (row == SOURCE_ROW(SOURCE_OWNS, SOURCE_FAIL) ||
        row == SOURCE_ROW(SOURCE_STOPPED, SOURCE_FAIL))
        godwit_source_cancel(p->source);
    else if (row == SOURCE_ROW(SOURCE_UNRESOLVED, SOURCE_WORD_RUN))
        godwit_source_resolve(p->source, true, &e);
    else if (row == SOURCE_ROW(SOURCE_UNRESOLVED, SOURCE_WORD_DROP))
        godwit_source_resolve(p->source, false, &e);
}

static void help_sink(int row)
{
    struct pair *p = &stage.pair;
    struct err e = ERR_INIT;

    if (row == SINK_ROW(SINK_UNRESOLVED, SINK_WORD_RUN))
        godwit_sink_resolve(p->sink, true, &e);
    else if (row == SINK_ROW(SINK_UNRESOLVED, SINK_WORD_DROP))
        godwit_sink_resolve(p->sink, false, &e);
}

/* These come when the link is gone. */
static bool is_parting(int row)
{
    return row == SINK_ROW(SINK_READY, SINK_TIMEOUT) || row == SINK_ROW(SINK_ARRIVING, SINK_LOST);
}

/* Waits a moment for what happens by itself, and helps when it does not. false: the end. */
static bool go_on(void)
{
    static uint64_t since;
    static unsigned last = UINT32_MAX;
    struct item item;
    bool parts;

    pthread_mutex_lock(&stage.lock);
    if (last != stage.at) {
        last = stage.at;
        since = clock_now_ns();
    }
    if (!head()) {
        pthread_mutex_unlock(&stage.lock);
        return false;
    }
    item = *head();
    if (clock_now_ns() > since + PATIENCE_NS)
        give_up("at %u: row %d of the %s does not come", stage.at, item.row,
                item.side == AT_SOURCE ? "source" : "destination");
    if (clock_now_ns() < since + GRACE_NS) {
        pthread_mutex_unlock(&stage.lock);
        clock_sleep_ns(NS_PER_MS);
        return true;
    }
    parts = item.row == DEATH || (item.side == AT_SINK && is_parting(item.row));
    if (item.row == DEATH && may_part(item.side))
        die(item.side);
    else if (parts && may_part(item.side))
        proxy_cut(stage.proxy);
    pthread_mutex_unlock(&stage.lock);
    if (item.side == AT_SOURCE)
        help_source(item.row);
    else
        help_sink(item.row);
    clock_sleep_ns(5 * NS_PER_MS);
    return true;
}

/* ---- one case -------------------------------------------------------------------------------- */

static void set_up(const struct trace *t)
{
    static const struct proxy_law law = {.admits = admits, .passes = passes};
    struct pair *p = &stage.pair;

    pair_init(p, 256 * KIB);
    p->params.lanes = 1;
    p->params.link_timeout_ms = p->params.ready_timeout_ms = LONG_MS;
    p->params.network_timeout_ms = SHORT_MS;
    p->params.handover_timeout_ms =
        takes(t, AT_SINK, SINK_ROW(SINK_READY, SINK_TIMEOUT)) ? SHORT_MS : LONG_MS;
    hook(p->from.slots, FAKE_STOP, at_stop);
    hook(p->from.slots, FAKE_SAVE_STATE, at_save_state);
    hook(p->from.slots, FAKE_COMMIT, at_commit);
    hook(p->from.slots, FAKE_RECLAIM, at_reclaim);
    hook(p->to.slots, FAKE_MANIFEST, at_manifest);
    hook(p->to.slots, FAKE_LOAD_STATE, at_load_state);
    hook(p->to.slots, FAKE_RUN, at_run);
    pair_listen(p, NULL);
    p->params.handover_timeout_ms =
        takes(t, AT_SOURCE, SOURCE_ROW(SOURCE_COMMITTED, SOURCE_TIMEOUT)) ? SHORT_MS : LONG_MS;
    stage.proxy = proxy_new_law(p->uri, &law, p->dial, sizeof(p->dial));
}

__attribute__((noreturn)) static void play(const struct trace *t, char *reason)
{
    struct pair *p = &stage.pair;

    alarm(60);
    if (!freopen("/dev/null", "w", stderr)) /* the engine says a lot about what is done to it */
        _exit(1);
    stage.trace = t;
    stage.reason = reason;
    snprintf(reason, REASON_SIZE, "it ended early");
    set_up(t);
    if (next_row(AT_SOURCE) != DEATH || stage.at != next_index(AT_SOURCE))
        pair_migrate(p);
    while (go_on())
        ;
    clock_sleep_ns(GRACE_NS); /* nothing more may happen */
    if (p->world.broken || p->world.running > 1)
        give_up("two machines ran");
    unlink(p->uri + 5);
    unlink(p->dial + 5);
    _exit(0);
}

/* ---- all classes ----------------------------------------------------------------------------- */

struct class
{
    char key[64];
    struct trace traces[TRIES_MAX];
    unsigned ntraces, tried;
    pid_t pid;
    bool done, driven;
};

static struct class classes[CLASSES_MAX];
static unsigned nclasses;
static char (*reasons)[REASON_SIZE];

static struct class *find_class(const char *key)
{
    for (unsigned i = 0; i < nclasses; i++)
        if (!strcmp(classes[i].key, key))
            return &classes[i];
    if (nclasses == CLASSES_MAX || strlen(key) >= sizeof(classes[0].key)) {
        fprintf(stderr, "too many classes\n");
        exit(1);
    }
    strcpy(classes[nclasses].key, key);
    return &classes[nclasses++];
}

/* "KEY: row row ..." */
static void read_line(char *line)
{
    struct trace t = {.n = 0};
    char *colon = strchr(line, ':'), *at, *end;
    struct class *c;

    if (!colon)
        return;
    *colon = 0;
    c = find_class(line);
    for (at = colon + 1; t.n < ITEMS_MAX; at = end) {
        long row = strtol(at, &end, 10);

        if (end == at)
            break;
        t.items[t.n++] = (struct item){row >= 100 ? AT_SINK : AT_SOURCE, (int)(row % 100)};
    }
    if (c->ntraces < TRIES_MAX)
        c->traces[c->ntraces++] = t;
}

static void read_classes(const char *path)
{
    FILE *f = fopen(path, "r");
    char line[512];

    while (f && fgets(line, sizeof(line), f))
        read_line(line);
    if (f)
        fclose(f);
    if (nclasses == 0) {
        fprintf(stderr, "no classes in %s\n", path);
        exit(1);
    }
}

static void start(struct class *c)
{
    c->pid = fork();
    if (c->pid == 0)
        play(&c->traces[c->tried], reasons[c - classes]);
    c->tried++;
}

/* One child ended: its class is driven, or another order is tried. */
static void reap(void)
{
    int status;
    pid_t pid = wait(&status);

    for (unsigned i = 0; i < nclasses; i++) {
        struct class *c = &classes[i];

        if (c->pid != pid)
            continue;
        c->pid = 0;
        c->driven = WIFEXITED(status) && WEXITSTATUS(status) == 0;
        if (!c->driven && c->tried < c->ntraces)
            start(c);
        else
            c->done = true;
        return;
    }
}

static void drive_all(const char *only)
{
    unsigned begun = 0, running = 0, done = 0;

    while (done < nclasses) {
        if (begun < nclasses && running < ABREAST) {
            if (only && strcmp(classes[begun].key, only) != 0) {
                classes[begun].done = classes[begun].driven = true;
            } else {
                start(&classes[begun]);
                running++;
            }
            begun++;
        } else {
            reap();
        }
        running = done = 0;
        for (unsigned i = 0; i < nclasses; i++) {
            running += classes[i].pid != 0;
            done += classes[i].done;
        }
    }
}

int main(int argc, char **argv)
{
    unsigned missing = 0;

    if (argc < 2)
        return 2;
    read_classes(argv[1]);
    reasons = mmap(NULL, CLASSES_MAX * REASON_SIZE, PROT_READ | PROT_WRITE,
                   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (reasons == MAP_FAILED)
        return 2;
    drive_all(argc > 2 ? argv[2] : NULL);
    for (unsigned i = 0; i < nclasses; i++)
        if (!classes[i].driven) {
            missing++;
            printf("not driven: %s: %s\n", classes[i].key, reasons[i]);
        }
    printf("%u classes of the model, %u driven\n", nclasses, nclasses - missing);
    return missing ? 1 : 0;
}
