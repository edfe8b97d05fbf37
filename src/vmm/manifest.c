#include "vmm/manifest.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "block/image.h"
#include "vmm/backends.h"
#include "vmm/jsonx.h"

static const char *const kind_names[] = {
    [DEVICE_BLK] = "virtio-blk", [DEVICE_NET] = "virtio-net", [DEVICE_RNG] = "virtio-rng"};
static const char *const transport_names[] = {[DEVICE_PCI] = "pci", [DEVICE_MMIO] = "mmio"};

#define NAMES(table) (table), sizeof(table) / sizeof((table)[0])

/* ---- writing ---- */

static json_t *manifest_cpuid(const struct x86_cpuid *c)
{
    json_t *a = json_array();

    for (uint32_t i = 0; i < c->n; i++) {
        const struct x86_cpuid_entry *n = &c->entries[i];

        json_array_append_new(a, json_pack("[I,I,I,I,I,I,I]", (json_int_t)n->function,
                                           (json_int_t)n->index, (json_int_t)n->flags,
                                           (json_int_t)n->eax, (json_int_t)n->ebx,
                                           (json_int_t)n->ecx, (json_int_t)n->edx));
    }
    return a;
}

static json_t *manifest_msrs(const struct x86_msr_list *l)
{
    json_t *a = json_array();

    for (uint32_t i = 0; i < l->n; i++)
        json_array_append_new(a, json_integer(l->index[i]));
    return a;
}

static json_t *manifest_device(const struct device_config *d)
{
    char mac[18] = "";

    if (d->kind == DEVICE_NET) /* also one that was made up: the guest knows it */
        snprintf(mac, sizeof(mac), "%02x:%02x:%02x:%02x:%02x:%02x", d->mac[0], d->mac[1], d->mac[2],
                 d->mac[3], d->mac[4], d->mac[5]);
    return json_pack("{s:s,s:s,s:s,s:s,s:i,s:s,s:s}", "kind", kind_names[d->kind], "transport",
                     transport_names[d->transport], "id", d->id, "backend", d->backend, "slot",
                     d->slot + 1, "mac", mac, "serial", d->serial);
}

static json_t *manifest_devices(const struct machine_config *c)
{
    json_t *a = json_array();

    for (uint32_t i = 0; i < c->ndevices; i++)
        json_array_append_new(a, manifest_device(&c->devices[i]));
    return a;
}

static json_t *manifest_disks(const struct board_backends *b)
{
    json_t *a = json_array();

    for (uint32_t i = 0; i < b->nimages; i++)
        json_array_append_new(a, json_pack("{s:s,s:I,s:b}", "id", b->images[i].id, "size",
                                           (json_int_t)b->images[i].image->size, "readonly",
                                           b->images[i].image->readonly));
    return a;
}

static json_int_t manifest_fd_size(int fd)
{
    struct stat st;

    return fd >= 0 && fstat(fd, &st) == 0 ? (json_int_t)st.st_size : 0;
}

int manifest_write(const struct vm *vm, struct buf *out, struct err *e)
{
    const struct machine_config *c = &vm->config;
    json_t *o = json_pack(
        "{s:i,s:s,s:s,s:s,s:s,s:I,s:I,s:s,s:s,s:I,s:I}", "manifest", MANIFEST_VERSION, "arch",
        MANIFEST_ARCH, "machine", c->machine, "name", c->name, "uuid", c->uuid, "ram",
        (json_int_t)c->ram_size, "vcpus", (json_int_t)c->vcpus, "cpu", c->cpu.model, "append",
        c->append, "kernel-size", manifest_fd_size(vm->backends->kernel_fd), "initrd-size",
        manifest_fd_size(vm->backends->initrd_fd));
    char *text;
    int rc;

    if (!o)
        return err_set(e, -EINVAL, "manifest", "the machine's name or command line is not UTF-8");
    json_object_set_new(o, "tsc-khz", json_integer(vm->cpu.tsc_khz));
    json_object_set_new(o, "cpuid", manifest_cpuid(&vm->cpu.cpuid));
    json_object_set_new(o, "msrs", manifest_msrs(&vm->cpu.msrs));
    json_object_set_new(o, "msrs-left-out", manifest_msrs(&vm->cpu.msrs_left_out));
    json_object_set_new(o, "devices", manifest_devices(c));
    json_object_set_new(o, "disks", manifest_disks(vm->backends));
    text = json_dumps(o, JSON_COMPACT);
    json_decref(o);
    if (!text)
        return err_set(e, -ENOMEM, "manifest", "no memory for the manifest");
    rc = buf_append(out, text, strlen(text));
    free(text);
    return rc != 0 ? err_set_errno(e, rc, "manifest", "cannot hold the manifest") : 0;
}

/* ---- reading ---- */

static uint32_t manifest_name(struct jsonx *x, json_t *o, const char *key, const char *const *names,
                              size_t n)
{
    char text[32];

    jsonx_string(x, o, key, text, sizeof(text));
    for (size_t i = 0; i < n; i++)
        if (!strcmp(names[i], text))
            return (uint32_t)i;
    if (x->rc == 0)
        x->rc = err_set(x->e, -ENOTSUP, x->stage, "this monitor knows no device %s '%s'", key,
                        text);
    return 0;
}

static void manifest_read_cpuid(struct jsonx *x, json_t *o, struct x86_cpuid *out)
{
    json_t *a = jsonx_array(x, o, "cpuid", X86_CPUID_MAX);

    for (size_t i = 0; a && x->rc == 0 && i < json_array_size(a); i++) {
        struct x86_cpuid_entry *n = &out->entries[i];
        uint32_t v[7] = {0};

        jsonx_u32s(x, json_array_get(a, i), v, 7, "cpuid");
        *n = (struct x86_cpuid_entry){.function = v[0], .index = v[1], .flags = v[2], .eax = v[3],
                                      .ebx = v[4], .ecx = v[5], .edx = v[6]};
        out->n++;
    }
}

static void manifest_read_msrs(struct jsonx *x, json_t *o, const char *key,
                               struct x86_msr_list *out)
{
    json_t *a = jsonx_array(x, o, key, X86_MSRS_MAX);

    if (!a)
        return;
    out->n = (uint32_t)json_array_size(a);
    jsonx_u32s(x, a, out->index, out->n, key);
}

static void manifest_read_mac(struct jsonx *x, json_t *o, struct device_config *d)
{
    unsigned m[6];
    char text[18];

    jsonx_string(x, o, "mac", text, sizeof(text));
    if (x->rc != 0 || !text[0])
        return;
    if (sscanf(text, "%2x:%2x:%2x:%2x:%2x:%2x", &m[0], &m[1], &m[2], &m[3], &m[4], &m[5]) != 6) {
        x->rc = err_set(x->e, -EPROTO, x->stage, "'mac' is '%s', not six hexadecimal bytes", text);
        return;
    }
    for (int i = 0; i < 6; i++)
        d->mac[i] = (uint8_t)m[i];
    d->mac_set = true;
}

static void manifest_read_device(struct jsonx *x, json_t *o, struct device_config *d)
{
    d->kind = (enum device_kind)manifest_name(x, o, "kind", NAMES(kind_names));
    d->transport = (enum device_transport)manifest_name(x, o, "transport", NAMES(transport_names));
    jsonx_string(x, o, "id", d->id, sizeof(d->id));
    jsonx_string(x, o, "backend", d->backend, sizeof(d->backend));
    d->slot = (int)jsonx_uint(x, o, "slot", 1024) - 1;
    manifest_read_mac(x, o, d);
    jsonx_string(x, o, "serial", d->serial, sizeof(d->serial));
}

static void manifest_read_lists(struct jsonx *x, json_t *o, struct manifest *m)
{
    json_t *a = jsonx_array(x, o, "devices", MACHINE_DEVICES_MAX);

    for (size_t i = 0; a && x->rc == 0 && i < json_array_size(a); i++)
        manifest_read_device(x, json_array_get(a, i), &m->config.devices[m->config.ndevices++]);
    a = x->rc == 0 ? jsonx_array(x, o, "disks", MACHINE_DRIVES_MAX) : NULL;
    for (size_t i = 0; a && x->rc == 0 && i < json_array_size(a); i++) {
        struct manifest_disk *d = &m->disks[m->ndisks++];

        jsonx_string(x, json_array_get(a, i), "id", d->id, sizeof(d->id));
        d->size = jsonx_uint(x, json_array_get(a, i), "size", INT64_MAX);
        d->readonly = jsonx_bool(x, json_array_get(a, i), "readonly");
    }
}

static void manifest_read_head(struct jsonx *x, json_t *o)
{
    uint64_t version = jsonx_uint(x, o, "manifest", INT32_MAX);
    char arch[16];

    jsonx_string(x, o, "arch", arch, sizeof(arch));
    if (x->rc == 0 && version != MANIFEST_VERSION)
        x->rc = err_set(x->e, -ENOTSUP, x->stage,
                        "the source writes manifest version %llu, this monitor reads %d",
                        (unsigned long long)version, MANIFEST_VERSION);
    if (x->rc == 0 && strcmp(arch, MANIFEST_ARCH) != 0)
        x->rc = err_set(x->e, -ENOTSUP, x->stage,
                        "the machine is of architecture %s, this host runs %s", arch, MANIFEST_ARCH);
}

static void manifest_read(struct jsonx *x, json_t *o, struct manifest *m)
{
    struct machine_config *c = &m->config;

    manifest_read_head(x, o);
    jsonx_string(x, o, "machine", c->machine, sizeof(c->machine));
    jsonx_string(x, o, "name", c->name, sizeof(c->name));
    jsonx_string(x, o, "uuid", c->uuid, sizeof(c->uuid));
    jsonx_string(x, o, "cpu", c->cpu.model, sizeof(c->cpu.model));
    jsonx_string(x, o, "append", c->append, sizeof(c->append));
    c->ram_size = jsonx_uint(x, o, "ram", MACHINE_RAM_MAX);
    c->vcpus = (uint32_t)jsonx_uint(x, o, "vcpus", MACHINE_VCPUS_MAX);
    m->kernel_size = jsonx_uint(x, o, "kernel-size", MANIFEST_BOOT_MAX);
    m->initrd_size = jsonx_uint(x, o, "initrd-size", MANIFEST_BOOT_MAX);
    m->cpu.tsc_khz = (uint32_t)jsonx_uint(x, o, "tsc-khz", UINT32_MAX);
    manifest_read_cpuid(x, o, &m->cpu.cpuid);
    manifest_read_msrs(x, o, "msrs", &m->cpu.msrs);
    manifest_read_msrs(x, o, "msrs-left-out", &m->cpu.msrs_left_out);
    manifest_read_lists(x, o, m);
}

int manifest_parse(const void *data, size_t len, struct manifest *out, struct err *e)
{
    struct jsonx x = {.stage = "manifest", .e = e};
    json_error_t je;
    json_t *o = json_loadb(data, len, JSON_REJECT_DUPLICATES, &je);

    memset(out, 0, sizeof(*out));
    if (!json_is_object(o)) {
        json_decref(o);
        return err_set(e, -EPROTO, "manifest", "the manifest is not a JSON object: %s", je.text);
    }
    manifest_read(&x, o, out);
    json_decref(o);
    return x.rc;
}
