/*
 * The machine's RAM as hvm_start_info describes it, handed out once: single pages for the witness
 * itself from the bottom, areas for its data from below or above 4 GiB. Everything is identity
 * mapped. Boot processor only, before the others start; nothing is ever given back.
 */
#ifndef WITNESS_MEMORY_H
#define WITNESS_MEMORY_H

#include <stdbool.h>
#include <stdint.h>

#define PAGE_SIZE  4096u
#define AREA_SPANS 16

/* A set of pages numbered from 0, in a few runs of guest-physical addresses. */
struct area {
    uint64_t pages;
    unsigned spans;
    struct {
        uint64_t gpa, pages;
    } span[AREA_SPANS];
};

/* What the boot protocol handed over, copied so that its memory can be used. */
struct boot {
    char cmdline[2048];
    uint64_t ram_bytes;  /* all RAM in the map */
    uint64_t high_bytes; /* of it, above 4 GiB */
};

/* NULL, or what is wrong with the hand-over. Maps what lies above 4 GiB. */
const char *memory_init(struct boot *b);

/* Consecutive pages below 4 GiB, zeroed; NULL when there are no more. */
void *memory_pages(unsigned count);

/* Takes `pages` pages, as many of `high` as there are from above 4 GiB (from the top downwards) and
 * the rest from below, or the other way round where one side is short. False when RAM is short. */
bool memory_area(struct area *a, uint64_t pages, uint64_t high);

uint64_t memory_free_pages(void);

static inline uint64_t area_gpa(const struct area *a, uint64_t page)
{
    unsigned i = 0;

    while (i + 1 < a->spans && page >= a->span[i].pages)
        page -= a->span[i++].pages;
    return a->span[i].gpa + page * PAGE_SIZE;
}

#endif
