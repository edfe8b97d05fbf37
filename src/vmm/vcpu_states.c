#include "vmm/vcpu_states.h"

#include <errno.h>
#include <stdlib.h>

#include "base/clock.h"
#include "vmm/vcpu.h"

/* Below that, waking a thread takes longer than doing its work. */
#define BY_THREADS_MIN 4

int vcpu_states_init(struct vcpu_states *s, struct vm *vm, bool running, struct err *e)
{
    *s = (struct vcpu_states){
        .vm = vm, .n = vm->nvcpus, .by_threads = running || vm->nvcpus >= BY_THREADS_MIN};
    s->shares = calloc(s->n, sizeof(s->shares[0]));
    return s->shares ? 0 : err_set(e, -ENOMEM, "state", "no memory for the vCPUs' states");
}

void vcpu_states_fini(struct vcpu_states *s)
{
    free(s->shares);
}

static void read_share(struct vcpu *v, void *opaque)
{
    struct vcpu_share *share = opaque;

    share->start_ns = clock_now_ns();
    share->rc = hv_vcpu_get_state(v->hv, &share->state, &share->e);
    share->end_ns = clock_now_ns();
}

static void reach_share(struct vcpu *v, void *opaque)
{
    struct vcpu_share *share = opaque;

    share->start_ns = clock_now_ns();
}

static void write_share(struct vcpu *v, void *opaque)
{
    struct vcpu_share *share = opaque;

    share->rc = hv_vcpu_set_state(v->hv, &share->state, &share->e);
}

static void give(struct vcpu_states *s, uint32_t i, vcpu_errand_fn *fn)
{
    if (s->by_threads)
        vcpu_gate_send(s->vm->vcpus[i], fn, &s->shares[i]);
    else
        fn(s->vm->vcpus[i], &s->shares[i]);
}

static int first_error(struct vcpu_states *s, struct err *e)
{
    if (s->by_threads)
        vcpu_gate_wait(s->vm);
    for (uint32_t i = 0; i < s->n; i++) {
        if (s->shares[i].rc == 0)
            continue;
        *e = s->shares[i].e;
        return s->shares[i].rc;
    }
    return 0;
}

uint64_t vcpu_states_reach(struct vcpu_states *s)
{
    uint64_t asked_ns = clock_now_ns(), last_ns = asked_ns;

    for (uint32_t i = 0; i < s->n; i++)
        give(s, i, reach_share);
    vcpu_gate_wait(s->vm);
    for (uint32_t i = 0; i < s->n; i++)
        if (s->shares[i].start_ns > last_ns)
            last_ns = s->shares[i].start_ns;
    return last_ns - asked_ns;
}

int vcpu_states_read(struct vcpu_states *s, struct err *e)
{
    for (uint32_t i = 0; i < s->n; i++)
        give(s, i, read_share);
    return first_error(s, e);
}

void vcpu_states_write(struct vcpu_states *s, uint32_t i)
{
    give(s, i, write_share);
}

int vcpu_states_written(struct vcpu_states *s, struct err *e)
{
    return first_error(s, e);
}
