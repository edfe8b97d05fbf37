/*
 * Device state from a stranger: {u8 device} and a state section.  What is taken must be served
 * without harm, and what is saved from it must be taken again.
 */
#include "fuzz.h"

#include "base/buf.h"
#include "machine.h"

static int load(struct device *d, const void *data, size_t size)
{
    struct state_section s;
    struct reader r;

    reader_init(&r, data, size);
    return state_section_next(&r, &s, NULL) ?: device_load(d, &s, &r, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct machine *m = machine_get();
    struct device *d;
    struct buf b;

    if (size < 1)
        return 0;
    d = m->devices[data[0] % MACHINE_DEVICES];
    if (load(d, data + 1, size - 1))
        return 0;
    buf_init(&b, 0);
    FUZZ_CHECK(!device_save(d, &b, NULL));
    FUZZ_CHECK(!load(d, b.data, b.len));
    buf_fini(&b);
    machine_start(m);
    machine_turn(m);
    machine_reset(m);
    return 0;
}
