/*
 * The clock exchange: a UDP question of a few bytes, answered with the answerer's clocks.
 *
 * All integers are big-endian on the wire. A question carries only the magic and a sequence
 * number; the answer repeats them and adds CLOCK_MONOTONIC and CLOCK_REALTIME in nanoseconds,
 * read just before it is sent. The asker keeps its own send and receive times, so that half the
 * round trip bounds the error of the offset it computes.
 */
#ifndef LAB_EXCHANGE_H
#define LAB_EXCHANGE_H

#include <netinet/in.h>
#include <stdint.h>
#include <time.h>

#define EXCHANGE_MAGIC 0x676f6477u /* "godw" */

struct exchange {
    uint32_t magic;
    uint32_t seq;
    uint64_t monotonic_ns;
    uint64_t realtime_ns;
};

_Static_assert(sizeof(struct exchange) == 24, "the exchange is 24 bytes on the wire");

/* A clock in nanoseconds. */
int64_t exchange_now(clockid_t id);

/* Fills *addr from a dotted address and a decimal port. Returns 0 or -EINVAL. */
int exchange_address(const char *host, const char *port, struct sockaddr_in *addr);

/* Sends question number seq to addr. Returns 0 or -errno. */
int exchange_ask(int fd, const struct sockaddr_in *addr, uint32_t seq);

/*
 * Receives one answer without waiting, in host byte order, and who sent it. Returns 1 with *out
 * filled, 0 when what came is not an exchange, or -errno (-EAGAIN: nothing there).
 */
int exchange_receive(int fd, struct sockaddr_in *from, struct exchange *out);

#endif
