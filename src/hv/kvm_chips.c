/* The chips of the VM: two 8259s, IOAPIC, 8254, field by field. */
#include <errno.h>
#include <string.h>

#include "hv/kvm_priv.h"

_Static_assert(sizeof(struct kvm_pic_state) == 16 && sizeof(struct x86_pic) == 16, "kvm_pic_state");
_Static_assert(sizeof(struct kvm_ioapic_state) == 216, "kvm_ioapic_state");
_Static_assert(sizeof(struct kvm_irqchip) == 520, "kvm_irqchip");
_Static_assert(sizeof(struct kvm_pit_channel_state) == 24, "kvm_pit_channel_state");
_Static_assert(sizeof(struct kvm_pit_state2) == 112, "kvm_pit_state2");
_Static_assert(KVM_IOAPIC_NUM_PINS == X86_IOAPIC_PINS, "IOAPIC pins");
_Static_assert(offsetof(struct kvm_pic_state, poll) == offsetof(struct x86_pic, poll) &&
                   offsetof(struct kvm_pic_state, elcr) == offsetof(struct x86_pic, elcr),
               "x86_pic mirrors kvm_pic_state");

static void from_kvm_ioapic(const struct kvm_ioapic_state *k, struct x86_ioapic *s)
{
    s->base_address = k->base_address;
    s->ioregsel = k->ioregsel;
    s->id = k->id;
    s->irr = k->irr;
    for (int i = 0; i < X86_IOAPIC_PINS; i++)
        s->redirtbl[i] = k->redirtbl[i].bits;
}

static void to_kvm_ioapic(const struct x86_ioapic *s, struct kvm_ioapic_state *k)
{
    memset(k, 0, sizeof(*k));
    k->base_address = s->base_address;
    k->ioregsel = s->ioregsel;
    k->id = s->id;
    k->irr = s->irr;
    for (int i = 0; i < X86_IOAPIC_PINS; i++)
        k->redirtbl[i].bits = s->redirtbl[i];
}

#define EACH_PIT_FIELD(X)                                                                          \
    X(count)                                                                                       \
    X(latched_count)                                                                               \
    X(count_latched)                                                                               \
    X(status_latched)                                                                              \
    X(status) X(read_state) X(write_state) X(write_latch) X(rw_mode) X(mode) X(bcd) X(gate)

static void from_kvm_pit(const struct kvm_pit_state2 *k, struct x86_pit *s)
{
    for (int i = 0; i < 3; i++) {
#define X(f) s->channels[i].f = k->channels[i].f;
        EACH_PIT_FIELD(X)
#undef X
        s->channels[i].count_load_time = (uint64_t)k->channels[i].count_load_time;
    }
    s->flags = k->flags;
}

static void to_kvm_pit(const struct x86_pit *s, struct kvm_pit_state2 *k)
{
    memset(k, 0, sizeof(*k));
    for (int i = 0; i < 3; i++) {
#define X(f) k->channels[i].f = s->channels[i].f;
        EACH_PIT_FIELD(X)
#undef X
        k->channels[i].count_load_time = (int64_t)s->channels[i].count_load_time;
    }
    k->flags = s->flags;
}

static int get_chip(struct hv_vm *vm, uint32_t id, struct kvm_irqchip *c)
{
    memset(c, 0, sizeof(*c));
    c->chip_id = id;
    return kvm_ioctl(vm->fd, KVM_GET_IRQCHIP, c);
}

int hv_vm_get_state(struct hv_vm *vm, struct x86_vm_state *s, struct err *e)
{
    struct kvm_irqchip c;
    struct kvm_pit_state2 pit = {0};
    int rc = 0;

    memset(s, 0, sizeof(*s));
    for (uint32_t i = KVM_IRQCHIP_PIC_MASTER; i <= KVM_IRQCHIP_PIC_SLAVE && rc == 0; i++) {
        rc = get_chip(vm, i, &c);
        memcpy(&s->pics[i], &c.chip.pic, sizeof(s->pics[i]));
    }
    if (rc == 0)
        rc = get_chip(vm, KVM_IRQCHIP_IOAPIC, &c);
    from_kvm_ioapic(&c.chip.ioapic, &s->ioapic);
    if (rc == 0)
        rc = kvm_ioctl(vm->fd, KVM_GET_PIT2, &pit);
    from_kvm_pit(&pit, &s->pit);
    return rc < 0 ? err_set_errno(e, rc, STAGE, "reading PIC, IOAPIC and PIT") : 0;
}

static int set_irqchips(struct hv_vm *vm, const struct x86_vm_state *s)
{
    struct kvm_irqchip c;
    int rc = 0;

    for (uint32_t i = KVM_IRQCHIP_PIC_MASTER; i <= KVM_IRQCHIP_PIC_SLAVE && rc == 0; i++) {
        c = (struct kvm_irqchip){.chip_id = i};
        memcpy(&c.chip.pic, &s->pics[i], sizeof(s->pics[i]));
        rc = kvm_ioctl(vm->fd, KVM_SET_IRQCHIP, &c);
    }
    if (rc < 0)
        return rc;
    c = (struct kvm_irqchip){.chip_id = KVM_IRQCHIP_IOAPIC};
    to_kvm_ioapic(&s->ioapic, &c.chip.ioapic);
    return kvm_ioctl(vm->fd, KVM_SET_IRQCHIP, &c);
}

int hv_vm_set_state(struct hv_vm *vm, const struct x86_vm_state *s, struct err *e)
{
    struct kvm_pit_state2 pit;
    int rc = set_irqchips(vm, s);

    if (rc < 0)
        return err_set_errno(e, rc, STAGE, "KVM refuses the state of PIC or IOAPIC");
    to_kvm_pit(&s->pit, &pit);
    rc = kvm_ioctl(vm->fd, KVM_SET_PIT2, &pit);
    return rc < 0 ? err_set_errno(e, rc, STAGE, "KVM refuses the state of the PIT") : 0;
}

int hv_vm_reset_chips(struct hv_vm *vm, struct err *e)
{
    return hv_vm_set_state(vm, &vm->reset_chips, e);
}
