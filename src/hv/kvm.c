/*
 * /dev/kvm: what it offers, and a VM made from it.  What Godwit cannot do without is asked for by
 * name here, so that an old kernel is refused with a text and not with a failed ioctl later.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/bitmap.h"
#include "base/clock.h"
#include "hv/kvm_priv.h"

/* Pages that VMX needs for real mode, below the LAPIC's 4 GiB end and above the IOAPIC and LAPIC
 * (0xfec00000, 0xfee00000): no board puts anything there (hv.h). */
#define IDENTITY_MAP_ADDR 0xfeffc000UL
#define TSS_ADDR          0xfeffd000UL

int kvm_ioctl(int fd, unsigned long request, void *arg)
{
    int rc;

    do
        rc = ioctl(fd, request, arg);
    while (rc < 0 && errno == EINTR);
    return rc < 0 ? -errno : rc;
}

int kvm_ioctl_value(int fd, unsigned long request, unsigned long value)
{
    int rc;

    do
        rc = ioctl(fd, request, value);
    while (rc < 0 && errno == EINTR);
    return rc < 0 ? -errno : rc;
}

static int open_failed(int code, struct err *e)
{
    switch (code) {
    case -ENOENT:
    case -ENODEV:
    case -ENXIO:
        return err_set(e, code, STAGE,
                       "/dev/kvm is missing: switch on virtualization (VT-x or AMD-V) in the "
                       "firmware, or nested virtualization if this is a virtual machine, and load "
                       "the module: modprobe kvm_intel (or kvm_amd)");
    case -EACCES:
    case -EPERM:
        return err_set(e, code, STAGE,
                       "no permission to open /dev/kvm: add the user to its group (usermod -aG kvm "
                       "USER) and log in again");
    default:
        return err_set_errno(e, code, STAGE, "cannot open /dev/kvm");
    }
}

static int open_kvm(struct hv_vm *vm, struct err *e)
{
    int version;

    vm->kvm_fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    if (vm->kvm_fd < 0)
        return open_failed(-errno, e);
    version = kvm_ioctl_value(vm->kvm_fd, KVM_GET_API_VERSION, 0);
    if (version != KVM_API_VERSION)
        return err_set(e, -ENOTSUP, STAGE, "KVM API version %d; %d is needed", version,
                       KVM_API_VERSION);
    vm->fd = kvm_ioctl_value(vm->kvm_fd, KVM_CREATE_VM, 0);
    if (vm->fd < 0)
        return err_set_errno(e, vm->fd, STAGE, "cannot create a virtual machine");
    return 0;
}

static int extension(const struct hv_vm *vm, unsigned long cap)
{
    int rc = kvm_ioctl_value(vm->fd, KVM_CHECK_EXTENSION, cap);

    return rc < 0 ? 0 : rc;
}

static const struct {
    unsigned long cap;
    const char *name;
} needed[] = {
    {KVM_CAP_IRQCHIP,                   "IRQCHIP"                        },
    {KVM_CAP_PIT2,                      "PIT2"                           },
    {KVM_CAP_PIT_STATE2,                "PIT_STATE2"                     },
    {KVM_CAP_USER_MEMORY,               "USER_MEMORY"                    },
    {KVM_CAP_SET_TSS_ADDR,              "SET_TSS_ADDR"                   },
    {KVM_CAP_EXT_CPUID,                 "EXT_CPUID"                      },
    {KVM_CAP_MP_STATE,                  "MP_STATE"                       },
    {KVM_CAP_VCPU_EVENTS,               "VCPU_EVENTS"                    },
    {KVM_CAP_DEBUGREGS,                 "DEBUGREGS"                      },
    {KVM_CAP_XSAVE,                     "XSAVE"                          },
    {KVM_CAP_XCRS,                      "XCRS"                           },
    {KVM_CAP_ADJUST_CLOCK,              "ADJUST_CLOCK"                   },
    {KVM_CAP_GET_TSC_KHZ,               "GET_TSC_KHZ"                    },
    {KVM_CAP_IRQFD,                     "IRQFD"                          },
    {KVM_CAP_IRQ_ROUTING,               "IRQ_ROUTING"                    },
    {KVM_CAP_IOEVENTFD,                 "IOEVENTFD"                      },
    {KVM_CAP_IMMEDIATE_EXIT,            "IMMEDIATE_EXIT (Linux 4.12)"    },
    {KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, "MANUAL_DIRTY_LOG_PROTECT2 (5.2)"},
};

static int check_needed(const struct hv_vm *vm, struct err *e)
{
    for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++)
        if (!extension(vm, needed[i].cap))
            return err_set(e, -ENOTSUP, STAGE, "this host's KVM lacks %s: a newer kernel is needed",
                           needed[i].name);
    return 0;
}

/* A rate is known to a vCPU only, on kernels before 5.18; so a scratch machine is asked. */
static uint32_t host_tsc_khz(const struct hv_vm *vm)
{
    int khz = kvm_ioctl_value(vm->fd, KVM_GET_TSC_KHZ, 0), scratch, vcpu;

    if (khz > 0)
        return (uint32_t)khz;
    scratch = kvm_ioctl_value(vm->kvm_fd, KVM_CREATE_VM, 0);
    if (scratch < 0)
        return 0;
    vcpu = kvm_ioctl_value(scratch, KVM_CREATE_VCPU, 0);
    if (vcpu >= 0) {
        khz = kvm_ioctl_value(vcpu, KVM_GET_TSC_KHZ, 0);
        close(vcpu);
    }
    close(scratch);
    return khz > 0 ? (uint32_t)khz : 0;
}

/* KVM's own bound for "the same rate"; an operator may have widened it. */
static uint32_t tsc_tolerance_ppm(void)
{
    FILE *f = fopen("/sys/module/kvm/parameters/tsc_tolerance_ppm", "re");
    unsigned int ppm = HV_TSC_TOLERANCE_PPM;

    if (f) {
        if (fscanf(f, "%u", &ppm) != 1)
            ppm = HV_TSC_TOLERANCE_PPM;
        fclose(f);
    }
    return ppm;
}

static int fill_caps(struct hv_vm *vm, struct err *e)
{
    struct hv_caps *c = &vm->caps;
    int size = extension(vm, KVM_CAP_XSAVE2);
    struct utsname u;

    c->clock_realtime = extension(vm, KVM_CAP_ADJUST_CLOCK) & KVM_CLOCK_REALTIME;
    c->tsc_control = extension(vm, KVM_CAP_TSC_CONTROL);
    c->tsc_tolerance_ppm = tsc_tolerance_ppm();
    c->tsc_khz = host_tsc_khz(vm);
    c->sregs2 = extension(vm, KVM_CAP_SREGS2);
    c->xsave2 = size > 0;
    c->xsave_size = size > 0 ? (uint32_t)size : sizeof(struct kvm_xsave);
    c->max_vcpus = (uint32_t)extension(vm, KVM_CAP_MAX_VCPUS);
    c->max_routes = (uint32_t)extension(vm, KVM_CAP_IRQ_ROUTING);
    c->dirty_initially_set =
        extension(vm, KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2) & KVM_DIRTY_LOG_INITIALLY_SET;
    c->dirty_ring_max = kvm_ring_max(vm);
    if (uname(&u) < 0)
        snprintf(u.release, sizeof(u.release), "?");
    snprintf(c->name, sizeof(c->name), "KVM %d, Linux %.40s", KVM_API_VERSION, u.release);
    if (c->xsave_size > X86_XSAVE_MAX)
        return err_set(e, -ENOTSUP, STAGE, "XSAVE areas of %u bytes: at most %u are supported",
                       c->xsave_size, X86_XSAVE_MAX);
    if (c->tsc_khz == 0)
        return err_set(e, -ENOTSUP, STAGE, "KVM does not tell the rate of the host's TSC");
    return 0;
}

static int enable(struct hv_vm *vm, uint32_t cap, uint64_t arg)
{
    struct kvm_enable_cap c = {.cap = cap, .args = {arg}};

    return kvm_ioctl(vm->fd, KVM_ENABLE_CAP, &c);
}

/* Without these two a pending #DB or #PF loses its address, and a pending triple fault is
 * forgotten, when a vCPU is saved between an exception and its delivery. */
static int enable_whole_events(struct hv_vm *vm, struct err *e)
{
    int rc = 0;

    if (extension(vm, KVM_CAP_EXCEPTION_PAYLOAD))
        rc = enable(vm, KVM_CAP_EXCEPTION_PAYLOAD, 1);
    if (rc == 0 && extension(vm, KVM_CAP_X86_TRIPLE_FAULT_EVENT)) {
        rc = enable(vm, KVM_CAP_X86_TRIPLE_FAULT_EVENT, 1);
        vm->caps.triple_fault_event = rc == 0;
    }
    if (rc < 0)
        return err_set_errno(e, rc, STAGE, "exception payload and triple fault events");
    return 0;
}

/* Not both: a ring of a machine whose pages are all "initially set" would never see one. */
static int enable_dirty_log(struct hv_vm *vm, uint32_t ring, struct err *e)
{
    uint64_t flags = KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE;
    int rc;

    if (ring)
        return kvm_ring_enable(vm, ring, e);
    if (vm->caps.dirty_initially_set)
        flags |= KVM_DIRTY_LOG_INITIALLY_SET;
    rc = enable(vm, KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, flags);
    return rc < 0 ? err_set_errno(e, rc, STAGE, "manual dirty log protection") : 0;
}

static int create_chips(struct hv_vm *vm, struct err *e)
{
    struct kvm_pit_config pit = {.flags = KVM_PIT_SPEAKER_DUMMY};
    uint64_t identity = IDENTITY_MAP_ADDR;
    int rc;

    rc = kvm_ioctl(vm->fd, KVM_SET_IDENTITY_MAP_ADDR, &identity);
    if (rc == 0)
        rc = kvm_ioctl_value(vm->fd, KVM_SET_TSS_ADDR, TSS_ADDR);
    if (rc < 0)
        return err_set_errno(e, rc, STAGE, "real-mode pages");
    rc = kvm_ioctl_value(vm->fd, KVM_CREATE_IRQCHIP, 0);
    if (rc < 0)
        return err_set_errno(e, rc, STAGE, "interrupt controllers");
    rc = kvm_ioctl(vm->fd, KVM_CREATE_PIT2, &pit);
    if (rc < 0)
        return err_set_errno(e, rc, STAGE, "PIT");
    return hv_vm_get_state(vm, &vm->reset_chips, e);
}

int kvm_slots_set(struct hv_vm *vm, uint32_t flags, struct err *e)
{
    for (uint32_t i = 0; i < vm->mem->nranges; i++) {
        const struct guest_range *r = &vm->mem->ranges[i];
        struct kvm_userspace_memory_region slot = {
            .slot = i,
            .flags = flags,
            .guest_phys_addr = r->gpa,
            .memory_size = r->size,
            .userspace_addr = (uintptr_t)(vm->mem->host + r->offset),
        };
        int rc = kvm_ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION, &slot);

        if (rc < 0)
            return err_set_errno(e, rc, STAGE, "memory slot %u: 0x%" PRIx64 " bytes at 0x%" PRIx64,
                                 i, r->size, r->gpa);
    }
    return 0;
}

static int check_config(const struct hv_vm_config *c, const struct hv_caps *caps, struct err *e)
{
    if (c->vcpus == 0 || c->vcpus > X86_VCPUS_MAX || c->vcpus > caps->max_vcpus)
        return err_set(e, -EINVAL, STAGE, "%u vCPUs: this host allows 1 to %u", c->vcpus,
                       caps->max_vcpus < X86_VCPUS_MAX ? caps->max_vcpus : X86_VCPUS_MAX);
    return 0;
}

static int build(struct hv_vm *vm, const struct hv_vm_config *c, struct err *e)
{
    int rc;

    if ((rc = open_kvm(vm, e)) < 0 || (rc = check_needed(vm, e)) < 0 ||
        (rc = fill_caps(vm, e)) < 0 || (rc = check_config(c, &vm->caps, e)) < 0 ||
        (rc = enable_whole_events(vm, e)) < 0 || (rc = enable_dirty_log(vm, c->dirty_ring, e)) < 0 ||
        (rc = create_chips(vm, e)) < 0 || (rc = kvm_routes_new(vm, e)) < 0 ||
        (rc = kvm_slots_set(vm, 0, e)) < 0)
        return rc;
    vm->vcpus_max = c->vcpus;
    vm->vcpus = calloc(c->vcpus, sizeof(struct hv_vcpu *));
    if (!vm->vcpus)
        return err_set_errno(e, -ENOMEM, STAGE, "vCPUs");
    return kvm_kick_signal_init(e);
}

int hv_vm_new(const struct hv_vm_config *c, struct hv_vm **out, struct err *e)
{
    struct hv_vm *vm = calloc(1, sizeof(*vm));
    int rc;

    *out = NULL;
    if (!vm)
        return err_set_errno(e, -ENOMEM, STAGE, "virtual machine");
    vm->kvm_fd = vm->fd = -1;
    vm->mem = c->mem;
    pthread_mutex_init(&vm->ring_lock, NULL);
    rc = build(vm, c, e);
    if (rc < 0) {
        hv_vm_free(vm);
        return rc;
    }
    *out = vm;
    return 0;
}

void hv_vm_free(struct hv_vm *vm)
{
    if (!vm)
        return;
    for (uint32_t i = 0; i < vm->nvcpus; i++)
        kvm_vcpu_free(vm->vcpus[i]);
    free(vm->vcpus);
    kvm_routes_free(vm);
    for (uint32_t i = 0; i < GUEST_MEM_RANGES; i++)
        free(vm->dirty_scratch[i]);
    if (vm->ring_dirty)
        bitmap_free(vm->ring_dirty, vm->mem->size / GUEST_PAGE_SIZE);
    pthread_mutex_destroy(&vm->ring_lock);
    if (vm->fd >= 0)
        close(vm->fd);
    if (vm->kvm_fd >= 0)
        close(vm->kvm_fd);
    free(vm);
}

const struct hv_caps *hv_vm_caps(const struct hv_vm *vm)
{
    return &vm->caps;
}
