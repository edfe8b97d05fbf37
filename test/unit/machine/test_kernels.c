/* The loaders with real kernels: the witness, given as argument, and Debian's cloud kernel where
 * the lab has left one (~/.cache/godwit-lab or GODWIT_KERNEL); exit status 77 without. */
#include "rig.h"

#include <fcntl.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *witness_path, *linux_path;

static void boot(struct rig *r, const char *path, struct boot_entry *entry)
{
    struct err e = ERR_INIT;

    rig_init(r, "q35", 256 << 20);
    snprintf(r->config.kernel, sizeof(r->config.kernel), "%s", path);
    r->back.kernel_fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(r->back.kernel_fd >= 0);
    rig_board(r);
    if (board_boot(r->board, entry, &e))
        fail_msg("%s", e.text);
}

static void witness_is_pvh(void **state)
{
    struct boot_entry entry;
    struct rig r;

    (void)state;
    boot(&r, witness_path, &entry);
    assert_int_equal(entry.sregs.efer, 0);
    assert_int_equal(rig_u32(&r, entry.regs.rbx), 0x336ec578);
    assert_int_equal(rig_u32(&r, entry.regs.rip) & 0xffff, 0xfcfa); /* cli; cld */
    rig_fini(&r);
}

static void linux_is_a_bzimage(void **state)
{
    struct boot_entry entry;
    uint8_t head[0x270];
    uint32_t code;
    struct rig r;
    FILE *f;

    (void)state;
    boot(&r, linux_path, &entry);
    f = fopen(linux_path, "r");
    assert_non_null(f);
    assert_int_equal(fread(head, 1, sizeof(head), f), sizeof(head));
    assert_int_equal(entry.sregs.efer, 0x500);
    fseek(f, (head[0x1f1] + 1) * 512 + 0x200, SEEK_SET);
    assert_int_equal(fread(&code, 1, 4, f), 4);
    assert_int_equal(rig_u32(&r, entry.regs.rip), code);
    assert_int_equal(rig_u32(&r, entry.regs.rsi + 0x258), entry.regs.rip - 0x200);
    assert_int_equal(rig_u32(&r, entry.regs.rsi + 0x206) & 0xffff, head[0x206] | head[0x207] << 8);
    fclose(f);
    rig_fini(&r);
}

/* The newest bzImage of the lab, kept for the life of the program. */
static const char *find_linux(void)
{
    static char pattern[512];
    static glob_t found;
    const char *given = getenv("GODWIT_KERNEL"), *cache = getenv("XDG_CACHE_HOME");
    const char *home = getenv("HOME");

    if (given && *given)
        return given;
    snprintf(pattern, sizeof(pattern), "%s%s/godwit-lab/linux-image-*/boot/vmlinuz-*",
             cache && *cache ? cache
             : home          ? home
                             : "",
             cache && *cache ? "" : "/.cache");
    if (glob(pattern, 0, NULL, &found) || found.gl_pathc == 0)
        return NULL;
    return found.gl_pathv[found.gl_pathc - 1];
}

int main(int argc, char **argv)
{
    const struct CMUnitTest witness[] = {cmocka_unit_test(witness_is_pvh)};
    const struct CMUnitTest stock[] = {cmocka_unit_test(linux_is_a_bzimage)};

    if (argc == 2) {
        witness_path = argv[1];
        return cmocka_run_group_tests(witness, NULL, NULL);
    }
    linux_path = find_linux();
    if (!linux_path) {
        printf("skipped: no Linux kernel in the lab's cache (make lab fetches one)\n");
        return 77;
    }
    return cmocka_run_group_tests(stock, NULL, NULL);
}
