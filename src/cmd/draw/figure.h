/* One migration as a picture: rounds, throughput, dirty rate, throttle; the blackout magnified. */
#ifndef GODWIT_CMD_DRAW_FIGURE_H
#define GODWIT_CMD_DRAW_FIGURE_H

#include <stdio.h>

#include "cmd/draw/story.h"

/* 0, or -EIO when the file could not be written. */
int figure_draw(FILE *f, const struct story *s);

#endif
