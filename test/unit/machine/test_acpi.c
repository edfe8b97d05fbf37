/* ACPI tables: their sums and links, and what Intel's own compiler says of them (iasl takes each
 * one apart and, for the DSDT, puts it together again).  Without iasl those tests are skipped by
 * name. */
#include "rig.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define TABLES_MAX 8

struct table {
    char signature[5];
    uint8_t *data;
    uint32_t len;
};

struct fixture {
    struct rig rig;
    uint32_t n;
    struct table tables[TABLES_MAX];
};

static void take(struct fixture *f, uint64_t at)
{
    struct table *t = &f->tables[f->n++];

    assert_true(f->n <= TABLES_MAX);
    t->len = rig_u32(&f->rig, at + 4);
    t->data = guest_mem_ptr(f->rig.mem, at, t->len);
    assert_non_null(t->data);
    memcpy(t->signature, t->data, 4);
}

static uint64_t u64(const struct table *t, size_t at)
{
    uint64_t v;

    memcpy(&v, t->data + at, sizeof(v));
    return v;
}

static struct table *table(struct fixture *f, const char *signature)
{
    for (uint32_t i = 0; i < f->n; i++)
        if (!strcmp(f->tables[i].signature, signature))
            return &f->tables[i];
    return NULL;
}

static void init(struct fixture *f, const char *machine, uint32_t vcpus, uint32_t devices)
{
    struct err e = ERR_INIT;
    uint64_t rsdp;

    memset(f, 0, sizeof(*f));
    rig_init(&f->rig, machine, 128 << 20);
    f->rig.config.vcpus = vcpus;
    for (uint32_t i = 0; i < devices; i++)
        rig_add_rng(&f->rig, "", -1);
    rig_board(&f->rig);
    if (f->rig.board->ops->firmware(f->rig.board, &rsdp, &e))
        fail_msg("%s", e.text);
    take(f, rig_u64(&f->rig, rsdp + 24)); /* XSDT */
    for (uint32_t at = 36; at < f->tables[0].len; at += 8)
        take(f, u64(&f->tables[0], at));
    take(f, u64(table(f, "FACP"), 140)); /* DSDT */
}

static uint8_t sum(const uint8_t *p, uint32_t len)
{
    uint8_t s = 0;

    while (len--)
        s += *p++;
    return s;
}

static void sums_and_links(void **state)
{
    static const char *const names[] = {"q35", "microvm"};

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct fixture f;
        uint32_t facs;

        init(&f, names[i], 3, 2);
        assert_int_equal(sum(guest_mem_ptr(f.rig.mem, 0xe0000, 36), 20), 0);
        assert_int_equal(sum(guest_mem_ptr(f.rig.mem, 0xe0000, 36), 36), 0);
        for (uint32_t t = 0; t < f.n; t++)
            assert_int_equal(sum(f.tables[t].data, f.tables[t].len), 0);
        memcpy(&facs, table(&f, "FACP")->data + 36, 4);
        assert_int_equal(facs % 64, 0);
        assert_memory_equal(guest_mem_ptr(f.rig.mem, facs, 64), "FACS", 4);
        assert_int_equal(table(&f, "MCFG") != NULL, i == 0);
        rig_fini(&f.rig);
    }
}

static void fixed_hardware_is_where_the_devices_are(void **state)
{
    struct fixture f;
    const uint8_t *facp;

    (void)state;
    init(&f, "q35", 1, 0);
    facp = table(&f, "FACP")->data;
    assert_int_equal(facp[46], 9);                  /* SCI */
    assert_memory_equal(facp + 56, "\x00\x06", 2);  /* PM1a events */
    assert_memory_equal(facp + 64, "\x04\x06", 2);  /* PM1a control */
    assert_memory_equal(facp + 76, "\x08\x06", 2);  /* timer */
    assert_memory_equal(facp + 120, "\xf9\x0c", 2); /* reset register */
    assert_int_equal(facp[128], 6);
    assert_int_equal(facp[112] & 0x10, 0); /* the power button is fixed hardware */
    assert_int_equal(facp[114] & 0x10, 0); /* not hardware-reduced */
    bus_write(f.rig.board->pio, 0x604, "\x00\x20", 2);
    assert_int_equal(f.rig.poweroffs, 1);
    bus_write(f.rig.board->pio, 0xcf9, facp + 128, 1);
    assert_int_equal(f.rig.resets, 1);
    rig_fini(&f.rig);
}

static void a_processor_each(void **state)
{
    static const uint32_t counts[] = {1, 2, 254};

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct fixture f;
        struct table *apic;
        uint32_t n = 0;

        init(&f, "microvm", counts[i], 0);
        apic = table(&f, "APIC");
        for (uint32_t at = 44; at < apic->len; at += apic->data[at + 1]) {
            assert_true(apic->data[at + 1] > 1);
            if (apic->data[at] == 0) {
                assert_int_equal(apic->data[at + 3], n);
                assert_int_equal(apic->data[at + 4], 1);
                n++;
            }
        }
        assert_int_equal(n, counts[i]);
        rig_fini(&f.rig);
    }
}

/* iasl */

static bool have_iasl(void)
{
    return system("iasl -v >/dev/null 2>&1") == 0;
}

static void write_file(const char *dir, const struct table *t)
{
    char path[256];
    FILE *out;

    snprintf(path, sizeof(path), "%s/%s.aml", dir, t->signature);
    out = fopen(path, "w");
    assert_non_null(out);
    assert_int_equal(fwrite(t->data, 1, t->len, out), t->len);
    fclose(out);
}

static void run(const char *dir, const char *fmt, const char *signature)
{
    char command[512];
    int n = snprintf(command, sizeof(command), "cd %s && ", dir);

    snprintf(command + n, sizeof(command) - (size_t)n, fmt, signature);
    if (system(command) != 0)
        fail_msg("failed: %s (see the log there)", command);
}

/* iasl calls an unreadable table a warning and still ends well: its words count, too. */
static void disassemble(const char *dir, const struct table *t)
{
    write_file(dir, t);
    run(dir, "iasl -d %s.aml >log 2>&1", t->signature);
    run(dir, "! grep -iE 'error|invalid|unknown|could not|warning' log", "");
    run(dir, "! grep -iE '\\*\\*\\*\\*|invalid|unknown|incorrect' %s.dsl", t->signature);
}

static void judge(const char *machine, uint32_t vcpus, uint32_t devices)
{
    char dir[] = "/tmp/godwit-acpi-XXXXXX", command[64];
    struct fixture f;

    assert_non_null(mkdtemp(dir));
    init(&f, machine, vcpus, devices);
    for (uint32_t i = 0; i < f.n; i++)
        disassemble(dir, &f.tables[i]);
    run(dir, "mv %s.aml first.aml", "DSDT");
    run(dir, "iasl -ve -oa -p second DSDT.dsl >log 2>&1", "");
    run(dir, "grep -q ' 0 Errors' log", "");
    run(dir, "cmp --ignore-initial=36 first.aml second.aml", "");
    snprintf(command, sizeof(command), "rm -r %s", dir);
    assert_int_equal(system(command), 0);
    rig_fini(&f.rig);
}

static void iasl_q35(void **state)
{
    (void)state;
    judge("q35", 1, 0);
    judge("q35", 254, 31);
}

static void iasl_microvm(void **state)
{
    (void)state;
    judge("microvm", 1, 0);
    judge("microvm", 254, 16);
}

/* With the word "iasl": the judge's part, exit status 77 when there is none. */
int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sums_and_links),
        cmocka_unit_test(fixed_hardware_is_where_the_devices_are),
        cmocka_unit_test(a_processor_each),
    };
    const struct CMUnitTest judged[] = {
        cmocka_unit_test(iasl_q35),
        cmocka_unit_test(iasl_microvm),
    };

    if (argc < 2 || strcmp(argv[1], "iasl") != 0)
        return cmocka_run_group_tests(tests, NULL, NULL);
    if (!have_iasl()) {
        printf("skipped: no iasl here (Debian package acpica-tools)\n");
        return 77;
    }
    return cmocka_run_group_tests(judged, NULL, NULL);
}
