#include "vmm/vcpu.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/log.h"
#include "vmm/cpu_setup.h"
#include "vmm/sandbox.h"

/* vCPU threads yield to the main loop and the migration's lanes: a spinning guest must not delay an
 * answer or a page. */
#define VCPU_NICE 5

static void vcpu_io(struct vcpu *v, const struct hv_exit *x)
{
    uint8_t *p = x->io.data;

    for (uint32_t i = 0; i < x->io.count; i++, p += x->io.size) {
        if (x->write)
            bus_write(v->vm->board->pio, x->io.port, p, x->io.size);
        else
            bus_read(v->vm->board->pio, x->io.port, p, x->io.size);
    }
}

static void vcpu_mmio(struct vcpu *v, const struct hv_exit *x)
{
    if (x->write)
        bus_write(v->vm->board->mmio, x->mmio.gpa, x->mmio.data, x->mmio.len);
    else
        bus_read(v->vm->board->mmio, x->mmio.gpa, x->mmio.data, x->mmio.len);
}

static void vcpu_crashed(struct vcpu *v, const struct err *e)
{
    log_error("vcpu", "vCPU %u cannot go on: %s", v->index, e->text);
    v->vm->host.request(v->vm->host.opaque, VM_REQUEST_CRASH);
}

/* True while the vCPU may run on; false: it must wait to be paused (reset, poweroff, crash). */
static bool vcpu_handle(struct vcpu *v, const struct hv_exit *x, const struct err *e)
{
    struct vm_host *host = &v->vm->host;

    switch (x->kind) {
    case HV_EXIT_IO:
        vcpu_io(v, x);
        return true;
    case HV_EXIT_MMIO:
        vcpu_mmio(v, x);
        return true;
    case HV_EXIT_INTR:
    case HV_EXIT_HALT:
        return true;
    case HV_EXIT_SHUTDOWN: /* a triple fault resets a PC */
    case HV_EXIT_RESET:
        host->request(host->opaque, VM_REQUEST_RESET);
        return false;
    case HV_EXIT_POWEROFF:
        host->request(host->opaque, VM_REQUEST_POWEROFF);
        return false;
    case HV_EXIT_ERROR:
        vcpu_crashed(v, e);
        return false;
    }
    return false;
}

/* Ends a port or memory access that is half done, and whatever more its instruction asks for.  As
 * vcpu_handle; after a false one nothing is asked of it any more. */
static bool vcpu_complete_io(struct vcpu *v, struct hv_exit *x, struct err *e)
{
    bool may_run = true;
    int rc = 0;

    while (may_run && (x->kind == HV_EXIT_IO || x->kind == HV_EXIT_MMIO) &&
           (rc = hv_vcpu_complete_io(v->hv, e)) == -EAGAIN) {
        rc = hv_vcpu_run(v->hv, x, e);
        if (rc != 0)
            break;
        may_run = vcpu_handle(v, x, e);
    }
    if (may_run && rc != 0) {
        vcpu_crashed(v, e);
        may_run = false;
    }
    x->kind = HV_EXIT_INTR;
    return may_run;
}

static void vcpu_loop(struct vcpu *v)
{
    struct hv_exit x = {.kind = HV_EXIT_INTR};
    struct err e = ERR_INIT;
    bool may_run = true;

    for (;;) {
        if (!may_run || vcpu_gate_wanted(v, &x)) {
            may_run &= vcpu_complete_io(v, &x, &e);
            if (!vcpu_gate_pass(v, may_run))
                return;
        }
        if (hv_vcpu_run(v->hv, &x, &e) != 0)
            x.kind = HV_EXIT_ERROR;
        may_run = vcpu_handle(v, &x, &e);
    }
}

static void *vcpu_thread(void *arg)
{
    struct vcpu *v = arg;
    struct err e = ERR_INIT;
    char name[16];

    snprintf(name, sizeof(name), "vcpu-%u", v->index);
    pthread_setname_np(pthread_self(), name);
    v->tid = (pid_t)syscall(SYS_gettid);
    setpriority(PRIO_PROCESS, (id_t)v->tid, VCPU_NICE);
    if (hv_vcpu_thread_init(v->hv, &e) != 0 ||
        (v->vm->sandbox && sandbox_enter(SANDBOX_VCPU, &e) != 0)) {
        vcpu_crashed(v, &e);
        while (vcpu_gate_pass(v, false))
            ;
        return NULL;
    }
    vcpu_loop(v);
    return NULL;
}

int vcpu_new(struct vm *vm, uint32_t index, struct vcpu **out, struct err *e)
{
    struct vcpu *v = calloc(1, sizeof(*v));
    struct x86_cpuid cpuid;
    int rc;

    if (!v)
        return err_set(e, -ENOMEM, "vcpu", "no memory for vCPU %u", index);
    v->vm = vm;
    v->index = index;
    cpu_setup_vcpu(&vm->cpu, index, vm->config.vcpus, &cpuid);
    rc = hv_vcpu_new(vm->hv, index, &cpuid, &v->hv, e);
    if (rc != 0) {
        free(v);
        return rc;
    }
    *out = v;
    return 0;
}

int vcpu_start(struct vcpu *v, struct err *e)
{
    int rc = pthread_create(&v->thread, NULL, vcpu_thread, v);

    if (rc != 0)
        return err_set_errno(e, -rc, "vcpu", "cannot start the thread of vCPU %u", v->index);
    v->started = true;
    return 0;
}

void vcpu_join(struct vcpu *v)
{
    if (v->started)
        pthread_join(v->thread, NULL);
    v->started = false;
}

void vcpu_free(struct vcpu *v)
{
    free(v); /* the hypervisor's part goes with its VM */
}
