/*
 * godwit-vmm whose migrations lose something: linked with --wrap=godwit_source_start, it hands the
 * engine callbacks that change what the real ones said.  BROKEN_BY names what gets lost:
 *
 *   page         a page that gets dirty is not reported any more
 *   dr, msr, xmm, lapic   one bit of one word of vCPU 0's state differs
 *   (unset)      nothing: the control of the experiment
 *
 * The guest must notice each (test_witness_notices.py).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bitmap.h"
#include "base/log.h"
#include "godwit/migrate.h"
#include "state/x86_state.h"
#include "wire/reader.h"

#define NO_PAGE     UINT64_MAX
#define RUN_ENOUGH  64
#define MSR_LSTAR   0xc0000082U
#define XSAVE_XMM0  160 /* SDM vol. 1, table 10-2 */
#define LAPIC_LDR   0xd0
#define LDR_FLIPPED 3 /* its logical id is in the register's last byte */

int __real_godwit_source_start(const struct godwit_source_config *config,
                               struct godwit_source **out, struct err *e);
int __wrap_godwit_source_start(const struct godwit_source_config *config,
                               struct godwit_source **out, struct err *e);

/* One migration at a time: the monitor's own rule. */
static struct {
    struct godwit_source_ops real, changed;
    const struct godwit_region *regions;
    const char *by;
    uint64_t page; /* that is not reported */
} broken;

/* ---- a dirty page is dropped ---------------------------------------------------------------- */

/* The middle of the longest run of dirty pages: what the guest sweeps, not its code or stacks. */
static void choose_page(const uint64_t *bitmap, uint64_t npages)
{
    uint64_t longest = RUN_ENOUGH - 1, end;

    for (uint64_t page = 0; page < npages; page = end) {
        uint64_t first = bitmap_next_set(bitmap, npages, page);

        end = bitmap_next_clear(bitmap, npages, first);
        if (end - first > longest) {
            longest = end - first;
            broken.page = first + longest / 2;
        }
    }
    if (broken.page != NO_PAGE)
        log_warn("broken", "dropped page 0x%llx",
                 (unsigned long long)broken.page * GODWIT_PAGE_SIZE);
}

static int broken_dirty_sync(void *opaque, uint32_t region, uint64_t *bitmap, struct err *e)
{
    int rc = broken.real.dirty_sync(opaque, region, bitmap, e);

    if (rc != 0 || region != 0 || strcmp(broken.by, "page") != 0)
        return rc;
    if (broken.page == NO_PAGE)
        choose_page(bitmap, broken.regions[0].size / GODWIT_PAGE_SIZE);
    if (broken.page != NO_PAGE)
        bitmap_clear_range(bitmap, broken.page, 1);
    return 0;
}

/* ---- a word of state is changed ------------------------------------------------------------- */

static int flip_msr(struct x86_vcpu_state *s, uint32_t index)
{
    for (uint32_t i = 0; i < s->nmsrs; i++)
        if (s->msr_index[i] == index) {
            s->msr_value[i] ^= 1U << 4;
            return 0;
        }
    return -ENOENT;
}

static int change_word(struct x86_vcpu_state *s)
{
    if (strcmp(broken.by, "dr") == 0)
        s->db[1] ^= 1U << 4;
    else if (strcmp(broken.by, "xmm") == 0)
        s->xsave[XSAVE_XMM0] ^= 1U << 4;
    else if (strcmp(broken.by, "lapic") == 0)
        s->lapic[LAPIC_LDR + LDR_FLIPPED] ^= 1U << 4;
    else if (strcmp(broken.by, "msr") == 0)
        return flip_msr(s, MSR_LSTAR);
    return 0;
}

/* The section is encoded anew; its length stays, for no count changes. */
static int change_section(const struct state_section *section, struct reader *r, uint8_t *at,
                          size_t *changed, struct err *e)
{
    struct x86_vcpu_state *s = malloc(sizeof(*s));
    struct buf anew;
    int rc = s ? state_decode(&x86_vcpu_state_desc, section, r, s, e) : -ENOMEM;

    buf_init(&anew, 0);
    if (rc == 0)
        rc = change_word(s);
    if (rc == 0)
        rc = state_encode(&x86_vcpu_state_desc, section->instance, s, &anew);
    if (rc == 0) {
        memcpy(at, anew.data, anew.len);
        *changed = anew.len;
    }
    buf_fini(&anew);
    free(s);
    return rc;
}

static int change_state(struct buf *state, size_t from, struct err *e)
{
    struct state_section section;
    size_t changed = 0;
    struct reader r;
    int rc = 0;

    reader_init(&r, state->data + from, state->len - from);
    while (rc == 0 && !changed && reader_left(&r) > 0) {
        size_t begin = r.pos;

        rc = state_section_next(&r, &section, e);
        if (rc != 0)
            break;
        if (strcmp(section.name, x86_vcpu_state_desc.name) != 0 || section.instance != 0)
            rc = state_print(&section, &r, NULL, e);
        else
            rc = change_section(&section, &r, state->data + from + begin, &changed, e);
        if (rc == 0 && changed && begin + changed != r.pos)
            rc = err_set(e, -EINVAL, "broken", "the section changed its length");
    }
    if (rc != 0 && !e->code)
        err_set_errno(e, rc, "broken", "no state was changed");
    return rc;
}

static int broken_save_state(void *opaque, struct buf *out, struct err *e)
{
    size_t from = out->len;
    int rc = broken.real.save_state(opaque, out, e);

    return rc == 0 && broken.by[0] && strcmp(broken.by, "page") ? change_state(out, from, e) : rc;
}

int __wrap_godwit_source_start(const struct godwit_source_config *config,
                               struct godwit_source **out, struct err *e)
{
    struct godwit_source_config c = *config;

    broken.by = getenv("BROKEN_BY") ? getenv("BROKEN_BY") : "";
    broken.regions = config->regions;
    broken.real = *config->ops;
    broken.changed = broken.real;
    broken.changed.dirty_sync = broken_dirty_sync;
    broken.changed.save_state = broken_save_state;
    broken.page = NO_PAGE;
    c.ops = &broken.changed;
    return __real_godwit_source_start(&c, out, e);
}
