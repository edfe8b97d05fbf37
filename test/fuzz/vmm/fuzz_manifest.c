/* A manifest is a stranger's JSON. */
#include "fuzz.h"

#include "vmm/manifest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct manifest m;
    struct err e = ERR_INIT;
    int rc = manifest_parse(data, size, &m, &e);

    FUZZ_CHECK(rc == 0 || (rc < 0 && e.text[0]));
    FUZZ_CHECK(m.config.ndevices <= MACHINE_DEVICES_MAX && m.ndisks <= MACHINE_DRIVES_MAX);
    FUZZ_CHECK(m.cpu.cpuid.n <= X86_CPUID_MAX && m.cpu.msrs.n <= X86_MSRS_MAX);
    return 0;
}
