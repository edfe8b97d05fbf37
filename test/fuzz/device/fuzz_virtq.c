/*
 * Rings and descriptors from a guest: {u16 size exponent and flags, u16 available index} and then
 * RAM from the descriptor table on.  Whatever is popped lies in RAM and is no longer than a chain
 * may be; a broken queue stays broken.
 */
#include "fuzz.h"

#include <errno.h>
#include <linux/virtio_ring.h>
#include <string.h>

#include "device/virtio/virtq.h"

#define RAM   (2U << 20)
#define DESC  0x1000U
#define AVAIL 0x2000U
#define USED  0x2800U

static void check_chain(const struct guest_mem *m, const struct chain *c)
{
    uint64_t out = 0, in = 0;

    FUZZ_CHECK(c->nout + c->nin <= CHAIN_MAX);
    for (uint32_t i = 0; i < c->nout + c->nin; i++) {
        const uint8_t *p = c->iov[i].iov_base;

        FUZZ_CHECK(c->iov[i].iov_len > 0);
        FUZZ_CHECK(p >= m->host && c->iov[i].iov_len <= RAM - (size_t)(p - m->host));
        FUZZ_CHECK(p == m->host + c->gpa[i]);
        *(i < c->nout ? &out : &in) += c->iov[i].iov_len;
    }
    FUZZ_CHECK(out == c->out_len && in == c->in_len);
}

static void use(struct virtq *q, struct chain *c)
{
    uint8_t bytes[256], *status;
    struct cursor cur = chain_out(c);
    uint64_t gpa;

    cursor_read(&cur, bytes, sizeof(bytes));
    FUZZ_CHECK(cursor_left(&cur) <= c->out_len);
    if (chain_cut_last(c, &status, &gpa))
        guest_mem_mark(q->mem, gpa, 1);
    cur = chain_in(c);
    cursor_write(&cur, q->mem, bytes, sizeof(bytes));
    virtq_push(q, c->head, 1);
    virtq_should_interrupt(q);
}

static struct guest_mem *memory(void)
{
    static struct guest_mem *m;
    struct guest_mem_config c = {.size = RAM, .low_max = 1ULL << 30};

    if (!m)
        FUZZ_CHECK(!guest_mem_new(&c, &m, NULL));
    memset(m->host, 0, RAM);
    return m;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct chain c;
    struct guest_mem *m = memory();
    struct virtq q;
    int ret = 0;

    if (size < 4)
        return 0;
    virtq_init(&q, m, VIRTQ_SIZE_MAX);
    q.size = (uint16_t)(1U << (data[0] % 9));
    q.event_idx = data[1] & 1;
    q.indirect = data[1] & 2;
    q.last_avail = q.seen_avail = q.used_idx = data[1] & 4 ? 65530 : 0;
    q.desc = DESC;
    q.avail = AVAIL;
    q.used = USED;
    FUZZ_CHECK(!virtq_enable(&q, NULL));
    memcpy(m->host + DESC, data + 4, size - 4 < RAM - DESC ? size - 4 : RAM - DESC);
    memcpy(m->host + AVAIL + 2, data + 2, 2);
    for (int i = 0; i < 2 * VIRTQ_SIZE_MAX; i++) {
        ret = virtq_pop(&q, &c, NULL);
        if (ret <= 0)
            break;
        check_chain(m, &c);
        use(&q, &c);
    }
    FUZZ_CHECK(ret == 0 || ret == 1 || ret == -EPROTO);
    if (ret < 0)
        FUZZ_CHECK(virtq_pop(&q, &c, NULL) == ret);
    virtq_want_kicks(&q);
    return 0;
}
