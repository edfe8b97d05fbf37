/*
 * Theory of operation.  The clock does not tick: the time is computed when it is looked at, and the
 * flags of register C are brought up to date from `seen_ns` to now (rtc_sync).  Only when the guest
 * has enabled an interrupt does a timer (a timerfd: any vCPU thread may set it) run to the next
 * moment at which that interrupt is due.
 */
#include "device/rtc.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "state/rtc_state.h"

#define STAGE "device"

#define PORT 0x70

/* Registers; the alarm's lie between the time's. */
enum {
    SECONDS,
    SECONDS_ALARM,
    MINUTES,
    MINUTES_ALARM,
    HOURS,
    HOURS_ALARM,
    WEEKDAY,
    DAY,
    MONTH,
    YEAR,
    REG_A,
    REG_B,
    REG_C,
    REG_D,
    CENTURY = 0x32,
};

#define A_UIP     0x80
#define A_DEFAULT 0x26 /* 32.768 kHz, 1024 Hz */
#define A_RATE    0x0f
#define B_SET     0x80
#define B_PIE     0x40
#define B_AIE     0x20
#define B_UIE     0x10
#define B_ENABLES (B_PIE | B_AIE | B_UIE) /* the flags of C are at the same places */
#define B_BINARY  0x04
#define B_24H     0x02
#define C_IRQF    0x80
#define D_VALID   0x80
#define PM        0x80   /* in the hours, in 12-hour mode */
#define ANY       0xc0   /* alarm: matches every value */
#define UIP_NS    244000 /* update in progress is seen so long before the update */
#define DAY_S     86400
#define EPOCH_S   2208988800ULL /* from 1900, where guest time starts, to 1970: whole days */

/* CMOS memory sizes, as PC firmware leaves them for those who ask. */
#define CMOS_BASE_KB   0x15
#define CMOS_EXT_KB    0x17 /* from 1 MiB, and again at 0x30 */
#define CMOS_ABOVE_16M 0x34 /* in 64 KiB */
#define CMOS_ABOVE_4G  0x5b /* in 64 KiB, 24 bits */

struct rtc {
    struct device dev; /* first */
    struct rtc_config config;
    int timer_fd;
    struct loop_fd *watch;
    bool running;
    struct rtc_state s;
};

static bool frozen(const struct rtc *r)
{
    return r->s.cmos[REG_B] & B_SET;
}

static uint64_t host_now(void)
{
    return clock_realtime_ns() + EPOCH_S * NS_PER_S;
}

/* The guest's time, nanoseconds since 1900: on the way to a date it may set any century. */
static uint64_t guest_now(const struct rtc *r)
{
    return frozen(r) ? r->s.frozen_ns : host_now() + r->s.offset_ns;
}

static void set_guest_now(struct rtc *r, uint64_t ns)
{
    if (frozen(r))
        r->s.frozen_ns = ns;
    else
        r->s.offset_ns = ns - host_now();
    r->s.seen_ns = ns;
}

static uint8_t encode(const struct rtc *r, int v)
{
    return (uint8_t)(r->s.cmos[REG_B] & B_BINARY ? v : v / 10 << 4 | v % 10);
}

static int decode(const struct rtc *r, uint8_t v)
{
    return r->s.cmos[REG_B] & B_BINARY ? v : (v >> 4) * 10 + (v & 0x0f);
}

static uint8_t encode_hours(const struct rtc *r, int h)
{
    if (r->s.cmos[REG_B] & B_24H)
        return encode(r, h);
    return encode(r, h % 12 ? h % 12 : 12) | (h >= 12 ? PM : 0);
}

static int decode_hours(const struct rtc *r, uint8_t v)
{
    if (r->s.cmos[REG_B] & B_24H)
        return decode(r, v);
    return decode(r, v & ~PM) % 12 + (v & PM ? 12 : 0);
}

/* Flags */

static bool field_matches(uint8_t alarm, int wanted, int now)
{
    return (alarm & ANY) == ANY || wanted == now;
}

static bool alarm_matches(const struct rtc *r, uint64_t second)
{
    const uint8_t *c = r->s.cmos;
    int of_day = (int)(second % DAY_S);

    return field_matches(c[SECONDS_ALARM], decode(r, c[SECONDS_ALARM]), of_day % 60) &&
           field_matches(c[MINUTES_ALARM], decode(r, c[MINUTES_ALARM]), of_day / 60 % 60) &&
           field_matches(c[HOURS_ALARM], decode_hours(r, c[HOURS_ALARM]), of_day / 3600);
}

/* The first second after `from`, at most a day later, at which the alarm goes off; 0: none. */
static uint64_t next_alarm(const struct rtc *r, uint64_t from, uint64_t upto)
{
    if (upto - from > DAY_S)
        upto = from + DAY_S;
    for (uint64_t s = from + 1; s <= upto; s++)
        if (alarm_matches(r, s))
            return s;
    return 0;
}

/* Length of the periodic interrupt's period in 1/32768 s; 0: off (data sheet, table 5). */
static uint64_t period(const struct rtc *r)
{
    uint32_t rate = r->s.cmos[REG_A] & A_RATE;

    if (rate == 0)
        return 0;
    return 1ULL << ((rate < 3 ? rate + 7 : rate) - 1);
}

static uint64_t ticks_of(uint64_t ns)
{
    return ns / NS_PER_S * 32768 + ns % NS_PER_S * 32768 / NS_PER_S;
}

static uint64_t ns_of(uint64_t ticks)
{
    return ticks / 32768 * NS_PER_S + (ticks % 32768 * NS_PER_S + 32767) / 32768;
}

/* Brings register C from seen_ns up to now and gives now. */
static uint64_t rtc_sync(struct rtc *r)
{
    uint64_t now = guest_now(r), then = r->s.seen_ns, every = period(r);
    uint8_t *c = &r->s.cmos[REG_C];

    if (now <= then) { /* the host's clock was set back */
        r->s.seen_ns = now;
        return now;
    }
    if (every && ticks_of(now) / every != ticks_of(then) / every)
        *c |= B_PIE;
    if (now / NS_PER_S != then / NS_PER_S) {
        *c |= B_UIE;
        if (next_alarm(r, then / NS_PER_S, now / NS_PER_S))
            *c |= B_AIE;
    }
    r->s.seen_ns = now;
    return now;
}

/* The guest time of the next interrupt that is enabled; 0: none. */
static uint64_t next_event(const struct rtc *r, uint64_t now)
{
    uint8_t enabled = r->s.cmos[REG_B] & B_ENABLES & ~r->s.cmos[REG_C];
    uint64_t every = period(r), next = UINT64_MAX, alarm;

    if (frozen(r))
        return 0;
    if ((enabled & B_PIE) && every)
        next = ns_of((ticks_of(now) / every + 1) * every);
    if ((enabled & B_UIE) && (now / NS_PER_S + 1) * NS_PER_S < next)
        next = (now / NS_PER_S + 1) * NS_PER_S;
    if (enabled & B_AIE) {
        alarm = next_alarm(r, now / NS_PER_S, UINT64_MAX) * NS_PER_S;
        if (alarm && alarm < next)
            next = alarm;
    }
    return next == UINT64_MAX ? 0 : next;
}

static void arm_timer(struct rtc *r, uint64_t now)
{
    uint64_t next = r->running ? next_event(r, now) : 0;
    uint64_t host = next ? next - r->s.offset_ns - EPOCH_S * NS_PER_S : 0;
    struct itimerspec t = {
        .it_value = {.tv_sec = (time_t)(host / NS_PER_S), .tv_nsec = (long)(host % NS_PER_S)}
    };

    /* Fails only for a time before 1970, which is then a timer that does not run. */
    timerfd_settime(r->timer_fd, TFD_TIMER_ABSTIME, &t, NULL);
}

/* After any change: flags, line and timer follow. */
static void update(struct rtc *r)
{
    uint64_t now = rtc_sync(r);
    bool level = r->s.cmos[REG_B] & r->s.cmos[REG_C] & B_ENABLES;

    if (!r->running)
        return;
    hv_irq_set_level(r->config.vm, r->config.gsi, level);
    arm_timer(r, now);
}

static void timer_fired(void *opaque, uint32_t events)
{
    struct rtc *r = opaque;
    uint64_t expirations;

    (void)events;
    if (read(r->timer_fd, &expirations, sizeof(expirations)) < 0)
        return; /* set anew by a vCPU meanwhile */
    pthread_mutex_lock(&r->dev.lock);
    update(r);
    pthread_mutex_unlock(&r->dev.lock);
}

/* Reading and setting the time */

static void broken_down(uint64_t ns, struct tm *tm)
{
    time_t t = (time_t)(ns / NS_PER_S - EPOCH_S);

    if (!gmtime_r(&t, tm))
        *tm = (struct tm){.tm_mday = 1, .tm_year = 70};
}

static uint8_t read_time(struct rtc *r, uint8_t reg)
{
    struct tm tm;

    broken_down(guest_now(r), &tm);
    switch (reg) {
    case SECONDS:
        return encode(r, tm.tm_sec);
    case MINUTES:
        return encode(r, tm.tm_min);
    case HOURS:
        return encode_hours(r, tm.tm_hour);
    case WEEKDAY:
        return encode(r, tm.tm_wday + 1);
    case DAY:
        return encode(r, tm.tm_mday);
    case MONTH:
        return encode(r, tm.tm_mon + 1);
    case YEAR:
        return encode(r, tm.tm_year % 100);
    default:
        return encode(r, (tm.tm_year + 1900) / 100);
    }
}

static void write_time(struct rtc *r, uint8_t reg, uint8_t v)
{
    uint64_t now = guest_now(r);
    struct tm tm;
    time_t t;

    broken_down(now, &tm);
    switch (reg) {
    case SECONDS:
        tm.tm_sec = decode(r, v);
        break;
    case MINUTES:
        tm.tm_min = decode(r, v);
        break;
    case HOURS:
        tm.tm_hour = decode_hours(r, v);
        break;
    case DAY:
        tm.tm_mday = decode(r, v);
        break;
    case MONTH:
        tm.tm_mon = decode(r, v) - 1;
        break;
    case YEAR:
        tm.tm_year = tm.tm_year / 100 * 100 + decode(r, v);
        break;
    case CENTURY:
        tm.tm_year = decode(r, v) * 100 - 1900 + tm.tm_year % 100;
        break;
    default: /* the day of the week follows from the date */
        return;
    }
    t = timegm(&tm) + (time_t)EPOCH_S;
    if (t >= 0 && t <= (time_t)(UINT64_MAX / NS_PER_S) - 1)
        set_guest_now(r, (uint64_t)t * NS_PER_S + now % NS_PER_S);
}

static void write_b(struct rtc *r, uint8_t v)
{
    uint64_t now = guest_now(r);

    if (v & B_SET)
        v &= (uint8_t)~B_UIE; /* data sheet: SET clears UIE */
    r->s.cmos[REG_B] = v;
    set_guest_now(r, now); /* stops or goes on from here */
}

static bool is_time(uint8_t reg)
{
    return reg == CENTURY ||
           (reg <= YEAR && reg != SECONDS_ALARM && reg != MINUTES_ALARM && reg != HOURS_ALARM);
}

static uint8_t read_a(struct rtc *r)
{
    bool uip = !frozen(r) && guest_now(r) % NS_PER_S >= NS_PER_S - UIP_NS;

    return r->s.cmos[REG_A] | (uip ? A_UIP : 0);
}

static uint8_t read_c(struct rtc *r)
{
    uint8_t v;

    rtc_sync(r);
    v = r->s.cmos[REG_C];
    r->s.cmos[REG_C] = 0;
    return v & r->s.cmos[REG_B] & B_ENABLES ? v | C_IRQF : v;
}

static uint64_t rtc_read(void *opaque, uint64_t offset, uint32_t size)
{
    struct rtc *r = opaque;
    uint8_t reg = r->s.index & (RTC_CMOS_SIZE - 1), v;

    (void)size;
    if (offset == 0)
        return 0xff; /* the index is write-only */
    if (is_time(reg))
        return read_time(r, reg);
    if (reg == REG_A)
        return read_a(r);
    if (reg != REG_C)
        return r->s.cmos[reg];
    v = read_c(r);
    update(r);
    return v;
}

static void write_data(struct rtc *r, uint8_t reg, uint8_t v)
{
    rtc_sync(r); /* what was due before the change */
    if (is_time(reg))
        write_time(r, reg, v);
    else if (reg == REG_A)
        r->s.cmos[REG_A] = v & ~A_UIP;
    else if (reg == REG_B)
        write_b(r, v);
    else if (reg != REG_C && reg != REG_D)
        r->s.cmos[reg] = v;
    update(r);
}

static void rtc_write(void *opaque, uint64_t offset, uint32_t size, uint64_t value)
{
    struct rtc *r = opaque;

    if (offset == 0)
        r->s.index = (uint8_t)value;
    if (offset == 1 || size > 1)
        write_data(r, r->s.index & (RTC_CMOS_SIZE - 1), (uint8_t)(offset ? value : value >> 8));
}

/* The device */

static void cmos_put(struct rtc *r, uint8_t at, uint64_t v, uint32_t bytes)
{
    for (uint32_t i = 0; i < bytes; i++)
        r->s.cmos[at + i] = (uint8_t)(v >> (8 * i));
}

static void put_ram_sizes(struct rtc *r)
{
    uint64_t low = r->config.low_ram, ext_kb = (low - (1U << 20)) >> 10;
    uint64_t above_16m = low > (16U << 20) ? (low - (16U << 20)) >> 16 : 0;

    cmos_put(r, CMOS_BASE_KB, 640, 2);
    cmos_put(r, CMOS_EXT_KB, ext_kb > 0xffff ? 0xffff : ext_kb, 2);
    cmos_put(r, 0x30, ext_kb > 0xffff ? 0xffff : ext_kb, 2);
    cmos_put(r, CMOS_ABOVE_16M, above_16m > 0xffff ? 0xffff : above_16m, 2);
    cmos_put(r, CMOS_ABOVE_4G, r->config.high_ram >> 16, 3);
}

/* The battery keeps time and memory over a reset; interrupts are off afterwards. */
static void rtc_reset(struct device *d)
{
    struct rtc *r = (struct rtc *)d;

    rtc_sync(r);
    r->s.index = 0;
    write_b(r, r->s.cmos[REG_B] & (uint8_t) ~(B_ENABLES | B_SET));
    r->s.cmos[REG_C] = 0;
    update(r);
}

static void rtc_save(struct device *d, void *state)
{
    struct rtc *r = (struct rtc *)d;

    rtc_sync(r);
    *(struct rtc_state *)state = r->s;
}

static int rtc_load(struct device *d, const void *state, struct err *e)
{
    const struct rtc_state *in = state;
    const uint8_t *c = in->cmos;
    struct rtc *r = (struct rtc *)d;

    if (c[REG_A] & A_UIP || c[REG_C] & ~B_ENABLES || c[REG_D] != D_VALID)
        return err_set(e, -EPROTO, STAGE, "impossible register: A 0x%x C 0x%x D 0x%x", c[REG_A],
                       c[REG_C], c[REG_D]);
    r->s = *in;
    return 0;
}

static int rtc_start(struct device *d, struct err *e)
{
    struct rtc *r = (struct rtc *)d;

    (void)e;
    pthread_mutex_lock(&d->lock);
    r->running = true;
    update(r);
    pthread_mutex_unlock(&d->lock);
    return 0;
}

static void rtc_stop(struct device *d)
{
    struct rtc *r = (struct rtc *)d;

    pthread_mutex_lock(&d->lock);
    r->running = false;
    arm_timer(r, 0);
    pthread_mutex_unlock(&d->lock);
}

static void rtc_release(struct rtc *r)
{
    loop_fd_del(r->watch);
    if (r->timer_fd >= 0)
        close(r->timer_fd);
    device_fini(&r->dev);
    free(r);
}

static void rtc_free(struct device *d)
{
    struct rtc *r = (struct rtc *)d;

    bus_remove(r->config.pio, PORT);
    rtc_release(r);
}

static const struct device_ops ops = {
    .type = "rtc",
    .state = &rtc_state_desc,
    .reset = rtc_reset,
    .save = rtc_save,
    .load = rtc_load,
    .start = rtc_start,
    .stop = rtc_stop,
    .free = rtc_free,
};

static int open_timer(struct rtc *r, struct err *e)
{
    r->timer_fd = timerfd_create(CLOCK_REALTIME, TFD_NONBLOCK | TFD_CLOEXEC);
    if (r->timer_fd < 0)
        return err_set_errno(e, -errno, STAGE, "no timer for '%s'", r->dev.id);
    r->watch = loop_fd_add(r->config.loop, r->timer_fd, EPOLLIN, timer_fired, r);
    if (!r->watch)
        return err_set_errno(e, -errno, STAGE, "cannot watch the timer of '%s'", r->dev.id);
    return 0;
}

int rtc_new(const struct rtc_config *c, const char *id, struct rtc **out, struct err *e)
{
    struct rtc *r = calloc(1, sizeof(*r));
    struct tm unused;
    struct bus_range range = {.base = PORT, .size = 2, .read = rtc_read, .write = rtc_write};
    int ret;

    if (!r)
        return err_set(e, -ENOMEM, STAGE, "no memory for '%s'", id);
    device_init(&r->dev, &ops, id);
    r->config = *c;
    r->s.cmos[REG_A] = A_DEFAULT;
    r->s.cmos[REG_B] = B_24H;
    r->s.cmos[REG_D] = D_VALID;
    r->s.seen_ns = guest_now(r);
    put_ram_sizes(r);
    /* The C library opens its time zone at first use: now, while files can still be opened. */
    broken_down(r->s.seen_ns, &unused);
    range.dev = &r->dev;
    range.opaque = r;
    ret = open_timer(r, e);
    if (!ret)
        ret = bus_add(c->pio, &range, e);
    if (ret) {
        rtc_release(r);
        return ret;
    }
    *out = r;
    return 0;
}

struct device *rtc_device(struct rtc *r)
{
    return &r->dev;
}
