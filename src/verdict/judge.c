/* The rules, one a kind of fact.  A rule says nothing about what the other rules judge. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "cpu/compat.h"
#include "verdict/verdict.h"

#define GAPS_MAX VERDICT_ITEMS_MAX
#define VALUE    64

static void print(char out[VALUE], const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void print(char out[VALUE], const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(out, VALUE, fmt, ap);
    va_end(ap);
}

/* Sizes are read in MiB where they are whole ones. */
static void print_size(char out[VALUE], uint64_t bytes)
{
    if (bytes % (1 << 20))
        print(out, "%" PRIu64 " bytes", bytes);
    else
        print(out, "%" PRIu64 " MiB", bytes >> 20);
}

static void print_list(char out[VALUE], const char *const *names)
{
    size_t len = 0;

    print(out, "none");
    for (; *names && len < VALUE; names++)
        len += (size_t)snprintf(out + len, VALUE - len, "%s%s", len ? ", " : "", *names);
}

static bool in_list(const char *const *names, const char *name)
{
    for (; *names; names++)
        if (!strcmp(*names, name))
            return true;
    return false;
}

static void judge_arch(const struct verdict_machine *m, const struct verdict_host *h,
                       struct verdict *v)
{
    if (strcmp(m->arch, h->arch) != 0)
        verdict_add(v, m->arch, h->arch, "choose a destination of the same architecture",
                    "architecture");
}

static void judge_versions(const struct verdict_machine *m, const struct verdict_host *h,
                           struct verdict *v)
{
    char source[VALUE], here[VALUE];

    if (m->stream_version < h->stream_min || m->stream_version > h->stream_max) {
        print(source, "version %u", m->stream_version);
        print(here, "versions %u to %u", h->stream_min, h->stream_max);
        verdict_add(v, source, here,
                    m->stream_version > h->stream_max ? "upgrade the destination"
                                                      : "upgrade the source",
                    "stream");
    }
    if (!in_list(h->boards, m->board)) {
        print_list(here, h->boards);
        verdict_add(v, m->board, here, "use a monitor at the destination that has this board",
                    "machine");
    }
}

static void judge_memory(const struct verdict_machine *m, const struct verdict_host *h,
                         struct verdict *v)
{
    char source[VALUE], here[VALUE];

    if (m->page_size != h->page_size) {
        print(source, "%u bytes", m->page_size);
        print(here, "%u bytes", h->page_size);
        verdict_add(v, source, here, "choose a destination with the same page size", "page size");
    }
    if (h->ram_max && m->ram_size > h->ram_max) {
        print_size(source, m->ram_size);
        print_size(here, h->ram_max);
        verdict_add(v, source, here, "choose a destination that takes so much memory", "ram size");
    }
}

static void judge_vcpus(const struct verdict_machine *m, const struct verdict_host *h,
                        struct verdict *v)
{
    char source[VALUE], here[VALUE];

    if (m->vcpus <= h->vcpus_max)
        return;
    print(source, "%u", m->vcpus);
    print(here, "at most %u", h->vcpus_max);
    verdict_add(v, source, here, "choose a destination that takes so many", "vcpus");
}

static void add_gap(const struct cpu_gap *g, struct verdict *v)
{
    char advice[192];

    if (!strcmp(g->need, "on") && !strchr(g->name, ' '))
        snprintf(advice, sizeof(advice),
                 "choose a destination that has it, or start the machine with -cpu host,-%s",
                 g->name);
    else
        snprintf(advice, sizeof(advice), "choose a destination with a processor like the source's");
    verdict_add(v, g->need, g->have, advice, "cpu %s", g->name);
}

static void judge_cpu(const struct verdict_machine *m, const struct verdict_host *h,
                      struct verdict *v)
{
    struct cpu_gap gaps[GAPS_MAX];
    uint32_t n;

    if (!m->cpu || !h->cpu)
        return;
    n = cpu_compat(m->cpu, h->cpu, gaps, GAPS_MAX);
    for (uint32_t i = 0; i < n && i < GAPS_MAX; i++)
        add_gap(&gaps[i], v);
    /* Those that had no room are counted nevertheless. */
    if (n > GAPS_MAX)
        v->n += n - GAPS_MAX;
}

/* How far a is from b, in millionths of b, rounded up: what is off by anything is not "0". */
static uint64_t distance_ppm(uint64_t a, uint64_t b)
{
    uint64_t d = a > b ? a - b : b - a;

    return b ? (d * 1000000 + b - 1) / b : UINT64_MAX;
}

static void judge_tsc(const struct verdict_machine *m, const struct verdict_host *h,
                      struct verdict *v)
{
    uint32_t tolerance = m->tsc_exact ? 0 : h->tsc_tolerance_ppm;
    char source[VALUE], here[VALUE];

    if (!m->tsc_khz || h->tsc_control || distance_ppm(m->tsc_khz, h->tsc_khz) <= tolerance)
        return;
    print(source, "%u kHz", m->tsc_khz);
    print(here, "%u kHz, no scaling, at most %u ppm off", h->tsc_khz, tolerance);
    verdict_add(v, source, here,
                m->tsc_exact
                    ? "choose a destination with TSC scaling, or start the machine without +invtsc"
                    : "choose a destination with TSC scaling or the same rate",
                "tsc rate");
}

static bool has_msr(const struct verdict_host *h, uint32_t msr)
{
    for (uint32_t i = 0; i < h->nmsrs; i++)
        if (h->msrs[i] == msr)
            return true;
    return false;
}

static void judge_msrs(const struct verdict_machine *m, const struct verdict_host *h,
                       struct verdict *v)
{
    for (uint32_t i = 0; i < m->nmsrs; i++)
        if (!has_msr(h, m->msrs[i]))
            verdict_add(v, "part of the machine", "cannot be written",
                        "choose a destination whose KVM has this MSR", "msr 0x%x", m->msrs[i]);
}

static void judge_disk(const struct verdict_disk *d, const struct verdict_disk *mine,
                       struct verdict *v)
{
    char source[VALUE], here[VALUE], advice[192];

    if (d->size != mine->size) {
        print_size(source, d->size);
        print_size(here, mine->size);
        verdict_add(v, source, here, "open the same image on both sides", "disk '%s' size", d->id);
    }
    if (d->readonly != mine->readonly) {
        snprintf(advice, sizeof(advice), "give its -drive here readonly=%s",
                 d->readonly ? "on" : "off");
        verdict_add(v, d->readonly ? "read-only" : "writable",
                    mine->readonly ? "read-only" : "writable", advice, "disk '%s' access", d->id);
    }
}

static void judge_disks(const struct verdict_machine *m, const struct verdict_host *h,
                        struct verdict *v)
{
    char advice[192];

    for (uint32_t i = 0; i < m->ndisks; i++) {
        const struct verdict_disk *d = &m->disks[i];
        uint32_t j = 0;

        while (j < h->ndisks && strcmp(h->disks[j].id, d->id) != 0)
            j++;
        if (j < h->ndisks) {
            judge_disk(d, &h->disks[j], v);
            continue;
        }
        snprintf(advice, sizeof(advice), "start the destination with -drive file=PATH,id=%s",
                 d->id);
        verdict_add(v, "present", "absent", advice, "disk '%s'", d->id);
    }
}

static void print_mac(char out[VALUE], const uint8_t a[6])
{
    print(out, "%02x:%02x:%02x:%02x:%02x:%02x", a[0], a[1], a[2], a[3], a[4], a[5]);
}

static void judge_nic(const struct verdict_nic *n, const struct verdict_nic *mine,
                      struct verdict *v)
{
    char source[VALUE], here[VALUE], advice[192];

    if (!n->mac_set || !mine->mac_set || !memcmp(n->mac, mine->mac, sizeof(n->mac)))
        return;
    print_mac(source, n->mac);
    print_mac(here, mine->mac);
    snprintf(advice, sizeof(advice), "give its -device here mac=%s, or no mac=", source);
    verdict_add(v, source, here, advice, "nic '%s' mac", n->id);
}

static void judge_nics(const struct verdict_machine *m, const struct verdict_host *h,
                       struct verdict *v)
{
    char advice[192];

    for (uint32_t i = 0; i < m->nnics; i++) {
        const struct verdict_nic *n = &m->nics[i];
        uint32_t j = 0;

        while (j < h->nnics && strcmp(h->nics[j].id, n->id) != 0)
            j++;
        if (j < h->nnics) {
            judge_nic(n, &h->nics[j], v);
            continue;
        }
        snprintf(advice, sizeof(advice), "start the destination with -netdev tap,id=%s,ifname=NAME",
                 n->id);
        verdict_add(v, "present", "absent", advice, "nic '%s'", n->id);
    }
}

static void judge_devices(const struct verdict_machine *m, const struct verdict_host *h,
                          struct verdict *v)
{
    for (uint32_t i = 0; i < m->ndevices; i++)
        if (!in_list(h->devices, m->devices[i].type))
            verdict_add(v, m->devices[i].type, "unknown",
                        "use a monitor at the destination that has such devices", "device '%s'",
                        m->devices[i].id);
}

/* In the order a person mends things: what no option changes comes first. */
static void (*const rules[])(const struct verdict_machine *m, const struct verdict_host *h,
                             struct verdict *v) = {
    judge_arch,  judge_versions, judge_cpu,   judge_tsc,  judge_msrs,
    judge_vcpus, judge_memory,   judge_disks, judge_nics, judge_devices,
};

uint32_t verdict_judge(const struct verdict_machine *m, const struct verdict_host *h,
                       struct verdict *v)
{
    memset(v, 0, sizeof(*v));
    for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++)
        rules[i](m, h, v);
    return v->n;
}
