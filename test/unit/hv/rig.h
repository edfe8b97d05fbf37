/* A VM on the real /dev/kvm with 8 MiB low, 8 MiB from 4 GiB on, and real-mode code at 0x1000. */
#ifndef GODWIT_TEST_UNIT_HV_RIG_H
#define GODWIT_TEST_UNIT_HV_RIG_H

#include "hv/hv.h"

#define RIG_CODE  0x1000U
#define RIG_SIZE  (16ULL << 20)
#define RIG_LOW   (8ULL << 20)
#define RIG_PAGES (RIG_SIZE / GUEST_PAGE_SIZE)
#define PORT_END  0x80 /* `out 0x80, al` (E6 80) ends a test's guest */

struct rig {
    struct guest_mem *mem;
    struct hv_vm *vm;
    struct hv_vcpu *vcpu[4];
    struct x86_msr_list msrs, left_out;
    struct err e;
};

/* For a main(): 0, or 77 after printing why /dev/kvm cannot be used here. */
int rig_skip(void);
/* nvcpus <= 4; the calling thread is ready to run vCPU 0. Fails the test with the error's text. */
void rig_init(struct rig *r, uint32_t nvcpus);
/* The same with dirty rings of so many entries; 0: by the bitmap. */
void rig_init_ring(struct rig *r, uint32_t nvcpus, uint32_t dirty_ring);
void rig_fini(struct rig *r);
/* Fails the test with r->e's text unless rc is 0. */
void rig_ok(struct rig *r, int rc);
/* Loads code, and points vCPU 0 at it: real mode, ds base as given. */
void rig_load(struct rig *r, const void *code, size_t len, uint64_t ds_base);
/* Runs vCPU 0 to its next exit. */
void rig_run(struct rig *r, struct hv_exit *x);

#endif
