#include "cmd/vmm/options.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>

#include "cmd/vmm/handlers.h"
#include "cmd/vmm/suggest.h"

void option_warn(struct option_warnings *w, const char *fmt, ...)
{
    va_list ap;

    if (w->n == OPTION_WARNINGS_MAX)
        return;
    va_start(ap, fmt);
    vsnprintf(w->text[w->n++], sizeof(w->text[0]), fmt, ap);
    va_end(ap);
}

static void set_defaults(struct vmm_options *o)
{
    memset(o, 0, sizeof(*o));
    strcpy(o->machine.machine, "q35");
    o->machine.ram_size = MACHINE_RAM_DEFAULT;
    o->machine.vcpus = 1;
    strcpy(o->machine.cpu.model, "host");
    o->serial = SERIAL_NONE;
    o->sandbox = true;
    o->ready_fd = o->error_fd = -1;
}

static const struct option *find_option(const char *name)
{
    for (const struct option *opt = option_table(); opt->name; opt++)
        if (!strcmp(opt->name, name))
            return opt;
    return NULL;
}

static int unknown_option(const char *arg, const char *name, struct err *e)
{
    size_t best = suggest_limit(name) + 1, d;
    const char *nearest = NULL;

    if (arg[0] != '-')
        return err_set(
            e, -EINVAL, OPTIONS_STAGE,
            "'%.100s' is not an option: options begin with '-', and an image is given by "
            "-drive",
            arg);
    for (const struct option *opt = option_table(); opt->name; opt++) {
        d = suggest_distance(name, opt->name);
        if (d < best) {
            best = d;
            nearest = opt->name;
        }
    }
    if (nearest)
        return err_set(e, -EINVAL, OPTIONS_STAGE, "there is no option %.100s; did you mean -%s?",
                       arg, nearest);
    return err_set(e, -EINVAL, OPTIONS_STAGE, "there is no option %.100s; -h lists all there are",
                   arg);
}

static void list_kinds(const struct option_kind *kinds, char *out, size_t cap)
{
    size_t len = 0;

    out[0] = '\0';
    for (; kinds->name && len < cap; kinds++)
        len += (size_t)snprintf(out + len, cap - len, "%s%s", len ? ", " : "", kinds->name);
}

/* The first word chooses the keys of the rest. */
static int apply_kind(struct option_ctx *c, const struct option *opt, const char *text,
                      struct err *e)
{
    size_t word = strcspn(text, ",");
    const struct option_kind *kind = opt->kinds;
    char label[64], list[160];
    struct keyval kv = {0};
    int ret = 0;

    while (kind->name && (strlen(kind->name) != word || memcmp(kind->name, text, word) != 0))
        kind++;
    if (!kind->name) {
        list_kinds(opt->kinds, list, sizeof(list));
        return err_set(e, -EINVAL, OPTIONS_STAGE, "-%s %.*s: not a valid value (allowed: %s)",
                       opt->name, word < 64 ? (int)word : 64, text, list);
    }
    snprintf(label, sizeof(label), "-%s %s", opt->name, kind->name);
    kv = (struct keyval){.keys = kind->keys, .option = label};
    ret = text[word] ? keyval_parse(&kv, label, kind->keys, text + word + 1, e)
                     : keyval_check_required(&kv, e);
    if (!ret && opt->apply)
        ret = opt->apply(c, &(struct option_value){opt, text, &kv, kind}, e);
    keyval_fini(&kv);
    return ret;
}

static int apply_keys(struct option_ctx *c, const struct option *opt, const char *text,
                      struct err *e)
{
    char label[64];
    struct keyval kv;
    int ret;

    snprintf(label, sizeof(label), "-%s", opt->name);
    ret = keyval_parse(&kv, label, opt->keys, text, e);
    if (ret)
        return ret;
    if (opt->apply)
        ret = opt->apply(c, &(struct option_value){opt, text, &kv, NULL}, e);
    keyval_fini(&kv);
    return ret;
}

static int apply_option(struct option_ctx *c, const struct option *opt, const char *text,
                        struct err *e)
{
    c->o->given |= opt->given;
    switch (opt->shape) {
    case OPTION_KEYS:
        return apply_keys(c, opt, text, e);
    case OPTION_KINDS:
        return apply_kind(c, opt, text, e);
    case OPTION_FLAG:
    case OPTION_TEXT:
        break;
    }
    return opt->apply ? opt->apply(c, &(struct option_value){opt, text, NULL, NULL}, e) : 0;
}

/* Other words people try first. */
static const char *canonical(const char *name)
{
    if (!strcmp(name, "help") || !strcmp(name, "?"))
        return "h";
    if (!strcmp(name, "V"))
        return "version";
    return !strcmp(name, "M") ? "machine" : name;
}

int options_parse(int argc, char *const argv[], struct vmm_options *o,
                  struct option_warnings *warnings, enum options_action *action, struct err *e)
{
    struct option_ctx c = {.o = o, .warnings = warnings};
    int ret = 0;

    set_defaults(o);
    warnings->n = 0;
    *action = OPTIONS_RUN;
    for (int i = 1; i < argc && !ret; i++) {
        const char *name = argv[i] + (argv[i][0] == '-') + !strncmp(argv[i], "--", 2);
        const struct option *opt = argv[i][0] == '-' ? find_option(canonical(name)) : NULL;

        if (!opt)
            return unknown_option(argv[i], name, e);
        if (!strcmp(opt->name, "h") || !strcmp(opt->name, "version")) {
            *action = opt->name[0] == 'h' ? OPTIONS_HELP : OPTIONS_VERSION;
            return 0;
        }
        if (opt->shape != OPTION_FLAG && i + 1 == argc)
            return err_set(e, -EINVAL, OPTIONS_STAGE, "-%s lacks its value: %s", opt->name,
                           opt->args);
        ret = apply_option(&c, opt, opt->shape == OPTION_FLAG ? NULL : argv[++i], e);
    }
    return ret ? ret : options_check(o, warnings, e);
}

/* Help */

static void print_keys(FILE *out, const char *indent, const struct key *keys)
{
    char what[160];

    for (; keys->name; keys++) {
        key_describe(keys, what, sizeof(what));
        fprintf(out, "%s%s%s: %s%s%s%s%s\n", indent, keys->name,
                keys->flags & KEY_REQUIRED ? " (required)" : "", what, keys->help ? "; " : "",
                keys->help ? keys->help : "", keys->flags & KEY_IGNORED ? "; " : "",
                keys->flags & KEY_IGNORED ? "without effect" : "");
    }
}

void options_print_help(FILE *out)
{
    fprintf(
        out,
        "usage: godwit-vmm [option]...\n"
        "Runs one virtual machine under KVM, or waits for one that migrates here.\n"
        "A later option wins over an earlier one of the same name; -drive, -netdev, -device and\n"
        "-qmp add up. In values ',,' stands for a comma.\n\n");
    for (const struct option *opt = option_table(); opt->name; opt++) {
        fprintf(out, "-%s%s%s\n    %s\n", opt->name, opt->args ? " " : "",
                opt->args ? opt->args : "", opt->help);
        if (opt->keys)
            print_keys(out, "      ", opt->keys);
        for (const struct option_kind *k = opt->kinds; k && k->name; k++) {
            fprintf(out, "      %s\n", k->name);
            print_keys(out, "        ", k->keys);
        }
    }
}
