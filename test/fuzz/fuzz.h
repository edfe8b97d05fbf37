/* What every fuzzer defines: libFuzzer's entry point, called by libFuzzer or by replay.c. */
#ifndef GODWIT_TEST_FUZZ_H
#define GODWIT_TEST_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

/* Returns 0; anything wrong is a crash, a sanitizer's report or an abort(). */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A property the parser promises; not assert(), so that NDEBUG cannot take it away. */
#define FUZZ_CHECK(condition)                                                                      \
    do {                                                                                           \
        if (!(condition))                                                                          \
            abort();                                                                               \
    } while (0)

#endif
