#include "base/clock.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/time.h>
#include <time.h>
#include <cmocka.h>

static void never_goes_back(void **state)
{
    uint64_t last = clock_now_ns();

    for (int i = 0; i < 10000; i++) {
        uint64_t now = clock_now_ns();

        assert_true(now >= last);
        last = now;
    }
}

static void knows_the_wall_clock(void **state)
{
    uint64_t seconds = clock_realtime_ns() / NS_PER_S;

    assert_true(seconds >= (uint64_t)time(NULL) - 1);
    assert_true(seconds <= (uint64_t)time(NULL) + 1);
}

static void on_alarm(int number)
{
}

/* Signals every millisecond neither end the sleep early nor stretch it. */
static void sleeps_through_signals(void **state)
{
    struct sigaction sa = {.sa_handler = on_alarm}, old;
    struct itimerval every = {.it_interval.tv_usec = 1000, .it_value.tv_usec = 1000}, off = {0};
    uint64_t start, slept;

    sigaction(SIGALRM, &sa, &old);
    setitimer(ITIMER_REAL, &every, NULL);
    start = clock_now_ns();
    clock_sleep_ns(30 * NS_PER_MS);
    slept = clock_now_ns() - start;
    setitimer(ITIMER_REAL, &off, NULL);
    sigaction(SIGALRM, &old, NULL);
    assert_true(slept >= 30 * NS_PER_MS);
    assert_true(slept < 5 * NS_PER_S); /* a loaded host is slow, a restarted sleep would not end */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(never_goes_back),
        cmocka_unit_test(knows_the_wall_clock),
        cmocka_unit_test(sleeps_through_signals),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
