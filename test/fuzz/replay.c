/*
 * Runs a fuzzer without libFuzzer: fuzz_NAME CORPUS [MUTATIONS] gives it each file of the corpus
 * and MUTATIONS (2000) deterministic mutations of each, every one in a block of its exact size, so
 * that a sanitizer sees the first byte read past it.  The same corpus always gives the same inputs.
 * An input that crashes, or takes longer than HANG_SECONDS, is left in fuzz-crash.bin.
 */
#include "fuzz.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define MUTATIONS_DEFAULT 2000
#define INPUT_MAX         (1U << 20)
#define GROWTH_MAX        64
#define HANG_SECONDS      30
#define CRASH_FILE        "fuzz-crash.bin"

/* Present when a sanitizer is linked in; it ends the program without a signal. */
void __sanitizer_set_death_callback(void (*callback)(void)) __attribute__((weak));

struct input {
    uint8_t *data;
    size_t len;
};

/* Signal handlers have no context: what is running now. */
static struct input current;

static void save_current(void)
{
    int fd = open(CRASH_FILE, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    static const char note[] = "fuzz: the input is in " CRASH_FILE "\n";

    if (fd < 0)
        return;
    if (write(fd, current.data, current.len) == (ssize_t)current.len)
        (void)!write(STDERR_FILENO, note, sizeof(note) - 1);
    close(fd);
}

static void on_signal(int number)
{
    save_current();
    signal(number, SIG_DFL);
    raise(number);
}

static void catch_crashes(void)
{
    signal(SIGABRT, on_signal);
    signal(SIGALRM, on_signal);
    if (__sanitizer_set_death_callback) {
        __sanitizer_set_death_callback(save_current);
        return;
    }
    signal(SIGSEGV, on_signal);
    signal(SIGBUS, on_signal);
    signal(SIGFPE, on_signal);
    signal(SIGILL, on_signal);
}

static uint64_t xorshift(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static size_t below(uint64_t *state, size_t n)
{
    return n ? (size_t)(xorshift(state) % n) : 0;
}

/* Numbers that parsers get wrong: limits of the widths, and what is near them. */
static uint64_t interesting(uint64_t *rng)
{
    static const uint64_t base[] = {0,          1,          8,         64,        0x7f,
                                    0xff,       0x7fff,     0xffff,    1U << 20,  0x7fffffff,
                                    0xffffffff, 1ULL << 32, INT64_MAX, UINT64_MAX};

    return base[below(rng, sizeof(base) / sizeof(base[0]))] + below(rng, 5) - 2;
}

/* in->data has room for GROWTH_MAX more bytes than in->len had at first. */
static void mutate_once(struct input *in, size_t room, uint64_t *rng)
{
    size_t at = below(rng, in->len), width = (size_t)1 << below(rng, 4), n;
    uint64_t v;

    switch (in->len ? below(rng, 7) : 5) {
    case 0: /* a bit */
        in->data[at] ^= (uint8_t)(1U << below(rng, 8));
        break;
    case 1: /* a byte */
        in->data[at] = (uint8_t)xorshift(rng);
        break;
    case 2: /* a number of some width */
        v = interesting(rng);
        memcpy(in->data + at, &v, width < in->len - at ? width : in->len - at);
        break;
    case 3: /* a piece over another */
        n = below(rng, in->len - at) + 1;
        memmove(in->data + below(rng, in->len - n + 1), in->data + at, n);
        break;
    case 4: /* cut off */
        in->len = at;
        break;
    case 5: /* more at the end */
        n = below(rng, room - in->len + 1);
        for (size_t i = 0; i < n; i++)
            in->data[in->len++] = (uint8_t)xorshift(rng);
        break;
    default: /* a byte taken out */
        memmove(in->data + at, in->data + at + 1, in->len - at - 1);
        in->len--;
        break;
    }
}

static bool run(const uint8_t *data, size_t len)
{
    /* malloc(0) would have no end for a sanitizer to watch. */
    current.data = malloc(len ? len : 1);
    current.len = len;
    if (!current.data)
        return false;
    if (len)
        memcpy(current.data, data, len);
    alarm(HANG_SECONDS);
    LLVMFuzzerTestOneInput(current.data, len);
    alarm(0);
    free(current.data);
    return true;
}

static bool run_with_mutations(const struct input *seed, unsigned mutations, uint64_t *rng)
{
    size_t room = seed->len + GROWTH_MAX;
    struct input in = {.data = malloc(room)};
    bool ok = in.data && run(seed->data, seed->len);

    for (unsigned i = 0; ok && i < mutations; i++) {
        in.len = seed->len;
        memcpy(in.data, seed->data, seed->len);
        for (size_t n = 1 + below(rng, 4); n > 0; n--)
            mutate_once(&in, room, rng);
        ok = run(in.data, in.len);
    }
    free(in.data);
    return ok;
}

static bool read_file(const char *path, struct input *out)
{
    FILE *f = fopen(path, "rb");

    *out = (struct input){.data = malloc(INPUT_MAX)};
    if (f && out->data)
        out->len = fread(out->data, 1, INPUT_MAX, f);
    if (f && out->data && !ferror(f)) {
        fclose(f);
        return true;
    }
    if (f)
        fclose(f);
    free(out->data);
    return false;
}

static int is_input(const struct dirent *d)
{
    return d->d_name[0] != '.';
}

int main(int argc, char **argv)
{
    unsigned mutations = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : MUTATIONS_DEFAULT;
    uint64_t rng = 0x9e3779b97f4a7c15ULL;
    struct dirent **names = NULL;
    struct input seed;
    char path[4096];
    int n, done = 0;

    if (argc < 2) {
        fprintf(stderr, "usage: %s CORPUS [MUTATIONS]\n", argv[0]);
        return 2;
    }
    n = scandir(argv[1], &names, is_input, alphasort);
    catch_crashes();
    for (int i = 0; i < n; i++) {
        snprintf(path, sizeof(path), "%s/%s", argv[1], names[i]->d_name);
        free(names[i]);
        if (!read_file(path, &seed))
            continue;
        done += run_with_mutations(&seed, mutations, &rng);
        free(seed.data);
    }
    free(names);
    printf("%d of %d inputs, each with %u mutations\n", done, n < 0 ? 0 : n, mutations);
    return n > 0 && done == n ? 0 : 1; /* an empty corpus tests nothing */
}
