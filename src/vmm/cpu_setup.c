#include "vmm/cpu_setup.h"

#include <errno.h>
#include <string.h>

#include "cpu/model.h"

/* src/cpu stands on base alone and has its own struct of the same layout. */
_Static_assert(sizeof(struct cpu_leaf) == sizeof(struct x86_cpuid_entry), "one CPUID entry");
_Static_assert(CPU_LEAVES_MAX == X86_CPUID_MAX, "as many CPUID entries");

void cpu_setup_leaves(const struct x86_cpuid *c, struct cpu_leaves *out)
{
    out->n = c->n;
    memcpy(out->leaf, c->entries, c->n * sizeof(out->leaf[0]));
}

static void leaves_to(const struct cpu_leaves *l, struct x86_cpuid *out)
{
    out->n = l->n;
    memcpy(out->entries, l->leaf, l->n * sizeof(l->leaf[0]));
}

static int cpu_setup_host(struct hv_vm *hv, struct cpu_leaves *out, struct err *e)
{
    struct x86_cpuid host;
    int rc = hv_vm_supported_cpuid(hv, &host, e);

    if (rc == 0)
        cpu_setup_leaves(&host, out);
    return rc;
}

/* A new machine's processor: -cpu over what the host offers. */
static int cpu_setup_new(const struct cpu_leaves *host, const struct cpu_config *config,
                         struct vm_cpu *out, struct err *e)
{
    struct cpu_wish wishes[MACHINE_FEATURES_MAX];
    struct cpu_request request = {
        .model = config->model, .nwishes = config->nfeatures, .wishes = wishes};
    struct cpu_leaves model;
    int rc;

    for (uint32_t i = 0; i < config->nfeatures; i++)
        wishes[i] = (struct cpu_wish){config->features[i].name, config->features[i].on};
    rc = cpu_model_build(host, &request, out->tsc_khz, &model, e);
    if (rc == 0)
        leaves_to(&model, &out->cpuid);
    return rc;
}

int cpu_setup_cpuid(struct hv_vm *hv, const struct machine_config *config,
                    const struct vm_cpu *given, struct vm_cpu *out, struct err *e)
{
    struct cpu_leaves host;
    int rc = cpu_setup_host(hv, &host, e);

    if (rc != 0)
        return rc;
    out->tsc_khz = given ? given->tsc_khz : hv_vm_caps(hv)->tsc_khz;
    if (!given)
        return cpu_setup_new(&host, &config->cpu, out, e);
    out->cpuid = given->cpuid; /* the verdict has judged it */
    return 0;
}

void cpu_setup_vcpu(const struct vm_cpu *cpu, uint32_t index, uint32_t vcpus,
                    struct x86_cpuid *out)
{
    struct cpu_leaves model, own;

    cpu_setup_leaves(&cpu->cpuid, &model);
    cpu_model_vcpu(&model, index, vcpus, &own);
    leaves_to(&own, out);
}

/* Every MSR of an arriving machine must be one that this host can write back. */
static int cpu_setup_check_msrs(struct hv_vm *hv, struct hv_vcpu *first,
                                const struct x86_msr_list *need, struct err *e)
{
    struct x86_msr_list have, left_out;
    int rc = hv_vm_msr_list(hv, first, &have, &left_out, e);

    for (uint32_t i = 0; rc == 0 && i < need->n; i++) {
        uint32_t k = 0;

        while (k < have.n && have.index[k] != need->index[i])
            k++;
        if (k == have.n)
            rc = err_set(e, -ENOTSUP, "manifest",
                         "the machine has MSR 0x%x, which this host cannot load: choose a "
                         "destination with the same or a newer kernel and processor",
                         need->index[i]);
    }
    return rc;
}

int cpu_setup_msrs(struct hv_vm *hv, struct hv_vcpu *first, const struct vm_cpu *given,
                   struct vm_cpu *out, struct err *e)
{
    int rc;

    if (given) {
        out->msrs = given->msrs;
        out->msrs_left_out = given->msrs_left_out;
        rc = cpu_setup_check_msrs(hv, first, &out->msrs, e);
    } else {
        rc = hv_vm_msr_list(hv, first, &out->msrs, &out->msrs_left_out, e);
    }
    return rc == 0 ? hv_vm_set_msr_list(hv, &out->msrs, e) : rc;
}
