#include "cpu.h"

void cpu_event(struct cpu *c, struct event e)
{
    uint32_t head = c->event_head;

    if (head - __atomic_load_n(&c->event_tail, __ATOMIC_ACQUIRE) == CPU_EVENTS) {
        c->events_dropped++;
        return;
    }
    c->event[head % CPU_EVENTS] = e;
    __atomic_store_n(&c->event_head, head + 1, __ATOMIC_RELEASE);
}

bool cpu_next_event(struct cpu *c, struct event *e)
{
    uint32_t tail = c->event_tail;

    if (tail == __atomic_load_n(&c->event_head, __ATOMIC_ACQUIRE))
        return false;
    *e = c->event[tail % CPU_EVENTS];
    __atomic_store_n(&c->event_tail, tail + 1, __ATOMIC_RELEASE);
    return true;
}

struct event cpu_death(const struct cpu *c)
{
    return (struct event){
        .kind = EVENT_DEAD,
        .where = c->fault.rip,
        .want = c->fault.cr2,
        .got = c->fault.error,
    };
}
