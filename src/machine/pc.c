#include "machine/pc.h"

#include "device/acpi_pm.h"
#include "device/reset.h"
#include "device/rtc.h"
#include "machine/memory_map.h"

static void reset_request(void *opaque)
{
    struct board *b = opaque;

    b->host.reset_request(b->host.opaque);
}

static void poweroff_request(void *opaque)
{
    struct board *b = opaque;

    b->host.poweroff_request(b->host.opaque);
}

static int build_serial(struct board *b, struct err *e)
{
    int ret = serial_new(b->pio, PC_SERIAL_PORT, b->vm, PC_SERIAL_GSI, "serial0", &b->serial, e);

    return ret ? ret : board_add_device(b, serial_device(b->serial), e);
}

static int build_rtc(struct board *b, struct err *e)
{
    struct rtc_config c = {.pio = b->pio, .loop = b->loop, .vm = b->vm, .gsi = PC_RTC_GSI};
    struct rtc *rtc;
    int ret;

    for (uint32_t i = 0; i < b->mem->nranges; i++) {
        if (b->mem->ranges[i].gpa == 0)
            c.low_ram = b->mem->ranges[i].size;
        else
            c.high_ram += b->mem->ranges[i].size;
    }
    ret = rtc_new(&c, "rtc0", &rtc, e);
    return ret ? ret : board_add_device(b, rtc_device(rtc), e);
}

static int build_pm(struct board *b, struct err *e)
{
    struct acpi_pm_config c = {.pio = b->pio,
                               .base = PC_PM_PORT,
                               .vm = b->vm,
                               .sci_gsi = PC_SCI_GSI,
                               .opaque = b,
                               .poweroff = poweroff_request};
    int ret = acpi_pm_new(&c, "acpi-pm0", &b->pm, e);

    return ret ? ret : board_add_device(b, acpi_pm_device(b->pm), e);
}

int pc_build(struct board *b, bool own_port, struct reset **out, struct err *e)
{
    struct reset_config reset = {
        .pio = b->pio, .own_port = own_port, .opaque = b, .reset = reset_request};
    int ret = build_serial(b, e);

    if (!ret)
        ret = build_rtc(b, e);
    if (!ret)
        ret = build_pm(b, e);
    if (!ret)
        ret = reset_new(&reset, "reset0", out, e);
    return ret ? ret : board_add_device(b, reset_device(*out), e);
}
