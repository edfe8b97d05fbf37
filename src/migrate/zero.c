#include "migrate/zero.h"

#include <isa-l/mem_routines.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "godwit/migrate.h"

/* The guest writes while this reads: a race that is meant.  A page that changes is dirty and comes
 * again, whatever was seen of it. */
#define RACES __attribute__((no_sanitize("thread")))

#if defined(__x86_64__)
/* Eight vectors between two branches: more loads at once than a test after each allows. */
#define AT_ONCE 8U

__attribute__((target("avx512f"))) RACES static bool zero_avx512(const void *page)
{
    const __m512i_u *v = page;

    for (unsigned int i = 0; i < GODWIT_PAGE_SIZE / sizeof(*v); i += AT_ONCE) {
        __m512i any = v[i];

        for (unsigned int k = 1; k < AT_ONCE; k++)
            any |= v[i + k];
        if (_mm512_test_epi64_mask(any, any))
            return false;
    }
    return true;
}

__attribute__((target("avx2"))) RACES static bool zero_avx2(const void *page)
{
    const __m256i_u *v = page;

    for (unsigned int i = 0; i < GODWIT_PAGE_SIZE / sizeof(*v); i += AT_ONCE) {
        __m256i any = v[i];

        for (unsigned int k = 1; k < AT_ONCE; k++)
            any |= v[i + k];
        if (!_mm256_testz_si256(any, any))
            return false;
    }
    return true;
}

static bool zero_rest(const void *page)
{
    if (__builtin_cpu_supports("avx512f"))
        return zero_avx512(page);
    if (__builtin_cpu_supports("avx2"))
        return zero_avx2(page);
    return !isal_zero_detect((void *)(uintptr_t)page, GODWIT_PAGE_SIZE);
}
#else
static bool zero_rest(const void *page)
{
    return !isal_zero_detect((void *)(uintptr_t)page, GODWIT_PAGE_SIZE);
}
#endif

typedef uint64_t word __attribute__((aligned(1), may_alias));

RACES bool zero_page(const void *page)
{
    const word *w = page;

    return !w[0] && !w[GODWIT_PAGE_SIZE / 16] && zero_rest(page);
}
