/*
 * The fault walk: a wire that cuts, stalls, shortens, changes, swaps and repeats, at every record
 * of every channel in both directions and at random bytes, under every way of sending pages.  After
 * each case: one winner, and nobody left in doubt, for the link heals; the winner's memory is the
 * source's; no descriptor, thread or mapping is left; and the next migration succeeds.
 *
 *   walk [FAMILY]     links, damage, bytes; else all
 *   walk NUMBERS      one case, in this process: the eight numbers by which a failure was named
 *
 * GODWIT_FAULT_EVERY=N walks only every Nth case (slow, sanitized builds).
 */
#include "judge.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "godwit/tls.h"
#include "pool.h"
#include "stream/native/native.h"
#include "wire.h"
#include "wire/record.h"

#define PAGES       256U /* of the guest */
#define SWEPT       48U  /* of them the guest goes on writing */
#define LANES_MAX   3U
#define LINK_MS     800U
#define SHORT_MS    80U /* a stall that nobody minds */
#define LONG_MS     1100U
#define SWAP_MS     40U
#define CASES_MAX   20000U
#define BYTES_EACH  24U /* random bytes for each direction of each connection */
#define CONNECTIONS (1 + LANES_MAX)

/* ---- ways of sending ------------------------------------------------------------------------ */

static const struct way {
    uint32_t lanes;
    enum godwit_compression compression;
    bool delta, verify, busy, tls;
} ways[] = {
    {1, GODWIT_COMPRESS_NONE, false, true,  false, false},
    {3, GODWIT_COMPRESS_NONE, false, true,  true,  false},
    {1, GODWIT_COMPRESS_NONE, true,  true,  true,  false},
    {3, GODWIT_COMPRESS_NONE, false, false, true,  false},
    {1, GODWIT_COMPRESS_LZ4,  false, true,  true,  false},
    {3, GODWIT_COMPRESS_LZ4,  true,  true,  true,  false},
    {1, GODWIT_COMPRESS_ZSTD, false, true,  false, false},
    {3, GODWIT_COMPRESS_ZSTD, true,  false, true,  false},
    {1, GODWIT_COMPRESS_AUTO, true,  false, true,  false},
    {3, GODWIT_COMPRESS_AUTO, true,  true,  true,  false},
    {1, GODWIT_COMPRESS_NONE, false, true,  true,  true },
    {3, GODWIT_COMPRESS_LZ4,  true,  true,  true,  true },
};

#define NWAYS (sizeof(ways) / sizeof(ways[0]))

static char psk[] = "/tmp/godwit-walk-XXXXXX";

static struct godwit_tls *load_tls(bool is_server)
{
    struct godwit_tls_config config = {.kind = GODWIT_TLS_PSK, .dir = psk, .is_server = is_server};
    struct godwit_tls *tls;
    struct err e = ERR_INIT;

    if (godwit_tls_new(&config, &tls, &e))
        fail_msg("tls: %s", e.text);
    return tls;
}

static void describe_way(const struct way *w, char *out, size_t cap)
{
    snprintf(out, cap, "%u lanes, %s%s%s%s%s", w->lanes, godwit_compression_name(w->compression),
             w->delta ? ", delta" : "", w->verify ? "" : ", no verify", w->busy ? ", busy" : "",
             w->tls ? ", tls" : "");
}

/* ---- one migration over a wire -------------------------------------------------------------- */

struct course {
    struct pair p;
    struct wire *wire;
    struct godwit_tls *tls[2];
    uint32_t memory;
    unsigned mappings;
};

static unsigned count_mappings(void)
{
    FILE *f = fopen("/proc/self/maps", "re");
    char line[512];
    unsigned n = 0;

    assert_non_null(f);
    while (fgets(line, sizeof(line), f))
        n += strstr(line, "/memfd:ram") != NULL;
    fclose(f);
    return n;
}

static void set_out(struct course *c, const struct way *w, const struct wire_fault *fault)
{
    struct pair *p = &c->p;

    c->mappings = count_mappings();
    c->tls[0] = w->tls ? load_tls(true) : NULL; /* before descriptors are counted */
    c->tls[1] = w->tls ? load_tls(false) : NULL;
    pair_init(p, (uint64_t)PAGES * GODWIT_PAGE_SIZE);
    fake_fill(&p->from, 0, PAGES, 2);
    p->sink_tls = c->tls[0];
    p->source_tls = c->tls[1];
    p->params.lanes = w->lanes;
    p->params.compression = w->compression;
    p->params.delta = w->delta;
    p->params.verify = w->verify;
    p->params.link_timeout_ms = LINK_MS;
    p->params.ready_timeout_ms = LINK_MS;
    p->params.network_timeout_ms = 6000;
    p->params.handover_timeout_ms = 6000;
    c->memory = judge_memory(p, SWEPT);
    if (w->busy)
        fake_source_dirty(&p->from, 40 * MIB, SWEPT);
    pair_listen(p, NULL);
    c->wire = wire_new(p->uri, fault, p->dial, sizeof(p->dial));
    pair_migrate(p);
}

static void come_home(struct course *c, struct wire_flow_log (*log)[2])
{
    pair_end_source(&c->p);
    pair_end_sink(&c->p);
    wire_free(c->wire, log, CONNECTIONS);
    pair_fini(&c->p);
    godwit_tls_free(c->tls[0]);
    godwit_tls_free(c->tls[1]);
    assert_int_equal(count_mappings(), c->mappings);
}

/* ---- what passes when nothing is wrong ------------------------------------------------------ */

static struct wire_flow_log (*logs)[CONNECTIONS][2]; /* shared */

static void describe_plain(unsigned index, char *out, size_t cap)
{
    describe_way(&ways[index], out, cap);
}

static void run_plain(unsigned index)
{
    const struct wire_fault none = {.act = WIRE_NOTHING};
    struct course c;

    set_out(&c, &ways[index], &none);
    pair_expect_moved(&c.p);
    come_home(&c, logs[index]);
}

/* ---- the cases ------------------------------------------------------------------------------ */

struct fault_case {
    uint8_t way;
    uint32_t type; /* of the record; 0: by byte */
    bool content;  /* of pages, which no checksum covers */
    struct wire_fault fault;
};

static struct fault_case *cases;
static unsigned ncases;

static struct tally {
    atomic_uint ends[JUDGE_END_COUNT], missed;
} * tally; /* shared */

static uint64_t below(uint64_t n)
{
    static uint64_t x = 0x9e3779b97f4a7c15ULL;

    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    return n ? x % n : 0;
}

static void add_case(const struct fault_case *c)
{
    if (ncases < CASES_MAX)
        cases[ncases++] = *c;
}

static void add(struct fault_case c, enum wire_act act, uint64_t at, unsigned ms)
{
    c.fault.act = act;
    c.fault.at = at;
    c.fault.ms = ms;
    c.fault.mask = (uint8_t)(1U << below(8));
    add_case(&c);
}

static bool has_content(uint32_t type)
{
    return type == NATIVE_PAGES || type == NATIVE_PACKED;
}

/* The link itself: nothing is changed. */
static void add_links(struct fault_case c, uint64_t size)
{
    add(c, WIRE_CUT, RECORD_HEADER_SIZE + below(size - RECORD_HEADER_SIZE), 0);
    add(c, WIRE_SHORTEN, below(size), 0);
    add(c, WIRE_STALL, below(size), SHORT_MS);
    add(c, WIRE_STALL, below(size), LONG_MS);
    add(c, WIRE_STALL_ALL, below(size), LONG_MS);
}

static void add_damage(struct fault_case c, uint64_t size)
{
    const uint64_t body = size - RECORD_HEADER_SIZE;

    add(c, WIRE_FLIP, below(4), 0);     /* type */
    add(c, WIRE_FLIP, 4 + below(4), 0); /* flags */
    add(c, WIRE_FLIP, 8 + below(8), 0); /* length */
    add(c, WIRE_SWAP, 0, SWAP_MS);
    add(c, WIRE_REPEAT, 0, SWAP_MS);
    if (has_content(c.type) && body > 40) {
        add(c, WIRE_FLIP, RECORD_HEADER_SIZE + below(32), 0); /* the table */
        c.content = true; /* or so: where there are few runs it is all content from here */
        for (unsigned i = 0; i < 3; i++)
            add(c, WIRE_FLIP, RECORD_HEADER_SIZE + 32 + below(body - 32), 0);
        return;
    }
    for (unsigned i = 0; body > 0 && i < 4; i++)
        add(c, WIRE_FLIP, RECORD_HEADER_SIZE + below(body), 0);
}

static void for_each_record(void (*add_some)(struct fault_case c, uint64_t size))
{
    for (unsigned way = 0; way < NWAYS; way++)
        for (unsigned n = 0; !ways[way].tls && n <= ways[way].lanes; n++)
            for (int back = 0; back < 2; back++) {
                const struct wire_flow_log *log = &logs[way][n][back];

                for (uint32_t i = 0; i < log->n && i < WIRE_RECORDS_KEPT; i++)
                    add_some(
                        (struct fault_case){
                            .way = (uint8_t)way,
                            .type = log->records[i].type,
                            .fault = {.connection = n, .back = back, .record = i}
                    },
                        log->records[i].size);
            }
}

static void add_bytes(void)
{
    static const enum wire_act acts[] = {WIRE_CUT, WIRE_SHORTEN, WIRE_FLIP, WIRE_FLIP};

    for (unsigned way = 0; way < NWAYS; way++)
        for (unsigned n = 0; n <= ways[way].lanes; n++)
            for (int back = 0; back < 2; back++)
                for (unsigned i = 0; i < BYTES_EACH; i++)
                    add(
                        (struct fault_case){
                            .way = (uint8_t)way,
                            .content = n > 0 && !back && !ways[way].tls,
                            .fault = {.connection = n, .back = back, .record = WIRE_BY_BYTE}
                    },
                        acts[i % 4], below(logs[way][n][back].bytes), 0);
}

static void describe(unsigned index, char *out, size_t cap)
{
    const struct fault_case *c = &cases[index];
    const struct wire_fault *f = &c->fault;
    char way[128], where[96];

    describe_way(&ways[c->way], way, sizeof(way));
    if (f->record == WIRE_BY_BYTE)
        snprintf(where, sizeof(where), "byte %llu", (unsigned long long)f->at);
    else
        snprintf(where, sizeof(where), "record %u (%s) byte %llu", f->record,
                 native_type_name(c->type), (unsigned long long)f->at);
    snprintf(out, cap,
             "%s at connection %u %s %s%s, mask 0x%02x, %u ms; %s (%u %u %u %u %u %u %u %llu)",
             wire_act_name(f->act), f->connection, f->back ? "back" : "out", where,
             c->content ? " (content)" : "", f->mask, f->ms, way, c->way, f->act, f->back, f->mask,
             f->connection, f->record, f->ms, (unsigned long long)f->at);
}

/* Only verification can notice: content that was changed, and records in another order on a lane,
 * which TCP and TLS promise not to do. */
static bool is_deceived(const struct fault_case *c)
{
    return (c->fault.act == WIRE_FLIP && c->content) ||
           (c->fault.act == WIRE_SWAP && c->fault.connection > 0);
}

/* What nobody needs to notice did not do any harm. */
static bool is_harmless(const struct fault_case *c)
{
    return c->fault.act == WIRE_STALL && c->fault.ms == SHORT_MS;
}

static void run(unsigned index)
{
    const struct fault_case *f = &cases[index];
    const struct way *way = &ways[f->way];
    const struct judge_look look = {.here = index % 2,
                                    .may_differ = !way->verify && is_deceived(f)};
    struct course c;
    enum judge_end end;
    bool struck;

    set_out(&c, way, &f->fault);
    end = judge(&c.p, &look);
    struck = wire_struck(c.wire);
    if (is_harmless(f)) /* one that was not reached may have met a timeout, on a crowded machine */
        assert_int_equal(end, JUDGE_MOVED);
    assert_int_not_equal(end, JUDGE_DECIDED); /* the wire is whole again: they must have met */
    assert_int_equal(judge_memory(&c.p, SWEPT), c.memory);
    if (end == JUDGE_KEPT)
        judge_next_moves(&c.p, c.p.uri);
    come_home(&c, NULL);
    atomic_fetch_add(&tally->ends[end], 1);
    atomic_fetch_add(&tally->missed, !struck);
}

/* ---- the walk ------------------------------------------------------------------------------- */

static void make_psk(void)
{
    static const char line[] =
        "qemu:00112233445566778899aabbccddeeff00112233445566778899aabbccdd\n";
    char path[64];
    FILE *f;

    if (!mkdtemp(psk))
        exit(1);
    snprintf(path, sizeof(path), "%s/keys.psk", psk);
    f = fopen(path, "we");
    if (!f || fputs(line, f) < 0 || fclose(f) || chmod(path, 0600))
        exit(1);
}

static void remove_psk(void)
{
    char path[64];

    snprintf(path, sizeof(path), "%s/keys.psk", psk);
    unlink(path);
    rmdir(psk);
}

static void thin_out(unsigned every)
{
    unsigned n = 0;

    for (unsigned i = 0; i < ncases; i += every)
        cases[n++] = cases[i];
    ncases = n;
}

/* As describe() names it. */
static int walk_one(char **numbers)
{
    const struct pool_suite suite = {"one", 1, run, describe};
    struct wire_fault *f = &cases[0].fault;
    unsigned long long n[8];

    for (unsigned i = 0; i < 8; i++)
        n[i] = strtoull(numbers[i], NULL, 10);
    *f = (struct wire_fault){.act = (enum wire_act)(n[1] % WIRE_ACT_COUNT),
                             .back = n[2],
                             .mask = (uint8_t)n[3],
                             .connection = (unsigned)n[4],
                             .record = (uint32_t)n[5],
                             .ms = (unsigned)n[6],
                             .at = n[7]};
    cases[0].way = (uint8_t)(n[0] % NWAYS);
    cases[0].content = f->connection > 0;
    return pool_run_one(&suite, 0);
}

static unsigned walk(const char *family)
{
    const char *every = getenv("GODWIT_FAULT_EVERY");
    struct pool_suite suite = {.title = family, .run = run, .describe = describe};
    uint64_t begun = clock_now_ns();
    unsigned failed;

    ncases = 0;
    memset(tally, 0, sizeof(*tally));
    if (!strcmp(family, "links"))
        for_each_record(add_links);
    else if (!strcmp(family, "damage"))
        for_each_record(add_damage);
    else
        add_bytes();
    thin_out(every ? (unsigned)atoi(every) : 1);
    suite.n = ncases;
    failed = pool_run(&suite);
    printf("%s: %u cases in %.1f s: %u moved, %u kept, %u decided by a person, %u failed; %u were "
           "not reached\n",
           family, ncases, (double)(clock_now_ns() - begun) / (double)NS_PER_S,
           tally->ends[JUDGE_MOVED], tally->ends[JUDGE_KEPT], tally->ends[JUDGE_DECIDED], failed,
           tally->missed);
    if (!tally->ends[JUDGE_MOVED] || !tally->ends[JUDGE_KEPT] || tally->missed > ncases / 4) {
        printf("%s: that is not what a walk looks like\n", family);
        failed++;
    }
    return failed;
}

int main(int argc, char **argv)
{
    static const char *const families[] = {"links", "damage", "bytes"};
    const struct pool_suite plain = {"plain", NWAYS, run_plain, describe_plain};
    unsigned failed;

    logs = pool_shared(sizeof(*logs) * NWAYS);
    tally = pool_shared(sizeof(*tally));
    cases = calloc(CASES_MAX, sizeof(*cases));
    if (!cases)
        return 1;
    make_psk();
    failed = argc == 9 ? walk_one(argv + 1) != 0 : pool_run(&plain);
    if (argc == 2 && !failed)
        failed = walk(argv[1]);
    for (unsigned i = 0; argc < 2 && !failed && i < 3; i++)
        failed += walk(families[i]);
    remove_psk();
    free(cases);
    return failed != 0;
}
