#include "vmm/vcpu_gate.h"

#include <time.h>

#include "base/clock.h"
#include "vmm/vcpu.h"

/* A cycle of running and resting.  Short, so that a guest's latency suffers little; the running
 * part is no shorter than what makes the kick and the wake-up a small share of it. */
#define CYCLE_NS   (10 * NS_PER_MS)
#define RUN_MIN_NS (1 * NS_PER_MS)

/* ---- withheld time ---- */

static uint32_t withheld_percent(const struct vcpu_gate *g)
{
    uint32_t most = 0;

    for (int i = 0; i < VM_THROTTLERS; i++) {
        uint32_t p = atomic_load_explicit(&g->throttle[i], memory_order_relaxed);

        most = p > most ? p : most;
    }
    return most;
}

/* The rest that makes up for a slice: as long as it really was, within reason (a thread that the
 * host left waiting has not run). */
static uint64_t rest_of(const struct vcpu_gate *g, uint64_t slice_end, uint32_t percent)
{
    uint64_t ran = slice_end - g->run_from, most = 2 * (g->run_until - g->run_from);

    return (ran < most ? ran : most) * percent / (100 - percent);
}

/* The first slice of a cycle as it should be, the next as the last rest was: a thread that was
 * woken late makes up for it. */
static uint64_t run_of(const struct vcpu_gate *g, uint64_t now, uint32_t percent)
{
    uint64_t nominal = CYCLE_NS * (100 - percent) / 100, run;

    if (nominal < RUN_MIN_NS)
        nominal = RUN_MIN_NS;
    if (g->rest_from == 0)
        return nominal;
    run = (now - g->rest_from) * (100 - percent) / percent;
    if (run > 2 * nominal)
        return 2 * nominal;
    return run < RUN_MIN_NS ? RUN_MIN_NS : run;
}

static void rest_ends(struct vcpu_gate *g, uint64_t now)
{
    atomic_fetch_add_explicit(&g->withheld_ns, now - g->rest_from, memory_order_relaxed);
    g->rest_until = 0;
}

/* Until when the vCPU must rest; 0: it may run now, and comes back at the end of its slice. */
static uint64_t rest_until(struct vcpu *v, uint64_t now)
{
    struct vcpu_gate *g = &v->gate;
    uint32_t percent = withheld_percent(g);

    if (g->rest_until != 0) {
        uint64_t until = g->rest_from + rest_of(g, g->rest_from, percent);

        if (now < until)
            return g->rest_until = until; /* as it is by now: the percentage may have changed */
        rest_ends(g, now);
        g->run_until = 0;
    }
    if (percent == 0) {
        g->run_until = g->rest_from = 0;
        return 0;
    }
    if (g->run_until != 0 && now >= g->run_until) {
        g->rest_from = now;
        return g->rest_until = now + rest_of(g, now, percent);
    }
    if (g->run_until == 0) {
        g->run_until = now + run_of(g, now, percent);
        g->run_from = now;
    }
    hv_vcpu_alarm(v->hv, g->run_until - now);
    return 0;
}

/* ---- errands ---- */

/* Lock held; given back while the errand runs. */
static void run_errand(struct vcpu *v)
{
    struct vm *vm = v->vm;
    vcpu_errand_fn *fn = v->gate.errand;

    if (!fn)
        return;
    v->gate.errand = NULL;
    pthread_mutex_unlock(&vm->pause_lock);
    fn(v, v->gate.opaque);
    pthread_mutex_lock(&vm->pause_lock);
    if (--vm->errands == 0)
        pthread_cond_broadcast(&vm->parked_cond);
}

void vcpu_gate_send(struct vcpu *v, vcpu_errand_fn *fn, void *opaque)
{
    struct vm *vm = v->vm;

    pthread_mutex_lock(&vm->pause_lock);
    v->gate.errand = fn;
    v->gate.opaque = opaque;
    vm->errands++;
    atomic_store(&v->gate.attention, true);
    pthread_cond_broadcast(&vm->wake);
    pthread_mutex_unlock(&vm->pause_lock);
    hv_vcpu_kick(v->hv);
}

void vcpu_gate_wait(struct vm *vm)
{
    pthread_mutex_lock(&vm->pause_lock);
    while (vm->errands > 0)
        pthread_cond_wait(&vm->parked_cond, &vm->pause_lock);
    pthread_mutex_unlock(&vm->pause_lock);
}

/* ---- the gate ---- */

bool vcpu_gate_wanted(const struct vcpu *v, const struct hv_exit *x)
{
    return atomic_load_explicit(&v->vm->interrupt, memory_order_acquire) ||
           atomic_load_explicit(&v->gate.attention, memory_order_acquire) ||
           (x->kind == HV_EXIT_INTR && v->gate.run_until != 0);
}

static void park(struct vcpu *v)
{
    struct vm *vm = v->vm;

    v->gate.run_until = v->gate.rest_from = v->gate.rest_until = 0;
    if (++vm->parked < vm->nvcpus)
        return;
    vm->parked_ns = clock_now_ns();
    pthread_cond_broadcast(&vm->parked_cond);
}

static void unpark(struct vcpu *v)
{
    struct vm *vm = v->vm;

    vm->parked--;
    if (!vm->paused && vm->running_ns == 0) {
        vm->running_ns = clock_now_ns();
        pthread_cond_broadcast(&vm->parked_cond);
    }
}

static void wait_until(struct vm *vm, uint64_t ns)
{
    struct timespec t = {.tv_sec = (time_t)(ns / NS_PER_S), .tv_nsec = (long)(ns % NS_PER_S)};

    pthread_cond_timedwait(&vm->wake, &vm->pause_lock, &t);
}

bool vcpu_gate_pass(struct vcpu *v, bool may_run)
{
    struct vm *vm = v->vm;
    bool parked = false, quit;
    uint64_t until;

    pthread_mutex_lock(&vm->pause_lock);
    for (;;) {
        atomic_store(&v->gate.attention, false);
        run_errand(v);
        if (vm->quit)
            break;
        if (vm->paused && !parked) {
            parked = true;
            park(v);
        } else if (!vm->paused && (parked || may_run)) {
            until = rest_until(v, clock_now_ns());
            if (until == 0)
                break;
            if (parked)
                unpark(v);
            parked = false;
            may_run = true; /* the pause it waited for has been */
            wait_until(vm, until);
        } else {
            pthread_cond_wait(&vm->wake, &vm->pause_lock);
        }
    }
    if (parked)
        unpark(v);
    quit = vm->quit;
    pthread_mutex_unlock(&vm->pause_lock);
    return !quit;
}

/* ---- throttle ---- */

static void throttle_one(struct vcpu *v, enum vm_throttler who, uint32_t percent)
{
    if (percent > 99)
        percent = 99;
    if (atomic_exchange(&v->gate.throttle[who], percent) == percent)
        return;
    atomic_store(&v->gate.attention, true);
    hv_vcpu_kick(v->hv);
}

void vm_throttle(struct vm *vm, enum vm_throttler who, uint32_t vcpu, uint32_t percent)
{
    for (uint32_t i = 0; i < vm->nvcpus; i++)
        if (vcpu == VM_ALL_VCPUS || vcpu == i)
            throttle_one(vm->vcpus[i], who, percent);
    pthread_mutex_lock(&vm->pause_lock);
    pthread_cond_broadcast(&vm->wake); /* those that rest */
    pthread_mutex_unlock(&vm->pause_lock);
}

uint32_t vm_throttled(const struct vm *vm, uint32_t vcpu)
{
    return withheld_percent(&vm->vcpus[vcpu]->gate);
}
