#include "vmm/cpu_setup.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cpu/compat.h"
#include "cpu/model.h"

#define GAPS_SHOWN 8

/* src/cpu stands on base alone and has its own struct of the same layout. */
_Static_assert(sizeof(struct cpu_leaf) == sizeof(struct x86_cpuid_entry), "one CPUID entry");
_Static_assert(CPU_LEAVES_MAX == X86_CPUID_MAX, "as many CPUID entries");

static void leaves_from(const struct x86_cpuid *c, struct cpu_leaves *out)
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
        leaves_from(&host, out);
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

/* An arriving machine's: taken as it is, if it could exist here. */
static int cpu_setup_given(const struct cpu_leaves *host, const struct vm_cpu *given,
                           struct vm_cpu *out, struct err *e)
{
    struct cpu_gap gaps[GAPS_SHOWN];
    struct cpu_leaves need;
    char text[ERR_TEXT_MAX] = "";
    size_t used = 0;
    uint32_t n;

    leaves_from(&given->cpuid, &need);
    n = cpu_compat(&need, host, gaps, GAPS_SHOWN);
    if (n == 0) {
        out->cpuid = given->cpuid;
        return 0;
    }
    for (uint32_t i = 0; i < n && i < GAPS_SHOWN && used < sizeof(text); i++)
        used += (size_t)snprintf(text + used, sizeof(text) - used, "%s%s (machine %s, host %s)",
                                 i ? ", " : "", gaps[i].name, gaps[i].need, gaps[i].have);
    return err_set(e, -ENOTSUP, "manifest",
                   "this host's processor lacks %u of what the machine was created with: %s%s; "
                   "start the machine with -cpu host,-FEATURE for each to move it here",
                   n, text, n > GAPS_SHOWN ? ", ..." : "");
}

int cpu_setup_cpuid(struct hv_vm *hv, const struct machine_config *config,
                    const struct vm_cpu *given, struct vm_cpu *out, struct err *e)
{
    struct cpu_leaves host;
    int rc = cpu_setup_host(hv, &host, e);

    if (rc != 0)
        return rc;
    out->tsc_khz = given ? given->tsc_khz : hv_vm_caps(hv)->tsc_khz;
    return given ? cpu_setup_given(&host, given, out, e)
                 : cpu_setup_new(&host, &config->cpu, out, e);
}

void cpu_setup_vcpu(const struct vm_cpu *cpu, uint32_t index, uint32_t vcpus,
                    struct x86_cpuid *out)
{
    struct cpu_leaves model, own;

    leaves_from(&cpu->cpuid, &model);
    cpu_model_vcpu(&model, index, vcpus, &own);
    leaves_to(&own, out);
}

int cpu_setup_msrs(struct hv_vm *hv, struct hv_vcpu *first, const struct vm_cpu *given,
                   struct vm_cpu *out, struct err *e)
{
    int rc = 0;

    if (given) {
        out->msrs = given->msrs;
        out->msrs_left_out = given->msrs_left_out;
    } else {
        rc = hv_vm_msr_list(hv, first, &out->msrs, &out->msrs_left_out, e);
    }
    return rc == 0 ? hv_vm_set_msr_list(hv, &out->msrs, e) : rc;
}
