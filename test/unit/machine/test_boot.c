/* The boot protocols, with synthetic kernels: where things are put, what registers say, and what is
 * said of images that cannot be. */
#include "rig.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "images.h"

#define RAM (128ULL << 20)

struct fixture {
    struct rig rig;
    struct image_bytes image;
    struct boot_entry entry;
    struct err e;
};

static int setup(void **state)
{
    static struct fixture f;

    memset(&f, 0, sizeof(f));
    rig_init(&f.rig, "q35", RAM);
    strcpy(f.rig.config.append, "console=ttyS0 quiet");
    strcpy(f.rig.config.kernel, "/the/kernel");
    strcpy(f.rig.config.initrd, "/the/initrd");
    rig_board(&f.rig);
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    rig_fini(&((struct fixture *)*state)->rig);
    return 0;
}

static int boot(struct fixture *f)
{
    if (f->rig.back.kernel_fd >= 0)
        close(f->rig.back.kernel_fd);
    f->rig.back.kernel_fd = rig_file(f->image.data, f->image.len);
    memset(&f->entry, 0xa5, sizeof(f->entry));
    memset(&f->e, 0, sizeof(f->e));
    return board_boot(f->rig.board, &f->entry, &f->e);
}

static void boots(struct fixture *f)
{
    if (boot(f))
        fail_msg("%s", f->e.text);
}

/* Refused, and the text names the file and the reason. */
static void refuses(struct fixture *f, const char *reason)
{
    int ret = boot(f);

    if (ret >= 0 || !strstr(f->e.text, reason) || !strstr(f->e.text, "/the/kernel"))
        fail_msg("%d '%s' does not say '%s'", ret, f->e.text, reason);
}

static void give_initrd(struct fixture *f, size_t len)
{
    uint8_t *bytes = malloc(len);

    for (size_t i = 0; i < len; i++)
        bytes[i] = (uint8_t)(i * 7);
    f->rig.back.initrd_fd = rig_file(bytes, len);
    free(bytes);
}

static void check_initrd(struct fixture *f, uint64_t gpa, size_t len)
{
    const uint8_t *p = guest_mem_ptr(f->rig.mem, gpa, len);

    assert_non_null(p);
    assert_int_equal(gpa % 4096, 0);
    for (size_t i = 0; i < len; i++)
        assert_int_equal(p[i], (uint8_t)(i * 7));
}

static void check_string(struct fixture *f, uint64_t gpa, const char *s)
{
    const char *p = guest_mem_ptr(f->rig.mem, gpa, strlen(s) + 1);

    assert_non_null(p);
    assert_string_equal(p, s);
}

/* Follows the page tables: gpa of a virtual address. */
static uint64_t walk(struct fixture *f, uint64_t va)
{
    uint64_t table = f->entry.sregs.cr3, entry = 0;

    for (int shift = 39; shift >= 21; shift -= 9) {
        entry = rig_u64(&f->rig, table + (va >> shift & 511) * 8);
        assert_int_equal(entry & 3, 3);
        table = entry & 0xffffffffff000;
    }
    assert_int_equal(entry & 0x80, 0x80);
    return table | (va & 0x1fffff);
}

static void check_long_mode(struct fixture *f, uint64_t rip)
{
    const struct x86_sregs *s = &f->entry.sregs;

    assert_int_equal(s->cr0 & 0x80000001, 0x80000001);
    assert_int_equal(s->cr4 & 0x20, 0x20);
    assert_int_equal(s->efer, 0x500);
    assert_int_equal(s->cs.selector, 0x10);
    assert_int_equal(s->cs.l, 1);
    assert_int_equal(s->cs.db, 0);
    assert_int_equal(s->ds.selector, 0x18);
    assert_int_equal(s->ss.selector, 0x18);
    assert_int_equal(rig_u64(&f->rig, s->gdt.base + 0x10), 0x00af9b000000ffff);
    assert_int_equal(rig_u64(&f->rig, s->gdt.base + 0x18), 0x00cf93000000ffff);
    assert_int_equal(f->entry.regs.rip, rip);
    assert_int_equal(f->entry.regs.rflags, 2); /* interrupts off */
    assert_int_equal(walk(f, 0), 0);
    assert_int_equal(walk(f, 0x1234567), 0x1234567);
    assert_int_equal(walk(f, 0xfffff000), 0xfffff000);
}

/* boot_params (Documentation/arch/x86/zero-page.rst) by offset. */
static void check_params(struct fixture *f)
{
    uint64_t bp = f->entry.regs.rsi, ram = 0;
    uint8_t n;

    assert_int_equal(rig_u32(&f->rig, bp + 0x202), 0x53726448);
    check_string(f, rig_u32(&f->rig, bp + 0x228), "console=ttyS0 quiet");
    assert_int_equal(rig_u64(&f->rig, bp + 0x070), 0xe0000);
    assert_memory_equal(guest_mem_ptr(f->rig.mem, 0xe0000, 8), "RSD PTR ", 8);
    guest_mem_read(f->rig.mem, bp + 0x1e8, &n, 1);
    assert_in_range(n, 4, 16);
    for (uint32_t i = 0; i < n; i++) {
        uint64_t base = rig_u64(&f->rig, bp + 0x2d0 + 20 * i);
        uint64_t size = rig_u64(&f->rig, bp + 0x2d8 + 20 * i);

        if (rig_u32(&f->rig, bp + 0x2e0 + 20 * i) != 1)
            continue;
        assert_non_null(guest_mem_ptr(f->rig.mem, base, size));
        assert_true(base + size <= 0x9fc00 || base >= 0x100000);
        ram += size;
    }
    assert_int_equal(ram, RAM - 0x100000 + 0x9fc00);
}

static void bzimage(void **state)
{
    struct fixture *f = *state;
    uint64_t bp;
    uint8_t c;

    image_bzimage(&f->image);
    give_initrd(f, 10000);
    boots(f);
    check_long_mode(f, 0x1000200);
    check_params(f);
    bp = f->entry.regs.rsi;
    assert_int_equal(rig_u32(&f->rig, 0x1000000), 0x90909090);
    assert_int_equal(rig_u32(&f->rig, 0x1000ffc), 0x90909090);
    assert_int_equal(rig_u32(&f->rig, bp + 0x260), 0x800000); /* the header was copied */
    guest_mem_read(f->rig.mem, bp + 0x210, &c, 1);
    assert_int_equal(c, 0xff); /* type of loader */
    assert_int_equal(rig_u32(&f->rig, bp + 0x21c), 10000);
    check_initrd(f, rig_u32(&f->rig, bp + 0x218), 10000);
    assert_int_equal(rig_u32(&f->rig, bp + 0x218), RAM - 12288); /* as high as it may be */
}

static void bzimage_limits(void **state)
{
    struct fixture *f = *state;

    image_bzimage(&f->image);
    put32(&f->image, 0x22c, 0x4ffffff); /* initrd below 80 MiB */
    give_initrd(f, 4096);
    boots(f);
    assert_int_equal(rig_u32(&f->rig, f->entry.regs.rsi + 0x218), 0x4fff000);
    put32(&f->image, 0x22c, 0x17fffff); /* where the kernel is */
    assert_int_equal(boot(f), -EFBIG);
    assert_non_null(strstr(f->e.text, "/the/initrd"));
    put32(&f->image, 0x22c, 0);
    assert_int_equal(boot(f), -EFBIG);
    put32(&f->image, 0x22c, 0xffffffff);
    put32(&f->image, 0x238, 5); /* a short command line */
    assert_int_equal(boot(f), -E2BIG);
    assert_non_null(strstr(f->e.text, "-append"));
}

static void bzimages_that_cannot_be(void **state)
{
    struct fixture *f = *state;

    image_bzimage(&f->image);
    f->image.len = 1024;
    refuses(f, "cut short");
    image_bzimage(&f->image);
    f->image.len = 1024 + 0x200;
    refuses(f, "cut short");
    image_bzimage(&f->image);
    f->image.len = 0x250; /* in the header */
    refuses(f, "setup header");
    image_bzimage(&f->image);
    f->image.data[0x1f1] = 255;
    refuses(f, "255 real-mode sectors");
    image_bzimage(&f->image);
    f->image.data[0x1f1] = 0; /* means 4 */
    boots(f);
    image_bzimage(&f->image);
    put16(&f->image, 0x206, 0x020a);
    refuses(f, "2.10");
    image_bzimage(&f->image);
    put16(&f->image, 0x236, 0);
    refuses(f, "64-bit entry");
    image_bzimage(&f->image);
    f->image.data[0x211] = 0;
    refuses(f, "zImage");
    image_bzimage(&f->image);
    put64(&f->image, 0x258, 0x1000);
    refuses(f, "0x1000");
    image_bzimage(&f->image);
    put64(&f->image, 0x258, UINT64_MAX);
    refuses(f, "4 GiB");
    image_bzimage(&f->image);
    put32(&f->image, 0x260, 0x78000000);
    refuses(f, "-m");
    image_bzimage(&f->image);
    f->image.data[0x201] = 0; /* a header without anything */
    refuses(f, "64-bit entry");
}

static void elf_by_pvh(void **state)
{
    struct fixture *f = *state;
    const struct x86_sregs *s = &f->entry.sregs;
    uint64_t info, map, modules;
    uint32_t n;

    image_elf(&f->image, 1);
    give_initrd(f, 5000);
    boots(f);
    assert_int_equal(f->entry.regs.rip, ELF_PVH);
    assert_int_equal(s->cr0 & 0x80000001, 1); /* protected mode, no paging */
    assert_int_equal(s->cr4, 0);
    assert_int_equal(s->efer, 0);
    assert_int_equal(s->cs.db, 1);
    assert_int_equal(s->cs.limit, 0xffffffff);
    assert_int_equal(s->ds.limit, 0xffffffff);
    assert_int_equal(f->entry.regs.rflags, 2);
    assert_int_equal(rig_u32(&f->rig, ELF_PADDR), 0xcccccccc);

    info = f->entry.regs.rbx;
    assert_int_equal(rig_u32(&f->rig, info), 0x336ec578);
    assert_int_equal(rig_u32(&f->rig, info + 4), 1);
    assert_int_equal(rig_u32(&f->rig, info + 12), 1);
    modules = rig_u64(&f->rig, info + 16);
    assert_int_equal(rig_u64(&f->rig, modules + 8), 5000);
    check_initrd(f, rig_u64(&f->rig, modules), 5000);
    check_string(f, rig_u64(&f->rig, info + 24), "console=ttyS0 quiet");
    assert_int_equal(rig_u64(&f->rig, info + 32), 0xe0000);
    map = rig_u64(&f->rig, info + 40);
    n = rig_u32(&f->rig, info + 48);
    assert_in_range(n, 4, 16);
    for (uint32_t i = 1; i < n; i++) /* sorted */
        assert_true(rig_u64(&f->rig, map + 24 * i) >=
                    rig_u64(&f->rig, map + 24 * i - 24) + rig_u64(&f->rig, map + 24 * i - 16));
}

static void elf_without_note_by_64_bit_entry(void **state)
{
    struct fixture *f = *state;

    image_elf(&f->image, 0);
    boots(f);
    check_long_mode(f, ELF_ENTRY);
    check_params(f);
    assert_int_equal(rig_u32(&f->rig, f->entry.regs.rsi + 0x21c), 0);
}

static void bss_is_cleared_at_every_boot(void **state)
{
    struct fixture *f = *state;

    image_elf(&f->image, 1);
    boots(f);
    guest_mem_write(f->rig.mem, ELF_PADDR, "overwritten", 12);
    guest_mem_write(f->rig.mem, ELF_PADDR + 1000, "left over", 10);
    boots(f);
    assert_int_equal(rig_u32(&f->rig, ELF_PADDR), 0xcccccccc);
    assert_int_equal(rig_u32(&f->rig, ELF_PADDR + 1000), 0);
}

/* RAM starts at 0 and has a hole from 2 GiB on in this machine of 128 MiB: none above. */
static void elfs_that_cannot_be(void **state)
{
    struct fixture *f = *state;

    image_elf(&f->image, 1);
    f->image.len = 60;
    refuses(f, "ELF header");
    image_elf(&f->image, 1);
    f->image.data[4] = 1;
    refuses(f, "64-bit");
    image_elf(&f->image, 1);
    f->image.data[5] = 2;
    refuses(f, "little-endian");
    image_elf(&f->image, 1);
    put16(&f->image, 18, 183);
    refuses(f, "183");
    image_elf(&f->image, 1);
    put16(&f->image, 16, 1); /* relocatable */
    refuses(f, "type 1");
    image_elf(&f->image, 1);
    put16(&f->image, 54, 32);
    refuses(f, "32");
    image_elf(&f->image, 1);
    put16(&f->image, 56, 0);
    refuses(f, "0 program headers");
    image_elf(&f->image, 1);
    put16(&f->image, 56, 0xffff);
    refuses(f, "65535");
    image_elf(&f->image, 1);
    put64(&f->image, 32, UINT64_MAX - 10);
    refuses(f, "program headers");
}

static void segments_that_cannot_be(void **state)
{
    static const struct {
        int field; /* offset in the program header */
        uint64_t value;
        const char *says;
    } cases[] = {
        {8,  UINT64_MAX,       "beyond the end" },
        {8,  0x100000,         "beyond the end" },
        {32, 0x2000,           "0x2000"         }, /* more in the file than in memory */
        {40, UINT64_MAX,       "segment 0"      },
        {40, 0x7f00000,        "-m"             }, /* up to the end of RAM and 1 MiB on */
        {24, 0x1000,           "0x1000"         }, /* below 1 MiB */
        {24, 0x100000000,      "4 GiB"          },
        {24, 0xfffff000,       "RAM"            },
        {24, UINT64_MAX - 100, "4 GiB"          },
        {0,  0,                "nothing to load"},
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        image_elf(&f->image, 1);
        if (cases[i].field == 0)
            put32(&f->image, ELF_PHDR(0), 0);
        else
            put64(&f->image, ELF_PHDR(0) + (size_t)cases[i].field, cases[i].value);
        refuses(f, cases[i].says);
    }
    image_elf(&f->image, 1);
    put64(&f->image, ELF_NOTE_AT + 36, 0x5000000);
    refuses(f, "0x5000000");
    image_elf(&f->image, 0);
    put64(&f->image, 24, 0x1ff000);
    refuses(f, "0x1ff000");
}

/* Notes that are not what they seem are passed over: the 64-bit entry is what remains. */
static void notes_that_cannot_be(void **state)
{
    struct fixture *f = *state;

    image_elf(&f->image, 1);
    put32(&f->image, ELF_NOTE_AT, UINT32_MAX);
    boots(f);
    assert_int_equal(f->entry.regs.rip, ELF_ENTRY);
    image_elf(&f->image, 1);
    put32(&f->image, ELF_NOTE_AT + 24, UINT32_MAX - 3);
    boots(f);
    assert_int_equal(f->entry.regs.rip, ELF_ENTRY);
    image_elf(&f->image, 1);
    memcpy(f->image.data + ELF_NOTE_AT + 32, "Xon", 4);
    boots(f);
    assert_int_equal(f->entry.regs.rip, ELF_ENTRY);
    image_elf(&f->image, 1);
    put64(&f->image, ELF_PHDR(1) + 8, 0x10000);
    refuses(f, "notes");
    image_elf(&f->image, 1);
    put32(&f->image, ELF_NOTE_AT + 24, 4); /* a 32-bit entry */
    boots(f);
    assert_int_equal(f->entry.regs.rip, ELF_PVH);
}

static void flat_image(void **state)
{
    struct fixture *f = *state;

    memset(f->image.data, 0x66, 8192);
    f->image.len = 8192;
    give_initrd(f, 100);
    boots(f);
    check_long_mode(f, 0x1000000);
    check_params(f);
    assert_int_equal(rig_u32(&f->rig, 0x1000000), 0x66666666);
    check_initrd(f, rig_u32(&f->rig, f->entry.regs.rsi + 0x218), 100);
}

static void what_is_no_kernel(void **state)
{
    static const struct {
        size_t at, len;
        const char *magic, *says;
    } cases[] = {
        {0,  3, "\x1f\x8b\x08",     "gzip"   },
        {0,  6,
         "\xfd"
         "7zXZ",                    "xz"     },
        {0,  4, "\x28\xb5\x2f\xfd", "zstd"   },
        {0,  2, "MZ",               "EFI"    },
        {56, 4, "ARM\x64",          "arm64"  },
        {0,  2, "#!",               "script" },
        {0,  6, "070701",           "-initrd"},
        {0,  4, "QFI\xfb",          "qcow2"  },
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        memset(f->image.data, 0, 8192);
        memcpy(f->image.data + cases[i].at, cases[i].magic, cases[i].len);
        f->image.len = 8192;
        refuses(f, cases[i].says);
    }
    f->image.data[0] = 0;
    f->image.len = 100;
    refuses(f, "too short");
}

static void no_kernel_at_all(void **state)
{
    struct fixture *f = *state;
    int pipes[2];

    assert_int_equal(board_boot(f->rig.board, &f->entry, &f->e), -EINVAL);
    assert_non_null(strstr(f->e.text, "-kernel"));
    f->image.len = 0;
    refuses(f, "empty");
    assert_int_equal(pipe(pipes), 0);
    close(f->rig.back.kernel_fd);
    f->rig.back.kernel_fd = pipes[0];
    assert_int_equal(board_boot(f->rig.board, &f->entry, &f->e), -EINVAL);
    assert_non_null(strstr(f->e.text, "regular"));
    close(pipes[1]);
}

static void an_initrd_that_does_not_fit(void **state)
{
    struct fixture *f = *state;

    image_elf(&f->image, 1);
    f->rig.back.initrd_fd = rig_file("x", 1);
    assert_int_equal(ftruncate(f->rig.back.initrd_fd, 200 << 20), 0);
    assert_int_equal(boot(f), -EFBIG);
    assert_non_null(strstr(f->e.text, "/the/initrd"));
    assert_non_null(strstr(f->e.text, "-m"));
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(bzimage),
        T(bzimage_limits),
        T(bzimages_that_cannot_be),
        T(elf_by_pvh),
        T(elf_without_note_by_64_bit_entry),
        T(bss_is_cleared_at_every_boot),
        T(elfs_that_cannot_be),
        T(segments_that_cannot_be),
        T(notes_that_cannot_be),
        T(flat_image),
        T(what_is_no_kernel),
        T(no_kernel_at_all),
        T(an_initrd_that_does_not_fit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
