#include "vmm/vmstate.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bitmap.h"
#include "base/clock.h"
#include "vmm/vcpu.h"
#include "vmm/vcpu_states.h"

static const struct field note_fields[] = {
    FIELD(struct vmstate_note, FIELD_U8, running),
    FIELD(struct vmstate_note, FIELD_U8, reset),
    FIELD(struct vmstate_note, FIELD_U8, poweroff),
};
static STATE_DESC(note_desc, "machine", 1, struct vmstate_note, note_fields);

/* ---- save ---- */

static int vmstate_encode_vcpus(const struct vcpu_states *states, struct buf *out)
{
    int rc = 0;

    for (uint32_t i = 0; rc == 0 && i < states->n; i++)
        rc = state_encode(&x86_vcpu_state_desc, i, &states->shares[i].state, out);
    return rc;
}

static int vmstate_save_devices(struct vm *vm, struct buf *out, struct err *e)
{
    for (uint32_t i = 0; i < vm->board->ndevices; i++) {
        struct device *d = vm->board->devices[i];
        int rc = d->ops->state ? device_save(d, out, e) : 0;

        if (rc != 0)
            return err_prefix(e, "device %s", d->id);
    }
    return 0;
}

/* Everything but the vCPUs' states themselves, which have been read. */
static int vmstate_write(struct vm *vm, const struct vmstate_note *note,
                         const struct vcpu_states *states, struct buf *out, struct err *e)
{
    struct x86_clock_state clock = {0};
    struct x86_vm_state chips;
    int rc;

    memset(&chips, 0, sizeof(chips));
    rc = hv_vm_get_clock(vm->hv, &clock, e);
    if (rc == 0)
        rc = hv_vm_get_state(vm->hv, &chips, e);
    if (rc != 0)
        return rc;
    rc = state_encode(&note_desc, 0, note, out);
    if (rc == 0)
        rc = state_encode(&x86_vm_state_desc, 0, &chips, out);
    if (rc == 0)
        rc = state_encode(&x86_clock_state_desc, 0, &clock, out);
    if (rc == 0)
        rc = vmstate_encode_vcpus(states, out);
    if (rc == 0)
        rc = vmstate_save_devices(vm, out, e);
    if (rc != 0 && !e->code)
        err_set_errno(e, rc, "state", "cannot encode the machine's state");
    return rc;
}

int vmstate_save(struct vm *vm, const struct vmstate_note *note, struct buf *out, struct err *e)
{
    struct vcpu_states states;
    int rc = vcpu_states_init(&states, vm, false, e);

    if (rc != 0)
        return rc;
    rc = vm_settle_clock(vm, e);
    if (rc == 0)
        rc = vcpu_states_read(&states, e);
    if (rc == 0)
        rc = vmstate_write(vm, note, &states, out, e);
    vcpu_states_fini(&states);
    return rc;
}

/* What the threads do at once here, with the guest beside them, they do as much faster in earnest
 * as there are processors. */
static uint64_t vmstate_read_cost(const struct vcpu_states *states)
{
    uint32_t cpus = (uint32_t)sysconf(_SC_NPROCESSORS_ONLN);
    uint64_t sum = 0;

    for (uint32_t i = 0; i < states->n; i++)
        sum += states->shares[i].end_ns - states->shares[i].start_ns;
    return sum / (states->n < cpus ? states->n : cpus);
}

int vmstate_rehearse(struct vm *vm, struct buf *out, uint64_t *stop_ns, uint64_t *save_ns,
                     struct err *e)
{
    const struct vmstate_note note = {.running = 1};
    struct vcpu_states states;
    uint64_t from_ns;
    int rc = vcpu_states_init(&states, vm, true, e);

    if (rc != 0)
        return rc;
    *stop_ns = vcpu_states_reach(&states);
    rc = vcpu_states_read(&states, e);
    from_ns = clock_now_ns();
    if (rc == 0)
        rc = vmstate_write(vm, &note, &states, out, e);
    *save_ns = vmstate_read_cost(&states) + (clock_now_ns() - from_ns);
    vcpu_states_fini(&states);
    return rc;
}

/* ---- load ---- */

/* What has arrived: each part of the machine must come exactly once. */
struct vmstate_loader {
    struct vm *vm;
    struct vmstate_note note;
    struct x86_vm_state chips;
    struct x86_clock_state clock;
    struct vcpu_states states;
    bool rehearsal;
    bool have_note, have_chips, have_clock;
    uint64_t vcpus[BITMAP_WORDS(X86_VCPUS_MAX + 1)];
    uint64_t devices[BITMAP_WORDS(BOARD_DEVICES_MAX)];
};

static int vmstate_twice(const struct state_section *s, struct err *e)
{
    return err_set(e, -EPROTO, "state", "section %s %u comes twice", s->name, s->instance);
}

/* A part of which the machine has one. */
static int vmstate_load_single(const struct state_desc *d, const struct state_section *s,
                               struct reader *r, void *into, bool *have, struct err *e)
{
    if (*have)
        return vmstate_twice(s, e);
    *have = true;
    return state_decode(d, s, r, into, e);
}

static int vmstate_load_vcpu(struct vmstate_loader *l, const struct state_section *s,
                             struct reader *r, struct err *e)
{
    int rc;

    if (s->instance >= l->vm->nvcpus)
        return err_set(e, -EPROTO, "state", "state of vCPU %u, but the machine has %u", s->instance,
                       l->vm->nvcpus);
    if (bitmap_test(l->vcpus, s->instance))
        return vmstate_twice(s, e);
    bitmap_set(l->vcpus, s->instance);
    rc = state_decode(&x86_vcpu_state_desc, s, r, &l->states.shares[s->instance].state, e);
    if (rc != 0)
        return err_prefix(e, "vCPU %u", s->instance);
    vcpu_states_write(&l->states, s->instance);
    return 0;
}

static int vmstate_load_device(struct vmstate_loader *l, const struct state_section *s,
                               struct reader *r, struct err *e)
{
    struct board *b = l->vm->board;

    for (uint32_t i = 0; i < b->ndevices; i++) {
        struct device *d = b->devices[i];

        if (!d->ops->state || strcmp(d->ops->state->name, s->name) != 0 ||
            d->instance != s->instance)
            continue;
        if (bitmap_test(l->devices, i))
            return vmstate_twice(s, e);
        bitmap_set(l->devices, i);
        return device_load(d, s, r, e) != 0 ? err_prefix(e, "device %s", d->id) : 0;
    }
    return err_set(e, -EPROTO, "state", "state for a device this machine has not: %s %u", s->name,
                   s->instance);
}

static int vmstate_load_section(struct vmstate_loader *l, const struct state_section *s,
                                struct reader *r, struct err *e)
{
    if (!strcmp(s->name, note_desc.name))
        return vmstate_load_single(&note_desc, s, r, &l->note, &l->have_note, e);
    if (!strcmp(s->name, x86_vm_state_desc.name))
        return vmstate_load_single(&x86_vm_state_desc, s, r, &l->chips, &l->have_chips, e);
    if (!strcmp(s->name, x86_clock_state_desc.name))
        return vmstate_load_single(&x86_clock_state_desc, s, r, &l->clock, &l->have_clock, e);
    if (!strcmp(s->name, x86_vcpu_state_desc.name))
        return vmstate_load_vcpu(l, s, r, e);
    return vmstate_load_device(l, s, r, e);
}

static int vmstate_complete(const struct vmstate_loader *l, struct err *e)
{
    const struct board *b = l->vm->board;

    if (!l->have_note || !l->have_chips || !l->have_clock)
        return err_set(e, -EPROTO, "state", "the state has no section for %s",
                       !l->have_note    ? "the machine"
                       : !l->have_chips ? "its chips"
                                        : "its clock");
    if (bitmap_count(l->vcpus, l->vm->nvcpus) != l->vm->nvcpus)
        return err_set(e, -EPROTO, "state", "the state has %zu of %u vCPUs",
                       bitmap_count(l->vcpus, l->vm->nvcpus), l->vm->nvcpus);
    for (uint32_t i = 0; i < b->ndevices; i++)
        if (b->devices[i]->ops->state && !bitmap_test(l->devices, i))
            return err_set(e, -EPROTO, "state", "the state has nothing for device %s",
                           b->devices[i]->id);
    return 0;
}

/* vCPUs before the chips (the IOAPIC re-injects into them), the clock for all of them at the end. A
 * rehearsal has no clock: it would write into RAM that is just arriving. */
static int vmstate_apply(struct vmstate_loader *l, struct err *e)
{
    int rc = vmstate_complete(l, e);

    if (rc == 0)
        rc = hv_vm_set_state(l->vm->hv, &l->chips, e);
    if (rc == 0 && !l->rehearsal)
        rc = vm_load_clock(l->vm, &l->clock, l->note.running, e);
    return rc;
}

static int vmstate_load_sections(struct vmstate_loader *l, const void *data, size_t len,
                                 struct err *e)
{
    struct state_section s;
    struct err of_vcpus = ERR_INIT;
    struct reader r;
    int rc = 0, written;

    reader_init(&r, data, len);
    hv_route_begin(l->vm->hv); /* tens of interrupt vectors, given to KVM at once */
    while (rc == 0 && reader_left(&r) > 0) {
        rc = state_section_next(&r, &s, e);
        if (rc == 0)
            rc = vmstate_load_section(l, &s, &r, e);
    }
    if (hv_route_end(l->vm->hv, rc == 0 ? e : NULL) != 0 && rc == 0)
        rc = e->code;
    written = vcpu_states_written(&l->states, &of_vcpus);
    if (rc == 0 && written != 0) {
        *e = of_vcpus;
        rc = written;
    }
    return rc;
}

static int vmstate_do_load(struct vmstate_loader *l, struct vm *vm, const void *data, size_t len,
                           struct err *e)
{
    int rc = vcpu_states_init(&l->states, vm, false, e);

    if (rc != 0)
        return rc;
    l->vm = vm;
    rc = vmstate_load_sections(l, data, len, e);
    if (rc == 0)
        rc = vmstate_apply(l, e);
    vcpu_states_fini(&l->states);
    return rc;
}

static struct vmstate_loader *vmstate_loader(struct err *e)
{
    struct vmstate_loader *l = calloc(1, sizeof(*l));

    if (!l)
        err_set(e, -ENOMEM, "state", "no memory for the machine's state");
    return l;
}

int vmstate_load(struct vm *vm, const void *data, size_t len, struct vmstate_note *note,
                 struct err *e)
{
    struct vmstate_loader *l = vmstate_loader(e);
    int rc;

    if (!l)
        return -ENOMEM;
    rc = vmstate_do_load(l, vm, data, len, e);
    *note = l->note;
    free(l);
    return rc;
}

/* Timers that were loaded must not go off in a machine that waits. */
static int vmstate_power_on(struct vm *vm, struct err *e)
{
    int rc = 0;

    for (uint32_t i = 0; rc == 0 && i < vm->nvcpus; i++)
        rc = hv_vcpu_reset(vm->vcpus[i]->hv, e);
    return rc == 0 ? hv_vm_reset_chips(vm->hv, e) : rc;
}

int vmstate_rehearse_load(struct vm *vm, const void *data, size_t len, uint64_t *load_ns,
                          struct err *e)
{
    struct vmstate_loader *l = vmstate_loader(e);
    uint64_t from_ns = clock_now_ns();
    int rc;

    if (!l)
        return -ENOMEM;
    l->rehearsal = true;
    rc = vmstate_do_load(l, vm, data, len, e);
    *load_ns = clock_now_ns() - from_ns;
    free(l);
    return rc == 0 ? vmstate_power_on(vm, e) : rc;
}
