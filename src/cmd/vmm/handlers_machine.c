/* Options about the machine: board, processor, memory, identity. */
#include "cmd/vmm/handlers.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/vmm/value.h"

int apply_machine(struct option_ctx *c, const struct option_value *v, struct err *e)
{
    keyval_copy(v->kv, "type", c->o->machine.machine, sizeof(c->o->machine.machine));
    return 0;
}

int apply_accel(struct option_ctx *c, const struct option_value *v, struct err *e)
{
    uint64_t n = keyval_uint(v->kv, "dirty-ring-size", 0);

    if (n != 0 && (n < VMM_DIRTY_RING_MIN || (n & (n - 1)) != 0))
        return err_set(e, -EINVAL, OPTIONS_STAGE,
                       "-accel dirty-ring-size=%llu: not a valid value (allowed: 0, or a power of "
                       "two from %d to %d)",
                       (unsigned long long)n, VMM_DIRTY_RING_MIN, VMM_DIRTY_RING_MAX);
    c->o->dirty_ring = (uint32_t)n;
    return 0;
}

int apply_memory(struct option_ctx *c, const struct option_value *v, struct err *e)
{
    uint64_t size = keyval_size(v->kv, "size", MACHINE_RAM_DEFAULT);

    /* RAM is made of 2 MiB pages where the host has them. */
    if (size % (2 << 20))
        return err_set(e, -EINVAL, OPTIONS_STAGE,
                       "-m %s: not a valid value (allowed: a multiple of 2 MiB)", v->text);
    c->o->machine.ram_size = size;
    return 0;
}

/* A topology is checked and not shown to the guest, which sees one core a socket. */
int apply_smp(struct option_ctx *c, const struct option_value *v, struct err *e)
{
    static const char *const levels[] = {"sockets", "dies", "cores", "threads"};
    uint64_t product = 1, cpus;
    bool topology = false;

    for (size_t i = 0; i < sizeof(levels) / sizeof(levels[0]); i++) {
        product *= keyval_uint(v->kv, levels[i], 1);
        topology |= keyval_string(v->kv, levels[i], NULL) != NULL;
    }
    cpus = keyval_uint(v->kv, "cpus", product);
    if (cpus > MACHINE_VCPUS_MAX)
        return err_set(e, -EINVAL, OPTIONS_STAGE, "-smp %s: %llu vCPUs (allowed: 1 to %d)", v->text,
                       (unsigned long long)cpus, MACHINE_VCPUS_MAX);
    if (topology && product != cpus)
        return err_set(e, -EINVAL, OPTIONS_STAGE,
                       "-smp %s: sockets x dies x cores x threads is %llu and not cpus=%llu",
                       v->text, (unsigned long long)product, (unsigned long long)cpus);
    if (keyval_uint(v->kv, "maxcpus", cpus) != cpus)
        return err_set(e, -EINVAL, OPTIONS_STAGE,
                       "-smp %s: vCPUs cannot be added later (allowed: maxcpus=%llu)", v->text,
                       (unsigned long long)cpus);
    c->o->machine.vcpus = (uint32_t)cpus;
    return 0;
}

int apply_name(struct option_ctx *c, const struct option_value *v, struct err *e)
{
    keyval_copy(v->kv, "guest", c->o->machine.name, sizeof(c->o->machine.name));
    return 0;
}

int apply_uuid(struct option_ctx *c, const struct option_value *v, struct err *e)
{
    if (value_uuid(v->text, c->o->machine.uuid))
        return err_set(e, -EINVAL, OPTIONS_STAGE,
                       "-uuid %.64s: not a valid value (allowed: 32 hexadecimal digits in groups "
                       "of 8-4-4-4-12)",
                       v->text);
    return 0;
}

/* "+name", "-name", "name=on|off" or "name": cuts the word down to the name. */
static int feature_state(char **word, bool *on)
{
    char *equals = strchr(*word, '=');

    *on = (*word)[0] != '-';
    if ((*word)[0] == '+' || (*word)[0] == '-') {
        (*word)++;
        return equals ? -EINVAL : 0;
    }
    if (!equals)
        return 0;
    *equals = '\0';
    return value_bool(equals + 1, on);
}

static bool is_feature_name(const char *s)
{
    size_t len = strlen(s);

    return len > 0 && len < sizeof(((struct cpu_config *)0)->features[0].name) &&
           strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789-_.") == len;
}

/* A later word on the same feature wins. */
static int set_feature(struct cpu_config *cpu, const char *name, bool on)
{
    uint32_t i = 0;

    while (i < cpu->nfeatures && strcmp(cpu->features[i].name, name))
        i++;
    if (i == MACHINE_FEATURES_MAX)
        return -E2BIG;
    if (i == cpu->nfeatures)
        cpu->nfeatures++;
    snprintf(cpu->features[i].name, sizeof(cpu->features[i].name), "%s", name);
    cpu->features[i].on = on;
    return 0;
}

static int parse_features(struct cpu_config *cpu, char *list, struct err *e)
{
    char *save = NULL;

    for (char *word = strtok_r(list, ",", &save); word; word = strtok_r(NULL, ",", &save)) {
        char shown[64];
        bool on;

        snprintf(shown, sizeof(shown), "%s", word);
        if (feature_state(&word, &on) || !is_feature_name(word))
            return err_set(e, -EINVAL, OPTIONS_STAGE,
                           "-cpu host,%s: not a valid feature (allowed: +NAME, -NAME, NAME=on|off)",
                           shown);
        if (set_feature(cpu, word, on))
            return err_set(e, -EINVAL, OPTIONS_STAGE, "-cpu names more than %d features",
                           MACHINE_FEATURES_MAX);
    }
    return 0;
}

int apply_cpu(struct option_ctx *c, const struct option_value *v, struct err *e)
{
    struct cpu_config *cpu = &c->o->machine.cpu;
    size_t model = strcspn(v->text, ",");
    char *list;
    int ret;

    if (model != 4 || strncmp(v->text, "host", 4))
        return err_set(e, -EINVAL, OPTIONS_STAGE,
                       "-cpu %.64s: not a valid value (allowed: host[,+FEATURE][,-FEATURE]...)",
                       v->text);
    list = strdup(v->text + model);
    if (!list)
        return err_set(e, -ENOMEM, OPTIONS_STAGE, "no memory");
    memset(cpu, 0, sizeof(*cpu));
    strcpy(cpu->model, "host");
    ret = parse_features(cpu, list, e);
    free(list);
    return ret;
}
