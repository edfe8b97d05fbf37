#include "vmm/accept_facts.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "block/image.h"
#include "cpu/leaves.h"
#include "hv/hv.h"
#include "machine/board.h"
#include "vmm/cpu_setup.h"
#include "vmm/manifest.h"
#include "vmm/monitor.h"

#define INVTSC_LEAF 0x80000007U
#define INVTSC_BIT  (1U << 8) /* EDX */

static const char *const device_types[] = {
    "virtio-blk-pci", "virtio-net-pci", "virtio-rng-pci", "virtio-blk-device",
    "virtio-net-device", "virtio-rng-device", NULL};

static void facts_device(const struct device_config *d, struct verdict_device *out)
{
    static const char *const kinds[] = {
        [DEVICE_BLK] = "blk", [DEVICE_NET] = "net", [DEVICE_RNG] = "rng"};

    memcpy(out->id, d->id, sizeof(out->id));
    snprintf(out->type, sizeof(out->type), "virtio-%s-%s", kinds[d->kind],
             d->transport == DEVICE_PCI ? "pci" : "device");
}

static void facts_nics(const struct machine_config *c, struct verdict_nic *nics, uint32_t *n)
{
    for (uint32_t i = 0; i < c->ndevices; i++) {
        const struct device_config *d = &c->devices[i];
        struct verdict_nic *nic = &nics[*n];

        if (d->kind != DEVICE_NET || *n == MACHINE_NICS_MAX)
            continue;
        memcpy(nic->id, d->backend, sizeof(nic->id));
        memcpy(nic->mac, d->mac, sizeof(nic->mac));
        nic->mac_set = d->mac_set;
        (*n)++;
    }
}

static void facts_of_machine(const struct manifest *m, struct accept_facts *f)
{
    struct verdict_machine *v = &f->machine;
    const struct cpu_leaf *invtsc;

    snprintf(v->arch, sizeof(v->arch), "%s", MANIFEST_ARCH);
    memcpy(v->board, m->config.machine, sizeof(v->board));
    v->page_size = GUEST_PAGE_SIZE;
    v->ram_size = m->config.ram_size;
    v->vcpus = m->config.vcpus;
    cpu_setup_leaves(&m->cpu.cpuid, &f->machine_cpu);
    v->cpu = &f->machine_cpu;
    v->tsc_khz = m->cpu.tsc_khz;
    invtsc = cpu_leaf_get(&f->machine_cpu, INVTSC_LEAF, 0);
    v->tsc_exact = invtsc && (invtsc->edx & INVTSC_BIT);
    for (uint32_t i = 0; i < m->ndisks; i++) {
        memcpy(f->machine_disks[i].id, m->disks[i].id, sizeof(f->machine_disks[i].id));
        f->machine_disks[i].size = m->disks[i].size;
        f->machine_disks[i].readonly = m->disks[i].readonly;
    }
    v->disks = f->machine_disks;
    v->ndisks = m->ndisks;
    facts_nics(&m->config, f->machine_nics, &v->nnics);
    v->nics = f->machine_nics;
    for (uint32_t i = 0; i < m->config.ndevices; i++)
        facts_device(&m->config.devices[i], &f->machine_devices[i]);
    v->devices = f->machine_devices;
    v->ndevices = m->config.ndevices;
}

/* A mac= that the command line gave; one that was made up here says nothing. */
static void facts_given_mac(const struct machine_config *given, struct verdict_nic *nic)
{
    for (uint32_t i = 0; i < given->ndevices; i++) {
        const struct device_config *d = &given->devices[i];

        if (d->kind != DEVICE_NET || !d->mac_set || strcmp(d->backend, nic->id) != 0)
            continue;
        memcpy(nic->mac, d->mac, sizeof(nic->mac));
        nic->mac_set = true;
    }
}

/* The back-ends of the command line: a -netdev that no -device here speaks of still is one. */
static void facts_of_backends(const struct monitor *m, struct accept_facts *f)
{
    struct verdict_host *h = &f->host;

    for (uint32_t i = 0; i < m->backends.nimages; i++) {
        const struct image *image = m->backends.images[i].image;

        memcpy(f->host_disks[i].id, m->backends.images[i].id, sizeof(f->host_disks[i].id));
        f->host_disks[i].size = image->size;
        f->host_disks[i].readonly = image->readonly;
    }
    h->disks = f->host_disks;
    h->ndisks = m->backends.nimages;
    for (uint32_t i = 0; i < m->config.nnetdevs; i++) {
        memcpy(f->host_nics[i].id, m->config.netdevs[i].id, sizeof(f->host_nics[i].id));
        facts_given_mac(&m->options->machine, &f->host_nics[i]);
    }
    h->nics = f->host_nics;
    h->nnics = m->config.nnetdevs;
}

static struct {
    pthread_mutex_t lock; /* guards the rest */
    bool known;
    struct hv_caps caps;
    struct cpu_leaves cpu;
} kvm_facts = {.lock = PTHREAD_MUTEX_INITIALIZER};

static int facts_ask_kvm(struct hv_caps *caps, struct cpu_leaves *cpu, struct err *e)
{
    struct guest_mem no_memory = {.fd = -1};
    struct hv_vm_config c = {.mem = &no_memory, .vcpus = 1};
    struct x86_cpuid cpuid;
    struct hv_vm *vm;
    int rc = hv_vm_new(&c, &vm, e);

    if (rc != 0)
        return rc;
    *caps = *hv_vm_caps(vm);
    rc = hv_vm_supported_cpuid(vm, &cpuid, e);
    hv_vm_free(vm);
    if (rc == 0)
        cpu_setup_leaves(&cpuid, cpu);
    return rc;
}

int accept_facts_prepare(struct err *e)
{
    int rc = 0;

    pthread_mutex_lock(&kvm_facts.lock);
    if (!kvm_facts.known)
        rc = facts_ask_kvm(&kvm_facts.caps, &kvm_facts.cpu, e);
    kvm_facts.known = rc == 0;
    pthread_mutex_unlock(&kvm_facts.lock);
    return rc;
}

static int facts_of_kvm(struct accept_facts *f, struct err *e)
{
    struct verdict_host *h = &f->host;
    int rc = accept_facts_prepare(e);

    if (rc != 0)
        return rc;
    pthread_mutex_lock(&kvm_facts.lock);
    h->vcpus_max = kvm_facts.caps.max_vcpus;
    h->tsc_khz = kvm_facts.caps.tsc_khz;
    h->tsc_control = kvm_facts.caps.tsc_control;
    h->tsc_tolerance_ppm = kvm_facts.caps.tsc_tolerance_ppm;
    f->host_cpu = kvm_facts.cpu;
    pthread_mutex_unlock(&kvm_facts.lock);
    h->cpu = &f->host_cpu;
    return 0;
}

int accept_facts_gather(const struct monitor *m, const struct manifest *manifest,
                        struct accept_facts *f, struct err *e)
{
    struct verdict_host *h = &f->host;

    memset(f, 0, sizeof(*f));
    facts_of_machine(manifest, f);
    facts_of_backends(m, f);
    snprintf(h->arch, sizeof(h->arch), "%s", MANIFEST_ARCH);
    f->boards[0] = board_find(manifest->config.machine) ? manifest->config.machine : board_names();
    h->boards = f->boards;
    h->page_size = GUEST_PAGE_SIZE;
    h->ram_max = MACHINE_RAM_MAX;
    h->devices = device_types;
    return facts_of_kvm(f, e);
}
