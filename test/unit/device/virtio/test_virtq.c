/* The split virtqueue against rings made by hand, honest and hostile. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <linux/virtio_ring.h>
#include <string.h>

#include "device/virtio/virtq.h"

#define SIZE  8
#define DESC  0x10000ULL
#define AVAIL 0x11000ULL
#define USED  0x12000ULL
#define TABLE 0x13000ULL
#define DATA  0x20000ULL
#define RAM   (2ULL << 20)

struct fixture {
    struct guest_mem *mem;
    struct virtq q;
    struct chain chain;
    struct vring_desc *desc;
    struct vring_avail *avail;
    struct vring_used *used;
    struct err e;
};

static int setup(void **state)
{
    static struct fixture f;
    struct guest_mem_config c = {.size = RAM, .low_max = 1ULL << 30};

    memset(&f, 0, sizeof(f));
    assert_int_equal(guest_mem_new(&c, &f.mem, &f.e), 0);
    virtq_init(&f.q, f.mem, 256);
    f.q.size = SIZE;
    f.q.desc = DESC;
    f.q.avail = AVAIL;
    f.q.used = USED;
    f.q.indirect = true;
    assert_int_equal(virtq_enable(&f.q, &f.e), 0);
    f.desc = guest_mem_ptr(f.mem, DESC, 4096);
    f.avail = guest_mem_ptr(f.mem, AVAIL, 4096);
    f.used = guest_mem_ptr(f.mem, USED, 4096);
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    guest_mem_free(((struct fixture *)*state)->mem);
    return 0;
}

static void put_desc(struct fixture *f, uint16_t i, uint64_t addr, uint32_t len, uint16_t flags,
                     uint16_t next)
{
    f->desc[i] = (struct vring_desc){.addr = addr, .len = len, .flags = flags, .next = next};
}

static void offer(struct fixture *f, uint16_t head)
{
    f->avail->ring[f->avail->idx % SIZE] = head;
    f->avail->idx++;
}

static int pop(struct fixture *f)
{
    return virtq_pop(&f->q, &f->chain, &f->e);
}

static void expect_broken(struct fixture *f, const char *text)
{
    assert_int_equal(pop(f), -EPROTO);
    if (!strstr(f->e.text, text))
        fail_msg("'%s' does not say '%s'", f->e.text, text);
    /* Dead: it neither takes nor gives any more. */
    assert_int_equal(pop(f), -EPROTO);
    virtq_push(&f->q, 0, 0);
    assert_int_equal(f->used->idx, 0);
}

static bool dirty(struct fixture *f, uint64_t gpa)
{
    uint64_t bit = 1ULL << (gpa / 4096 % 64), *word = &f->mem->dirty[gpa / 4096 / 64];
    bool was = *word & bit;

    *word &= ~bit;
    return was;
}

static void takes_a_chain(void **state)
{
    struct fixture *f = *state;

    put_desc(f, 3, DATA, 16, VRING_DESC_F_NEXT, 5);
    put_desc(f, 5, DATA + 0x1000, 100, VRING_DESC_F_NEXT | VRING_DESC_F_WRITE, 1);
    put_desc(f, 1, DATA + 0x2000, 1, VRING_DESC_F_WRITE, 0);
    assert_int_equal(pop(f), 0);
    assert_true(virtq_empty(&f->q));
    offer(f, 3);
    assert_false(virtq_empty(&f->q));
    assert_int_equal(pop(f), 1);
    assert_int_equal(f->chain.head, 3);
    assert_int_equal(f->chain.nout, 1);
    assert_int_equal(f->chain.nin, 2);
    assert_int_equal(f->chain.out_len, 16);
    assert_int_equal(f->chain.in_len, 101);
    assert_int_equal(f->chain.gpa[1], DATA + 0x1000);
    assert_ptr_equal(f->chain.iov[1].iov_base, guest_mem_ptr(f->mem, DATA + 0x1000, 1));
    assert_int_equal(pop(f), 0);

    assert_false(dirty(f, USED));
    virtq_push(&f->q, 3, 77);
    assert_true(dirty(f, USED));
    assert_int_equal(f->used->idx, 1);
    assert_int_equal(f->used->ring[0].id, 3);
    assert_int_equal(f->used->ring[0].len, 77);
}

static void takes_an_indirect_table(void **state)
{
    struct fixture *f = *state;
    struct vring_desc *t = guest_mem_ptr(f->mem, TABLE, 4096);

    t[0] = (struct vring_desc){.addr = DATA, .len = 10, .flags = VRING_DESC_F_NEXT, .next = 2};
    t[2] = (struct vring_desc){.addr = DATA + 64, .len = 20, .flags = VRING_DESC_F_WRITE};
    put_desc(f, 0, TABLE, 3 * 16, VRING_DESC_F_INDIRECT, 0);
    offer(f, 0);
    assert_int_equal(pop(f), 1);
    assert_int_equal(f->chain.out_len, 10);
    assert_int_equal(f->chain.in_len, 20);
}

static void skips_empty_segments(void **state)
{
    struct fixture *f = *state;

    put_desc(f, 0, 0xffffffffffffULL, 0, VRING_DESC_F_NEXT, 1);
    put_desc(f, 1, DATA, 4, 0, 0);
    offer(f, 0);
    assert_int_equal(pop(f), 1);
    assert_int_equal(f->chain.nout, 1);
}

static void goes_round(void **state)
{
    struct fixture *f = *state;

    put_desc(f, 0, DATA, 4, 0, 0);
    f->avail->idx = f->q.last_avail = f->q.used_idx = f->used->idx = 65530;
    for (int i = 0; i < 20; i++) {
        offer(f, 0);
        assert_int_equal(pop(f), 1);
        virtq_push(&f->q, 0, (uint32_t)i);
        assert_int_equal(f->used->ring[(65530 + i) % SIZE].len, i);
    }
    assert_int_equal(f->used->idx, (uint16_t)(65530 + 20));
}

/* Hostile rings */

static void refuses_a_loop(void **state)
{
    struct fixture *f = *state;

    put_desc(f, 0, DATA, 4, VRING_DESC_F_NEXT, 1);
    put_desc(f, 1, DATA, 4, VRING_DESC_F_NEXT, 0);
    offer(f, 0);
    expect_broken(f, "loop");
}

static void refuses_a_loop_in_a_table(void **state)
{
    struct fixture *f = *state;
    struct vring_desc *t = guest_mem_ptr(f->mem, TABLE, 65536 * 16);

    for (uint32_t i = 0; i < 65536; i++)
        t[i] = (struct vring_desc){
            .addr = DATA, .len = 1, .flags = VRING_DESC_F_NEXT, .next = (uint16_t)(i + 1)};
    put_desc(f, 0, TABLE, 65536 * 16, VRING_DESC_F_INDIRECT, 0);
    offer(f, 0);
    expect_broken(f, "loop");
}

static void refuses_a_head_outside(void **state)
{
    offer(*state, SIZE);
    expect_broken(*state, "outside its table");
}

static void refuses_a_next_outside(void **state)
{
    put_desc(*state, 0, DATA, 4, VRING_DESC_F_NEXT, 0xffff);
    offer(*state, 0);
    expect_broken(*state, "outside its table");
}

static void refuses_buffers_outside_ram(void **state)
{
    static const struct {
        uint64_t addr;
        uint32_t len;
    } bad[] = {
        {RAM,        1         },
        {RAM - 1,    2         },
        {UINT64_MAX, 2         },
        {UINT64_MAX, 0xffffffff},
        {DATA,       0xffffffff},
        {1ULL << 63, 16        },
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        f->q.broken = false;
        f->q.last_avail = f->avail->idx;
        put_desc(f, 0, bad[i].addr, bad[i].len, 0, 0);
        offer(f, 0);
        expect_broken(f, "not in RAM");
    }
}

static void refuses_readable_after_writable(void **state)
{
    put_desc(*state, 0, DATA, 4, VRING_DESC_F_NEXT | VRING_DESC_F_WRITE, 1);
    put_desc(*state, 1, DATA, 4, 0, 0);
    offer(*state, 0);
    expect_broken(*state, "readable buffer after");
}

static void refuses_too_many_available(void **state)
{
    ((struct fixture *)*state)->avail->idx = SIZE + 1;
    expect_broken(*state, "9 buffers available in a queue of 8");
}

static void refuses_bad_indirect_tables(void **state)
{
    static const struct {
        uint64_t addr;
        uint32_t len;
        uint16_t flags;
        const char *text;
    } bad[] = {
        {TABLE,      0,          VRING_DESC_F_INDIRECT,                     "is no table"},
        {TABLE,      17,         VRING_DESC_F_INDIRECT,                     "is no table"},
        {RAM - 16,   32,         VRING_DESC_F_INDIRECT,                     "is no table"},
        {UINT64_MAX, 16,         VRING_DESC_F_INDIRECT,                     "is no table"},
        {TABLE,      0xfffffff0, VRING_DESC_F_INDIRECT,                     "is no table"},
        {TABLE,      16,         VRING_DESC_F_INDIRECT | VRING_DESC_F_NEXT, "misplaced"  },
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        f->q.broken = false;
        f->q.last_avail = f->avail->idx;
        put_desc(f, 0, bad[i].addr, bad[i].len, bad[i].flags, 0);
        offer(f, 0);
        expect_broken(f, bad[i].text);
    }
}

static void refuses_indirect_in_indirect(void **state)
{
    struct fixture *f = *state;
    struct vring_desc *t = guest_mem_ptr(f->mem, TABLE, 16);

    *t = (struct vring_desc){.addr = TABLE, .len = 16, .flags = VRING_DESC_F_INDIRECT};
    put_desc(f, 0, TABLE, 16, VRING_DESC_F_INDIRECT, 0);
    offer(f, 0);
    expect_broken(f, "misplaced");
}

static void refuses_indirect_not_negotiated(void **state)
{
    struct fixture *f = *state;

    f->q.indirect = false;
    put_desc(f, 0, TABLE, 16, VRING_DESC_F_INDIRECT, 0);
    offer(f, 0);
    expect_broken(f, "misplaced");
}

static void refuses_rings_that_are_none(void **state)
{
    struct fixture *f = *state;
    static const uint64_t bad[][3] = {
        {DESC + 8,         AVAIL,     USED    },
        {DESC,             AVAIL + 1, USED    },
        {DESC,             AVAIL,     USED + 2},
        {RAM - 64,         AVAIL,     USED    },
        {DESC,             RAM - 4,   USED    },
        {DESC,             AVAIL,     RAM - 64},
        {UINT64_MAX & ~15, AVAIL,     USED    },
    };

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        virtq_reset(&f->q);
        f->q.size = SIZE;
        f->q.desc = bad[i][0];
        f->q.avail = bad[i][1];
        f->q.used = bad[i][2];
        assert_int_equal(virtq_enable(&f->q, &f->e), -EINVAL);
        assert_false(f->q.enabled);
        assert_int_equal(pop(f), 0);
    }
    assert_false(virtq_size_ok(&f->q, 0));
    assert_false(virtq_size_ok(&f->q, 3));
    assert_false(virtq_size_ok(&f->q, 512));
    assert_true(virtq_size_ok(&f->q, 256));
}

/* Interrupts and doorbells */

static void use_one(struct fixture *f)
{
    put_desc(f, 0, DATA, 4, 0, 0);
    offer(f, 0);
    assert_int_equal(pop(f), 1);
    virtq_push(&f->q, 0, 0);
}

static void interrupts_by_flag(void **state)
{
    struct fixture *f = *state;

    use_one(f);
    assert_true(virtq_should_interrupt(&f->q));
    f->avail->flags = VRING_AVAIL_F_NO_INTERRUPT;
    use_one(f);
    assert_false(virtq_should_interrupt(&f->q));
}

static void interrupts_by_event_idx(void **state)
{
    struct fixture *f = *state;
    uint16_t *used_event = &f->avail->ring[SIZE];

    f->q.event_idx = true;
    *used_event = 2;
    use_one(f);
    assert_true(virtq_should_interrupt(&f->q)); /* the first look knows nothing: be safe */
    use_one(f);
    assert_false(virtq_should_interrupt(&f->q));
    use_one(f);
    assert_true(virtq_should_interrupt(&f->q)); /* index 2 was filled */
    use_one(f);
    assert_false(virtq_should_interrupt(&f->q));
    *used_event = 5;
    use_one(f);
    use_one(f);
    use_one(f);
    assert_true(virtq_should_interrupt(&f->q)); /* passed in a batch */
}

static void asks_for_doorbells_by_flag(void **state)
{
    struct fixture *f = *state;

    virtq_suppress_kicks(&f->q);
    assert_int_equal(f->used->flags, VRING_USED_F_NO_NOTIFY);
    assert_int_equal(pop(f), 0);
    put_desc(f, 0, DATA, 4, 0, 0);
    offer(f, 0); /* between the last look and asking: no doorbell will come for it */
    assert_true(virtq_want_kicks(&f->q));
    assert_int_equal(f->used->flags, 0);
    assert_int_equal(pop(f), 1);
    assert_int_equal(pop(f), 0);
    assert_false(virtq_want_kicks(&f->q));
}

static void asks_for_doorbells_by_event_idx(void **state)
{
    struct fixture *f = *state;
    uint16_t *avail_event = (uint16_t *)&f->used->ring[SIZE];

    f->q.event_idx = true;
    put_desc(f, 0, DATA, 4, 0, 0);
    offer(f, 0);
    offer(f, 0);
    assert_int_equal(pop(f), 1);
    assert_int_equal(pop(f), 1);
    assert_int_equal(pop(f), 0);
    assert_false(virtq_want_kicks(&f->q));
    assert_int_equal(*avail_event, 2);
    assert_true(dirty(f, USED));
    /* Two are not enough: both given back, the doorbell is wanted for a third. */
    virtq_unpop(&f->q, 2);
    assert_false(virtq_want_kicks(&f->q));
    assert_int_equal(*avail_event, 2);
    offer(f, 0);
    assert_true(virtq_want_kicks(&f->q));
    for (int i = 0; i < 3; i++)
        assert_int_equal(pop(f), 1);
    assert_int_equal(pop(f), 0);
}

/* Moving */

static void moves(void **state)
{
    struct fixture *f = *state;
    struct virtio_queue_state s;
    struct virtq other;

    f->q.event_idx = true;
    use_one(f);
    virtq_should_interrupt(&f->q);
    virtq_save(&f->q, &s);
    virtq_init(&other, f->mem, 256);
    assert_int_equal(virtq_load(&other, &s, &f->e), 0);
    assert_true(other.enabled);
    assert_int_equal(other.last_avail, 1);
    assert_int_equal(other.used_idx, 1);
    assert_true(other.signalled_valid);
    offer(f, 0);
    f->q = other;
    assert_int_equal(pop(f), 1);
    assert_int_equal(pop(f), 0);
}

static void refuses_bad_state(void **state)
{
    struct fixture *f = *state;
    struct virtio_queue_state good, s;
    struct virtq q;

    virtq_save(&f->q, &good);
#define REFUSED(change)                                                                            \
    do {                                                                                           \
        s = good;                                                                                  \
        change;                                                                                    \
        virtq_init(&q, f->mem, 256);                                                               \
        assert_true(virtq_load(&q, &s, &f->e) < 0);                                                \
    } while (0)
    REFUSED(s.size = 0);
    REFUSED(s.size = 9);
    REFUSED(s.size = 512);
    REFUSED(s.enabled = 2);
    REFUSED(s.signalled_valid = 255);
    REFUSED(s.broken = 7);
    REFUSED(s.last_avail = (uint16_t)(s.used_idx + SIZE + 1));
    REFUSED(s.last_avail = (uint16_t)(s.used_idx - 1));
    REFUSED(s.desc = RAM);
    REFUSED(s.used = UINT64_MAX & ~3ULL);
    REFUSED(s.avail = AVAIL + 1);
#undef REFUSED
    virtq_init(&q, f->mem, 256);
    assert_int_equal(virtq_load(&q, &good, &f->e), 0);
}

/* Cursors */

static void cursors_ignore_segments(void **state)
{
    struct fixture *f = *state;
    uint8_t *status, data[300], *ram = guest_mem_ptr(f->mem, DATA, 0x3000);
    struct cursor out, in;
    uint64_t gpa;

    for (uint32_t i = 0; i < 40; i++)
        ram[i] = (uint8_t)i;
    put_desc(f, 0, DATA, 3, VRING_DESC_F_NEXT, 1);
    put_desc(f, 1, DATA + 3, 37, VRING_DESC_F_NEXT, 2);
    put_desc(f, 2, DATA + 0xfff, 2, VRING_DESC_F_NEXT | VRING_DESC_F_WRITE, 3);
    put_desc(f, 3, DATA + 0x2000, 1, VRING_DESC_F_WRITE, 0);
    offer(f, 0);
    assert_int_equal(pop(f), 1);

    out = chain_out(&f->chain);
    assert_int_equal(cursor_left(&out), 40);
    assert_int_equal(cursor_read(&out, data, 16), 16);
    cursor_skip(&out, 4);
    assert_int_equal(cursor_read(&out, data + 16, 100), 20);
    for (uint32_t i = 0; i < 16; i++)
        assert_int_equal(data[i], i);
    for (uint32_t i = 0; i < 20; i++)
        assert_int_equal(data[16 + i], 20 + i);

    assert_true(chain_cut_last(&f->chain, &status, &gpa));
    assert_int_equal(gpa, DATA + 0x2000);
    in = chain_in(&f->chain);
    assert_int_equal(cursor_left(&in), 2);
    assert_int_equal(cursor_write(&in, f->mem, "xyz", 3), 2);
    assert_memory_equal(ram + 0xfff, "xy", 2);
    assert_true(dirty(f, DATA));
    assert_true(dirty(f, DATA + 0x1000));
    assert_false(dirty(f, DATA + 0x2000));
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(takes_a_chain),
        TEST(takes_an_indirect_table),
        TEST(skips_empty_segments),
        TEST(goes_round),
        TEST(refuses_a_loop),
        TEST(refuses_a_loop_in_a_table),
        TEST(refuses_a_head_outside),
        TEST(refuses_a_next_outside),
        TEST(refuses_buffers_outside_ram),
        TEST(refuses_readable_after_writable),
        TEST(refuses_too_many_available),
        TEST(refuses_bad_indirect_tables),
        TEST(refuses_indirect_in_indirect),
        TEST(refuses_indirect_not_negotiated),
        TEST(refuses_rings_that_are_none),
        TEST(interrupts_by_flag),
        TEST(interrupts_by_event_idx),
        TEST(asks_for_doorbells_by_flag),
        TEST(asks_for_doorbells_by_event_idx),
        TEST(moves),
        TEST(refuses_bad_state),
        TEST(cursors_ignore_segments),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
