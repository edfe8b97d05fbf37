/* What the two files of the fake share. */
#ifndef GODWIT_HV_FAKE_PRIV_H
#define GODWIT_HV_FAKE_PRIV_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "hv/fake.h"

#define STAGE    "fake"
#define MSIS_MAX 1024

struct doorbell {
    bool used, pio, datamatch;
    uint64_t addr, match;
    uint32_t len;
    int fd;
};

struct hv_vm {
    pthread_mutex_t lock; /* guards everything below */
    struct hv_caps caps;
    struct guest_mem *mem;
    uint32_t vcpus_max, nvcpus;
    struct hv_vcpu *vcpus[X86_VCPUS_MAX];
    bool have_msrs;
    struct x86_msr_list msrs;
    struct x86_vm_state chips;
    struct x86_clock_state clock;
    bool level[FAKE_GSIS];
    uint32_t edges[FAKE_GSIS];
    struct hv_msi *msis[MSIS_MAX];
    uint32_t nlog, nlost;
    struct fake_msi log[FAKE_MSI_LOG];
    struct doorbell doorbells[FAKE_DOORBELLS];
    uint64_t *dirty; /* NULL while the log is off */
};

struct hv_vcpu {
    struct hv_vm *vm;
    pthread_cond_t wake;
    bool kicked, has_exit;
    struct hv_exit exit;
    struct x86_vcpu_state state, reset;
};

struct hv_msi {
    struct hv_vm *vm;
    uint32_t slot, raised;
    bool routed;
    struct fake_msi route;
};

static inline void lock(struct hv_vm *vm)
{
    pthread_mutex_lock(&vm->lock);
}

static inline void unlock(struct hv_vm *vm)
{
    pthread_mutex_unlock(&vm->lock);
}

#endif
