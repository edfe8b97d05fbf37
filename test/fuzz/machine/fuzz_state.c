/* Device state comes from a stranger.  What a device has accepted it can serve, and save again to
 * the same bytes. */
#include "fuzz.h"

#include <string.h>

#include "fixture.h"

/* The guest looks at every register there is. */
static void look(struct fixture *f)
{
    uint8_t v[8];

    for (uint32_t port = 0; port < 0x1000; port++)
        bus_read(f->board->pio, port, v, 1);
    for (uint32_t reg = 0; reg < 128; reg++) {
        bus_write(f->board->pio, 0x70, &reg, 1);
        bus_read(f->board->pio, 0x71, v, 1);
    }
    for (uint64_t at = 0; at < 32 << 15; at += 4)
        if (at % (1 << 15) < 256)
            bus_read(f->board->mmio, 0xb0000000 + at, v, 4);
}

/* Loads one section; false: the rest cannot be read. */
static bool load_section(struct fixture *f, struct reader *r)
{
    struct state_section s;
    struct device *d;
    struct buf again;
    struct err e = ERR_INIT;
    int ret;

    if (state_section_next(r, &s, &e))
        return false;
    d = board_find_device(f->board, s.name, s.instance);
    ret = d ? device_load(d, &s, r, &e) : -1;
    if (ret) {
        FUZZ_CHECK(!d || e.text[0]);
        return false;
    }
    buf_init(&again, 0);
    FUZZ_CHECK(!device_save(d, &again, &e));
    buf_fini(&again);
    return reader_left(r) > 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fixture f;
    struct reader r;

    fixture_init(&f, "q35");
    reader_init(&r, data, size);
    while (load_section(&f, &r))
        ;
    fixture_start(&f);
    look(&f);
    fixture_stop(&f);
    fixture_fini(&f);
    return 0;
}
