#include "vmm/accept.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "verdict/verdict.h"
#include "vmm/accept_facts.h"
#include "vmm/manifest.h"
#include "vmm/monitor.h"

/* ---- what the command line said of the machine must be so ---- */

static void accept_text(struct verdict *v, uint32_t given, const char *option, const char *mine,
                        const char *theirs)
{
    if (given && strcmp(mine, theirs) != 0)
        verdict_add(v, theirs, mine, "leave the option out here: the machine brings its own", "%s",
                    option);
}

static void accept_number(struct verdict *v, uint32_t given, const char *option, uint64_t mine,
                          uint64_t theirs, const char *unit)
{
    char here[32], source[32];

    if (!given || mine == theirs)
        return;
    snprintf(here, sizeof(here), "%llu%s", (unsigned long long)mine, unit);
    snprintf(source, sizeof(source), "%llu%s", (unsigned long long)theirs, unit);
    accept_text(v, 1, option, here, source);
}

static void accept_device(struct verdict *v, const struct device_config *mine,
                          const struct device_config *theirs)
{
    char option[MACHINE_ID_MAX + 32];

    snprintf(option, sizeof(option), "-device id=%s: back-end", mine->id);
    accept_text(v, 1, option, mine->backend, theirs->backend);
    snprintf(option, sizeof(option), "-device id=%s: type", mine->id);
    accept_number(v, 1, option, mine->kind * 2U + mine->transport,
                  theirs->kind * 2U + theirs->transport, "");
    snprintf(option, sizeof(option), "-device id=%s: addr", mine->id);
    accept_number(v, 1, option, (uint64_t)mine->slot, (uint64_t)theirs->slot, "");
    snprintf(option, sizeof(option), "-device id=%s: serial", mine->id);
    accept_text(v, mine->serial[0] != 0, option, mine->serial, theirs->serial);
}

static void accept_devices(struct verdict *v, const struct machine_config *mine,
                           const struct machine_config *theirs)
{
    accept_number(v, 1, "number of -device", mine->ndevices, theirs->ndevices, "");
    for (uint32_t i = 0; i < mine->ndevices; i++) {
        uint32_t k = 0;

        while (k < theirs->ndevices && strcmp(mine->devices[i].id, theirs->devices[k].id) != 0)
            k++;
        if (k < theirs->ndevices)
            accept_device(v, &mine->devices[i], &theirs->devices[k]);
        else
            verdict_add(v, "absent", "present", "leave it out here", "-device id=%s",
                        mine->devices[i].id);
    }
}

static void accept_options(struct verdict *v, uint32_t given, const struct machine_config *mine,
                           const struct machine_config *theirs)
{
    accept_text(v, given & OPTION_MACHINE, "-machine", mine->machine, theirs->machine);
    accept_text(v, given & OPTION_CPU, "-cpu", mine->cpu.model, theirs->cpu.model);
    accept_text(v, given & OPTION_NAME, "-name", mine->name, theirs->name);
    accept_text(v, given & OPTION_UUID, "-uuid", mine->uuid, theirs->uuid);
    if (mine->append[0])
        accept_text(v, given & OPTION_BOOT, "-append", mine->append, theirs->append);
    accept_number(v, given & OPTION_RAM, "-m", mine->ram_size >> 20, theirs->ram_size >> 20,
                  " MiB");
    accept_number(v, given & OPTION_VCPUS, "-smp", mine->vcpus, theirs->vcpus, "");
    if (given & OPTION_DEVICES)
        accept_devices(v, mine, theirs);
}

/* A -uuid that was given is compared in any case; the capability asks for one. */
static void accept_uuid(struct verdict *v, const struct monitor *m, bool validate,
                        const struct machine_config *theirs)
{
    if (validate && !(m->options->given & OPTION_UUID))
        verdict_add(v, theirs->uuid, "none given",
                    "start this monitor with -uuid, or switch the capability validate-uuid off",
                    "-uuid");
}

/* ---- this host's back-ends under the machine's devices ---- */

static void accept_backends(const struct machine_config *mine, struct machine_config *out)
{
    memcpy(out->drives, mine->drives, sizeof(out->drives));
    memcpy(out->netdevs, mine->netdevs, sizeof(out->netdevs));
    out->ndrives = mine->ndrives;
    out->nnetdevs = mine->nnetdevs;
}

int accept_manifest(struct monitor *m, bool validate_uuid, const struct manifest *manifest,
                    struct machine_config *config, struct err *e)
{
    struct accept_facts *f = malloc(sizeof(*f));
    struct verdict *v = calloc(1, sizeof(*v));
    int rc = f && v ? accept_facts_gather(m, manifest, f, e)
                    : err_set(e, -ENOMEM, "manifest", "no memory for the verdict");

    if (rc == 0) {
        verdict_judge(&f->machine, &f->host, v);
        accept_options(v, m->options->given, &m->config, &manifest->config);
        accept_uuid(v, m, validate_uuid, &manifest->config);
        rc = verdict_error(v, e);
    }
    free(v);
    free(f);
    if (rc != 0)
        return rc;
    *config = manifest->config;
    accept_backends(&m->config, config);
    return machine_config_check(config, e); /* the same checks as on a command line */
}
