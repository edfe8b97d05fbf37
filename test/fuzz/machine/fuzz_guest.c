/* A guest may do anything to its devices.  The input is a board's number and then accesses of eight
 * bytes: what (bit 0 write, bit 1 memory, bits 2-3 size), where (one of the places below), offset,
 * value. */
#include "fuzz.h"

#include <string.h>

#include "base/log.h"
#include "fixture.h"

#define ACCESS 8

static const uint64_t ports[] = {0x3f8, 0x70, 0x600, 0xcf8, 0x64, 0xcf9};
static const uint64_t memory[] = {
    0xb0000000,              /* slot 0: the entropy device */
    0xb0000000 + (31 << 15), /* the bridge */
    0xc0000000,
    0xc0002000, /* where BARs are at first */
    0x400000000,
    0x400003000,
    0xfeb00000,
    0xfeb00100, /* virtio-mmio */
};

static void access(struct fixture *f, const uint8_t *in)
{
    bool write = in[0] & 1, mmio = in[0] & 2;
    uint32_t size = mmio ? 1U << (in[0] >> 2 & 3) : 1U << ((in[0] >> 2 & 3) % 3);
    uint64_t base = mmio ? memory[in[1] % (sizeof(memory) / sizeof(memory[0]))]
                         : ports[in[1] % (sizeof(ports) / sizeof(ports[0]))];
    uint64_t at = base + in[2] + (mmio ? (in[3] & 0x3f) << 8 : 0), value = 0;
    struct bus *b = mmio ? f->board->mmio : f->board->pio;

    memcpy(&value, in + 4, 4);
    value |= value << 32;
    if (write)
        bus_write(b, at, &value, size);
    else
        bus_read(b, at, &value, size);
}

static void saves(struct fixture *f)
{
    struct err e = ERR_INIT;

    for (uint32_t i = 0; i < f->board->ndevices; i++) {
        struct device *d = f->board->devices[i];
        struct state_section s;
        struct reader r;
        struct buf state;

        buf_init(&state, 0);
        FUZZ_CHECK(!device_save(d, &state, &e));
        reader_init(&r, state.data, state.len);
        /* No guest can bring a device where its own state is refused. */
        if (state.len)
            FUZZ_CHECK(!state_section_next(&r, &s, &e) && !device_load(d, &s, &r, &e));
        buf_fini(&state);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fixture f;
    uint64_t rsdp;

    log_set_level(
        LOG_LEVEL_ERROR); /* what a guest does wrong is warned of, thousands of times here */
    fixture_init(&f, size && data[0] & 1 ? "microvm" : "q35");
    FUZZ_CHECK(!f.board->ops->firmware(f.board, &rsdp, NULL));
    fixture_start(&f);
    for (size_t at = 1; at + ACCESS <= size; at += ACCESS)
        access(&f, data + at);
    fixture_stop(&f);
    saves(&f);
    board_reset(f.board);
    saves(&f);
    fixture_fini(&f);
    return 0;
}
