/* A command line, one word a line: it is taken, and then holds only what its table allows, or it is
 * refused with a text. */
#include "fuzz.h"

#include <string.h>

#include "cmd/vmm/options.h"

#define WORDS_MAX 64

static void check_taken(const struct vmm_options *o)
{
    const struct machine_config *m = &o->machine;

    FUZZ_CHECK(m->ram_size >= MACHINE_RAM_MIN && m->ram_size <= MACHINE_RAM_MAX);
    FUZZ_CHECK(m->vcpus >= 1 && m->vcpus <= MACHINE_VCPUS_MAX);
    FUZZ_CHECK(m->kernel[0] || o->incoming);
    FUZZ_CHECK(m->ndrives <= MACHINE_DRIVES_MAX && m->nnetdevs <= MACHINE_NICS_MAX &&
               m->ndevices <= MACHINE_DEVICES_MAX && m->cpu.nfeatures <= MACHINE_FEATURES_MAX);
    for (uint32_t i = 0; i < m->ndrives; i++)
        FUZZ_CHECK(m->drives[i].id[0] && m->drives[i].file[0]);
    for (uint32_t i = 0; i < m->ndevices; i++)
        FUZZ_CHECK(m->devices[i].slot >= -1 && m->devices[i].slot < 32);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct vmm_options o;
    static struct option_warnings warnings;
    char *text = malloc(size + 1), *words[WORDS_MAX + 2] = {(char *)"godwit-vmm"};
    enum options_action action;
    struct err e = ERR_INIT;
    int n = 1, ret;

    FUZZ_CHECK(text);
    memcpy(text, data, size);
    text[size] = '\0';
    for (char *at = text; at && n <= WORDS_MAX; n++) {
        words[n] = strsep(&at, "\n");
    }
    ret = options_parse(n, words, &o, &warnings, &action, &e);
    FUZZ_CHECK(ret ? ret < 0 && e.text[0] : !e.text[0]);
    if (!ret && action == OPTIONS_RUN)
        check_taken(&o);
    free(text);
    return 0;
}
