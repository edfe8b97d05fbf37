/*
 * Where the locks of an image lie (contract: image.h).  The bytes are far behind any data and below
 * 2^63, so that local file systems and NFSv4 (whose ranges the kernel converts to off_t) take them.
 * Fixed for ever: other versions of Godwit must find them.
 */
#ifndef GODWIT_BLOCK_IMAGE_LOCK_H
#define GODWIT_BLOCK_IMAGE_LOCK_H

#include "block/image.h"

#define IMAGE_LOCK_OWNER       0x4000000000000000LL
#define IMAGE_LOCK_RESERVATION 0x4000000000000001LL

#endif
