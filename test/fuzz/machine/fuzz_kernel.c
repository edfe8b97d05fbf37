/* A kernel file is whatever its name says it is not. */
#include "fuzz.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "machine/boot.h"

#define RAM (32ULL << 20)

static int file_of(const uint8_t *data, size_t size)
{
    int fd = memfd_create("kernel", MFD_CLOEXEC);

    FUZZ_CHECK(fd >= 0 && write(fd, data, size) == (ssize_t)size);
    return fd;
}

static struct guest_mem *memory(void)
{
    static struct guest_mem *mem;
    struct guest_mem_config c = {.size = RAM, .low_max = 2ULL << 30};

    if (!mem)
        FUZZ_CHECK(!guest_mem_new(&c, &mem, NULL));
    return mem;
}

static void boot(const struct boot_request *r)
{
    struct boot_entry entry;
    struct err e = ERR_INIT;
    int ret = boot_load(r, &entry, &e);

    FUZZ_CHECK(ret == 0 || (ret < 0 && e.text[0]));
    if (ret)
        return;
    FUZZ_CHECK(guest_mem_ptr(r->mem, entry.regs.rip, 1));
    FUZZ_CHECK(entry.regs.rip >= MEMORY_HIGH_START);
    FUZZ_CHECK(guest_mem_ptr(r->mem, entry.regs.rsi, 1));
    FUZZ_CHECK(guest_mem_ptr(r->mem, entry.regs.rbx, 1));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct memory_map map;
    struct boot_file kernel, initrd;
    struct boot_request r = {.mem = memory(), .cmdline = "console=ttyS0", .map = &map};
    int kernel_fd = file_of(data, size), initrd_fd = file_of((const uint8_t *)"initrd", 6);

    memory_map_init(&map, r.mem);
    FUZZ_CHECK(!boot_file_init(&initrd, initrd_fd, "initrd", BOOT_INITRD_MAX, NULL));
    if (!boot_file_init(&kernel, kernel_fd, "kernel", BOOT_KERNEL_MAX, NULL)) {
        r.kernel = &kernel;
        boot(&r);
        r.initrd = &initrd;
        boot(&r);
    }
    close(kernel_fd);
    close(initrd_fd);
    return 0;
}
