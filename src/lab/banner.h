/*
 * lab/banner.h - what a person reads when the lab has started.
 */
#ifndef GAPURA_LAB_BANNER_H
#define GAPURA_LAB_BANNER_H

#include "core/buf.h"
#include "core/conf.h"

struct banner {
    const char *dir, *program; /* absolute; in a form that a shell takes */
    const struct conf *conf;   /* lab.conf */
    bool traffic, typing;      /* sample mail flows; words can be typed here */
};
void banner_put(struct buf *, const struct banner *);
/* One line that asks what became of a message. */
void banner_explain(struct buf *, const struct banner *, const char *id);

#endif
